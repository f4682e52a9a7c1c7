//! What a driver takes from outside, so that production and the simulator run the same start-up code: a clock,
//! entropy, and hooks at which a simulator may interfere or listen. In production the hooks are [`NoHooks`].

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    names::{NodeName, Position},
    time::{Now, Timestamp},
    trace::What,
};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Both clocks at once.
    fn now(&self) -> Now;
}

/// Draws what need not be foreseen: incarnations, jitter.
pub trait Entropy: Send + Sync + 'static {
    /// The next number.
    fn next_u64(&self) -> u64;
}

/// A place that a process reaches, such as "before sending the receipts of request 17".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Point {
    /// Which place: `commit`, `send receipts`, `send deliver`, `send complete`, `handle`, …
    pub name: &'static str,
    /// What it is about, so that draws and triggers depend on it and never on a running count.
    pub identity: Identity,
}

/// What a [`Point`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// Nothing in particular.
    None,
    /// A position of the log, with the attempt.
    Delivery(Position, u32),
    /// A commit's sequence, or a look-up's or read's number.
    Sequence(u64),
    /// A request's number, or the hash of a name.
    Request(u64),
}

/// What happens at a [`Point`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Go,
    /// Go on after this time; what comes behind waits too.
    Delay(Duration),
    /// Lose this one thing: it is not done, and nobody is told.
    Lose,
    /// Do this one thing twice, as a process that lost count would. Only where a driver can: an instance that sends.
    Twice,
    /// Fail here with this reason (only where the process could fail by itself, as in a handler).
    Fail(String),
    /// Stop dead: the driver returns at once, and nothing further is done.
    Die,
}

/// Where a simulator interferes and listens. Every method has the meaning of "nothing" by default.
pub trait Hooks: Send + Sync + 'static {
    /// Asked before each thing that a process does to the outside.
    fn before(&self, point: Point) -> Verdict {
        let _ = point;
        Verdict::Go
    }

    /// While this is in the future the process is stopped (as by SIGSTOP): it takes no input and sees no time-out.
    fn paused_until(&self) -> Option<Timestamp> {
        None
    }

    /// Whether [`record`](Self::record) wants anything; machines then produce records too.
    fn recording(&self) -> bool {
        false
    }

    /// Takes a record of this node.
    fn record(&self, node: &NodeName, now: Now, what: What) {
        let _ = (node, now, what);
    }
}

/// No interference: production.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {}

/// Everything that a driver takes from outside besides its listener and store.
#[derive(Clone)]
pub struct World {
    /// The name of this process in records.
    pub node: NodeName,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// Its entropy.
    pub entropy: Arc<dyn Entropy>,
    /// Its hooks.
    pub hooks: Arc<dyn Hooks>,
}

impl World {
    /// Records `what` for this node, now.
    pub fn record(&self, what: What) {
        if self.hooks.recording() {
            self.hooks.record(&self.node, self.clock.now(), what);
        }
    }
}
