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
        let outcome =
            run(scenario, &plan, &RunOptions { engine: Engine::Event, ..RunOptions::default() }).expect("a plan");
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

/// Counts each event once, whoever handles it and whenever, in the key's own state and in a gathered one.
const COUNTED: &str = "
bus:register('purses')
local function count(place, data)
  local seen = redis:get(place) or { ids = json.decode('[]') }
  seen.ids[#seen.ids + 1] = data.id
  redis:set(place, seen)
  return seen.ids
end
bus:add_rebuild_handler('Counted', function(event_type, key, correlation, data)
  count(key, data)
  count('all', data)
end)
bus:add_event_listener('Counted', function(event_type, key, correlation, data)
  local own, all = count(key, data), count('all', data)
  bus:send('Seen', 'seen-' .. data.id, true, nil, { id = data.id, own = own, all = all })
end)
bus:add_route('/purses/{id}/{what}', POST, function(method, route, args, data)
  bus:send('Counted', 'purse-1', true, nil, { id = data.id })
  return HTTP_OK
end)
bus:add_route('/purses/{id}', GET, function() return HTTP_OK, { events = #bus:query('purse-1') } end)
";

#[test]
fn a_listener_sees_everything_but_its_own_event_and_that_once() {
    let workload = format!(
        "{WORKLOAD}
         bus:invariant('counted_once', function(event)
           if event.type ~= 'Seen' then return true end
           for _, list in ipairs({{ event.data.own, event.data.all }}) do
             local times = {{}}
             for _, id in ipairs(list) do times[id] = (times[id] or 0) + 1 end
             for id, count in pairs(times) do
               if count > 1 then return false, id .. ' is counted ' .. count .. ' times' end
             end
             if times[event.data.id] ~= 1 then return false, 'the event itself is not counted' end
           end
         end)"
    );
    let scripts = vec![Script::of("purses.lua", COUNTED)];
    let scenario = LuaScenario::of("lua:test", scripts, &Script::of("workload.lua", &workload)).expect("loads");
    assert_eq!(first_failure(&scenario, 40), None);
}

#[test]
fn amounts_may_be_floats() {
    let floats = PURSES.replace("{ pence = 0 }", "{ pence = 0.0 }");
    let workload = WORKLOAD.replace("math.random(50)", "math.random(50) / 4");
    let scripts = vec![Script::of("purses.lua", &floats)];
    let scenario = LuaScenario::of("lua:test", scripts, &Script::of("workload.lua", &workload)).expect("loads");
    assert_eq!(first_failure(&scenario, 15), None);
}

#[test]
fn a_timer_beats_once_for_each_span_of_time_and_ends_no_run() {
    let beating = format!(
        "{PURSES}
         bus:every(1, 'beat', function(name) bus:send('Beat', name, true, nil, {{ second = os.time() }}) end)
         bus:add_event_listener('Beat', function() end)"
    );
    let workload = format!(
        "{WORKLOAD}
         local seconds = {{}}
         bus:invariant('a_beat_a_second', function(event)
           if event.type ~= 'Beat' then return true end
           local again = seconds[event.data.second]
           seconds[event.data.second] = true
           return not again, 'there were two beats in second ' .. event.data.second
         end)"
    );
    let scripts = vec![Script::of("purses.lua", &beating)];
    let scenario = LuaScenario::of("lua:test", scripts, &Script::of("workload.lua", &workload)).expect("loads");
    assert_eq!(first_failure(&scenario, 25), None);
}

/// A timer that is called so often and does this, beside the right script.
fn with_timer(seconds: u32, body: &str) -> LuaScenario {
    scenario(&format!("{PURSES}\nbus:every({seconds}, 'tidy', function(name)\n  {body}\nend)"))
}

#[test]
fn a_timer_that_fails_is_found_with_its_name_and_its_line() {
    for (body, words) in [
        ("error('the drawer is stuck')", "the drawer is stuck"),
        ("local purse = redis:get('purse-none') return purse.pence", "attempt to index a nil value"),
        ("return redis:get('payments').count", "attempt to index"),
        ("bus:retry('not yet')", "only an event can be handled later"),
        ("for place = 1, 1100 do bus:send('Noted', 'note-' .. place, true, nil, {}) end", "one call sends at most"),
    ] {
        is_found(&with_timer(1, body), "handlers_do_not_fail", &["the timer tidy", "purses.lua:", words]);
    }
}

#[test]
fn a_timer_that_is_due_once_an_hour_is_tried_as_well() {
    is_found(&with_timer(3_600, "error('the drawer is stuck')"), "handlers_do_not_fail", &["the timer tidy"]);
}

#[test]
fn a_timer_whose_events_no_bus_takes_is_found() {
    let body = "for place = 1, 60 do bus:send('Noted', 'note-' .. place, true, nil, { text = ('x'):rep(1000000) }) end";
    is_found(&with_timer(1, body), "handlers_do_not_fail", &["the timer tidy fails with 500", "emit less"]);
}
