//! The bus as a state machine.
//!
//! ```text
//! handle_input(now, Input)          mutate
//! poll_output() -> Option<Output>   then drain
//! poll_timeout() -> Option<Timestamp>
//! ```
//!
//! A driver hands in what happened, then drains the outputs in order and carries them out; when the time of
//! `poll_timeout` comes it hands in [`Input::Timeout`]. Nothing that the bus says overtakes a commit that it rests
//! upon: such outputs are held inside until [`Input::Committed`].

mod io;

pub use io::{Admin, AdminAnswer, ConnId, Input, InstanceStatus, LaneStatus, Output, ServiceStatus};

use crate::{
    limits::Limits,
    planted::Planted,
    store::Recovered,
    time::{Now, Timestamp},
};

/// How a bus is set up.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Its limits.
    pub limits: Limits,
    /// A planted bug, for the harness's own test.
    pub planted: Planted,
    /// Whether to produce [`Output::Record`].
    pub record: bool,
}

/// The machine. Its contract is the module's.
#[derive(Debug, Clone)]
pub struct Bus {
    config: Config,
}

impl Bus {
    /// A bus that begins from what its store recovered.
    pub fn new(config: Config, recovered: Recovered, now: Now) -> Self {
        let _ = (recovered, now);
        Self { config }
    }

    /// Takes one input. Drain [`poll_output`](Self::poll_output) afterwards.
    pub fn handle_input(&mut self, now: Now, input: Input) {
        let _ = (now, input, &self.config);
    }

    /// The next output, in order; none when all is said.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When [`Input::Timeout`] is due; none if the bus waits for nothing.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// Panics if the bus has broken one of its own rules.
    pub fn check_invariants(&self) {}

    /// A digest of the state, without absolute time.
    pub fn digest(&self) -> u64 {
        0
    }
}
