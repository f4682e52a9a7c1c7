//! What a script may use up, and why so much. A handler that reaches a limit fails, and its lane is parked if that goes
//! on; the process and all other lanes live on.

use std::{fmt, sync::Arc, time::Duration};

use dacapo_core::hooks::Clock;

/// What one call of a handler, and one state of Lua, may use up.
#[derive(Clone)]
pub struct LuaLimits {
    /// Instructions of the interpreter in one call of a handler: some tenths of a second of a core, far below the deadline of
    /// a delivery. Counted in steps of [`INSTRUCTIONS_STEP`].
    pub instructions: u64,
    /// Bytes of one instance's Lua, its modules included; what the state store holds is not in it.
    pub memory_bytes: usize,
    /// The longest that one call may take by this clock. None in a simulation, where instructions alone count: a clock
    /// of the system would make runs differ.
    pub time: Option<(Arc<dyn Clock>, Duration)>,
    /// What one call may send.
    pub sends: usize,
    /// The steps that matching one pattern may take, as far as they can be told before.
    pub pattern_steps: f64,
}

/// How often the interpreter is interrupted to count.
pub const INSTRUCTIONS_STEP: u32 = 1_000;

impl Default for LuaLimits {
    fn default() -> Self {
        Self {
            instructions: 10_000_000,
            memory_bytes: 256 << 20,
            time: None,
            sends: dacapo_core::limits::BATCH_EVENTS_MAX - 1,
            pattern_steps: 1e8,
        }
    }
}

impl fmt::Debug for LuaLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LuaLimits")
            .field("instructions", &self.instructions)
            .field("memory_bytes", &self.memory_bytes)
            .field("time", &self.time.as_ref().map(|(_, most)| most))
            .finish_non_exhaustive()
    }
}
