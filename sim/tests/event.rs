//! The event engine beside the full stack: equal where both must be equal, right everywhere else.

mod support;

use std::collections::BTreeMap;

use dacapo_core::trace::{Record, What};
use dacapo_sim::{End, Engine, Harm, Outcome, Plan, Profile, RunOptions, Trigger, recorder::Keep, run};
use support::{Flaw, Tally, plan, short};

fn options(engine: Engine) -> RunOptions {
    RunOptions { engine, keep: Keep::All, ..RunOptions::default() }
}

fn carry_out(engine: Engine, plan: &Plan) -> Outcome {
    run(&Tally(Flaw::None), plan, &options(engine)).expect("the plan is right")
}

/// What the log says, without times: in the order of positions.
fn log(outcome: &Outcome) -> Vec<String> {
    let commits = outcome.records.iter().filter_map(|record| match &record.what {
        What::CommitDurable { commit } => Some(commit),
        _ => None,
    });
    let events = commits.flat_map(|commit| &commit.events);
    events
        // The stranger who is about on the full stack may spread rumours, and nothing else.
        .filter(|event| !event.event_type.is_reserved() && event.event_type.as_str() != "Rumour")
        .map(|event| format!("{} {} {} {} {:?}", event.id, event.event_type, event.key, event.version, event.data))
        .collect()
}

/// One customer, who waits for each operation before the next, and no fault.
fn sequential(seed: u64) -> Plan {
    let profile = Profile { customers: 1, ..Profile { families: BTreeMap::new(), ..short() } };
    let mut plan = Plan::draw(&Tally(Flaw::None), seed, &profile);
    let mut before = None;
    plan.operations.sort_by_key(|operation| operation.id);
    for (operation, at_us) in plan.operations.iter_mut().zip((1..).map(|n| n * 400_000)) {
        operation.at_us = at_us;
        operation.after = before.replace(operation.id).into_iter().collect();
    }
    plan.settings.duration_us = 400_000 * (plan.operations.len() as u64 + 2);
    plan
}

#[test]
fn a_sequential_plan_without_faults_gives_the_same_log_on_both_engines() {
    for seed in 1..=6 {
        let plan = sequential(seed);
        let (full, event) = (carry_out(Engine::Turmoil, &plan), carry_out(Engine::Event, &plan));
        assert!(full.passed() && event.passed(), "seed {seed}: {:?} {:?}", full.violation, event.violation);
        assert!(log(&full).len() >= 40, "twenty additions, each mirrored: {}", log(&full).len());
        assert_eq!(log(&full), log(&event), "seed {seed}");
    }
}

#[test]
fn swarms_pass_and_every_fault_fires_whose_time_comes() {
    for seed in 1..=40 {
        let plan = plan(seed);
        let outcome = carry_out(Engine::Event, &plan);
        assert!(outcome.passed(), "seed {seed}: {:?} {:#?}", outcome.end, outcome.violation);
        for fault in &plan.faults {
            let Trigger::At { us } = fault.trigger else { continue };
            let begun = outcome.faults.iter().find(|outcome| outcome.id == fault.id).map(|outcome| outcome.begun);
            let within = us < plan.settings.duration_us;
            assert_eq!(begun, Some(u64::from(within)), "seed {seed}: {}", fault.describe());
        }
    }
}

#[test]
fn the_same_plan_gives_the_same_fingerprint() {
    for seed in 1..=12 {
        let plan = plan(seed);
        let (one, other) = (carry_out(Engine::Event, &plan), carry_out(Engine::Event, &plan));
        assert_eq!(one.fingerprint, other.fingerprint, "seed {seed}");
        assert!(one.steps > 500, "seed {seed} did something: {} steps", one.steps);
    }
}

#[test]
fn a_panic_in_a_machine_fails_the_run() {
    let plan = sequential(1);
    let outcome = run(&Tally(Flaw::Panics), &plan, &options(Engine::Event)).expect("the plan is right");
    assert_eq!(outcome.end, End::Panicked);
    let violation = outcome.violation.expect("there is one");
    assert_eq!(violation.property, "no_panic");
    assert!(violation.message.contains("the mirror breaks"), "{}", violation.message);
}

#[test]
fn what_never_ends_is_told() {
    let plan = sequential(1);
    let outcome = run(&Tally(Flaw::NeverAnswers), &plan, &options(Engine::Event)).expect("the plan is right");
    assert_eq!(outcome.end, End::Stuck);
    assert!(outcome.violation.is_some());
}

#[test]
fn a_branch_shares_its_past_and_goes_its_own_way() {
    let plan = plan(3);
    let trunk = carry_out(Engine::Event, &plan);
    let after_step = trunk.steps / 2;
    let branch = dacapo_sim::Branch { after_step, seed: 99 };
    let options = RunOptions { branch: Some(branch), ..options(Engine::Event) };
    let branched = run(&Tally(Flaw::None), &plan, &options).expect("the plan is right");
    let shared = after_step as usize;
    assert_eq!(trunk.records[..shared], branched.records[..shared]);
    assert_ne!(trunk.fingerprint, branched.fingerprint);
}

#[test]
fn taking_a_fault_out_leaves_what_came_before_it() {
    let mut taken_out = 0;
    for seed in 1..=20 {
        let plan = plan(seed);
        let whole = carry_out(Engine::Event, &plan);
        let late = plan.faults.iter().filter(|fault| !matches!(fault.what, Harm::ScaleOut { .. }));
        let late = late.max_by_key(|fault| match fault.trigger {
            Trigger::At { us } => us,
            Trigger::On { .. } => 0,
        });
        let Some(late) = late else { continue };
        let Trigger::At { us } = late.trigger else { continue };
        let without = carry_out(Engine::Event, &plan.clone().without_fault(late.id));
        let before = |outcome: &Outcome| -> Vec<Record> {
            outcome.records.iter().take_while(|record| record.at.0 < us).cloned().collect()
        };
        assert_eq!(before(&whole), before(&without), "seed {seed}, fault {}", late.id);
        taken_out += 1;
    }
    assert!(taken_out > 10, "{taken_out}");
}
