//! The planted bugs of an instance: each has its effect in a build that carries them, and none in any other.

use dacapo_core::{
    planted::{BUILT_IN, Bug, Planted},
    wire::Conflict,
};

use super::*;

fn complete_with(bug: Bug) -> (Rig, Complete) {
    let mut rig = Rig::ready_with(|config| config.planted = Planted::bug(bug));
    rig.put("a", 10);
    let move_event = rig.log("m", "Move", &transfer("a", "b", 8));
    rig.deliver(&move_event);
    rig.answer_reads();
    let complete = rig.take_complete();
    (rig, complete)
}

fn first_expectation(complete: &Complete) -> Expectation {
    complete.events[0].expectation
}

#[test]
fn overdraft_unguarded_demands_nothing_of_what_was_read() {
    let (_, complete) = complete_with(Bug::OverdraftUnguarded);
    let right = Expectation::Version(Version(1));
    assert_eq!(first_expectation(&complete), if BUILT_IN { Expectation::Any } else { right });
}

#[test]
fn retry_with_any_forces_a_decision_on_ground_that_moved() {
    let (mut rig, first) = complete_with(Bug::RetryWithAny);
    rig.put("a", -5);
    let heads = vec![Head { key: Key::of("a"), version: Version(2) }];
    rig.frame(Conflict { position: first.position, token: first.token, heads });
    rig.answer_reads();
    let second = rig.take_complete();
    let forced = second.events[0].data == first.events[0].data && first_expectation(&second) == Expectation::Any;
    assert_eq!(forced, BUILT_IN);
}

#[test]
fn debit_twice_folds_what_was_decided_and_again_what_came_of_it() {
    let (mut rig, complete) = complete_with(Bug::DebitTwice);
    rig.commit(complete);
    let debit = rig.log[2].clone();
    rig.deliver(&debit);
    assert_eq!(rig.sum("a").map(|(sum, ..)| sum), Some(if BUILT_IN { -6 } else { 2 }));
}

#[test]
fn last_event_lost_never_compares_heads() {
    let mut rig = Rig::ready_with(|config| {
        config.reconcile_every = Some(Duration::from_secs(2));
        config.planted = Planted::bug(Bug::LastEventLost);
    });
    rig.pass(Duration::from_secs(2));
    let walked = rig.sent.iter().any(|frame| matches!(frame, ToBus::Read(_)));
    assert_eq!(walked, !BUILT_IN);
}
