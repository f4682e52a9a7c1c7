//! The connection: back-off, heartbeats, errors, the end.

use dacapo_core::wire::{Closing, Error, ErrorCode};

use super::*;

fn error(code: ErrorCode) -> Error {
    Error { code, message: "no".into(), help: "wait".into(), request: None }
}

#[test]
fn hello_names_the_types_in_order() {
    let mut rig = Rig::idle(Ledger { view: false }, |_| {});
    rig.input(Input::Started);
    rig.welcome();
    let sent = rig.take_sent();
    let Some(ToBus::Hello(hello)) = sent.first() else { panic!("no hello: {sent:?}") };
    assert_eq!(hello.types, ["Move", "Poison", "Put"].map(EventType::of));
    assert_eq!((hello.incarnation, hello.credit), (77, 64));
}

#[test]
fn waits_double_up_to_the_longest_and_never_end() {
    let mut rig = Rig::idle(Ledger { view: false }, |config| {
        config.reconnect_first = Duration::from_millis(100);
        config.reconnect_max = Duration::from_secs(2);
    });
    rig.input(Input::Started);
    let mut waits = Vec::new();
    for _ in 0..40 {
        assert_eq!(rig.acts.pop(), Some("connect"));
        rig.input(Input::Disconnected);
        let due = rig.instance.poll_timeout().expect("it tries again");
        waits.push(due.since(rig.at));
        rig.pass(due.since(rig.at));
    }
    for (attempt, wait) in waits.iter().enumerate() {
        let full = Duration::from_millis(100 << attempt.min(10)).min(Duration::from_secs(2));
        assert!(*wait >= full / 2 && *wait <= full, "attempt {attempt} waits {wait:?} of {full:?}");
    }
    assert!(waits[10..].windows(2).any(|pair| pair[0] != pair[1]), "there is jitter");
}

#[test]
fn two_instances_with_one_seed_wait_alike() {
    let wait = |seed| {
        let mut rig = Rig::idle(Ledger { view: false }, |config| config.seed = seed);
        rig.input(Input::Started);
        rig.input(Input::Disconnected);
        rig.instance.poll_timeout()
    };
    assert_eq!(wait(1), wait(1));
    assert_ne!(wait(1), wait(2));
}

#[test]
fn refusals_that_pass_are_tried_again_soon_and_lasting_ones_late() {
    for (code, at_most) in [
        (ErrorCode::InstanceAlive, Duration::from_millis(50)),
        (ErrorCode::Unavailable, Duration::from_millis(50)),
        (ErrorCode::LimitReached, Duration::from_millis(50)),
        (ErrorCode::TypesDiffer, Duration::from_secs(5)),
    ] {
        let mut rig = Rig::idle(Ledger { view: false }, |_| {});
        rig.input(Input::Started);
        rig.input(Input::Connected);
        rig.frame(error(code));
        assert_eq!(rig.acts, ["connect", "close"]);
        let wait = rig.instance.poll_timeout().expect("it tries again").since(rig.at);
        assert!(wait <= at_most && wait >= at_most / 2, "{code:?} waits {wait:?}");
        rig.pass(wait);
        assert_eq!(rig.acts, ["connect", "close", "connect"]);
    }
}

#[test]
fn a_bus_that_does_not_welcome_is_given_up() {
    let mut rig = Rig::idle(Ledger { view: false }, |_| {});
    rig.input(Input::Started);
    rig.input(Input::Connected);
    rig.pass(Duration::from_millis(4_999));
    assert_eq!(rig.acts, ["connect"]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.acts, ["connect", "close"]);
}

#[test]
fn pings_go_out_at_a_third_of_the_deadline_and_silence_ends_the_connection() {
    let mut rig = Rig::ready();
    rig.pass(Duration::from_millis(999));
    assert!(rig.take_kinds().is_empty());
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.take_kinds(), ["ping"]);
    rig.frame(dacapo_core::wire::Pong { nonce: 1 });
    rig.pass(Duration::from_millis(2_999));
    assert_eq!(rig.take_kinds(), ["ping", "ping"]);
    assert!(rig.acts.is_empty());
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.acts, ["close"]);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.acts, ["close", "connect"]);
}

#[test]
fn frames_that_go_both_ways_stand_for_a_ping() {
    let mut rig = Rig::ready();
    rig.pass(Duration::from_millis(600));
    rig.frame(dacapo_core::wire::Pong { nonce: 0 });
    rig.instance.send(dacapo_core::wire::Credit { request: None, credit: 1 });
    rig.frame(dacapo_core::wire::Pong { nonce: 0 });
    assert_eq!(rig.take_kinds(), ["credit"]);
    rig.pass(Duration::from_millis(999));
    assert!(rig.take_kinds().is_empty(), "both sides have said something less than a third of the deadline ago");
    rig.frame(dacapo_core::wire::Pong { nonce: 0 });
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.take_kinds(), ["ping"], "what is heard alone does not tell the bus that this side lives");
}

#[test]
fn closing_and_errors_on_a_session_lead_to_a_new_one() {
    for frame in [
        FromBus::from(Closing { reason: "the bus ends".into() }),
        error(ErrorCode::Superseded).into(),
        error(ErrorCode::Silent).into(),
    ] {
        let mut rig = Rig::ready();
        rig.frame(frame);
        assert_eq!(rig.acts, ["close"]);
        rig.pass(Duration::from_secs(5));
        rig.acts.remove(0);
        rig.welcome();
        assert_eq!(rig.take_kinds(), ["hello", "ready"]);
    }
}

#[test]
fn an_error_about_a_question_that_nobody_asks_is_old_news() {
    let mut rig = Rig::ready();
    rig.frame(Error { request: Some(99), ..error(ErrorCode::NotFound) });
    rig.frame(Error { request: Some(99), ..error(ErrorCode::LimitReached) });
    assert!(rig.acts.is_empty());
}

#[test]
fn a_shutdown_says_bye_answers_what_is_open_and_ends() {
    let mut rig = Rig::ready();
    rig.ask(1, get("a"));
    rig.take_sent();
    rig.input(Input::Shutdown);
    assert_eq!(rig.take_kinds(), ["bye"]);
    assert_eq!(rig.acts, ["close", "exit"]);
    assert_eq!(rig.answers[&1].status, 503);
    assert_eq!(rig.instance.poll_timeout(), None);
    rig.ask(2, get("a"));
    assert_eq!(rig.answers[&2].status, 503);
}

#[test]
fn a_copy_goes_its_own_way_from_the_same_digest() {
    let mut rig = Rig::ready();
    let event = rig.put("a", 1);
    rig.deliver(&event);
    let mut copy = rig.instance.boxed_clone();
    assert_eq!(copy.digest(), rig.instance.digest());
    copy.handle_input(Now { monotonic: rig.at, wall: WallTime(9) }, Input::Disconnected);
    assert_ne!(copy.digest(), rig.instance.digest());
    copy.check_invariants();
}
