//! The wall clock and the entropy of production: the only place of the workspace that asks the system for either.
//!
//! Everything else takes a [`Clock`] and an [`Entropy`], so that a simulator can pass its own.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use dacapo_core::{
    hooks::{Clock, Entropy},
    time::{Now, Timestamp, WallTime},
};

/// The system's clocks; the monotonic one counts from the making of this value.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts the monotonic clock at zero.
    #[expect(clippy::disallowed_methods, reason = "this is the one adapter of the system's monotonic clock")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one adapter of the system's wall clock")]
    fn now(&self) -> Now {
        // A clock that is set before 1970 is told as 1970: nothing is ever decided by the wall clock.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            monotonic: Timestamp(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)),
            wall: WallTime(u64::try_from(wall.as_micros()).unwrap_or(u64::MAX)),
        }
    }
}

/// Numbers that nobody can foresee by accident: incarnations and jitter. No defence against an adversary, and no
/// source of secrets.
#[derive(Debug, Default)]
pub struct SystemEntropy {
    state: RandomState,
    drawn: AtomicU64,
}

impl SystemEntropy {
    /// Seeded by the system.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Entropy for SystemEntropy {
    fn next_u64(&self) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write_u64(self.drawn.fetch_add(1, Ordering::Relaxed));
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back_and_the_wall_clock_is_of_this_century() {
        let clock = SystemClock::new();
        let (earlier, later) = (clock.now(), clock.now());
        assert!(later.monotonic >= earlier.monotonic);
        assert!(earlier.wall > WallTime(946_684_800_000_000), "after the year 2000: {:?}", earlier.wall);
    }

    #[test]
    fn draws_differ_within_a_process_and_between_two_sources() {
        let (one, other) = (SystemEntropy::new(), SystemEntropy::new());
        let draws = [one.next_u64(), one.next_u64(), other.next_u64()];
        assert!(draws[0] != draws[1] && draws[0] != draws[2], "{draws:?}");
    }
}
