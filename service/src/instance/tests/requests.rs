//! Requests: idempotency, unknown outcomes, freshness, back-pressure.

use dacapo_core::{
    Guard,
    wire::{Error, ErrorCode, Resume},
};

use super::*;

/// Asks and answers all reads until the batch is out.
fn published(rig: &mut Rig, id: u64, request: Request) -> Publish {
    rig.ask(id, request);
    while rig.answer_reads() > 0 {}
    rig.take_publish()
}

fn status(rig: &Rig, id: u64) -> (u16, &str) {
    rig.answers.get(&id).map_or((0, ""), |answer| (answer.status, &answer.body))
}

#[test]
fn a_request_is_answered_when_its_events_are_in_the_log() {
    let mut rig = Rig::ready();
    rig.put("a", 1);
    let publish = published(&mut rig, 1, post("a", 5, "op-1"));
    let [put, answered] = publish.events.as_slice() else { panic!("not two events: {publish:?}") };
    assert_eq!(put.expectation, Expectation::Version(Version(1)), "the sum was read");
    assert_eq!(answered.event_type.as_str(), "RequestAnswered");
    assert_eq!(answered.expectation, Expectation::Version(Version(0)), "only the first answer counts");
    assert_eq!(put.correlation, answered.correlation);
    assert!(put.correlation.is_some());
    assert!(rig.answers.is_empty(), "nothing is told before it is durable");
    let receipts = rig.accept(publish);
    rig.frame(receipts);
    assert_eq!(status(&rig, 1), (201, "6"));
    assert_eq!(rig.answers[&1].position, Some(Position(3)));
    assert_eq!(rig.sum("a"), Some((6, vec![1, 2], Version(2))), "applied from the receipts");
}

#[test]
fn a_repeated_request_is_answered_from_the_log_at_any_instance() {
    let mut rig = Rig::ready();
    let publish = published(&mut rig, 1, post("a", 5, "op-1"));
    let receipts = rig.accept(publish);
    rig.frame(receipts);
    let mut other = Rig::ready();
    other.log = rig.log.clone();
    other.ask(1, post("a", 5, "op-1"));
    assert_eq!(other.answer_reads(), 1);
    assert_eq!(status(&other, 1), (201, "5"));
    assert_eq!(other.answers[&1].position, Some(Position(2)));
    assert!(other.take_sent().is_empty());
}

#[test]
fn an_idempotency_key_is_good_for_one_request() {
    let mut rig = Rig::ready();
    let publish = published(&mut rig, 1, post("a", 5, "op-1"));
    let receipts = rig.accept(publish);
    rig.frame(receipts);
    rig.ask(2, post("a", 6, "op-1"));
    rig.answer_reads();
    assert_eq!(rig.answers[&2].status, 422);
    assert!(rig.answers[&2].body.contains("used with another request"));
    let elsewhere = Request { caller: Some("somebody else".into()), ..post("a", 6, "op-1") };
    published(&mut rig, 3, elsewhere);
}

#[test]
fn two_instances_with_the_same_request_agree_on_one_answer() {
    let (mut one, mut two) = (Rig::ready(), Rig::ready());
    let first = published(&mut one, 1, post("a", 5, "op-1"));
    // The second one sees another ground, so its batch differs in every id.
    two.put("a", 100);
    let second = published(&mut two, 1, post("a", 5, "op-1"));
    for (a, b) in first.events.iter().zip(&second.events) {
        assert_ne!(a.id, b.id);
    }
    let answer_key = second.events[1].key.clone();
    two.log.clear();
    let _ = two.accept(first);
    let receipt = Receipt::Inconsistent { key: answer_key, head: Version(1), id: None };
    two.frame(Receipts { request: second.request, receipts: vec![receipt.clone(), receipt] });
    assert_eq!(two.answer_reads(), 1);
    assert_eq!(status(&two, 1), (201, "5"));
    assert!(two.marked("answered from the log"));
}

#[test]
fn an_inconsistent_publish_runs_again_on_newer_ground() {
    let mut rig = Rig::ready();
    let first = published(&mut rig, 1, post("a", 5, "op-1"));
    rig.put("a", 100);
    let receipt = Receipt::Inconsistent { key: Key::of("a"), head: Version(1), id: None };
    rig.frame(Receipts { request: first.request, receipts: vec![receipt.clone(), receipt] });
    while rig.answer_reads() > 0 {}
    let second = rig.take_publish();
    assert_eq!(second.events[0].expectation, Expectation::Version(Version(1)));
    assert_eq!(second.events[1].key, first.events[1].key);
    let receipts = rig.accept(second);
    rig.frame(receipts);
    assert_eq!(status(&rig, 1), (201, "105"));
}

#[test]
fn a_batch_of_unknown_outcome_is_sent_again_as_it_was() {
    let mut rig = Rig::ready();
    let first = published(&mut rig, 1, post("a", 5, "op-1"));
    let events = first.events.clone();
    let Receipts { receipts, .. } = rig.accept(first);
    rig.reconnect();
    let sent = rig.take_sent();
    let [ToBus::Hello(_), ToBus::Publish(again), ToBus::Ready(_)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(again.events, events);
    let duplicate = |receipt| match receipt {
        Receipt::Accepted { position, version, time } => Receipt::Duplicate { position, version, time },
        other => other,
    };
    let receipts = receipts.into_iter().map(duplicate).collect();
    rig.frame(Receipts { request: again.request, receipts });
    assert_eq!(status(&rig, 1), (201, "5"));
    assert_eq!(rig.sum("a"), Some((5, vec![1], Version(1))));
}

#[test]
fn throttled_requests_wait_for_resume_in_order() {
    let mut rig = Rig::ready();
    let first = published(&mut rig, 1, post("a", 1, "op-1"));
    let throttled = vec![Receipt::Throttled, Receipt::Throttled];
    rig.frame(Receipts { request: first.request, receipts: throttled });
    rig.ask(2, post("b", 2, "op-2"));
    while rig.answer_reads() > 0 {}
    assert!(rig.take_sent().is_empty(), "nothing overtakes");
    rig.frame(Resume {});
    let sent = rig.take_sent();
    let keys: Vec<&str> = sent
        .iter()
        .filter_map(|frame| match frame {
            ToBus::Publish(publish) => Some(publish.events[0].key.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(keys, ["a", "b"]);
    assert!(rig.answers.is_empty());
}

#[test]
fn emitting_needs_an_idempotency_key() {
    let mut rig = Rig::ready();
    rig.ask(1, Request { idempotency_key: None, ..post("a", 5, "") });
    while rig.answer_reads() > 0 {}
    assert_eq!(rig.answers[&1].status, 400);
    assert!(rig.answers[&1].body.contains("Idempotency-Key"));
    assert!(rig.take_sent().is_empty());
}

#[test]
fn a_refusal_is_kept_and_changes_nothing_else() {
    let mut rig = Rig::ready();
    rig.put("a", 1);
    let publish = published(&mut rig, 1, post("a", -5, "op-1"));
    assert_eq!(publish.guards, [Guard { key: Key::of("a"), version: Version(1) }], "it is true of this ground");
    let [answered] = publish.events.as_slice() else { panic!("not one event: {publish:?}") };
    assert_eq!(answered.event_type.as_str(), "RequestAnswered");
    assert!(rig.answers.is_empty(), "nothing is told before it is durable");
    let receipts = rig.accept(publish);
    rig.frame(receipts);
    assert_eq!(status(&rig, 1), (409, "-4"));
    // A copy that comes late, when there is enough.
    rig.put("a", 100);
    rig.ask(2, post("a", -5, "op-1"));
    while rig.answer_reads() > 0 {}
    assert_eq!(status(&rig, 2), (409, "-4"), "its sender was told so");
    assert!(rig.take_sent().is_empty());
}

#[test]
fn a_repeated_request_is_not_refused_for_what_its_first_run_did() {
    let mut rig = Rig::ready();
    rig.put("a", 10);
    let first = published(&mut rig, 1, post("a", -10, "op-1"));
    rig.ask(2, post("a", -10, "op-1"));
    assert_eq!(rig.answer_reads(), 1, "the first is not in the log yet");
    let again = rig.take_publish();
    assert_eq!(again.events, first.events, "on the same ground it decides the same");
    rig.ask(3, post("a", -10, "op-1"));
    let look_up = rig.take_sent().pop();
    let Some(ToBus::Read(look_up)) = look_up else { panic!("no look-up: {look_up:?}") };
    let receipts = rig.accept(first);
    rig.frame(receipts);
    assert_eq!(status(&rig, 1), (201, "0"));
    // The look-up was read before the first was accepted; the route runs after.
    rig.frame(Events { request: look_up.request, events: vec![], heads: vec![], position: Position(1), more: false });
    while rig.answer_reads() > 0 {}
    let refusal = rig.take_publish();
    let receipt = Receipt::Inconsistent { key: refusal.events[0].key.clone(), head: Version(1), id: None };
    rig.frame(Receipts { request: refusal.request, receipts: vec![receipt] });
    while rig.answer_reads() > 0 {}
    assert_eq!(status(&rig, 3), (201, "0"), "and not 409, although nothing is left");
}

#[test]
fn look_ups_wait_their_turn() {
    let mut rig = Rig::ready();
    for id in 0..100 {
        rig.ask(id, post(&format!("k-{id}"), -1, &format!("op-{id}")));
    }
    assert_eq!(rig.sent.len(), 64);
    while rig.answer_reads() > 0 {}
    let refusals = rig.take_kinds();
    assert_eq!(refusals, ["publish"; 100]);
}

#[test]
fn an_answer_without_events_is_at_least_as_new_as_its_request() {
    let mut rig = Rig::ready();
    rig.put("a", 1);
    rig.ask(1, get("a"));
    rig.answer_reads();
    assert_eq!(status(&rig, 1), (200, "1"));
    rig.put("a", 2);
    rig.ask(2, get("a"));
    assert_eq!(rig.answer_reads(), 1, "the state in memory may be old");
    assert_eq!(status(&rig, 2), (200, "3"));
    // A refusal rests on a guard instead.
    rig.put("a", 10);
    let stale = published(&mut rig, 3, post("a", -5, "op-3"));
    assert_eq!((stale.events.len(), &stale.guards[..]), (1, &[Guard { key: Key::of("a"), version: Version(2) }][..]));
    let receipt = Receipt::Inconsistent { key: Key::of("a"), head: Version(3), id: None };
    rig.frame(Receipts { request: stale.request, receipts: vec![receipt] });
    while rig.answer_reads() > 0 {}
    assert_eq!(rig.take_publish().events.len(), 2, "the stale state said no, the fresh one says yes");
}

#[test]
fn state_fresh_for_spares_the_question() {
    let mut rig = Rig::ready_with(|config| config.state_fresh_for = Duration::from_millis(500));
    rig.ask(1, get("a"));
    rig.answer_reads();
    rig.pass(Duration::from_millis(500));
    rig.ask(2, get("a"));
    assert_eq!(status(&rig, 2), (200, "0"));
    rig.pass(Duration::from_millis(1));
    rig.ask(3, get("a"));
    assert_eq!(status(&rig, 3), (0, ""));
    assert_eq!(rig.answer_reads(), 1);
}

#[test]
fn beyond_the_limit_requests_are_told_to_come_back() {
    let mut rig = Rig::ready_with(|config| config.requests_max = 2);
    (1..=3).for_each(|id| rig.ask(id, get("a")));
    assert_eq!(rig.answers.keys().copied().collect::<Vec<_>>(), [3]);
    assert_eq!(rig.answers[&3].status, 503);
    rig.input(Input::RequestGone { id: 1 });
    rig.ask(4, get("a"));
    while rig.answer_reads() > 0 {}
    assert_eq!(rig.answers.keys().copied().collect::<Vec<_>>(), [2, 3, 4], "who went away gets no answer");
}

#[test]
fn a_late_request_is_told_what_is_known_of_its_outcome() {
    let mut rig = Rig::ready_with(|config| config.request_deadline = Duration::from_millis(800));
    rig.ask(1, get("a"));
    rig.take_sent();
    let mut other = Rig::ready_with(|config| config.request_deadline = Duration::from_millis(800));
    published(&mut other, 1, post("a", 5, "op-1"));
    for rig in [&mut rig, &mut other] {
        rig.pass(Duration::from_millis(800));
        assert_eq!(rig.answers[&1].status, 503);
    }
    assert!(!rig.answers[&1].body.contains("unknown"));
    assert!(other.answers[&1].body.contains("outcome is unknown"));
}

#[test]
fn requests_outlive_the_connection() {
    let mut rig = Rig::ready_with(|config| config.request_deadline = Duration::from_secs(60));
    rig.put("a", 3);
    rig.ask(1, get("a"));
    rig.ask(2, post("b", 1, "op-2"));
    rig.reconnect();
    assert_eq!(rig.take_kinds(), ["hello", "read", "read", "ready"]);
    rig.reconnect();
    while rig.answer_reads() > 0 {}
    assert_eq!(status(&rig, 1), (200, "3"));
    rig.sent.retain(|frame| matches!(frame, ToBus::Publish(_)));
    assert_eq!(rig.take_publish().events.len(), 2);
}

#[test]
fn what_the_bus_does_not_take_is_told_to_the_caller() {
    let mut rig = Rig::ready();
    let publish = published(&mut rig, 1, post("a", 5, "op-1"));
    let message = "the source is not yours; leave it out".to_owned();
    let refused = Receipt::Refused { reason: dacapo_core::Refusal::Source, message };
    rig.frame(Receipts { request: publish.request, receipts: vec![refused.clone(), refused] });
    assert_eq!(rig.answers[&1].status, 500);
    assert!(rig.answers[&1].body.contains("leave it out"));
    let publish = published(&mut rig, 2, post("a", 5, "op-2"));
    let (code, message, help) = (ErrorCode::TooLarge, "too large".to_owned(), "split it".to_owned());
    rig.frame(Error { code, message, help, request: Some(publish.request) });
    assert_eq!(rig.answers[&2].status, 500);
    assert!(rig.acts.is_empty());
}
