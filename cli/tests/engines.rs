//! The bank on both engines: equal logs where nothing is left to chance, kept promises everywhere, and one fingerprint a
//! plan in one process and in two.

mod support;

use dacapo_core::trace::What;
use dacapo_sim::{Engine, Outcome, Plan, Profile, RunOptions, Trigger, recorder::Keep, run};
use support::{Scratch, code, stdout};

/// From one operation to the next: longer than all that one causes.
const APART_US: u64 = 500_000;

fn carry_out(engine: Engine, plan: &Plan) -> Outcome {
    let options = RunOptions { engine, keep: Keep::All, ..RunOptions::default() };
    run(&dacapo_bank::bank(), plan, &options).expect("the plan is right")
}

/// One customer, one operation after the other, and no fault.
fn sequential(seed: u64) -> Plan {
    let calm = Profile::named("calm").expect("it is built in");
    let profile = Profile { customers: 1, operations: 24, ..calm };
    let mut plan = Plan::draw(&dacapo_bank::bank(), seed, &profile);
    plan.operations.sort_by_key(|operation| (operation.at_us, operation.id));
    for (operation, at_us) in plan.operations.iter_mut().zip((1..).map(|n| n * APART_US)) {
        operation.at_us = at_us;
    }
    plan.settings.duration_us = APART_US * (plan.operations.len() as u64 + 2);
    plan
}

/// The services' events in the order of the log, without their times.
fn log(outcome: &Outcome) -> Vec<String> {
    let commits = outcome.records.iter().filter_map(|record| match &record.what {
        What::CommitDurable { commit } => Some(commit),
        _ => None,
    });
    // The stranger who is about on the full stack may spread rumours, and nothing else.
    let events = commits
        .flat_map(|commit| &commit.events)
        .filter(|event| !event.event_type.is_reserved() && event.event_type.as_str() != "Rumour");
    events
        .map(|event| format!("{} {} {} {} {:?}", event.id, event.event_type, event.key, event.version, event.data))
        .collect()
}

#[test]
fn sequential_plans_without_faults_give_equal_logs() {
    for seed in 1..=4 {
        let plan = sequential(seed);
        let (full, event) = (carry_out(Engine::Turmoil, &plan), carry_out(Engine::Event, &plan));
        assert!(full.passed() && event.passed(), "seed {seed}: {:?} {:?}", full.violation, event.violation);
        assert!(log(&full).len() > 20, "seed {seed} says something: {} events", log(&full).len());
        assert_eq!(log(&full), log(&event), "seed {seed}");
    }
}

#[test]
fn both_engines_keep_the_promises_and_fire_every_fault_whose_time_comes() {
    let profile = Profile { operations: 40, duration_us: 6_000_000, ..Profile::swarm() };
    for seed in 1..=40 {
        let plan = Plan::draw(&dacapo_bank::bank(), seed, &profile);
        for engine in [Engine::Turmoil, Engine::Event] {
            let outcome = carry_out(engine, &plan);
            assert!(outcome.passed(), "{engine:?}, seed {seed}: {:?} {:#?}", outcome.end, outcome.violation);
            for fault in plan.faults.iter().filter(|fault| matches!(fault.trigger, Trigger::At { .. })) {
                let begun = outcome.faults.iter().any(|outcome| outcome.id == fault.id && outcome.begun == 1);
                assert!(begun, "{engine:?}, seed {seed}: {}", fault.describe());
            }
        }
    }
}

#[test]
fn the_event_engine_gives_one_fingerprint_in_two_processes() {
    let scratch = Scratch::new("engines");
    let explored = || {
        let arguments = ["sim", "--engine", "event", "--seeds", "6", "--json"];
        let output = support::run(scratch.path(), &arguments);
        assert_eq!(code(&output), 0, "{}", stdout(&output));
        let lines = stdout(&output);
        let of = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("each line is an object");
        let seeds = lines.lines().map(of).filter(|line| line["kind"] == "seed");
        seeds.map(|line| line["seed"]["fingerprint"].to_string()).collect::<Vec<_>>()
    };
    let (one, other) = (explored(), explored());
    assert_eq!(one.len(), 6);
    assert_eq!(one, other);
}
