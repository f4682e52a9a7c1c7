//! Chance, in the two forms that a simulation may use.
//!
//! * [`Stream`]: `ChaCha8`, one stream per concern, for drawing a *plan* before the run. What one concern draws never
//!   shifts another's numbers.
//! * [`stateless`]: a hash of (seed, concern, identity), for whatever is drawn *during* the run. It is never a running
//!   count, so that taking a fault out of a plan re-times nothing that the fault did not touch.
//!
//! There is no third form: no thread-local generator, and none that a library seeds by itself.

use std::hash::Hash;

use dacapo_core::digest::digest_of;
use dacapo_properties::scenario::Draw;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// A stream of numbers for one concern of one seed.
#[derive(Debug, Clone)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of this concern.
    pub fn new(seed: u64, concern: &str) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&digest_of(seed, concern).to_le_bytes());
        Self(ChaCha8Rng::from_seed(bytes))
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "a range has its lower end first: {low}..={high}");
        match (high - low).checked_add(1) {
            Some(width) => low + self.below(width),
            None => self.0.next_u64(),
        }
    }

    /// True `permille` times in a thousand.
    pub fn chance(&mut self, permille: u32) -> bool {
        self.below(1_000) < u64::from(permille)
    }

    /// One of these.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

impl Draw for Stream {
    fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "nothing can be drawn below zero");
        // Lemire's method without the rejection: the bias is n / 2^64.
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }
}

/// A number that depends on the seed, the concern and the identity alone.
pub fn stateless<I: Hash + ?Sized>(seed: u64, concern: &str, identity: &I) -> u64 {
    digest_of(digest_of(seed, concern), identity)
}

/// [`stateless`], uniform in `low..=high`.
pub fn stateless_between<I: Hash + ?Sized>(seed: u64, concern: &str, identity: &I, low: u64, high: u64) -> u64 {
    assert!(low <= high, "a range has its lower end first: {low}..={high}");
    let width = u128::from(high - low) + 1;
    low + ((u128::from(stateless(seed, concern, identity)) * width) >> 64) as u64
}

/// [`stateless`], true `permille` times in a thousand.
pub fn stateless_chance<I: Hash + ?Sized>(seed: u64, concern: &str, identity: &I, permille: u32) -> bool {
    stateless_between(seed, concern, identity, 0, 999) < u64::from(permille)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concerns_have_streams_of_their_own() {
        let draws = |concern| {
            let mut stream = Stream::new(7, concern);
            (0..4).map(|_| stream.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(draws("workload"), draws("workload"));
        assert_ne!(draws("workload"), draws("faults"));
    }

    #[test]
    fn draws_stay_in_their_range_and_reach_both_ends() {
        let mut stream = Stream::new(1, "test");
        let drawn: Vec<u64> = (0..200).map(|_| stream.between(3, 6)).collect();
        assert!((3..=6).all(|n| drawn.contains(&n)), "{drawn:?}");
        assert!(drawn.iter().all(|n| (3..=6).contains(n)), "{drawn:?}");
        let hashed: Vec<u64> = (0..200).map(|n| stateless_between(1, "test", &n, 3, 6)).collect();
        assert!((3..=6).all(|n| hashed.contains(&n)), "{hashed:?}");
    }

    #[test]
    fn a_stateless_draw_knows_no_history() {
        let first = stateless(9, "store latency", &("bus", 17));
        let _ = stateless(9, "store latency", &("bus", 18));
        assert_eq!(first, stateless(9, "store latency", &("bus", 17)));
        assert_ne!(first, stateless(9, "link latency", &("bus", 17)));
    }
}
