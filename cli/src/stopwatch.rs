//! How long something took, for figures shown to people.

use std::time::Duration;

use dacapo_backends::clock::SystemClock;
use dacapo_core::{Timestamp, hooks::Clock as _};

/// A running stopwatch.
pub(crate) struct Stopwatch {
    clock: SystemClock,
    begun: Timestamp,
}

impl Stopwatch {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let clock = SystemClock::default();
        let begun = clock.now().monotonic;
        Self { clock, begun }
    }

    /// The time since.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.now().monotonic.since(self.begun)
    }
}
