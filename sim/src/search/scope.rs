//! What is searched: how many of everything.

use std::time::Duration;

use dacapo_core::{Limits, planted::Planted};

/// The bounds of a search. Everything that may happen, happens at most so often; within these bounds all orders are
/// tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Events that a publisher sends, one after the other, without waiting for receipts.
    pub events: usize,
    /// Requests to a real service, which counts them; then its instances are the machines that are deployed, and what is
    /// between them and the bus may be long on its way. 0: the instances are scripted, and do all that one might.
    pub requests: usize,
    /// Keys that events and requests are about, in turn.
    pub keys: usize,
    /// Instances of the one service that takes them.
    pub instances: usize,
    /// Deliveries that may be open at each instance.
    pub credit: u32,
    /// What may go wrong, and how often.
    pub budget: Budget,
    /// States after which the search gives up.
    pub states_max: u64,
    /// A bug of the bus, for the search's own test.
    pub planted: Planted,
}

/// How often each thing may yet happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// The bus crashes, between any two of the things that it does.
    pub crashes: u8,
    /// A handler fails.
    pub nacks: u8,
    /// Time passes until the next time-out.
    pub timeouts: u8,
    /// A connection breaks, or its instance dies and comes back as another incarnation.
    pub drops: u8,
    /// A publish is sent again.
    pub repeats: u8,
    /// A delivery is answered that was answered before, or taken back.
    pub late: u8,
    /// The store fails a commit, which may have happened nevertheless.
    pub failed_commits: u8,
    /// An administrator retries or skips a parked lane.
    pub retries: u8,
    /// The log is played to somebody, and followed.
    pub rebuilds: u8,
}

impl Default for Scope {
    fn default() -> Self {
        let budget = Budget { crashes: 1, nacks: 1, timeouts: 1, ..Budget::default() };
        Self {
            events: 3,
            requests: 0,
            keys: 2,
            instances: 2,
            credit: 1,
            budget,
            states_max: 50_000_000,
            planted: Planted::NONE,
        }
    }
}

/// Later than every time-out that a search lets pass: the heartbeats of a connection and the check of the term lie
/// behind it, so that a search is about lanes and not about pings.
pub(super) const HORIZON: Duration = Duration::from_secs(15 * 60);

/// The limits of the bus: small where a search should reach them.
pub(super) fn limits() -> Limits {
    Limits {
        heartbeat_deadline: HORIZON * 4,
        grace: Duration::from_secs(20),
        delivery_deadline: Duration::from_secs(30),
        backoff_first: Duration::from_secs(10),
        backoff_max: Duration::from_secs(10),
        failures_max: 2,
        disconnects_max: 3,
        ..Limits::default()
    }
}
