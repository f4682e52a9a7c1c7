//! How often somebody may knock: a bucket of tries for each address and each name, which fills again slowly.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use dacapo_core::Timestamp;

/// Buckets that are kept. Full ones are forgotten first, since they are as good as new.
const BUCKETS_MAX: usize = 10_000;

/// How many tries at once, and how long one takes to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// At once.
    pub tries: u32,
    /// For one to come back.
    pub every: Duration,
}

/// The buckets of one concern.
#[derive(Debug)]
pub struct Limiter {
    pace: Pace,
    /// When each bucket will be full again.
    full_at: Mutex<BTreeMap<String, Timestamp>>,
}

impl Limiter {
    /// With this pace for everybody.
    pub fn new(pace: Pace) -> Self {
        Self { pace, full_at: Mutex::default() }
    }

    /// Takes a try; how long to wait for one, if there is none.
    pub fn take(&self, who: &str, now: Timestamp) -> Result<(), Duration> {
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = self.pace.every * self.pace.tries;
        let full_at = buckets.get(who).copied().unwrap_or(now).max(now) + self.pace.every;
        if let Some(wait) = full_at.since(now).checked_sub(whole).filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(who) {
            buckets.retain(|_, full_at| *full_at > now);
            if buckets.len() >= BUCKETS_MAX
                && let Some(fullest) = buckets.iter().min_by_key(|(_, full_at)| **full_at).map(|(who, _)| who.clone())
            {
                buckets.remove(&fullest);
            }
        }
        buckets.insert(who.to_owned(), full_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { tries: 3, every: Duration::from_secs(10) };

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    #[test]
    fn tries_are_used_up_and_come_back_one_by_one() {
        let limiter = Limiter::new(PACE);
        for _ in 0..3 {
            assert_eq!(limiter.take("ada", at(100)), Ok(()));
        }
        assert_eq!(limiter.take("ada", at(100)), Err(Duration::from_secs(10)));
        assert_eq!(limiter.take("bob", at(100)), Ok(()), "everybody has their own");
        assert_eq!(limiter.take("ada", at(104)), Err(Duration::from_secs(6)));
        assert_eq!(limiter.take("ada", at(110)), Ok(()));
        assert_eq!(limiter.take("ada", at(110)), Err(Duration::from_secs(10)), "a refusal costs nothing more");
        assert_eq!((0..4).filter(|_| limiter.take("ada", at(1_000)).is_ok()).count(), 3);
    }

    #[test]
    fn buckets_are_bounded() {
        let limiter = Limiter::new(PACE);
        for number in 0..=BUCKETS_MAX {
            assert_eq!(limiter.take(&number.to_string(), at(1)), Ok(()));
        }
        assert_eq!(limiter.full_at.lock().unwrap().len(), BUCKETS_MAX);
    }
}
