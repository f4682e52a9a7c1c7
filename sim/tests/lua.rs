//! Services in Lua under the simulator: a right script passes, and one mistake is found by the promise that it breaks.
#![cfg(feature = "lua")]

use dacapo_service::lua::Script;
use dacapo_sim::{Engine, Plan, Profile, RunOptions, lua::LuaScenario, run, verify};

const PURSES: &str = include_str!("lua/purses.lua");
const WORKLOAD: &str = include_str!("lua/workload.lua");

fn scenario(text: &str) -> LuaScenario {
    let scripts = vec![Script::of("purses.lua", text)];
    LuaScenario::of("lua:test", scripts, &Script::of("workload.lua", WORKLOAD)).expect("the scripts load")
}

fn planted(right: &str, wrong: &str) -> LuaScenario {
    assert_eq!(PURSES.matches(right).count(), 1, "the mistake has one place: {right}");
    scenario(&PURSES.replace(right, wrong))
}

/// The first of these seeds that fails: which promise, and with what message.
fn first_failure(scenario: &LuaScenario, seeds: u64) -> Option<(u64, String, String)> {
    (1..=seeds).find_map(|seed| {
        let plan = Plan::draw(scenario, seed, &Profile::swarm());
        let outcome = run(scenario, &plan, &RunOptions { engine: Engine::Event, ..RunOptions::default() }).expect("a plan");
        outcome.violation.map(|violation| (seed, violation.property.to_owned(), violation.message))
    })
}

/// Is found within 200 seeds, by this promise, with these words.
#[track_caller]
fn is_found(scenario: &LuaScenario, promise: &str, words: &[&str]) {
    let (seed, property, message) = first_failure(scenario, 200).expect("it is found within 200 seeds");
    assert_eq!(property, promise, "seed {seed}: {message}");
    for words in words {
        assert!(message.contains(words), "seed {seed}: {message}");
    }
}

#[test]
fn a_right_script_keeps_every_promise() {
    assert_eq!(first_failure(&scenario(PURSES), 60), None);
}

#[test]
fn the_same_plan_runs_the_same_on_both_engines() {
    let scenario = scenario(PURSES);
    for (seed, engine) in [(3, Engine::Event), (4, Engine::Turmoil)] {
        let plan = Plan::draw(&scenario, seed, &Profile::swarm());
        let verified = verify(&scenario, &plan, &RunOptions { engine, ..RunOptions::default() }).expect("a plan");
        assert!(verified.difference.is_none(), "seed {seed}");
        assert_eq!(verified.outcome.violation, None, "seed {seed}");
    }
}

#[test]
fn a_balance_that_is_read_without_guard_is_found() {
    let wrong = planted("bus:send(\"PaidOut\", data.from, false,", "bus:send(\"PaidOut\", data.from, true,");
    is_found(&wrong, "no_purse_owes", &["PaidOut on purse-", "workload.lua:", "sent at purses.lua:27"]);
}

#[test]
fn a_rebuild_handler_that_adds_where_it_should_subtract_is_found() {
    let wrong = planted("bus:add_rebuild_handler(\"PaidOut\", went)", "bus:add_rebuild_handler(\"PaidOut\", came)");
    is_found(&wrong, "rebuild_equals_live", &["the listener", "the rebuild handler", "purses.lua:"]);
}

#[test]
fn a_counter_that_is_not_rebuilt_is_found() {
    let wrong = planted(
        "bus:add_rebuild_handler(\"PaidOut\", went)",
        "bus:add_rebuild_handler(\"PaidOut\", function(t, key, c, data)
           local purse = redis:get(key) or { pence = 0 }
           purse.pence = purse.pence - data.pence
           redis:set(key, purse)
         end)",
    );
    is_found(&wrong, "rebuild_equals_live", &["payments was nothing before PaidOut", "purses.lua:14"]);
}

#[test]
fn an_effect_outside_the_transaction_is_found() {
    let wrong = planted(
        "bus:add_event_listener(\"PaymentAsked\", function(event_type, key, correlation, data)",
        "local asked = 0
         bus:add_event_listener(\"PaymentAsked\", function(event_type, key, correlation, data)
           asked = asked + 1
           bus:send(\"Counted\", key, true, nil, { number = asked })",
    );
    is_found(&wrong, "handlers_are_transactions", &["Counted {\"number\":1}", "{\"number\":2}", "purses.lua:"]);
}

#[test]
fn a_receipt_that_is_answered_by_sending_again_with_any_is_found() {
    let wrong = planted(
        "bus:send(\"PaymentAsked\", \"again-\" .. correlation, true, nil, { from = key, pence = data.pence })",
        "bus:send(event_type, key, true, correlation, data)",
    );
    is_found(&wrong, "no_purse_owes", &["PaidOut on purse-", "sent at purses.lua:34"]);
}

#[test]
fn a_handler_that_fails_is_found_with_its_line() {
    let wrong = planted("local purse = redis:get(data.from) or { pence = 0 }", "local purse = redis:get(data.from)");
    is_found(&wrong, "handlers_do_not_fail", &["purses.lua:24: attempt to index a nil value"]);
}

#[test]
fn a_workload_that_asks_what_is_not_there_is_told_before_anything_runs() {
    let workload = "bus:workload(function() return { { service = 'shop', path = '/' } } end)";
    let scripts = vec![Script::of("purses.lua", PURSES)];
    let error = LuaScenario::of("lua:test", scripts, &Script::of("workload.lua", workload)).unwrap_err().to_string();
    assert!(error.contains("request 1 asks \"shop\"; the services are: purses"), "{error}");
}
