//! The sandbox, and what registering a script says.

use std::sync::Arc;

use dacapo_core::{CorrelationId, Data, Event, EventId, EventType, Key, Position, Source, Version, WallTime};
use serde_json::{Value, json};

use super::{
    LuaLimits, LuaService, LuaSettings, LuaState, Script, ScriptError,
    run::{Doing, Run},
    value,
    vm::{Ended, Vm},
};
use crate::service::Service as _;

fn limits() -> LuaLimits {
    LuaLimits { instructions: 200_000, memory_bytes: 16 << 20, ..LuaLimits::default() }
}

/// What this code returns inside of a handler.
fn evaluated(code: &str) -> Result<Value, String> {
    let script =
        Script::of("test.lua", &format!("function run() {code} end")).with_module("lib.one", "return { one = 1 }");
    let vm = Vm::load(&script, &limits()).map_err(|error| error.to_string())?;
    let run = Run::new(Doing::Listening, 7, WallTime(1_700_000_000_000_000));
    let called = vm.call(run, &mut |_| Ok(None), |lua| {
        let returned = lua.globals().get::<mlua::Function>("run")?.call::<mlua::Value>(())?;
        value::of_lua(lua, &returned)
    });
    called.result.map_err(|ended| match ended {
        Ended::Failed(sentence) => sentence,
        Ended::Interrupt(interrupt) => format!("{interrupt:?}"),
    })
}

fn loaded(text: &str) -> Result<LuaService, ScriptError> {
    LuaService::load(&Script::of("shop.lua", text), &LuaSettings { limits: limits(), ..LuaSettings::default() })
}

#[track_caller]
fn refused(code: &str, words: &str) {
    let sentence = evaluated(code).expect_err("it must be refused");
    assert!(sentence.contains(words), "{code}\nsays: {sentence}");
}

#[test]
fn nothing_of_the_machine_is_within_reach() {
    for name in ["io", "debug", "package", "loadstring", "string.dump", "os.getenv", "os.execute", "os.clock"] {
        assert_eq!(evaluated(&format!("return {name} == nil")), Ok(json!(true)), "{name}");
    }
    refused("return load('return 1')", "load is not there");
    refused("return dofile('/etc/passwd')", "use require");
    refused("return require 'os'", "there is no module os beside the script; there are: lib.one");
    assert_eq!(evaluated("return require('lib.one').one"), Ok(json!(1)));
}

#[test]
fn what_never_ends_is_ended_whatever_it_catches() {
    for code in [
        "while true do end",
        "pcall(function() while true do end end)",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(error, 'x') end",
        "xpcall(function() while true do end end, function() return 1 end)",
        "local c = coroutine.create(function() while true do end end) coroutine.resume(c)",
        "local w = coroutine.wrap(function() while true do end end) pcall(w)",
        "local t = setmetatable({}, {__index = function(t, k) while true do end end}) return t.x",
        "local function f() return f() end f()",
        "return ('x'):rep(100):gsub('.', function() while true do end end)",
        "table.sort({3, 2, 1}, function() while true do end end)",
    ] {
        refused(code, "does this loop end?");
    }
}

#[test]
fn a_pattern_that_would_take_for_ever_is_refused_before() {
    refused("return (('a'):rep(5000)):find('.-.-.-.-b')", "may take for ever");
    assert_eq!(evaluated("return ('  x  '):match('^%s*(.-)%s*$')"), Ok(json!("x")));
    assert_eq!(evaluated("return (('a'):rep(5000)):find('*', 1, true) == nil"), Ok(json!(true)));
}

#[test]
fn memory_has_an_end() {
    refused("local t = {} for i = 1, 100 do t[i] = ('x'):rep(1000000) .. i end", "needs more memory");
    // What is left over afterwards still works.
    assert!(evaluated("local ok = pcall(function() return ('x'):rep(100000000) end) return ok").is_ok());
}

#[test]
fn every_run_is_the_same() {
    let code = "local t = {} for i = 1, 50 do t['k' .. (i * 37 % 101)] = i end
                local keys = {} for k in pairs(t) do keys[#keys + 1] = k end
                return { table.concat(keys, ' '), math.random(1000), math.random(), os.time(), tostring({}), tostring(print),
                         string.format('%s', {}), next({ b = 1, a = 2 }) }";
    let first = evaluated(code).unwrap();
    assert_eq!(Ok(first.clone()), evaluated(code));
    assert!(first[0].as_str().unwrap().starts_with("k10 k100 k12 "), "{first}");
    assert_eq!(first[3], json!(1_700_000_000));
    assert_eq!(
        (&first[4], &first[5], &first[6], &first[7]),
        (&json!("table"), &json!("function"), &json!("table"), &json!("a"))
    );
    refused("return string.format('%p', {})", "shows an address");
    refused("for k in pairs({ [{}] = 1 }) do end", "has no order to walk it in");
    refused("setmetatable({}, { __gc = function() end })", "__gc");
}

#[test]
fn pairs_walks_lists_and_metamethods_as_one_knows_it() {
    let code = "local seen = {} for i, v in pairs({ 'a', 'b', nil, 'd' }) do seen[#seen + 1] = i .. v end
                local t = setmetatable({}, { __pairs = function() return function(_, k) if not k then return 1, 2 end end end })
                for k, v in pairs(t) do seen[#seen + 1] = k + v end
                local u = { x = 1, y = 2 } for k in pairs(u) do u[k] = nil end
                seen[#seen + 1] = next(u) == nil
                return seen";
    assert_eq!(evaluated(code), Ok(json!(["1a", "2b", "4d", 3, true])));
}

#[test]
fn sorting_is_stable() {
    let code = "local t = {} for i = 1, 300 do t[i] = { i % 7, i } end
                table.sort(t, function(a, b) return a[1] < b[1] end)
                for i = 2, 300 do
                  if t[i - 1][1] > t[i][1] or (t[i - 1][1] == t[i][1] and t[i - 1][2] > t[i][2]) then return i end
                end
                local u = { 3, 1, 2 } table.sort(u) return u";
    assert_eq!(evaluated(code), Ok(json!([1, 2, 3])));
}

#[test]
fn a_script_catches_its_own_errors_and_knows_their_line() {
    assert_eq!(evaluated("local ok, why = pcall(error, 'no', 0) return { ok, why }"), Ok(json!([false, "no"])));
    refused("local x = nil\nreturn x.y", "test.lua:2: attempt to index a nil value");
    refused("\n\nbus:send('T', 'k', 'yes', nil, {})", "test.lua:3: argument 3 of bus:send(type, key, implicit");
    refused("bus.send('T', 'k', true, nil, {})", "it is called with a colon");
    refused("bus:send('T', 'k', true, nil, { f = print })", "the field f is a function");
    refused("bus:send('$T', 'k', true, nil, {})", "the bus's own");
    refused("bus:register('x')", "belongs at the top of the script");
}

#[test]
fn a_script_that_cannot_run_says_what_is_missing() {
    for (text, words) in [
        ("", "shop.lua never calls bus:register(name)"),
        ("bus:register('shop')", "there is nothing that it could do"),
        ("bus:register('shop') bus:register('shop')", "shop.lua:1: this service is registered as shop already"),
        ("local = 3", "shop.lua:1:"),
        ("bus:register('shop')\nbus:add_event_listener('T', 3)", "shop.lua:2: argument 2 of bus:add_event_listener"),
        ("bus:register('shop') bus:add_route('x', 'GET', print)", "begins without a slash"),
        ("bus:register('shop') bus:add_route('/x', 'FETCH', print)", "\"FETCH\" is no method"),
        ("bus:register('shop') bus:add_route('/health_check', 'GET', print)", "is answered by the host"),
        ("bus:register('shop') bus:send('T', 'k', true, nil, {})", "nothing to send before the service runs"),
        ("bus:register('shop') redis:get('k')", "there is no state before the service runs"),
    ] {
        let error = loaded(text).expect_err(words).to_string();
        assert!(error.contains(words), "{text}\nsays: {error}");
    }
}

#[test]
fn a_service_is_what_its_script_registers() {
    let service = loaded(
        "bus:register('shop')
         bus:add_event_listener('Ordered', function() end)
         bus:add_rebuild_handler('Paid', function() end)
         bus:add_receipt_listener('Sent', function() end)
         bus:add_route('/orders/{id}', GET, function() return HTTP_OK end)",
    )
    .unwrap();
    assert_eq!(service.name().as_str(), "shop");
    let types: Vec<String> = service.types().iter().map(ToString::to_string).collect();
    assert_eq!(types, ["Ordered", "Paid", "Sent"]);
    assert_eq!(service.routes().iter().map(|route| route.path).collect::<Vec<_>>(), ["/orders/{id}"]);
}

#[test]
fn every_status_of_http_has_its_name() {
    let code = "return { HTTP_OK, HTTP_CREATED, HTTP_BAD_REQUEST, HTTP_NOT_FOUND, HTTP_CONTINUE,
                         HTTP_NETWORK_AUTHENTICATION_REQUIRED }";
    assert_eq!(evaluated(code), Ok(json!([200, 201, 400, 404, 100, 511])));
}

#[test]
fn json_and_decimals_are_at_hand() {
    assert_eq!(
        evaluated("return json.encode({ a = 1, b = 1.5, c = { 1, 2 } })"),
        Ok(json!(r#"{"a":1,"b":1.5,"c":[1,2]}"#))
    );
    assert_eq!(evaluated("return json.decode('{\"a\": [1, 2.0]}').a"), Ok(json!([1, 2.0])));
    refused("return json.decode('{')", "this is no JSON");
    assert_eq!(
        evaluated("return { decimal.parse('12.34'), decimal.text(5), decimal.share(2500, 10, 100) }"),
        Ok(json!([1234, "0.05", 250]))
    );
}

#[test]
fn what_is_too_long_ago_is_folded_again_from_the_keys_events() {
    let service = loaded(
        "bus:register('shop')
         bus:add_rebuild_handler('Noted', function(event_type, key, correlation, data)
           local list = redis:get(key) or json.decode('[]')
           list[#list + 1] = data
           redis:set(key, list)
         end)
         bus:add_event_listener('Noted', function() end)",
    )
    .unwrap();
    let (key, count) = (Key::of("k"), super::STEPS_MAX as u64 + 20);
    let events: Vec<Arc<Event>> = (1..=count).map(|version| Arc::new(noted(&key, version))).collect();
    let mut state = LuaState::default();
    for event in &events {
        service.apply(&key, &mut state, event);
    }
    let without = |but: u64| Some(Arc::new(json!((1..=count).filter(|version| *version != but).collect::<Vec<_>>())));
    let (early, late) = (&events[4], &events[count as usize - 10]);
    assert!(state.has_forgotten(early.version) && !state.has_forgotten(late.version));
    assert_eq!(service.folded_without(&events, early), without(5));
    assert_eq!(service.own_without(&state, late.version), without(late.version.0));
}

fn noted(key: &Key, version: u64) -> Event {
    Event {
        position: Position(version),
        id: EventId::of(format!("e-{version}")),
        event_type: EventType::of("Noted"),
        key: key.clone(),
        version: Version(version),
        correlation: CorrelationId::of("c"),
        causation: None,
        time: WallTime(0),
        source: Source::of("test"),
        data: Data::of(&version),
        attributes: dacapo_core::Attributes::default(),
    }
}
