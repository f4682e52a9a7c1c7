//! What the customers of a simulation do, and what must hold of the log, in Lua: a file beside the services.
//!
//! The same sandbox as a service's, without a bus: `bus:workload(function)` draws from `math.random`, which is the plan's
//! chance, and returns a list of requests; `bus:invariant(name, function)` sees each event in the order of the log.

use std::fmt;

use dacapo_core::{Event, Position, WallTime};
use mlua::{IntoLuaMulti as _, Value as LuaValue};
use serde::Deserialize;
use serde_json::Value;

use super::{
    LuaSettings, Script, ScriptError,
    calls::told,
    run::{Doing, Run},
    value,
    vm::{Ended, Vm, sentence},
    watch::ask,
};
use crate::service::Method;

/// A request that a customer makes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Who: customers are numbered from 0.
    #[serde(default)]
    pub customer: u32,
    /// Not before so many seconds of the run.
    #[serde(default)]
    pub at: f64,
    /// The service that is asked.
    pub service: String,
    /// The method.
    #[serde(default = "post")]
    pub method: Method,
    /// The path, with its query.
    pub path: String,
    /// What is sent: any value; null sends nothing.
    #[serde(default)]
    pub body: Value,
    /// Only after these have succeeded: their places in the list, from 1.
    #[serde(default)]
    pub after: Vec<u64>,
}

fn post() -> Method {
    Method::Post
}

/// A loaded workload.
pub struct LuaWorkload {
    script: Script,
    settings: LuaSettings,
    vm: Vm,
    position: Position,
}

impl LuaWorkload {
    /// Loads the file.
    pub fn load(script: &Script, settings: &LuaSettings) -> Result<Self, ScriptError> {
        let vm = Vm::load(script, &settings.limits)?;
        if vm.registered.workload.is_none() {
            return Err(ScriptError::Broken(format!(
                "{} never calls bus:workload(function): nothing would be asked of the services; return a list of \
                 requests from it",
                script.file()
            )));
        }
        if !vm.registered.is_idle() || vm.registered.name.is_some() {
            return Err(ScriptError::Broken(format!(
                "{} is a workload and acts as a service; move what it registers into a script of its own",
                script.file()
            )));
        }
        Ok(Self { script: script.clone(), settings: settings.clone(), vm, position: Position::ZERO })
    }

    /// The names of the invariants.
    pub fn names(&self) -> Vec<String> {
        self.vm.registered.invariants.keys().cloned().collect()
    }

    /// What customers do, drawn from this number.
    pub fn draw(&self, seed: u64, customers: u32, operations: usize, seconds: f64) -> Result<Vec<Asked>, String> {
        let Some(handler) = &self.vm.registered.workload else { return Ok(Vec::new()) };
        let run = Run::new(Doing::Judging, seed, WallTime(0));
        let called = self.vm.invoke(run, &mut |_| Ok(None), &handler.function, |lua| {
            (customers, operations as i64, seconds).into_lua_multi(lua)
        });
        let mut returned = called.result.map_err(|ended| match ended {
            Ended::Failed(sentence) => sentence,
            Ended::Interrupt(interrupt) => format!("{}: it ended early: {interrupt:?}", handler.line),
        })?;
        let list = returned.pop_front().unwrap_or(LuaValue::Nil);
        let list = value::of_lua(self.vm.lua(), &list)
            .map_err(|error| format!("{}: the workload returns what is no list: {}", handler.line, sentence(&error)))?;
        let Value::Array(items) = list else {
            return Err(format!("{}: the workload returns a list of requests; return at least one", handler.line));
        };
        let read = |(place, item): (usize, Value)| {
            let shown = item.to_string();
            serde_json::from_value::<Asked>(item)
                .map_err(|error| format!("{}: request {} of the workload, {shown}: {error}", handler.line, place + 1))
        };
        items.into_iter().enumerate().map(read).collect()
    }

    /// Takes the next event of the log; what is broken of this invariant, in a sentence.
    pub fn observe(&mut self, name: &str, event: &Event) -> Result<(), String> {
        // What was proved durable later comes once more; what the bus and the host write for themselves is not told.
        let of_the_host =
            event.event_type.is_reserved() || event.event_type.as_str() == crate::instance::REQUEST_ANSWERED;
        if event.position <= self.position || of_the_host {
            return Ok(());
        }
        self.position = event.position;
        let Some(handler) = self.vm.registered.invariants.get(name) else { return Ok(()) };
        let verdict = ask(&self.vm, handler, event.time, |lua| value::to_lua(lua, &told(event))?.into_lua_multi(lua));
        verdict.map_err(|why| {
            format!("{} on {}@{} {}: {why}", event.event_type, event.key, event.version, event.data.as_str())
        })
    }
}

impl Clone for LuaWorkload {
    fn clone(&self) -> Self {
        Self::load(&self.script, &self.settings).expect("a workload that was loaded once loads again")
    }
}

impl fmt::Debug for LuaWorkload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LuaWorkload").field("script", &self.script.file()).finish_non_exhaustive()
    }
}
