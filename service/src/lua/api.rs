//! The tables that a script sees: `bus`, `redis`, `log`, `json`, `decimal`, `os.time`, and the names of HTTP's statuses.
//!
//! Whoever calls one of them wrongly gets a sentence with file and line, the name of the function, and what it takes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dacapo_core::{CorrelationId, Data, EventType, Key, ServiceName, limits::DATA_BYTES_MAX};
use mlua::{Error, Function, Lua, MultiValue, Table, Value as LuaValue};
use serde_json::Value;

use super::{
    decimal,
    limits::LuaLimits,
    registered::{Handler, Registered, intern},
    run::{Doing, Sent, Stop, Written},
    script::Script,
    value, vm,
    vm::Shared,
};
use crate::service::{Method, Route};

/// What the functions of a state of Lua share.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) script: Script,
    pub(super) shared: Shared,
    /// Holds the function that looks at states, while a call is made.
    pub(super) look: Table,
    pub(super) registered: Arc<Mutex<Registered>>,
    pub(super) limits: LuaLimits,
}

/// Puts everything in place.
pub(super) fn install(lua: &Lua, host: &Host) -> mlua::Result<()> {
    vm::prelude(lua, sandbox(lua, host)?)?;
    let globals = lua.globals();
    globals.set("bus", bus(lua, host)?)?;
    globals.set("redis", redis(lua, host)?)?;
    globals.set("log", log(lua, host)?)?;
    globals.set("json", json(lua)?)?;
    globals.set("decimal", decimal::table(lua)?)?;
    globals.set("require", require(lua, host)?)?;
    let os = lua.create_table()?;
    let shared = host.shared.clone();
    os.set("time", lua.create_function(move |_, ()| Ok(shared.lock().seconds()))?)?;
    globals.set("os", os)?;
    for method in ["GET", "POST", "PUT", "DELETE"] {
        globals.set(method, method)?;
    }
    for (name, status) in super::http::STATUSES {
        globals.set(format!("HTTP_{name}"), *status)?;
    }
    Ok(())
}

/// File and line of the script that calls.
pub(super) fn line(lua: &Lua) -> String {
    for level in 1..8 {
        let place = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let file = source.short_src.as_deref().unwrap_or_default().to_owned();
            (file, debug.current_line())
        });
        match place {
            Some((file, Some(line))) if file != "prelude" => return format!("{file}:{line}"),
            Some(_) => {}
            None => break,
        }
    }
    "the script".to_owned()
}

fn fail<T>(lua: &Lua, sentence: impl std::fmt::Display) -> mlua::Result<T> {
    Err(Error::RuntimeError(format!("{}: {sentence}", line(lua))))
}

/// The arguments of a call with a colon.
struct Arguments<'a> {
    lua: &'a Lua,
    /// `bus:send(type, key, implicit, correlation, data)`
    usage: &'static str,
    values: MultiValue,
    place: usize,
}

impl<'a> Arguments<'a> {
    fn new(lua: &'a Lua, usage: &'static str, mut values: MultiValue, table: &Table) -> mlua::Result<Self> {
        match values.pop_front() {
            Some(LuaValue::Table(first)) if first == *table => Ok(Self { lua, usage, values, place: 0 }),
            _ => fail(lua, format!("it is called with a colon: {usage}")),
        }
    }

    fn value(&mut self) -> LuaValue {
        self.place += 1;
        self.values.pop_front().unwrap_or(LuaValue::Nil)
    }

    fn wrong<T>(&self, wanted: &str, value: &LuaValue) -> mlua::Result<T> {
        let (usage, place, kind) = (self.usage, self.place, value.type_name());
        fail(self.lua, format!("argument {place} of {usage} is {wanted}, not {kind}"))
    }

    fn text(&mut self) -> mlua::Result<String> {
        match self.value() {
            LuaValue::String(text) => match text.to_str() {
                Ok(text) => Ok(text.to_owned()),
                Err(_) => self.wrong("a text in UTF-8", &LuaValue::Nil),
            },
            LuaValue::Integer(number) => Ok(number.to_string()),
            other => self.wrong("a text", &other),
        }
    }

    fn truth(&mut self) -> mlua::Result<bool> {
        match self.value() {
            LuaValue::Boolean(truth) => Ok(truth),
            other => self.wrong("true or false", &other),
        }
    }

    fn function(&mut self) -> mlua::Result<Function> {
        match self.value() {
            LuaValue::Function(function) => Ok(function),
            other => self.wrong("a function", &other),
        }
    }

    fn name<T, E: std::fmt::Display>(&mut self, new: impl FnOnce(String) -> Result<T, E>) -> mlua::Result<T> {
        let text = self.text()?;
        new(text).or_else(|error| fail(self.lua, format!("{}: {error}", self.usage)))
    }

    fn json(&mut self) -> mlua::Result<Value> {
        let value = self.value();
        value::of_lua(self.lua, &value).or_else(|error| fail(self.lua, format!("{}: {}", self.usage, vm::sentence(&error))))
    }
}

/// A method of `table`: its arguments are checked by `body`.
fn method<R: mlua::IntoLuaMulti>(
    lua: &Lua,
    table: &Table,
    usage: &'static str,
    body: impl Fn(&Lua, &mut Arguments<'_>) -> mlua::Result<R> + Send + 'static,
) -> mlua::Result<()> {
    let name = usage.split(['(', ':']).nth(1).unwrap_or(usage);
    let of = table.clone();
    let function = lua.create_function(move |lua, values: MultiValue| {
        body(lua, &mut Arguments::new(lua, usage, values, &of)?)
    })?;
    table.raw_set(name, function)
}

fn bus(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let bus = lua.create_table()?;
    let registering = |body: fn(&Lua, &mut Arguments<'_>, &mut Registered) -> mlua::Result<()>| {
        let (shared, registered) = (host.shared.clone(), Arc::clone(&host.registered));
        move |lua: &Lua, arguments: &mut Arguments<'_>| {
            if shared.lock().doing != Doing::Loading {
                return fail(lua, format!("{} belongs at the top of the script, not into a handler", arguments.usage));
            }
            body(lua, arguments, &mut registered.lock().unwrap_or_else(PoisonError::into_inner))
        }
    };
    method(lua, &bus, "bus:register(name)", registering(|lua, arguments, registered| {
        let name = arguments.name(ServiceName::new)?;
        match registered.name.replace(name) {
            None => Ok(()),
            Some(former) => fail(lua, format!("this service is registered as {former} already; register once")),
        }
    }))?;
    method(lua, &bus, "bus:add_event_listener(type, function)", registering(|lua, arguments, registered| {
        add(lua, arguments, |registered| &mut registered.listeners, registered)
    }))?;
    method(lua, &bus, "bus:add_rebuild_handler(type, function)", registering(|lua, arguments, registered| {
        add(lua, arguments, |registered| &mut registered.rebuilds, registered)
    }))?;
    method(lua, &bus, "bus:add_receipt_listener(type, function)", registering(|lua, arguments, registered| {
        add(lua, arguments, |registered| &mut registered.receipts, registered)
    }))?;
    method(lua, &bus, "bus:add_route(path, method, function)", registering(add_route))?;
    method(lua, &bus, "bus:every(seconds, name, function)", registering(|lua, arguments, registered| {
        let seconds = match arguments.value() {
            LuaValue::Integer(seconds) if seconds > 0 => Duration::from_secs(seconds as u64),
            LuaValue::Number(seconds) if (0.01..1e9).contains(&seconds) => Duration::from_secs_f64(seconds),
            other => return arguments.wrong("a number of seconds from 0.01", &other),
        };
        let (name, function) = (arguments.text()?, arguments.function()?);
        match registered.timers.insert(name, (seconds, Handler { function, line: line(lua) })) {
            None => Ok(()),
            Some((_, former)) => fail(lua, format!("a timer of this name is set at {} already", former.line)),
        }
    }))?;
    method(lua, &bus, "bus:invariant(name, function)", registering(|lua, arguments, registered| {
        named(lua, arguments, &mut registered.invariants)
    }))?;
    method(lua, &bus, "bus:workload(function)", registering(|lua, arguments, registered| {
        let handler = Handler { function: arguments.function()?, line: line(lua) };
        match registered.workload.replace(handler) {
            None => Ok(()),
            Some(former) => fail(lua, format!("the workload is set at {} already", former.line)),
        }
    }))?;
    let (shared, limits) = (host.shared.clone(), host.limits.clone());
    method(lua, &bus, "bus:send(type, key, implicit, correlation, data)", move |lua, arguments| {
        send(lua, arguments, &shared, &limits)
    })?;
    let shared = host.shared.clone();
    method(lua, &bus, "bus:guard(key)", move |lua, arguments| {
        let key = arguments.name(Key::new)?;
        let mut run = shared.lock();
        if !run.doing.may_send() {
            drop(run);
            return fail(lua, "only what a listener or route decides can rest on a key; guard there");
        }
        run.guards.insert(key);
        Ok(())
    })?;
    let at = host.clone();
    method(lua, &bus, "bus:query(key)", move |lua, arguments| {
        let key = arguments.name(Key::new)?;
        if !at.shared.lock().doing.may_send() {
            return fail(lua, "the log is asked in listeners, routes and timers alone");
        }
        match look(lua, &at, &format!("{EVENTS_OF}{key}"))? {
            Some(events) => value::to_lua(lua, &events),
            None => Ok(LuaValue::Nil),
        }
    })?;
    let shared = host.shared.clone();
    method(lua, &bus, "bus:idempotency_key()", move |_, _| Ok(shared.lock().idempotency_key.clone()))?;
    let shared = host.shared.clone();
    method(lua, &bus, "bus:retry(reason)", move |lua, arguments| -> mlua::Result<()> {
        let reason = arguments.text()?;
        shared.lock().stop.get_or_insert(Stop::Later(format!("{LATER}{reason} ({})", line(lua))));
        fail(lua, reason)
    })?;
    Ok(bus)
}

/// How the reason begins of a handler that asks to be called later.
pub const LATER: &str = "later: ";

type Handlers = std::collections::BTreeMap<EventType, Handler>;

fn add(
    lua: &Lua,
    arguments: &mut Arguments<'_>,
    handlers: fn(&mut Registered) -> &mut Handlers,
    registered: &mut Registered,
) -> mlua::Result<()> {
    let (event_type, function) = (arguments.name(EventType::new)?, arguments.function()?);
    let handler = Handler { function, line: line(lua) };
    match handlers(registered).insert(event_type.clone(), handler) {
        None => Ok(()),
        Some(former) => fail(lua, format!("{event_type} has such a function already, from {}; make one of both", former.line)),
    }
}

fn named(
    lua: &Lua,
    arguments: &mut Arguments<'_>,
    handlers: &mut std::collections::BTreeMap<String, Handler>,
) -> mlua::Result<()> {
    let (name, function) = (arguments.text()?, arguments.function()?);
    match handlers.insert(name.clone(), Handler { function, line: line(lua) }) {
        None => Ok(()),
        Some(former) => fail(lua, format!("{name} is promised at {} already; choose another name", former.line)),
    }
}

fn add_route(lua: &Lua, arguments: &mut Arguments<'_>, registered: &mut Registered) -> mlua::Result<()> {
    let path = arguments.text()?;
    let text = arguments.text()?.to_ascii_uppercase();
    let method = match text.as_str() {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        _ => return fail(lua, format!("{text:?} is no method of a route; use GET, POST, PUT or DELETE")),
    };
    if !path.starts_with('/') {
        return fail(lua, format!("the path {path:?} begins without a slash; write /{path}"));
    }
    if matches!(path.as_str(), "/health_check" | "/healthz") {
        return fail(lua, format!("{path} is answered by the host; choose another path"));
    }
    let function = arguments.function()?;
    if let Some((_, former)) = registered.routes.iter().find(|(route, _)| route.method == method && route.path == path) {
        return fail(lua, format!("{text} {path} is answered at {} already; choose another path", former.line));
    }
    registered.routes.push((Route { method, path: intern(&path) }, Handler { function, line: line(lua) }));
    Ok(())
}

fn send(lua: &Lua, arguments: &mut Arguments<'_>, shared: &Shared, limits: &LuaLimits) -> mlua::Result<()> {
    let doing = shared.lock().doing;
    if !doing.may_send() {
        return fail(lua, match doing {
            Doing::Rebuilding => "a rebuild handler plays the past, in which nothing can be sent; send in a listener",
            Doing::Loading => "there is nothing to send before the service runs; send in a listener or route",
            _ => "an invariant looks on and sends nothing",
        });
    }
    let event_type = arguments.name(EventType::new)?;
    let key = arguments.name(Key::new)?;
    let implicit = arguments.truth()?;
    let correlation = match arguments.value() {
        LuaValue::Nil => None,
        LuaValue::String(text) => match CorrelationId::new(text.to_str()?.to_owned()) {
            Ok(correlation) => Some(correlation),
            Err(error) => return fail(lua, format!("{}: {error}", arguments.usage)),
        },
        other => return arguments.wrong("a text or nil", &other),
    };
    if event_type.is_reserved() || key.is_reserved() {
        return fail(lua, format!("{event_type} on {key} is the bus's own, since it begins with $; choose another name"));
    }
    let data = Data::of(&arguments.json()?);
    if data.as_str().len() > DATA_BYTES_MAX {
        return fail(lua, format!("the data has more than {DATA_BYTES_MAX} bytes; send less"));
    }
    let line = line(lua);
    let mut run = shared.lock();
    if let (Some(given), Some(handled), Doing::Listening) = (&correlation, &run.correlation, doing)
        && given != handled
    {
        drop(run);
        return fail(lua, "what a listener sends belongs to the correlation that it handles; give that one, or nil");
    }
    if run.sends.len() >= limits.sends {
        drop(run);
        return fail(lua, format!("one call sends at most {} events; send fewer", limits.sends));
    }
    run.sends.push(Sent { event_type, key, implicit, correlation, data, line });
    Ok(())
}

fn redis(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let redis = lua.create_table()?;
    let at = host.clone();
    method(lua, &redis, "redis:get(key)", move |lua, arguments| {
        let key = arguments.text()?;
        match get(lua, &at, &key)? {
            Some(value) => value::to_lua(lua, &value),
            None => Ok(LuaValue::Nil),
        }
    })?;
    let at = host.clone();
    method(lua, &redis, "redis:set(key, table)", move |lua, arguments| {
        let key = arguments.text()?;
        let value = arguments.json()?;
        set(lua, &at, key, if value.is_null() { None } else { Some(Arc::new(value)) })
    })?;
    let at = host.clone();
    method(lua, &redis, "redis:del(key)", move |lua, arguments| {
        let key = arguments.text()?;
        set(lua, &at, key, None)
    })?;
    let at = host.clone();
    method(lua, &redis, "redis:incr(key)", move |lua, arguments| {
        let key = arguments.text()?;
        let former = get(lua, &at, &key)?;
        let number = match former.as_deref() {
            None => Some(1),
            Some(value) => value.as_i64().and_then(|number| number.checked_add(1)),
        };
        let Some(number) = number else {
            return fail(lua, format!("redis:incr counts up a whole number, and {key} holds {}", former.unwrap_or_default()));
        };
        set(lua, &at, key, Some(Arc::new(Value::from(number))))?;
        Ok(number)
    })?;
    let at = host.clone();
    method(lua, &redis, "redis:keys(pattern)", move |lua, arguments| {
        let pattern = arguments.text()?;
        let listed = match look(lua, &at, &format!("{KEYS_OF}{pattern}"))?.as_deref() {
            Some(Value::Array(listed)) => listed.clone(),
            _ => Vec::new(),
        };
        let mut keys: std::collections::BTreeSet<String> =
            listed.into_iter().filter_map(|key| key.as_str().map(str::to_owned)).collect();
        for (key, written) in &at.shared.lock().writes {
            if written.value.is_none() {
                keys.remove(key);
            } else if super::glob::matches(&pattern, key) {
                keys.insert(key.clone());
            }
        }
        lua.create_sequence_from(keys)
    })?;
    Ok(redis)
}

/// How a look begins that asks for the keys of a pattern; no key begins so, since a key has no control character.
pub(super) const KEYS_OF: &str = "\u{1}keys ";

/// How a look begins that asks for the events of a key.
pub(super) const EVENTS_OF: &str = "\u{1}events ";

fn get(lua: &Lua, host: &Host, key: &str) -> mlua::Result<Option<Arc<Value>>> {
    if let Some(written) = host.shared.lock().writes.get(key) {
        return Ok(written.value.clone());
    }
    look(lua, host, key)
}

fn look(lua: &Lua, host: &Host, key: &str) -> mlua::Result<Option<Arc<Value>>> {
    if matches!(host.shared.lock().doing, Doing::Idle | Doing::Loading) {
        return fail(lua, "there is no state before the service runs; read it in a listener, rebuild handler or route");
    }
    host.look.raw_get::<Function>(1)?.call::<()>(key)?;
    Ok(host.shared.lock().looked.take())
}

fn set(lua: &Lua, host: &Host, key: String, value: Option<Arc<Value>>) -> mlua::Result<()> {
    let doing = host.shared.lock().doing;
    match doing {
        Doing::Listening | Doing::Rebuilding | Doing::Answering => {}
        Doing::Idle | Doing::Loading => {
            return fail(lua, "there is no state before the service runs; write it in a listener or rebuild handler");
        }
        Doing::Judging => return fail(lua, "an invariant looks on and changes nothing"),
    }
    if let Err(error) = Key::new(key.clone()) {
        return fail(lua, format!("redis: {error}"));
    }
    if doing == Doing::Answering {
        let sentence = "a route or timer changes state by sending an event, whose listener and rebuild handler write it: \
                        what it wrote itself would be in no log, and gone with the process";
        return fail(lua, sentence);
    }
    let line = line(lua);
    host.shared.lock().writes.insert(key, Written { value, line });
    Ok(())
}

fn log(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let log = lua.create_table()?;
    macro_rules! level {
        ($usage:literal, $level:ident) => {{
            let file = host.script.file().to_owned();
            method(lua, &log, $usage, move |lua, arguments| {
                let value = arguments.value();
                if tracing::enabled!(target: "lua", tracing::Level::$level) {
                    let text = match &value {
                        LuaValue::String(text) => text.to_string_lossy(),
                        value => value::of_lua(lua, value).map_or_else(|_| value.type_name().to_owned(), |it| it.to_string()),
                    };
                    tracing::event!(target: "lua", tracing::Level::$level, script = %file, line = %line(lua), "{text}");
                }
                Ok(())
            })
        }};
    }
    level!("log:trace(value)", TRACE)?;
    level!("log:debug(value)", DEBUG)?;
    level!("log:info(value)", INFO)?;
    level!("log:warn(value)", WARN)?;
    level!("log:error(value)", ERROR)?;
    Ok(log)
}

fn json(lua: &Lua) -> mlua::Result<Table> {
    let json = lua.create_table()?;
    json.set("encode", lua.create_function(|lua, value: LuaValue| {
        match value::of_lua(lua, &value) {
            Ok(value) => Ok(value.to_string()),
            Err(error) => fail(lua, format!("json.encode: {}", vm::sentence(&error))),
        }
    })?)?;
    json.set("decode", lua.create_function(|lua, text: LuaValue| {
        let LuaValue::String(text) = &text else {
            return fail(lua, format!("json.decode reads a text, not a {}", text.type_name()));
        };
        match serde_json::from_slice::<Value>(&text.as_bytes()) {
            Ok(value) => value::to_lua(lua, &value),
            Err(error) => fail(lua, format!("json.decode: this is no JSON: {error}")),
        }
    })?)?;
    Ok(json)
}

fn require(lua: &Lua, host: &Host) -> mlua::Result<Function> {
    let (script, loaded) = (host.script.clone(), lua.create_table()?);
    lua.create_function(move |lua, name: String| {
        match loaded.raw_get::<LuaValue>(name.as_str())? {
            LuaValue::Nil => {}
            // It is being loaded.
            LuaValue::Boolean(false) => return fail(lua, format!("the module {name} requires itself; break the circle")),
            known => return Ok(known),
        }
        let Some(text) = script.module(&name) else {
            let known: Vec<&str> = script.modules().collect();
            return fail(lua, format!(
                "there is no module {name} beside the script; there are: {}. What is not a file there cannot be required",
                known.join(", ")
            ));
        };
        loaded.raw_set(name.as_str(), false)?;
        let chunk = lua.load(text).set_name(format!("@{}.lua", name.replace('.', "/"))).set_mode(mlua::chunk::ChunkMode::Text);
        let module = match chunk.eval::<LuaValue>()? {
            LuaValue::Nil => LuaValue::Boolean(true),
            module => module,
        };
        loaded.raw_set(name.as_str(), module.clone())?;
        Ok(module)
    })
}

/// What the prelude needs of the host.
fn sandbox(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let shared = host.shared.clone();
    table.set("check", lua.create_function(move |_, ()| match &shared.lock().stop {
        None => Ok(()),
        Some(Stop::Spent(sentence) | Stop::Later(sentence)) => Err(Error::RuntimeError(sentence.clone())),
        Some(Stop::Interrupt(_)) => Err(Error::RuntimeError("a state must be fetched first".to_owned())),
    })?)?;
    let shared = host.shared.clone();
    table.set("random", lua.create_function(move |lua, (low, high): (Option<i64>, Option<i64>)| {
        let drawn = shared.lock().draw();
        let (low, high) = match (low, high) {
            (None, _) => return Ok(LuaValue::Number((drawn >> 11) as f64 / (1_u64 << 53) as f64)),
            (Some(high), None) => (1, high),
            (Some(low), Some(high)) => (low, high),
        };
        if low > high {
            return fail(lua, format!("math.random: there is no number from {low} to {high}"));
        }
        let width = i128::from(high) - i128::from(low) + 1;
        Ok(LuaValue::Integer((i128::from(low) + i128::from(drawn) % width) as i64))
    })?)?;
    let shared = host.shared.clone();
    table.set("randomseed", lua.create_function(move |_, seed: Option<f64>| {
        shared.lock().seed_chance(seed.unwrap_or_default().to_bits());
        Ok(())
    })?)?;
    let most = host.limits.pattern_steps;
    table.set("bound", lua.create_function(move |lua, (subject, pattern): (LuaValue, LuaValue)| {
        let (LuaValue::String(subject), LuaValue::String(pattern)) = (&subject, &pattern) else { return Ok(()) };
        let pattern = pattern.as_bytes();
        let repeats = pattern.iter().filter(|byte| matches!(byte, b'*' | b'+' | b'-')).count();
        let starts = if pattern.first() == Some(&b'^') { 0 } else { 1 };
        let length = subject.as_bytes().len() as f64;
        // Repeats never nest, so each of them tries at most every length at every place.
        if repeats > 0 && length.powi(repeats as i32 + starts) > most {
            return fail(lua, format!(
                "matching {length} bytes with {repeats} repeats may take for ever; match a shorter text, or with fewer \
                 of * + - in the pattern, or begin it with ^"
            ));
        }
        Ok(())
    })?)?;
    Ok(table)
}
