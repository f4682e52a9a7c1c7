//! Shrinking finds what it takes to fail, and says truly whether that is minimal.

#[path = "support/judged.rs"]
mod judged;
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dacapo_core::{Now, Timestamp, WallTime, hooks::Clock, trace::What};
use dacapo_sim::{Engine, Harm, Minimality, Plan, Profile, RunOptions, ShrinkError, ShrinkOptions, run, shrink};
use judged::JudgedTally;
use support::{Flaw, Tally, short};

fn options() -> ShrinkOptions {
    ShrinkOptions { run: on_events(), ..ShrinkOptions::default() }
}

fn on_events() -> RunOptions {
    RunOptions { engine: Engine::Event, ..RunOptions::default() }
}

/// Breaks when an addition is granted after the bus was killed or cut off its power.
fn granted_after_a_crash() -> JudgedTally {
    JudgedTally::by(|seen, record| match record.map(|record| (record.node.as_str(), &record.what)) {
        Some(("bus", What::Stopped { .. })) => {
            seen.crashed = true;
            false
        }
        Some((_, What::OperationAnswered { status: 201, .. })) => seen.crashed,
        _ => false,
    })
}

/// The first plan that breaks the property, and has many faults.
fn failing(scenario: &JudgedTally) -> Plan {
    let plans = (1..200).map(|seed| Plan::draw(scenario, seed, &short()));
    let mut failing = plans.filter(|plan| plan.faults.len() > 10).filter(|plan| {
        let outcome = run(scenario, plan, &on_events()).expect("the plan is right");
        outcome.violation.is_some_and(|violation| violation.property == "made_to_be_broken")
    });
    failing.next().expect("some seed crashes the bus")
}

#[test]
fn one_fault_and_one_operation_are_left_of_many() {
    let scenario = granted_after_a_crash();
    let whole = failing(&scenario);
    let shrunk = shrink(&scenario, &whole, &options()).expect("it fails");
    assert_eq!(shrunk.minimality, Minimality::Minimal);
    assert_eq!((shrunk.plan.operations.len(), shrunk.plan.faults.len()), (1, 1), "{:#?}", shrunk.plan);
    let [fault] = &shrunk.plan.faults[..] else { panic!("one is left") };
    let strikes_the_bus = fault.what.hosts().iter().any(|host| host.as_str() == "bus");
    assert!(strikes_the_bus || matches!(fault.what, Harm::StoreFails { .. }), "{fault:?}");
    assert_eq!(shrunk.plan.mask, [(fault.family, 1)].into());
    assert_eq!(shrunk.plan.settings.customers, 1);

    // Whoever does not believe it may try.
    let breaks = |plan: &Plan| {
        let violation = run(&scenario, plan, &on_events()).expect("the plan is right").violation;
        violation.is_some_and(|violation| violation.property == "made_to_be_broken")
    };
    assert!(breaks(&shrunk.plan));
    assert!(!breaks(&shrunk.plan.clone().without_fault(fault.id)));
    assert!(!breaks(&shrunk.plan.clone().without_operation(shrunk.plan.operations[0].id)));
}

#[test]
fn several_operations_that_are_needed_together_are_all_kept() {
    // Three additions must have been granted: nothing else matters.
    let scenario = JudgedTally::by(|seen, record| {
        let granted = matches!(record.map(|record| &record.what), Some(What::OperationAnswered { status: 201, .. }));
        seen.count += u64::from(granted);
        granted && seen.count == 3
    });
    let plan = Plan::draw(&scenario, 5, &short());
    let shrunk = shrink(&scenario, &plan, &options()).expect("it fails");
    assert_eq!((shrunk.plan.operations.len(), shrunk.plan.faults.len()), (3, 0));
    assert_eq!(shrunk.minimality, Minimality::Minimal);
    assert!(shrunk.plan.operations.iter().all(|operation| operation.at_us == 0), "{:?}", shrunk.plan.operations);
}

#[test]
fn what_fails_at_its_end_shrinks_as_well() {
    let scenario = JudgedTally::by(|seen, record| {
        let stopped = |what: &What| matches!(what, What::Stopped { .. });
        seen.crashed |= record.is_some_and(|record| record.node.as_str() == "mirrors-0" && stopped(&record.what));
        record.is_none() && seen.crashed
    });
    let plans = (1..200).map(|seed| Plan::draw(&scenario, seed, &short()));
    let mut failing = plans.filter(|plan| {
        let outcome = run(&scenario, plan, &on_events()).expect("the plan is right");
        outcome.violation.is_some_and(|violation| violation.step == 0)
    });
    let shrunk = shrink(&scenario, &failing.next().expect("some seed stops a mirror"), &options()).expect("it fails");
    assert_eq!((shrunk.violation.step, shrunk.minimality), (0, Minimality::Minimal));
    assert!(shrunk.plan.operations.is_empty() && shrunk.plan.faults.len() <= 1, "{:#?}", shrunk.plan.faults);
}

#[test]
fn threads_change_nothing_in_what_comes_out() {
    let scenario = granted_after_a_crash();
    let whole = failing(&scenario);
    let shrunk = |jobs| shrink(&scenario, &whole, &ShrinkOptions { jobs, ..options() }).expect("it fails");
    let (one, three) = (shrunk(1), shrunk(3));
    assert_eq!(one.plan, three.plan);
    assert_eq!(one.outcome.fingerprint, three.outcome.fingerprint);
}

/// A clock that goes on by a second whenever somebody looks.
#[derive(Default)]
struct Impatient(AtomicU64);

impl Clock for Impatient {
    fn now(&self) -> Now {
        Now { monotonic: Timestamp(self.0.fetch_add(1_000_000, Ordering::Relaxed)), wall: WallTime(0) }
    }
}

#[test]
fn when_time_runs_out_that_is_said_and_what_was_reached_still_fails() {
    let scenario = granted_after_a_crash();
    let whole = failing(&scenario);
    let within = |seconds| {
        let clock: Arc<dyn Clock> = Arc::new(Impatient::default());
        let budget = Some((clock, Duration::from_secs(seconds)));
        shrink(&scenario, &whole, &ShrinkOptions { budget, ..options() }).expect("it fails")
    };
    let (none, some, enough) = (within(0), within(12), within(100_000));
    assert_eq!((none.minimality, &none.plan), (Minimality::TimeRanOut, &whole));
    assert_eq!(some.minimality, Minimality::TimeRanOut);
    let size = |plan: &Plan| plan.operations.len() + plan.faults.len();
    assert!(size(&some.plan) < size(&whole) && size(&some.plan) >= size(&enough.plan), "{}", size(&some.plan));
    assert_eq!(some.violation.property, "made_to_be_broken");
    assert_eq!(enough.minimality, Minimality::Minimal);
}

#[test]
fn a_plan_that_passes_is_not_shrunk() {
    let calm = Profile { families: [].into(), ..short() };
    let plan = Plan::draw(&Tally(Flaw::None), 1, &calm);
    assert_eq!(shrink(&Tally(Flaw::None), &plan, &options()).err(), Some(ShrinkError::Passes));
    let wrong = Plan { scenario: "bank".to_owned(), ..plan };
    assert!(matches!(shrink(&Tally(Flaw::None), &wrong, &options()), Err(ShrinkError::Plan(_))));
}

#[test]
fn a_panic_shrinks_to_what_it_takes_to_reach_the_same_place() {
    let plan = Plan::draw(&Tally(Flaw::Panics), 4, &short());
    let shrunk = shrink(&Tally(Flaw::Panics), &plan, &options()).expect("it fails");
    assert_eq!(shrunk.failing.property, "no_panic");
    assert!(shrunk.violation.message.contains("the mirror breaks"), "{}", shrunk.violation.message);
    assert!(shrunk.plan.faults.is_empty() && shrunk.plan.operations.len() <= 6, "{:?}", shrunk.plan.operations);
}
