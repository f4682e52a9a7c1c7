//! A state of Lua with a script in it: sandboxed, limited, and the same on every run.
//!
//! Deliberately absent: `io`, `os` but for its time, `debug`, `package`, bytecode, and everything that shows an address.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mlua::{Error, Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, VmState};
use serde_json::Value;

use super::{
    api,
    limits::{INSTRUCTIONS_STEP, LuaLimits},
    registered::Registered,
    run::{Doing, Run, Stop},
    script::{Script, ScriptError},
    value,
};
use crate::service::Interrupt;

/// Where a call finds the states that it reads.
pub(super) type Look<'a> = dyn FnMut(&str) -> Result<Option<Arc<Value>>, Interrupt> + 'a;

/// The call that is being made, shared with the functions that the script calls.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Run>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Run> {
        // A panic inside of a call is passed on; the run that it leaves behind is replaced by the next one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a call did not return.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ended {
    /// The machine has something to do first.
    Interrupt(Interrupt),
    /// The script failed; the sentence begins with file and line.
    Failed(String),
}

/// What a call left behind.
pub(super) struct Called<R> {
    pub(super) result: Result<R, Ended>,
    pub(super) run: Run,
}

/// A state of Lua that has loaded its script.
pub(super) struct Vm {
    lua: Lua,
    shared: Shared,
    /// Holds, while a call is made, the function that looks at states.
    look: Table,
    pub(super) registered: Registered,
    limits: LuaLimits,
}

impl Vm {
    /// Loads the script, which registers what it does.
    pub(super) fn load(script: &Script, limits: &LuaLimits) -> Result<Self, ScriptError> {
        let broken = |error: Error| ScriptError::Broken(sentence(&error));
        let libraries = StdLib::COROUTINE | StdLib::TABLE | StdLib::STRING | StdLib::UTF8 | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::default()).map_err(broken)?;
        let shared = Shared(Arc::new(Mutex::new(Run::idle())));
        let look = lua.create_table().map_err(broken)?;
        let registered = Arc::new(Mutex::new(Registered::default()));
        api::install(
            &lua,
            &api::Host {
                script: script.clone(),
                shared: shared.clone(),
                look: look.clone(),
                registered: Arc::clone(&registered),
                limits: limits.clone(),
            },
        )
        .map_err(broken)?;
        lua.set_memory_limit(limits.memory_bytes).map_err(broken)?;
        watch(&lua, &shared, limits).map_err(broken)?;
        let vm = Self { lua, shared, look, registered: Registered::default(), limits: limits.clone() };
        let chunk =
            vm.lua.load(script.text()).set_name(format!("@{}", script.file())).set_mode(mlua::chunk::ChunkMode::Text);
        let main = chunk.into_function().map_err(broken)?;
        let loading = Run::new(Doing::Loading, 0, dacapo_core::WallTime(0));
        let called = vm.call::<()>(loading, &mut |_| Ok(None), |_| main.call(()));
        if let Err(ended) = called.result {
            return Err(ScriptError::Broken(match ended {
                Ended::Failed(sentence) => sentence,
                Ended::Interrupt(interrupt) => format!("{}: it ended early: {interrupt:?}", script.file()),
            }));
        }
        let registered = std::mem::take(&mut *registered.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Self { registered, ..vm })
    }

    /// Makes one call: `body` makes the arguments and calls a function.
    pub(super) fn call<R>(
        &self,
        mut run: Run,
        look: &mut Look<'_>,
        body: impl FnOnce(&Lua) -> mlua::Result<R>,
    ) -> Called<R> {
        if let Some((clock, most)) = &self.limits.time {
            run.until_us = Some((clock.now().monotonic + *most).0);
        }
        *self.shared.lock() = run;
        let result = self.lua.scope(|scope| {
            let shared = self.shared.clone();
            let looking = scope.create_function_mut(move |_, key: mlua::LuaString| match look(&key.to_str()?) {
                Ok(value) => {
                    shared.lock().looked = value;
                    Ok(())
                }
                Err(interrupt) => {
                    shared.lock().stop = Some(Stop::Interrupt(interrupt));
                    Err(Error::RuntimeError("a state must be fetched first".to_owned()))
                }
            })?;
            self.look.raw_set(1, looking)?;
            body(&self.lua)
        });
        let mut run = std::mem::replace(&mut *self.shared.lock(), Run::idle());
        let result = match (run.stop.take(), result) {
            (Some(Stop::Interrupt(interrupt)), _) => Err(Ended::Interrupt(interrupt)),
            (Some(Stop::Spent(sentence) | Stop::Later(sentence)), _) => Err(Ended::Failed(sentence)),
            (None, Ok(returned)) => Ok(returned),
            (None, Err(error)) => Err(Ended::Failed(sentence(&error))),
        };
        Called { result, run }
    }

    /// Calls a function of the script.
    pub(super) fn invoke(
        &self,
        run: Run,
        look: &mut Look<'_>,
        function: &Function,
        arguments: impl FnOnce(&Lua) -> mlua::Result<MultiValue>,
    ) -> Called<MultiValue> {
        self.call(run, look, |lua| function.call(arguments(lua)?))
    }

    pub(super) fn lua(&self) -> &Lua {
        &self.lua
    }
}

/// Counts instructions, in every coroutine too, and ends what takes too long.
fn watch(lua: &Lua, shared: &Shared, limits: &LuaLimits) -> mlua::Result<()> {
    let (shared, limits) = (shared.clone(), limits.clone());
    let triggers = HookTriggers::new().every_nth_instruction(INSTRUCTIONS_STEP);
    lua.set_global_hook(triggers, move |_, debug| {
        let mut run = shared.lock();
        run.instructions += u64::from(INSTRUCTIONS_STEP);
        let spent = if run.instructions > limits.instructions {
            Some(format!("more than {} instructions", limits.instructions))
        } else {
            match (&limits.time, run.until_us) {
                (Some((clock, most)), Some(until)) if clock.now().monotonic.0 > until => {
                    Some(format!("more than {} ms", most.as_millis()))
                }
                _ => None,
            }
        };
        let Some(spent) = spent else { return Ok(VmState::Continue) };
        let (source, line) = (debug.source(), debug.current_line().unwrap_or_default());
        let file = source.short_src.as_deref().unwrap_or("the script");
        let sentence = format!("{file}:{line}: one call takes {spent}; does this loop end? Do less in one handler");
        run.stop.get_or_insert(Stop::Spent(sentence.clone()));
        Err(Error::RuntimeError(sentence))
    })
}

/// An error of Lua as a sentence that begins with file and line, without the interpreter's own stack.
pub(super) fn sentence(error: &Error) -> String {
    let text = match error {
        Error::CallbackError { cause, .. } | Error::WithContext { cause, .. } => return sentence(cause),
        Error::RuntimeError(text) => text.clone(),
        Error::SyntaxError { message, .. } => message.clone(),
        Error::MemoryError(_) => {
            "the script needs more memory than it may have; keep less in its variables, and more in redis".to_owned()
        }
        other => other.to_string(),
    };
    let text = text.strip_prefix("runtime error: ").unwrap_or(&text);
    text.split("\nstack traceback:").next().unwrap_or(text).trim_end().to_owned()
}

/// Loads a chunk of the host's own.
pub(super) fn prelude(lua: &Lua, host: Table) -> mlua::Result<()> {
    value::install(lua)?;
    lua.load(include_str!("prelude.lua")).set_name("=prelude").call::<()>(host)
}
