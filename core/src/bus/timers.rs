//! What the bus waits for, by time.

use std::collections::BTreeSet;

use super::ConnId;
use crate::{
    names::{InstanceName, Key, ServiceName},
    time::Timestamp,
};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// A connection may have gone silent.
    Heartbeat(ConnId),
    /// A disconnected instance has not come back.
    Grace(ServiceName, InstanceName),
    /// A delivery has not been answered.
    Deadline(ServiceName, Key),
    /// A lane may be delivered again.
    Backoff(ServiceName, Key),
    /// Another bus may have taken over.
    CheckTerm,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Timers(BTreeSet<(Timestamp, Timer)>);

impl Timers {
    pub(super) fn arm(&mut self, at: Timestamp, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(super) fn cancel(&mut self, at: Timestamp, timer: &Timer) {
        self.0.remove(&(at, timer.clone()));
    }

    /// All of them, the next one first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Timestamp, Timer)> {
        self.0.iter()
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, timer)| timer)
    }
}
