//! Blame finds the moment after which a run was lost, where that moment is known.

#[path = "support/judged.rs"]
mod judged;
mod support;

use std::{sync::Arc, time::Duration};

use dacapo_core::{Now, Timestamp, WallTime, hooks::Clock, trace::What};
use dacapo_sim::{
    BlameError, BlameOptions, Engine, Family, Outcome, Plan, Profile, RunOptions, blame, blame::Certainty,
    profile::Strength, recorder::Keep, run,
};
use judged::JudgedTally;
use support::{Flaw, Tally, short};

fn options() -> BlameOptions {
    BlameOptions { run: RunOptions { engine: Engine::Event, ..RunOptions::default() }, ..BlameOptions::default() }
}

/// Broken at the end if the bus ever lost its power: every other crash will do no harm.
fn lost_power() -> JudgedTally {
    JudgedTally::by(|seen, record| {
        let cut = |what: &What| matches!(what, What::Stopped { reason } if reason == "power cut");
        seen.crashed |= record.is_some_and(|record| record.node.as_str() == "bus" && cut(&record.what));
        record.is_none() && seen.crashed
    })
}

/// One crash of the bus, with its power cut or not, among faults that do not matter.
fn profile() -> Profile {
    let strength = Strength { count_min: 1, count_max: 1 };
    let families = [Family::CrashBus, Family::CrashCustomer, Family::Delay].map(|family| (family, strength));
    Profile { family_permille: 1_000, families: families.into(), ..short() }
}

fn failing(scenario: &JudgedTally) -> (Plan, Outcome) {
    let plans = (1..100).map(|seed| Plan::draw(scenario, seed, &profile()));
    let keeping = RunOptions { keep: Keep::All, ..options().run };
    let mut runs = plans.map(|plan| {
        let outcome = run(scenario, &plan, &keeping).expect("the plan is right");
        (plan, outcome)
    });
    runs.find(|(_, outcome)| outcome.violation.is_some()).expect("half of the crashes are power cuts")
}

#[test]
fn the_fault_that_decided_a_run_is_found_long_before_the_end_at_which_it_shows() {
    let scenario = lost_power();
    let (plan, trunk) = failing(&scenario);
    let crash = plan.faults.iter().find(|fault| fault.family == Family::CrashBus).expect("it is in the plan").id;
    let begun =
        |record: &&dacapo_core::trace::Record| matches!(record.what, What::FaultBegun { fault } if fault == crash);
    let no_return = trunk.records.iter().find(begun).expect("it began").step;

    let blame = blame(&scenario, &plan, &options()).expect("it fails");
    assert_eq!((blame.step, blame.certainty), (no_return, Certainty::Located), "{:?}", blame.curve);
    assert_eq!(blame.after.permille(), 1_000, "afterwards nothing helps: {}", blame.after);
    assert!(blame.before.permille() < 800, "before it might have gone well: {}", blame.before);
    assert!(blame.before.interval_permille().1 < blame.after.interval_permille().0);
    assert_eq!(blame.strayed, 0, "every future shares its past");
    assert!(blame.left_out > 0, "some futures had a fault that would have begun in the past");
    assert!(blame.around.iter().any(|record| record.step == no_return));
}

#[test]
fn what_customers_do_is_to_blame_from_the_start() {
    let scenario = JudgedTally::by(|seen, record| {
        let granted = matches!(record.map(|record| &record.what), Some(What::OperationAnswered { status: 201, .. }));
        seen.count += u64::from(granted);
        seen.count == 5
    });
    let plan = Plan::draw(&scenario, 2, &profile());
    let blame = blame(&scenario, &plan, &options()).expect("it fails");
    assert_eq!(blame.certainty, Certainty::FromTheStart, "{:?}", blame.curve);
}

#[test]
fn threads_change_no_estimate() {
    let scenario = lost_power();
    let (plan, _) = failing(&scenario);
    let with = |jobs| blame(&scenario, &plan, &BlameOptions { jobs, samples: 6, ..options() }).expect("it fails");
    let (one, three) = (with(1), with(3));
    assert_eq!((one.step, one.curve), (three.step, three.curve));
}

#[test]
fn a_run_that_passes_has_nothing_to_blame() {
    let plan = Plan::draw(&Tally(Flaw::None), 1, &Profile { families: [].into(), ..short() });
    assert_eq!(blame(&Tally(Flaw::None), &plan, &options()).err(), Some(BlameError::Passes));
}

/// A clock that says at once that it is late.
struct Late;

impl Clock for Late {
    fn now(&self) -> Now {
        Now { monotonic: Timestamp(0), wall: WallTime(0) }
    }
}

#[test]
fn when_time_runs_out_that_is_said() {
    let scenario = lost_power();
    let (plan, trunk) = failing(&scenario);
    let clock: Arc<dyn Clock> = Arc::new(Late);
    let budget = Some((clock, Duration::ZERO));
    let blame = blame(&scenario, &plan, &BlameOptions { budget, ..options() }).expect("it fails");
    assert_eq!(blame.certainty, Certainty::TimeRanOut);
    assert!(blame.step <= trunk.steps);
}
