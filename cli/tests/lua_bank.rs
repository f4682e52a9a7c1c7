//! The bank's services in Lua beside those in Rust: the same customers, the same log of effects.

mod support;

use std::{collections::BTreeMap, fs, path::Path};

use dacapo_bank::lua;
use dacapo_core::trace::What;
use dacapo_properties::Scenario;
use dacapo_sim::{Engine, Plan, Profile, RunOptions, recorder::Keep, run};
use support::Scratch;

/// What the log holds of each key, and how every operation was answered.
#[derive(Debug, Default, PartialEq)]
struct Effects {
    events: BTreeMap<String, Vec<String>>,
    statuses: BTreeMap<u64, u16>,
}

/// A plan without faults, whose customers do one thing after the other.
fn plan(scenario: &dyn Scenario, seed: u64) -> Plan {
    let mut plan = Plan::draw(scenario, seed, &Profile::calm());
    plan.faults.clear();
    for (operation, place) in plan.operations.iter_mut().zip(1..) {
        operation.customer = 0;
        operation.at_us = place * 400_000;
    }
    plan
}

fn effects(scenario: &dyn Scenario, seed: u64) -> Effects {
    let options = RunOptions { engine: Engine::Event, keep: Keep::All, ..RunOptions::default() };
    let outcome = run(scenario, &plan(scenario, seed), &options).expect("the plan is right");
    assert_eq!(outcome.violation, None, "{} seed {seed}", scenario.name());
    let mut effects = Effects::default();
    for record in &outcome.records {
        match &record.what {
            What::CommitDurable { commit } => {
                for event in &commit.events {
                    // What the host keeps of a request holds the answer's words, which may differ.
                    if !event.event_type.is_reserved() && event.event_type.as_str() != "RequestAnswered" {
                        let data: serde_json::Value = event.data.to().expect("JSON");
                        let said = format!("{}@{} {data}", event.event_type, event.version);
                        effects.events.entry(event.key.to_string()).or_default().push(said);
                    }
                }
            }
            What::OperationAnswered { operation, status, .. } => {
                effects.statuses.insert(*operation, *status);
            }
            _ => {}
        }
    }
    effects
}

#[test]
fn the_services_in_lua_do_what_those_in_rust_do() {
    let (rust, lua) = (dacapo_bank::bank(), lua::bank_without_nectar());
    let mut events = 0;
    for seed in 1..=12 {
        let (expected, found) = (effects(&rust, seed), effects(&lua, seed));
        assert_eq!(expected.statuses, found.statuses, "seed {seed}");
        for (key, log) in &expected.events {
            assert_eq!(Some(log), found.events.get(key), "seed {seed}, {key}");
        }
        assert_eq!(expected.events.len(), found.events.len(), "seed {seed}");
        events += expected.events.values().map(Vec::len).sum::<usize>();
    }
    assert!(events > 300, "only {events} events were compared");
}

#[test]
fn the_bank_in_lua_keeps_every_promise_under_faults() {
    let bank = lua::bank();
    for seed in 1..=15 {
        let plan = Plan::draw(&bank, seed, &Profile::swarm());
        let outcome =
            run(&bank, &plan, &RunOptions { engine: Engine::Event, ..RunOptions::default() }).expect("a plan");
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
}

#[test]
fn points_are_earned_and_spent_by_those_who_pay() {
    let bank = lua::bank();
    let (mut earned, mut spent, mut paid_back) = (0, 0, 0);
    for seed in 1..=12 {
        for log in effects(&bank, seed).events.values() {
            earned += log.iter().filter(|said| said.starts_with("PointsEarned")).count();
            spent += log.iter().filter(|said| said.starts_with("PointsSpent")).count();
            paid_back += log.iter().filter(|said| said.contains("cashback")).count();
        }
    }
    assert!(earned > 0 && spent > 0, "earned {earned}, spent {spent}");
    assert_eq!(spent, paid_back);
}

#[test]
fn a_script_of_ones_own_in_the_bank_fails_with_its_line() {
    let scratch = Scratch::new("lua-bank-own");
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bank/lua");
    fs::create_dir_all(scratch.path().join("lib")).expect("can be made");
    for file in ["accounts.lua", "users.lua", "transactions.lua", "lib/check.lua"] {
        let right = fs::read_to_string(ours.join(file)).expect("is there");
        let wrong =
            right.replace("bus:send(\"ConfirmedDebit\", sender, false,", "bus:send(\"ConfirmedDebit\", sender, true,");
        fs::write(scratch.path().join(file), wrong).expect("can be written");
    }
    let bank = lua::bank_in(scratch.path()).expect("the scripts load");
    let options = RunOptions { engine: Engine::Event, ..RunOptions::default() };
    let violation = (1..=200)
        .find_map(|seed| run(&bank, &Plan::draw(&bank, seed, &Profile::swarm()), &options).expect("a plan").violation)
        .expect("it is found within 200 seeds");
    assert_eq!(violation.property, "no_overdraft");
    assert!(violation.message.contains("; sent at accounts.lua:85"), "{}", violation.message);
    assert!(lua::bank_in(&scratch.path().join("lib")).is_err(), "there are no services in it");
}
