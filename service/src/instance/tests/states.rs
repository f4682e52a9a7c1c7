//! States in memory: eviction, rebuild, reconcile.

use super::*;

fn sums(rig: &Rig) -> Vec<String> {
    rig.instance.states.iter().map(|(key, _)| key.to_string()).collect()
}

fn handle(rig: &mut Rig, event: &Arc<Event>) {
    rig.deliver(event);
    rig.answer_reads();
    let complete = rig.take_complete();
    rig.commit(complete);
}

#[test]
fn the_least_recently_used_state_is_forgotten_and_comes_back_whole() {
    let mut rig = Rig::ready_with(|config| config.states_max = 2);
    for key in ["a", "b", "a", "c"] {
        let event = rig.put(key, 1);
        handle(&mut rig, &event);
    }
    assert_eq!(sums(&rig), ["a", "c"], "b was used longest ago");
    let forgotten = |what: &&What| matches!(what, What::Forgotten { key: Some(key), .. } if key.as_str() == "b");
    assert_eq!(rig.records.iter().filter(forgotten).count(), 1);
    let event = rig.put("b", 5);
    handle(&mut rig, &event);
    assert_eq!(rig.sum("b"), Some((6, vec![1, 2], Version(2))));
}

#[test]
fn what_open_work_needs_is_not_forgotten() {
    let mut rig = Rig::ready_with(|config| config.states_max = 1);
    rig.put("a", 10);
    let move_event = rig.log("m", "Move", &transfer("a", "b", 8));
    rig.deliver(&move_event);
    rig.answer_reads();
    let complete = rig.take_complete();
    assert_eq!(sums(&rig), ["a", "m"], "both are needed until the completion is answered");
    rig.commit(complete);
    assert_eq!(sums(&rig).len(), 1);
}

#[test]
fn applied_records_name_the_version_folded_before() {
    let mut rig = Rig::ready();
    let first = rig.put("a", 1);
    rig.log("a", "Refused", &json!({}));
    let third = rig.put("a", 2);
    handle(&mut rig, &first);
    handle(&mut rig, &third);
    let applied: Vec<(u64, u64)> = rig
        .records
        .iter()
        .filter_map(|what| match what {
            What::Applied { after, version, .. } => Some((after.0, version.0)),
            _ => None,
        })
        .collect();
    assert_eq!(applied, [(0, 1), (1, 3)]);
}

/// A page of the key `a`, read when its head and the log's end were `head`.
fn page_of_a(request: u64, events: &[Arc<Event>], head: u64, more: bool) -> Events {
    let heads = vec![Head { key: Key::of("a"), version: Version(head) }];
    Events { request, events: events.to_vec(), heads, position: Position(head), more }
}

#[test]
fn a_key_is_read_page_by_page_and_only_once_for_many_waiters() {
    let mut rig = Rig::ready();
    let events = [rig.put("a", 1), rig.put("a", 2), rig.put("a", 4)];
    rig.ask(1, get("a"));
    rig.ask(2, get("a"));
    let sent = rig.take_sent();
    let [ToBus::Read(read)] = sent.as_slice() else { panic!("not one read: {sent:?}") };
    rig.frame(page_of_a(read.request, &events[..2], 3, true));
    let sent = rig.take_sent();
    let [ToBus::Read(read)] = sent.as_slice() else { panic!("not one read: {sent:?}") };
    assert!(matches!(read.what, ReadWhat::Key { after: Version(2), .. }));
    rig.frame(page_of_a(read.request, &events[2..], 3, false));
    assert_eq!(rig.answers[&1].body, "7");
    assert_eq!(rig.answer_reads(), 1, "the second came after the first read was asked: it asks for itself");
    assert_eq!(rig.answers[&2].body, "7");
}

#[test]
fn a_rebuild_at_the_start_plays_the_past_before_ready() {
    let mut rig = Rig::idle(Ledger { view: false }, |config| {
        config.rebuild_at_start = true;
        config.states_max = 2;
    });
    let events: Vec<_> =
        [("a", 1), ("b", 2), ("a", 4), ("c", 8), ("b", 16)].into_iter().map(|(key, n)| rig.put(key, n)).collect();
    rig.input(Input::Started);
    rig.welcome();
    let stream = rig.stream();
    assert_eq!((stream.after, stream.follow), (Position(0), false));
    rig.page(stream.request, &events[..2]);
    assert_eq!(rig.take_kinds(), ["credit"], "credit comes back page by page");
    rig.reconnect();
    let stream = rig.stream();
    assert_eq!(stream.after, Position(2), "it goes on where it was");
    rig.page(stream.request, &events[2..]);
    rig.rebuilt(stream.request);
    assert_eq!(rig.take_kinds(), ["credit", "ready"]);
    assert_eq!(rig.sum("a"), Some((5, vec![1, 2], Version(2))));
    assert_eq!(rig.sum("b"), Some((18, vec![1, 2], Version(2))));
    assert_eq!(rig.sum("c"), None, "there was no room");
    rig.reconnect();
    assert_eq!(rig.take_kinds(), ["hello", "ready"], "once in a life is enough");
}

#[test]
fn a_rebuild_leaves_a_state_that_missed_some_of_what_was_played_to_its_hydration() {
    let mut rig = Rig::idle(Ledger { view: false }, |config| {
        config.rebuild_at_start = true;
        config.states_max = 1;
    });
    let other = rig.put("b", 1);
    let events: Vec<_> = [1, 2, 4, 8].into_iter().map(|n| rig.put("a", n)).collect();
    rig.input(Input::Started);
    rig.welcome();
    let stream = rig.stream();
    rig.page(stream.request, &[vec![other], events[..3].to_vec()].concat());
    rig.take_sent();
    rig.ask(1, get("a"));
    let sent = rig.take_sent();
    let [ToBus::Read(read)] = sent.as_slice() else { panic!("not one read: {sent:?}") };
    rig.frame(page_of_a(read.request, &events[..2], 4, true));
    rig.page(stream.request, &events[3..]);
    assert_eq!(rig.sum("a"), Some((3, vec![1, 2], Version(2))), "the third is missing yet");
    rig.sent.retain(|frame| matches!(frame, ToBus::Read(_)));
    assert_eq!(rig.answer_reads(), 1);
    assert_eq!(rig.answers[&1].body, "15");
}

#[test]
fn reconcile_finds_a_last_event_that_nobody_told_of() {
    let mut rig = Rig::ready_with(|config| config.reconcile_every = Some(Duration::from_secs(2)));
    let event = rig.put("a", 1);
    handle(&mut rig, &event);
    rig.put("a", 2);
    rig.put("unknown", 3);
    let walk = |rig: &mut Rig| {
        rig.pass(Duration::from_secs(2));
        rig.sent.retain(|frame| matches!(frame, ToBus::Read(_)));
        rig.answer_reads();
    };
    walk(&mut rig);
    assert_eq!(rig.sum("a"), Some((1, vec![1], Version(1))), "its delivery may be under way");
    walk(&mut rig);
    assert_eq!(rig.answer_reads(), 1, "only what is in memory is hydrated");
    assert_eq!(rig.sum("a"), Some((3, vec![1, 2], Version(2))));
    assert!(rig.marked("reconcile"));
}

#[test]
fn reads_wait_their_turn_when_many_states_are_missing() {
    let mut rig = Rig::ready();
    for id in 0..100 {
        rig.ask(id, get(&format!("k-{id}")));
    }
    assert_eq!(rig.sent.len(), 64);
    while rig.answer_reads() > 0 {}
    assert_eq!(rig.answers.len(), 100);
}
