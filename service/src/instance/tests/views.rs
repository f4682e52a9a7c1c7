//! Views: following the log, resuming, reading one's own writes.

use super::*;

fn gathered(key: &str, at_least: u64) -> Request {
    Request { route: "/gathered/{key}", at_least: Some(Position(at_least)), ..get(key) }
}

/// An instance with a view, welcomed; its stream.
fn viewing() -> (Rig, u64) {
    let mut rig = Rig::idle(Ledger { view: true }, |_| {});
    rig.input(Input::Started);
    rig.welcome();
    assert_eq!(rig.sent.iter().map(ToBus::kind).collect::<Vec<_>>(), ["hello", "rebuild", "ready"]);
    let stream = rig.stream();
    assert_eq!((stream.after, stream.follow), (Position(0), true));
    (rig, stream.request)
}

#[test]
fn the_view_gathers_the_last_contribution_of_each_source() {
    let (mut rig, stream) = viewing();
    let events = [rig.put("x-1", 1), rig.put("x-2", 1), rig.put("y-1", 1), rig.put("x-1", 1)];
    rig.ask(1, gathered("x", 0));
    assert!(rig.answers.is_empty(), "half a past is no answer");
    rig.page(stream, &events[..2]);
    rig.page(stream, &events[1..]);
    assert_eq!(rig.take_kinds(), ["credit"], "the credit of two pages goes back at once");
    rig.rebuilt(stream);
    assert_eq!(rig.answers[&1].body, r#"[["x-1","2"],["x-2","1"]]"#);
    let viewed = rig.records.iter().filter(|what| matches!(what, What::Viewed { .. })).count();
    assert_eq!(viewed, 4, "an event that comes twice counts once");
}

#[test]
fn the_stream_resumes_after_the_last_position_seen() {
    let (mut rig, stream) = viewing();
    let first = rig.put("x-1", 1);
    rig.page(stream, &[first]);
    rig.rebuilt(stream);
    rig.reconnect();
    let again = rig.stream();
    assert_eq!(again.after, Position(1));
    let second = rig.put("x-1", 1);
    rig.page(stream, std::slice::from_ref(&second));
    assert_eq!(rig.instance.view.position, Position(1), "the old stream is gone");
    rig.page(again.request, &[second]);
    assert_eq!(rig.instance.view.position, Position(2));
}

#[test]
fn a_caller_reads_its_own_writes() {
    let (mut rig, stream) = viewing();
    rig.rebuilt(stream);
    rig.take_sent();
    let event = rig.put("x-1", 1);
    rig.ask(1, gathered("x", 1));
    assert!(rig.answers.is_empty());
    rig.page(stream, &[event]);
    assert_eq!(rig.answers[&1].body, r#"[["x-1","1"]]"#);
}

#[test]
fn a_position_of_another_type_is_reached_by_asking_how_far_the_log_is() {
    let (mut rig, stream) = viewing();
    rig.rebuilt(stream);
    rig.take_sent();
    rig.log("x-1", "Refused", &json!({}));
    rig.ask(1, gathered("x", 1));
    assert!(rig.take_sent().is_empty(), "the stream may be about to tell");
    rig.pass(Duration::from_millis(250));
    let probe = rig.stream();
    assert!(!probe.follow);
    rig.rebuilt(probe.request);
    assert_eq!(rig.answers[&1].body, "[]");
}

#[test]
fn a_position_that_does_not_exist_yet_is_asked_for_again_until_the_deadline() {
    let (mut rig, stream) = viewing();
    rig.rebuilt(stream);
    rig.take_sent();
    rig.ask(1, gathered("x", 1));
    rig.pass(Duration::from_millis(250));
    let probe = rig.stream();
    rig.rebuilt(probe.request);
    assert!(rig.answers.is_empty());
    rig.pass(Duration::from_millis(250));
    let probe = rig.stream();
    rig.log("x-1", "Refused", &json!({}));
    rig.rebuilt(probe.request);
    assert_eq!(rig.answers[&1].body, "[]");
    rig.ask(2, gathered("x", 1_000));
    for _ in 0..10 {
        rig.pass(Duration::from_secs(1));
        rig.frame(dacapo_core::wire::Pong { nonce: 0 });
    }
    assert_eq!(rig.answers[&2].status, 503);
}

#[test]
fn a_source_that_moves_leaves_where_it_was() {
    let mut view = super::super::views::View::default();
    view.place(&Key::of("s"), Key::of("a"), "1".into());
    view.place(&Key::of("s"), Key::of("b"), "2".into());
    assert!(view.gathered_under(&Key::of("a")).is_empty());
    assert_eq!(view.gathered_under(&Key::of("b")), [(Key::of("s"), "2".to_owned())]);
    view.check_invariants();
}
