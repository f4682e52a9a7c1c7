//! The tables that a script sees: `bus`, `redis`, `log`, `json`, `decimal`, `os.time`, and the names of HTTP's statuses.
//!
//! Whoever calls one of them wrongly gets a sentence with file and line, the name of the function, and what it takes.

mod bus;
mod redis;
mod sandbox;

use std::sync::{Arc, Mutex};

use mlua::{Error, Function, Lua, MultiValue, Table, Value as LuaValue};
use serde_json::Value;

pub use self::bus::LATER;
pub(super) use self::redis::{EVENTS_OF, KEYS_OF};
use super::{decimal, limits::LuaLimits, registered::Registered, script::Script, value, vm, vm::Shared};

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
    vm::prelude(lua, sandbox::sandbox(lua, host)?)?;
    let globals = lua.globals();
    globals.set("bus", bus::bus(lua, host)?)?;
    globals.set("redis", redis::redis(lua, host)?)?;
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
        value::of_lua(self.lua, &value)
            .or_else(|error| fail(self.lua, format!("{}: {}", self.usage, vm::sentence(&error))))
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
    let function =
        lua.create_function(move |lua, values: MultiValue| body(lua, &mut Arguments::new(lua, usage, values, &of)?))?;
    table.raw_set(name, function)
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
    json.set(
        "encode",
        lua.create_function(|lua, value: LuaValue| match value::of_lua(lua, &value) {
            Ok(value) => Ok(value.to_string()),
            Err(error) => fail(lua, format!("json.encode: {}", vm::sentence(&error))),
        })?,
    )?;
    json.set(
        "decode",
        lua.create_function(|lua, text: LuaValue| {
            let LuaValue::String(text) = &text else {
                return fail(lua, format!("json.decode reads a text, not a {}", text.type_name()));
            };
            match serde_json::from_slice::<Value>(&text.as_bytes()) {
                Ok(value) => value::to_lua(lua, &value),
                Err(error) => fail(lua, format!("json.decode: this is no JSON: {error}")),
            }
        })?,
    )?;
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
