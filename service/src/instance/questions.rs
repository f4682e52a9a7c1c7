//! Everything that was asked of the bus under a number and is not answered yet: the numbers and what they stand for.
//!
//! Numbers are never used twice in an instance's life, so an answer that comes too late meets nothing. A connection's
//! end ends all its questions; whoever asked asks again on the next.

use std::collections::BTreeMap;

use dacapo_core::{Key, Timestamp};

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// Hydration of this key.
    State(Key),
    /// Every event of this key, for a handler.
    Query(Key),
    /// Whether this request was answered before.
    Answer(u64),
    /// This request's batch.
    Publish(u64),
    /// A page of `reconcile`.
    Heads,
    /// The stream that feeds the view.
    View,
    /// The stream that asks how far the log is, for a request that wants to read its own writes.
    Probe,
    /// The stream that plays the past at the start.
    Rebuild,
}

impl Purpose {
    /// A stream has no single answer that could be overdue.
    fn is_stream(&self) -> bool {
        matches!(self, Self::View | Self::Probe | Self::Rebuild)
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Questions {
    open: BTreeMap<u64, (Purpose, Timestamp)>,
    last: u64,
}

impl Questions {
    pub(super) fn ask(&mut self, purpose: Purpose, now: Timestamp) -> u64 {
        self.last += 1;
        self.open.insert(self.last, (purpose, now));
        self.last
    }

    pub(super) fn purpose(&self, number: u64) -> Option<&Purpose> {
        self.open.get(&number).map(|(purpose, _)| purpose)
    }

    pub(super) fn end(&mut self, number: u64) {
        self.open.remove(&number);
    }

    pub(super) fn clear(&mut self) {
        self.open.clear();
    }

    /// When the longest open question that has a single answer was asked.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.open.values().find(|(purpose, _)| !purpose.is_stream()).map(|(_, asked_at)| *asked_at)
    }

    pub(super) fn purposes(&self) -> impl Iterator<Item = &Purpose> {
        self.open.values().map(|(purpose, _)| purpose)
    }
}
