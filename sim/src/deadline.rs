//! A limit of the time that a search may take, by a clock that is handed in.

use std::{sync::Arc, time::Duration};

use dacapo_core::{Timestamp, hooks::Clock};

/// Time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfTime;

/// How long a search may take, by this clock.
pub type Budget = (Arc<dyn Clock>, Duration);

/// When to stop.
#[derive(Clone)]
pub(crate) struct Deadline {
    clock: Arc<dyn Clock>,
    at: Timestamp,
}

impl Deadline {
    /// From now on.
    pub(crate) fn within((clock, budget): &Budget) -> Self {
        let us = u64::try_from(budget.as_micros()).unwrap_or(u64::MAX);
        Self { clock: Arc::clone(clock), at: Timestamp(clock.now().monotonic.0.saturating_add(us)) }
    }

    /// Whether there is time for one more run.
    pub(crate) fn check(&self) -> Result<(), OutOfTime> {
        if self.clock.now().monotonic >= self.at { Err(OutOfTime) } else { Ok(()) }
    }
}
