//! Deliveries: gaps, conflicts, redelivery, completions of unknown outcome.

use dacapo_core::{
    Refusal,
    wire::{Conflict, Fenced, Rejected, Resume},
};

use super::*;
use crate::service::HandlerFault;

fn expectations(complete: &Complete) -> Vec<Expectation> {
    complete.events.iter().map(|event| event.expectation).collect()
}

fn at(version: u64) -> Expectation {
    Expectation::Version(Version(version))
}

#[test]
fn a_gap_before_a_delivery_is_healed_by_hydration() {
    let mut rig = Rig::ready();
    let first = rig.put("a", 1);
    rig.deliver(&first);
    let complete = rig.take_complete();
    rig.commit(complete);
    rig.put("a", 2);
    let third = rig.put("a", 4);
    rig.deliver(&third);
    assert_eq!(rig.answer_reads(), 1, "the key is read from the state's version on");
    let complete = rig.take_complete();
    assert_eq!(complete.position, third.position);
    assert_eq!(rig.sum("a"), Some((7, vec![1, 2, 3], Version(3))));
    assert!(rig.marked("gap"));
}

#[test]
fn types_that_are_not_taken_are_passed_over_without_a_gap() {
    let mut rig = Rig::ready();
    let first = rig.put("a", 1);
    rig.log("a", "Refused", &json!({}));
    let third = rig.put("a", 2);
    rig.deliver(&first);
    let complete = rig.take_complete();
    rig.commit(complete);
    rig.deliver(&third);
    let complete = rig.take_complete();
    assert_eq!(complete.position, third.position);
    assert_eq!(rig.sum("a"), Some((3, vec![1, 3], Version(3))));
}

#[test]
fn a_missing_state_is_hydrated_and_the_handler_runs_again() {
    let mut rig = Rig::ready();
    rig.put("a", 10);
    rig.put("a", 5);
    let move_event = rig.log("m", "Move", &transfer("a", "b", 12));
    rig.deliver(&move_event);
    assert_eq!(rig.answer_reads(), 1);
    let complete = rig.take_complete();
    assert_eq!(expectations(&complete), [at(2), Expectation::Any], "what was read is expected, what was not is not");
    let outcomes: Vec<&str> = rig
        .records
        .iter()
        .filter_map(|what| match what {
            What::HandlerEnded { outcome, .. } => Some(outcome.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, ["waits", "decided"]);
}

#[test]
fn a_key_without_events_hydrates_to_version_zero_and_is_guarded() {
    let mut rig = Rig::ready();
    let move_event = rig.log("m", "Move", &transfer("nobody", "b", 12));
    rig.deliver(&move_event);
    rig.answer_reads();
    let complete = rig.take_complete();
    assert_eq!(complete.events[0].event_type.as_str(), "Refused");
    let guard = dacapo_core::Guard { key: Key::of("nobody"), version: Version(0) };
    assert_eq!(complete.guards, [guard]);
}

#[test]
fn a_conflict_is_handled_again_on_fresher_states_under_the_same_token() {
    let mut rig = Rig::ready();
    rig.put("a", 10);
    let move_event = rig.log("m", "Move", &transfer("a", "b", 8));
    rig.deliver(&move_event);
    rig.answer_reads();
    let first = rig.take_complete();
    rig.put("a", -5);
    let heads = vec![Head { key: Key::of("a"), version: Version(2) }, Head { key: Key::of("b"), version: Version(0) }];
    rig.frame(Conflict { position: move_event.position, token: first.token, heads });
    assert_eq!(rig.answer_reads(), 1, "only the state in memory that is behind is read");
    let second = rig.take_complete();
    assert_eq!(second.token, first.token);
    assert_eq!(second.events[0].event_type.as_str(), "Refused", "there is too little now");
    assert_eq!(second.events[0].id, first.events[0].id, "ids are derived from the handled event and the place");
    assert_eq!(second.guards[0].version, Version(2));
}

#[test]
fn a_conflict_over_types_not_taken_advances_the_version() {
    let mut rig = Rig::ready();
    rig.put("a", 10);
    let move_event = rig.log("m", "Move", &transfer("a", "b", 8));
    rig.deliver(&move_event);
    rig.answer_reads();
    let first = rig.take_complete();
    rig.log("a", "Refused", &json!({}));
    let heads = vec![Head { key: Key::of("a"), version: Version(2) }];
    rig.frame(Conflict { position: move_event.position, token: first.token, heads });
    rig.answer_reads();
    assert_eq!(expectations(&rig.take_complete())[0], at(2));
    assert_eq!(rig.sum("a"), Some((10, vec![1], Version(2))));
}

#[test]
fn produced_events_are_applied_once_though_delivered_later() {
    let mut rig = Rig::ready();
    rig.put("a", 10);
    let move_event = rig.log("m", "Move", &transfer("a", "b", 8));
    rig.deliver(&move_event);
    rig.answer_reads();
    let complete = rig.take_complete();
    rig.commit(complete);
    assert_eq!(rig.sum("a"), Some((2, vec![1, 2], Version(2))), "applied from the receipt");
    assert_eq!(rig.sum("b"), None, "a state that is not in memory is left to its deliveries");
    for event in rig.log.split_off(2) {
        rig.log.push(event.clone());
        rig.deliver(&event);
        let complete = rig.take_complete();
        rig.commit(complete);
    }
    assert_eq!(rig.sum("a"), Some((2, vec![1, 2], Version(2))), "handled, not applied again");
    assert_eq!(rig.sum("b"), Some((8, vec![1], Version(1))));
}

#[test]
fn a_produced_event_with_others_before_it_is_left_to_hydration() {
    let mut rig = Rig::ready();
    let first = rig.put("b", 1);
    rig.put("a", 10);
    rig.deliver(&first);
    let complete = rig.take_complete();
    rig.commit(complete);
    let move_event = rig.log("m", "Move", &transfer("a", "b", 8));
    rig.deliver(&move_event);
    rig.answer_reads();
    let complete = rig.take_complete();
    rig.put("b", 100);
    rig.commit(complete);
    assert_eq!(rig.sum("b"), Some((1, vec![1], Version(1))), "version 2 is missing, so 3 must wait");
    let produced = rig.log.last().cloned().expect("was produced");
    rig.deliver(&produced);
    rig.answer_reads();
    assert_eq!(rig.sum("b"), Some((109, vec![1, 2, 3], Version(3))));
}

#[test]
fn of_one_lane_only_the_first_is_handled() {
    let mut rig = Rig::ready();
    let events = [rig.put("a", 1), rig.put("a", 2)];
    for event in &events {
        rig.deliver(event);
    }
    let first = rig.take_complete();
    assert_eq!(first.position, events[0].position);
    rig.commit(first);
    assert_eq!(rig.take_complete().position, events[1].position);
}

#[test]
fn a_failed_handler_is_nacked_and_what_is_behind_it_is_withdrawn() {
    let mut rig = Rig::ready();
    let poison = rig.log("a", "Poison", &json!({}));
    let behind = rig.put("a", 1);
    let other = rig.put("b", 1);
    let before = rig.token(1);
    rig.frame(Deliver { token: before, previous: Version(1), event: behind });
    assert_eq!(rig.take_kinds(), ["read"], "its predecessor is missing");
    rig.deliver(&poison);
    let sent = rig.take_sent();
    let [ToBus::Nack(nack)] = sent.as_slice() else { panic!("not one nack: {sent:?}") };
    assert_eq!((nack.position, nack.reason.as_str()), (poison.position, "it is poison"));
    assert_eq!(rig.instance.deliveries.iter().count(), 0, "the later one comes again after it");
    rig.deliver(&other);
    assert_eq!(rig.take_complete().position, other.position, "other lanes go on");
}

#[test]
fn a_handler_fault_of_a_simulator_is_a_nack_of_that_attempt() {
    let mut rig = Rig::ready_with(|config| {
        config.handler_faults =
            Some(Arc::new(|_, attempt| (attempt < 3).then(|| HandlerFault::Fail(format!("attempt {attempt}")))));
    });
    let event = rig.put("a", 1);
    for attempt in 1..=3 {
        rig.deliver_as(&event, rig.token(attempt));
    }
    assert_eq!(rig.take_kinds(), ["nack", "nack", "complete"]);
}

#[test]
fn a_redelivery_replaces_the_delivery_and_an_older_token_does_not() {
    let mut rig = Rig::ready();
    rig.put("a", 10);
    let move_event = rig.log("m", "Move", &transfer("a", "b", 8));
    rig.deliver_as(&move_event, rig.token(2));
    rig.deliver_as(&move_event, rig.token(1));
    rig.answer_reads();
    assert_eq!(rig.take_complete().token, rig.token(2));
    rig.deliver_as(&move_event, rig.token(3));
    let again = rig.take_complete();
    assert_eq!(again.token, rig.token(3));
    rig.frame(Fenced { position: move_event.position, token: rig.token(2), reason: "late".into() });
    assert_eq!(rig.instance.deliveries.iter().count(), 1, "that was about the old token");
    rig.commit(again);
    assert_eq!(rig.instance.deliveries.iter().count(), 0);
}

#[test]
fn a_completion_of_unknown_outcome_is_asked_again_and_adopted() {
    let mut rig = Rig::ready();
    rig.put("a", 10);
    let move_event = rig.log("m", "Move", &transfer("a", "b", 8));
    rig.deliver(&move_event);
    rig.answer_reads();
    let complete = rig.take_complete();
    rig.reconnect();
    let sent = rig.take_sent();
    assert_eq!(sent.iter().map(ToBus::kind).collect::<Vec<_>>(), ["hello", "complete", "ready"]);
    assert_eq!(sent[1], ToBus::Complete(complete.clone()), "the very same, under its old token");
    // It had become durable; the log's word counts.
    complete.events.into_iter().for_each(|new| drop(rig.append(new)));
    rig.frame(Completed { position: move_event.position, already: true, produced: Vec::new() });
    assert_eq!(rig.instance.deliveries.iter().count(), 0);
    let debit = rig.log[2].clone();
    rig.deliver(&debit);
    assert_eq!(rig.sum("a"), Some((2, vec![1, 2], Version(2))));
}

#[test]
fn a_completion_that_never_arrived_is_fenced_and_handled_under_a_new_token() {
    let mut rig = Rig::ready();
    rig.put("a", 10);
    let move_event = rig.log("m", "Move", &transfer("a", "b", 8));
    rig.deliver(&move_event);
    rig.answer_reads();
    let old = rig.take_complete();
    rig.reconnect();
    rig.take_sent();
    rig.deliver_as(&move_event, rig.token(2));
    let new = rig.take_complete();
    rig.frame(Fenced { position: move_event.position, token: old.token, reason: "another session".into() });
    assert_eq!(new.events, old.events);
    rig.commit(new);
    assert_eq!(rig.sum("a"), Some((2, vec![1, 2], Version(2))));
}

#[test]
fn an_answer_that_a_former_session_owes_is_asked_for_until_it_comes() {
    let mut rig = Rig::ready();
    let first = rig.put("a", 1);
    rig.deliver(&first);
    let complete = rig.take_complete();
    rig.reconnect();
    rig.take_sent();
    // What was asked on the new session got lost. Others completed the event, and the lane comes back.
    let next = rig.put("a", 2);
    rig.deliver(&next);
    assert_eq!(rig.take_kinds(), [""; 0], "the first of the lane is not over");
    for _ in 0..21 {
        rig.pass(Duration::from_secs(1));
        rig.frame(Resume {});
    }
    let again = rig.take_sent().into_iter().find(|frame| matches!(frame, ToBus::Complete(_)));
    assert_eq!(
        again,
        Some(ToBus::Complete(complete)),
        "after the deadline of 20 s, when the bus has taken the delivery back"
    );
    rig.frame(Fenced { position: first.position, token: Token { session: 1, ..rig.token(1) }, reason: "late".into() });
    assert_eq!(rig.take_complete().position, next.position);
}

#[test]
fn undecided_deliveries_end_with_their_session() {
    let mut rig = Rig::ready();
    let move_event = rig.log("m", "Move", &transfer("a", "b", 8));
    rig.deliver(&move_event);
    rig.reconnect();
    assert_eq!(rig.take_kinds(), ["hello", "ready"], "nobody waits for the state any more");
    assert_eq!(rig.instance.deliveries.iter().count(), 0);
}

#[test]
fn a_rejected_completion_is_nacked_with_the_bus_s_sentence() {
    let mut rig = Rig::ready();
    let event = rig.put("a", 1);
    rig.deliver(&event);
    let complete = rig.take_complete();
    let message = "the payload is too large; emit less".to_owned();
    let reason = Refusal::DataTooLarge;
    rig.frame(Rejected { position: event.position, token: complete.token, reason, message: message.clone() });
    let sent = rig.take_sent();
    assert!(matches!(sent.as_slice(), [ToBus::Nack(nack)] if nack.reason == message), "{sent:?}");
}

#[test]
fn a_delivery_that_waits_is_extended_at_half_its_deadline() {
    let mut rig = Rig::ready();
    let move_event = rig.log("m", "Move", &transfer("a", "b", 8));
    rig.deliver(&move_event);
    for _ in 0..20 {
        rig.pass(Duration::from_secs(1));
        rig.frame(dacapo_core::wire::Pong { nonce: 0 });
    }
    let extends = rig.sent.iter().filter(|frame| matches!(frame, ToBus::Extend(_))).count();
    assert_eq!(extends, 1, "at 10 s; at 20 s the answer to the read is overdue, and the connection is given up");
    assert_eq!(rig.acts, ["close"]);
}

#[test]
fn handlers_wait_when_too_many_completions_are_not_answered() {
    let mut rig = Rig::ready();
    let events: Vec<_> = (0..17).map(|n| rig.put(&format!("k-{n}"), 1)).collect();
    for event in &events {
        rig.deliver(event);
    }
    assert_eq!(rig.sent.len(), 16, "four times the credit");
    let Some(ToBus::Complete(first)) = rig.sent.first().cloned() else { panic!("no completion") };
    rig.take_sent();
    rig.commit(first);
    assert_eq!(rig.take_complete().position, events[16].position);
}

#[test]
fn a_bus_that_does_not_keep_to_the_credit_loses_the_connection() {
    let mut rig = Rig::ready();
    for n in 0..8 {
        let event = rig.log(&format!("m-{n}"), "Move", &transfer("a", "b", 8));
        rig.deliver(&event);
        assert!(rig.acts.is_empty());
    }
    let event = rig.log("m-8", "Move", &transfer("a", "b", 8));
    rig.deliver(&event);
    assert_eq!(rig.acts, ["close"]);
}
