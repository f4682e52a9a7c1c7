//! `bus`: registering, sending, and what else a handler asks of the bus.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use dacapo_core::{CorrelationId, Data, EventType, Key, ServiceName, limits::DATA_BYTES_MAX};
use mlua::{Lua, Table, Value as LuaValue};

use super::{
    Arguments, Host, fail, line, method,
    redis::{EVENTS_OF, look},
};
use crate::{
    lua::{
        limits::LuaLimits,
        registered::{Handler, Registered, intern},
        run::{Doing, Sent, Stop},
        value,
        vm::Shared,
    },
    service::{Method, Route},
};

/// The table.
pub(super) fn bus(lua: &Lua, host: &Host) -> mlua::Result<Table> {
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
    method(
        lua,
        &bus,
        "bus:register(name)",
        registering(|lua, arguments, registered| {
            let name = arguments.name(ServiceName::new)?;
            match registered.name.replace(name) {
                None => Ok(()),
                Some(former) => fail(lua, format!("this service is registered as {former} already; register once")),
            }
        }),
    )?;
    method(
        lua,
        &bus,
        "bus:add_event_listener(type, function)",
        registering(|lua, arguments, registered| {
            add(lua, arguments, |registered| &mut registered.listeners, registered)
        }),
    )?;
    method(
        lua,
        &bus,
        "bus:add_rebuild_handler(type, function)",
        registering(|lua, arguments, registered| {
            add(lua, arguments, |registered| &mut registered.rebuilds, registered)
        }),
    )?;
    method(
        lua,
        &bus,
        "bus:add_receipt_listener(type, function)",
        registering(|lua, arguments, registered| {
            add(lua, arguments, |registered| &mut registered.receipts, registered)
        }),
    )?;
    method(lua, &bus, "bus:add_route(path, method, function)", registering(add_route))?;
    method(
        lua,
        &bus,
        "bus:every(seconds, name, function)",
        registering(|lua, arguments, registered| {
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
        }),
    )?;
    method(
        lua,
        &bus,
        "bus:invariant(name, function)",
        registering(|lua, arguments, registered| named(lua, arguments, &mut registered.invariants)),
    )?;
    method(
        lua,
        &bus,
        "bus:workload(function)",
        registering(|lua, arguments, registered| {
            let handler = Handler { function: arguments.function()?, line: line(lua) };
            match registered.workload.replace(handler) {
                None => Ok(()),
                Some(former) => fail(lua, format!("the workload is set at {} already", former.line)),
            }
        }),
    )?;
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
        if shared.lock().doing != Doing::Listening {
            let sentence = "only an event can be handled later; a route answers HTTP_SERVICE_UNAVAILABLE, and a timer comes \
                            again by itself";
            return fail(lua, sentence);
        }
        shared.lock().stop.get_or_insert(Stop::Later(format!("{LATER}{reason} ({})", line(lua))));
        fail(lua, reason)
    })?;
    Ok(bus)
}

/// How the reason begins of a handler that asks to be called later.
pub const LATER: &str = "later: ";

type Handlers = BTreeMap<EventType, Handler>;

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
        Some(former) => {
            fail(lua, format!("{event_type} has such a function already, from {}; make one of both", former.line))
        }
    }
}

fn named(lua: &Lua, arguments: &mut Arguments<'_>, handlers: &mut BTreeMap<String, Handler>) -> mlua::Result<()> {
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
    if let Some((_, former)) = registered.routes.iter().find(|(route, _)| route.method == method && route.path == path)
    {
        return fail(lua, format!("{text} {path} is answered at {} already; choose another path", former.line));
    }
    registered.routes.push((Route { method, path: intern(&path) }, Handler { function, line: line(lua) }));
    Ok(())
}

fn send(lua: &Lua, arguments: &mut Arguments<'_>, shared: &Shared, limits: &LuaLimits) -> mlua::Result<()> {
    let doing = shared.lock().doing;
    if !doing.may_send() {
        return fail(
            lua,
            match doing {
                Doing::Rebuilding => {
                    "a rebuild handler plays the past, in which nothing can be sent; send in a listener"
                }
                Doing::Loading => "there is nothing to send before the service runs; send in a listener or route",
                _ => "an invariant looks on and sends nothing",
            },
        );
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
        return fail(
            lua,
            format!("{event_type} on {key} is the bus's own, since it begins with $; choose another name"),
        );
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
