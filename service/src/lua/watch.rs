//! What a script promises of its own state: `bus:invariant(name, function)`, judged apart from the service.
//!
//! A watch has variables and state of its own. It takes the log event by event, lets the rebuild handlers make their state
//! of it, and asks every invariant about each value that changed.

use dacapo_core::{Event, Position, WallTime, digest::digest_of};
use mlua::{IntoLuaMulti as _, MultiValue, Value as LuaValue};

use super::{
    LuaService, LuaSettings, Script, ScriptError,
    registered::Handler,
    run::{Doing, Run},
    value,
    vm::{Ended, Vm},
};
use crate::service::Service as _;

/// Watches what a script promises.
#[derive(Debug, Clone)]
pub struct LuaWatch {
    service: LuaService,
    position: Position,
}

impl LuaWatch {
    /// A watch that has seen nothing.
    pub fn load(script: &Script, settings: &LuaSettings) -> Result<Self, ScriptError> {
        Ok(Self { service: LuaService::load(script, settings)?, position: Position::ZERO })
    }

    /// The names of the invariants.
    pub fn names(&self) -> Vec<String> {
        self.service.vm.registered.invariants.keys().cloned().collect()
    }

    /// Takes the next event of the log; what is broken of this invariant, in a sentence.
    pub fn observe(&mut self, name: &str, event: &Event) -> Result<(), String> {
        // What was proved durable later comes once more.
        if event.position <= self.position || !self.service.types().contains(&event.event_type) {
            return Ok(());
        }
        self.position = event.position;
        let change = self.service.gather(event);
        let vm = &self.service.vm;
        let Some(handler) = vm.registered.invariants.get(name) else { return Ok(()) };
        for (key, value) in change.values {
            let Some(value) = value else { continue };
            let verdict =
                ask(vm, handler, event.time, |lua| (key.as_str(), value::to_lua(lua, &value)?).into_lua_multi(lua));
            verdict.map_err(|why| {
                let (event_type, on, version) = (&event.event_type, &event.key, event.version);
                format!("{key} is {value} after {event_type} on {on}@{version}: {why}")
            })?;
        }
        Ok(())
    }
}

/// Asks an invariant: `false` is a no, with the words that it returns beside it; so is an error, such as of `assert`.
pub(super) fn ask(
    vm: &Vm,
    handler: &Handler,
    time: WallTime,
    arguments: impl FnOnce(&mlua::Lua) -> mlua::Result<MultiValue>,
) -> Result<(), String> {
    let run = Run::new(Doing::Judging, digest_of(0, &handler.line), time);
    let called = vm.invoke(run, &mut |_| Ok(None), &handler.function, arguments);
    match called.result {
        Ok(mut returned) => match (returned.pop_front(), returned.pop_front()) {
            (Some(LuaValue::Boolean(false)), Some(LuaValue::String(why))) => {
                Err(format!("{} ({})", why.to_string_lossy(), handler.line))
            }
            (Some(LuaValue::Boolean(false)), _) => Err(format!("the invariant at {} says no", handler.line)),
            _ => Ok(()),
        },
        Err(Ended::Failed(sentence)) => Err(sentence),
        Err(Ended::Interrupt(interrupt)) => Err(format!("{}: it ended early: {interrupt:?}", handler.line)),
    }
}
