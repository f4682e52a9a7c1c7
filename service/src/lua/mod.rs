//! Services in Lua: a script, run by the same machine as every other service.
//!
//! docs/LUA.md is the manual for those who write scripts. Here is how it is done:
//!
//! | file | what lives there |
//! |---|---|
//! | `script`, `limits` | a script's text and modules; what a call may use up |
//! | `vm`, `prelude.lua`, `api`, `decimal`, `glob`, `http` | the sandbox and the tables that a script sees |
//! | `registered`, `run`, `value` | what a script does; one call of it; between Lua's values and JSON's |
//! | `state`, `gathered`, `store` | the state of a key; what gathers over keys; where it is kept between two lives |
//! | `calls`, `ground` | the calls that functions get; what they find at hand |
//! | `service`, `machine` | the script as a [`Service`](crate::Service); timers |
//! | `checks`, `sent_from` | whether the script keeps to its part of the contract; which line sent what |
//! | `watch`, `workload` | what a script promises of its state; what customers do in a simulation |
//!
//! **Whose state.** A redis key that is called as the handled event's key is that key's own state: the fold of the rebuild
//! handlers over that key's events. It can be brought up from the log at any instance, alone, so it does not matter who
//! owns a lane; an explicit send carries its version, so that a decision on stale ground cannot be committed.
//!
//! **Who writes it.** The rebuild handlers alone, for live events too. A listener's writes are seen by itself; the fold
//! of the same event makes the same of it, or the script is wrong, which is told. So there is no moment between the log
//! and the state at which a process could die, and a redelivery has nothing to apply twice.
//!
//! Deliberately absent: IO inside of a call, a clock, chance that no seed repeats, bytecode, C modules.

mod api;
mod calls;
mod checks;
mod decimal;
mod gathered;
mod glob;
mod ground;
mod http;
mod limits;
mod machine;
mod memo;
mod registered;
mod run;
mod script;
mod sent_from;
mod service;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod value;
mod vm;
mod watch;
mod workload;

pub use api::LATER;
pub use limits::{INSTRUCTIONS_STEP, LuaLimits};
pub use machine::LuaMachine;
pub use script::{Script, ScriptError};
pub use sent_from::SentFrom;
pub use service::{LuaService, LuaSettings};
pub use state::{LuaState, STEPS_MAX};
pub use store::{Change, Live, Opened, Snapshot, StateAt, StateStore, StoreError};
pub use watch::LuaWatch;
pub use workload::{Asked, LuaWorkload};
