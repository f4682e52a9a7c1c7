//! What carries a plan out.
//!
//! Fingerprints belong to an engine; two engines never give the same one.
//!
//! | module | what lives there |
//! |---|---|
//! | [`event`] | the same machines in a loop that jumps from event to event |
//! | [`turmoil`] | the full stack over a simulated network |
//! | `faults` | which faults are active, and what follows from all of them together |
//! | `disk_faults` | the same for the disk of the bus |
//! | `chance` | what is drawn during a run |
//! | `book` | what customers still have to do |
//! | `store` | the store of a run, which outlives the bus |
//! | `hostile` | what a stranger says |
//! | `setup` | how processes are set up |
//! | `times`, `clock` | how long things take; what hosts' clocks show |
//! | `asking` | how customers ask |
//! | `lives` | when a host is to be down |
//! | `phases` | faults, healing, settling, last looks |
//! | `panics` | a panic anywhere fails the run |

pub(crate) mod asking;
pub(crate) mod book;
pub(crate) mod chance;
pub(crate) mod clock;
pub(crate) mod disk_faults;
pub mod event;
pub(crate) mod faults;
pub(crate) mod hostile;
pub(crate) mod identity;
pub(crate) mod lives;
pub(crate) mod panics;
pub(crate) mod phases;
pub(crate) mod setup;
pub(crate) mod store;
pub(crate) mod times;
pub mod turmoil;

use serde::{Deserialize, Serialize};

pub use self::{chance::Branch, clock::EPOCH_US};
use crate::{fault::Family, recorder::Recorded};

/// What carries a plan out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// The full stack over a simulated network: server, WebSocket, HTTP.
    #[default]
    Turmoil,
    /// The same machines in a loop that jumps from event to event.
    Event,
}

impl Engine {
    /// Whether faults of this family do anything there.
    pub fn can_do(self, family: Family) -> bool {
        self == Self::Event || !family.needs_event_engine()
    }

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Turmoil => "turmoil",
            Self::Event => "event",
        }
    }
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// What an engine knows at the end of a run.
pub(crate) struct Carried {
    pub(crate) recorded: Recorded,
    pub(crate) simulated_us: u64,
    /// The end of the log.
    pub(crate) events: u64,
    /// Operations that succeeded, were refused, were skipped.
    pub(crate) operations: (u64, u64, u64),
    pub(crate) panicked: bool,
    pub(crate) stuck: bool,
}
