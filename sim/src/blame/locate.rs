//! Where a share jumps, found with few estimates: a coarse grid, then halving the gap that rises most; what is found is
//! looked at again before it is believed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::share::Share;

/// Gaps of the first look.
const GRID: u64 = 8;

/// With a second look, so many times as many continuations were tried in all.
const SURER: u64 = 3;

/// Estimates by step: of the continuations that branch off after it, so many fail.
pub(super) type Curve = BTreeMap<u64, Share>;

/// How closely a step is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// For the first time.
    First,
    /// Again, with more continuations and others than before.
    Again,
}

impl Look {
    /// Which of a step's continuations these are, where `first` are tried at first.
    pub(super) fn samples(self, first: u64) -> Range<u64> {
        match self {
            Self::First => 0..first,
            Self::Again => first..first * SURER,
        }
    }
}

/// Narrows the rise down to two neighbouring steps, and looks at both again: among many estimates one is now and then so
/// far off that it looks like a rise. The curve holds what was estimated, even if the estimating ends early;
/// it must hold an estimate of `last` before.
pub(super) fn locate<E>(
    curve: &mut Curve,
    last: u64,
    estimate: &mut dyn FnMut(u64, Look) -> Result<Share, E>,
) -> Result<(), E> {
    assert!(curve.contains_key(&last), "the end is known");
    for index in 0..GRID {
        let step = last * index / GRID;
        if let std::collections::btree_map::Entry::Vacant(e) = curve.entry(step) {
            e.insert(estimate(step, Look::First)?);
        }
    }
    let mut looked_again = BTreeSet::new();
    loop {
        let (low, high) = steepest(curve);
        if high - low > 1 {
            let middle = low + (high - low) / 2;
            curve.insert(middle, estimate(middle, Look::First)?);
            continue;
        }
        let Some(step) = [low, high].into_iter().find(|step| !looked_again.contains(step)) else { return Ok(()) };
        let again = estimate(step, Look::Again)?;
        curve.entry(step).and_modify(|share| *share = share.and(again));
        looked_again.insert(step);
    }
}

/// The neighbouring estimates between which the share rises most; of equal ones the later.
///
/// A gap that was halved competes with all others again: noise at one step does not lead astray for good.
pub(super) fn steepest(curve: &Curve) -> (u64, u64) {
    let gaps = curve.iter().zip(curve.iter().skip(1));
    let rise = |low: &Share, high: &Share| high.permille() as i64 - low.permille() as i64;
    let steepest = gaps.max_by_key(|((low, before), (high, after))| (rise(before, after), **low, **high));
    steepest.map_or((0, 0), |((low, _), (high, _))| (*low, *high))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use dacapo_core::digest::digest_of;
    use proptest::prelude::*;

    use super::*;
    use crate::blame::SAMPLES;

    /// Samples a share in thousandths, by hashes.
    fn sampled(permille: u64, salt: u64, step: u64, look: Look) -> Share {
        let samples = look.samples(SAMPLES);
        let of = samples.end - samples.start;
        let failing = samples.filter(|n| digest_of(salt, &(step, *n)) % 1_000 < permille).count() as u64;
        Share { failing, of }
    }

    fn located(last: u64, share: impl Fn(u64, Look) -> Share) -> (u64, u64, usize) {
        let mut curve = Curve::from([(last, Share::CERTAIN)]);
        let result: Result<(), Infallible> = locate(&mut curve, last, &mut |step, look| Ok(share(step, look)));
        assert_eq!(result, Ok(()));
        let (low, high) = steepest(&curve);
        (low, high, curve.len())
    }

    proptest! {
        #[test]
        fn a_point_of_no_return_is_found_through_the_noise(
            last in 2_u64..5_000,
            at in 0_u64..5_000,
            before in 0_u64..250,
            after in 950_u64..=1_000,
            salt in any::<u64>(),
        ) {
            // After the records before `at` everything is open; after record `at` it is all but lost.
            let at = at % last + 1;
            let share = |step, look| sampled(if step < at { before } else { after }, salt, step, look);
            let (low, high, estimates) = located(last, share);
            prop_assert_eq!((low, high), (at - 1, at));
            prop_assert!(estimates < 64, "{estimates} estimates");
        }
    }

    #[test]
    fn of_two_rises_the_greater_is_found() {
        let share = |step: u64, _| Share {
            failing: match step {
                0..700 => 1,
                700..900 => 5,
                _ => 23,
            },
            of: SAMPLES,
        };
        assert_eq!(located(1_000, share).1, 900);
    }

    #[test]
    fn where_nothing_is_open_until_the_end_the_end_is_to_blame() {
        let (low, high, _) = located(1_000, |_, _| Share { failing: 0, of: SAMPLES });
        assert_eq!((low, high), (999, 1_000));
    }

    #[test]
    fn what_was_estimated_is_kept_when_time_runs_out() {
        let (mut curve, mut left) = (Curve::from([(1_000, Share::CERTAIN)]), 9);
        let result = locate(&mut curve, 1_000, &mut |step, _| {
            left -= 1;
            if left == 0 { Err("time is out") } else { Ok(Share { failing: u64::from(step >= 500), of: 1 }) }
        });
        assert_eq!(result, Err("time is out"));
        assert_eq!(steepest(&curve), (375, 500));
    }
}
