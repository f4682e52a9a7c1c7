//! The clocks of simulated hosts, as far as they are the run's.

use dacapo_core::{Now, Timestamp, WallTime};

/// When every run begins by the wall clock: 2026-01-01T00:00:00Z, in microseconds.
pub const EPOCH_US: u64 = 1_767_225_600_000_000;

/// What a host's clocks show, if its wall clock is off by so much.
pub(crate) fn now(monotonic: Timestamp, offset_us: i64) -> Now {
    Now { monotonic, wall: WallTime((EPOCH_US + monotonic.0).saturating_add_signed(offset_us)) }
}
