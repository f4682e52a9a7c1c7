//! `redis`: the state of the service, whatever store it is kept in.

use std::{collections::BTreeSet, sync::Arc};

use dacapo_core::Key;
use mlua::{Function, Lua, Table, Value as LuaValue};
use serde_json::Value;

use super::{Host, fail, line, method};
use crate::lua::{
    glob,
    run::{Doing, Written},
    value,
};

/// The table.
pub(super) fn redis(lua: &Lua, host: &Host) -> mlua::Result<Table> {
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
            return fail(
                lua,
                format!("redis:incr counts up a whole number, and {key} holds {}", former.unwrap_or_default()),
            );
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
        let mut keys: BTreeSet<String> = listed.into_iter().filter_map(|key| key.as_str().map(str::to_owned)).collect();
        for (key, written) in &at.shared.lock().writes {
            if written.value.is_none() {
                keys.remove(key);
            } else if glob::matches(&pattern, key) {
                keys.insert(key.clone());
            }
        }
        lua.create_sequence_from(keys)
    })?;
    Ok(redis)
}

/// How a look begins that asks for the keys of a pattern; no key begins so, since a key has no control character.
pub(in crate::lua) const KEYS_OF: &str = "\u{1}keys ";

/// How a look begins that asks for the events of a key.
pub(in crate::lua) const EVENTS_OF: &str = "\u{1}events ";

fn get(lua: &Lua, host: &Host, key: &str) -> mlua::Result<Option<Arc<Value>>> {
    if let Some(written) = host.shared.lock().writes.get(key) {
        return Ok(written.value.clone());
    }
    look(lua, host, key)
}

/// Looks at what the call finds at hand.
pub(super) fn look(lua: &Lua, host: &Host, key: &str) -> mlua::Result<Option<Arc<Value>>> {
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
