//! The clocks of simulated hosts, as far as they are the run's.

use dacapo_core::{Now, Timestamp, WallTime};

use crate::engine::faults::ClocksOff;

/// When every run begins by the wall clock: 2026-01-01T00:00:00Z, in microseconds.
pub const EPOCH_US: u64 = 1_767_225_600_000_000;

/// What a host's clocks show, if they are off by so much.
pub(crate) fn now(run_us: u64, off: ClocksOff) -> Now {
    let monotonic = run_us.saturating_add_signed(off.monotonic_us);
    let wall = (EPOCH_US + monotonic).saturating_add_signed(off.wall_us);
    Now { monotonic: Timestamp(monotonic), wall: WallTime(wall) }
}

/// When, by the run's time, a host's monotonic clock will show this, if nothing changes until then.
pub(crate) fn run_us(due: Timestamp, run_us: u64, off: ClocksOff) -> u64 {
    let left_us = due.0.saturating_sub(now(run_us, off).monotonic.0);
    let rate = u64::try_from(1_000_000 + off.ppm).unwrap_or(1).max(1);
    run_us + (u128::from(left_us) * 1_000_000).div_ceil(u128::from(rate)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_is_due_early_and_a_slow_one_late() {
        let off = |ppm| ClocksOff { monotonic_us: 0, wall_us: 0, ppm };
        assert_eq!(run_us(Timestamp(3_000), 1_000, off(0)), 3_000);
        assert_eq!(run_us(Timestamp(3_000), 1_000, off(1_000_000)), 2_000);
        assert_eq!(run_us(Timestamp(3_000), 1_000, off(-500_000)), 5_000);
        let ahead = ClocksOff { monotonic_us: 500, wall_us: -100, ppm: 0 };
        assert_eq!(run_us(Timestamp(3_000), 1_000, ahead), 2_500);
        assert_eq!(now(1_000, ahead).wall, WallTime(EPOCH_US + 1_400));
    }
}
