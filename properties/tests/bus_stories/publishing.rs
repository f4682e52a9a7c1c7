//! Publishing: receipts, idempotence, expectations, and what waits for what.

use dacapo_core::{CorrelationId, EventId, Key, Receipt, Refusal, Version, bus::Input, store::StoreError};

use crate::world::{World, event, expecting, guard};

fn accepted(receipt: &Receipt) -> (u64, u64) {
    match receipt {
        Receipt::Accepted { position, version, .. } => (position.0, version.0),
        other => panic!("{other:?} is not accepted"),
    }
}

fn refused(receipt: &Receipt) -> Refusal {
    match receipt {
        Receipt::Refused { reason, .. } => *reason,
        other => panic!("{other:?} is not refused"),
    }
}

#[test]
fn accepts_with_position_and_version() {
    let mut world = World::new();
    assert_eq!(accepted(&world.note("a", "k")), (1, 1));
    assert_eq!(accepted(&world.note("b", "other")), (2, 1));
    assert_eq!(accepted(&world.note("c", "k")), (3, 2));
}

#[test]
fn the_same_id_is_a_duplicate_with_the_first_position_even_when_its_expectation_is_stale_by_now() {
    let mut world = World::new();
    world.publish(vec![expecting("a", "k", 0)]);
    world.note("b", "k");
    let again = world.publish(vec![expecting("a", "k", 0)]).remove(0);
    assert!(
        matches!(again, Receipt::Duplicate { position, version, .. } if (position.0, version.0) == (1, 1)),
        "{again:?}"
    );
    world.restart();
    let after_restart = world.publish(vec![expecting("a", "k", 0)]).remove(0);
    assert_eq!(after_restart, again);
}

#[test]
fn a_stale_expectation_is_told_the_head_and_the_event_that_stands_there() {
    let mut world = World::new();
    world.note("a", "k");
    world.note("b", "k");
    let receipt = world.publish(vec![expecting("c", "k", 1)]).remove(0);
    let expected = Receipt::Inconsistent { key: Key::of("k"), head: Version(2), id: Some(EventId::of("b")) };
    assert_eq!(receipt, expected);
}

#[test]
fn a_batch_is_accepted_whole_or_not_at_all() {
    let mut world = World::new();
    let receipts = world.publish(vec![event("a", "k"), expecting("b", "k", 7)]);
    assert!(receipts.iter().all(|receipt| matches!(receipt, Receipt::Inconsistent { .. })), "{receipts:?}");
    assert!(world.log.events().is_empty());
    let receipts = world.publish(vec![expecting("a", "k", 0), expecting("b", "k", 1)]);
    assert_eq!(receipts.iter().map(accepted).collect::<Vec<_>>(), [(1, 1), (2, 2)]);
}

#[test]
fn a_guard_on_a_key_that_moved_makes_the_batch_inconsistent() {
    let mut world = World::new();
    world.note("a", "read");
    let conn = world.connect();
    let receipts = world.publish_on(conn, vec![event("b", "k")], vec![guard("read", 0)]);
    assert!(matches!(&receipts[0], Receipt::Inconsistent { key, .. } if key.as_str() == "read"), "{receipts:?}");
    let receipts = world.publish_on(conn, vec![event("b", "k")], vec![guard("read", 1)]);
    assert_eq!(accepted(&receipts[0]), (2, 1));
}

#[test]
fn refuses_what_can_never_be_accepted_and_says_why() {
    let mut world = World::new();
    world.note("known", "k");
    let mut other_content = event("known", "k");
    other_content.data = dacapo_core::Data::of("something else");
    let mut unknown_cause = event("c", "k");
    unknown_cause.causation = Some(EventId::of("nobody"));
    let mut foreign_cause = event("d", "k");
    foreign_cause.causation = Some(EventId::of("known"));
    foreign_cause.correlation = Some(CorrelationId::of("another"));
    let mut nobody = event("e", "k");
    nobody.source = None;
    let cases = [
        (vec![], Refusal::EmptyBatch),
        (vec![other_content], Refusal::IdHasOtherContent),
        (vec![event("known", "k"), event("new", "k")], Refusal::BatchPartlyKnown),
        (vec![event("twice", "k"), event("twice", "k")], Refusal::IdTwiceInBatch),
        (vec![unknown_cause], Refusal::UnknownCause),
        (vec![foreign_cause], Refusal::CauseOfOtherCorrelation),
        (vec![nobody], Refusal::Source),
        (vec![event("f", "$service/x")], Refusal::Reserved),
    ];
    for (batch, reason) in cases {
        let receipts = world.publish(batch.clone());
        assert_eq!(refused(&receipts[0]), reason, "{batch:?}");
    }
    assert_eq!(world.log.events().len(), 1);
}

#[test]
fn no_receipt_leaves_before_its_commit_is_durable_and_neither_does_a_negative_one_that_rests_on_it() {
    let mut world = World::new();
    world.hold_commits = true;
    let first = world.connect();
    let second = world.connect();
    assert!(world.publish_on(first, vec![expecting("a", "k", 0)], vec![]).is_empty());
    assert!(world.publish_on(second, vec![expecting("b", "k", 0)], vec![]).is_empty(), "it rests on the first");
    world.release();
    assert_eq!(world.heard(first).len(), 1);
    assert_eq!(world.heard(second).len(), 1);
}

#[test]
fn a_failed_commit_answers_nobody_and_ends_the_bus() {
    let mut world = World::new();
    world.hold_commits = true;
    let conn = world.connect();
    world.publish_on(conn, vec![event("a", "k")], vec![]);
    world.publish_on(conn, vec![event("b", "k")], vec![]);
    let error = StoreError::Io("unplugged".into());
    world.bus.handle_input(world.now, Input::CommitFailed { sequence: 1, error });
    let stop = world.bus.poll_output();
    assert!(matches!(stop, Some(dacapo_core::bus::Output::Stop { .. })), "{stop:?}");
    assert_eq!(world.bus.poll_output(), None);
    assert!(world.heard(conn).is_empty());
}

#[test]
fn messages_are_judged_in_the_order_in_which_they_came_however_long_a_look_up_takes() {
    let mut world = World::new();
    world.note("old", "cold");
    world.hold_look_ups = true;
    let (first, second) = (world.connect(), world.connect());
    world.publish_on(first, vec![expecting("a", "k", 0)], vec![]);
    world.publish_on(second, vec![expecting("b", "k", 0)], vec![]);
    world.release();
    assert!(world.log.events().iter().any(|event| event.id.as_str() == "a"));
    assert!(world.log.events().iter().all(|event| event.id.as_str() != "b"));
}
