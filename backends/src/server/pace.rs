//! How fast a connection may send, and what all who show the same token may together.
//!
//! Nothing is dropped for it: whoever is too fast is read slower, until the network tells him. What is counted is what has
//! been read already, so that a message is never split over it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dacapo_core::{limits::Limits, time::Timestamp};

/// How much may come at once after a pause: what a second allows.
const BURST: Duration = Duration::from_secs(1);

/// So many a second.
#[derive(Debug)]
struct Rate {
    /// 0: as many as come.
    per_second: u64,
    /// When all that was taken is paid for.
    paid: Mutex<Timestamp>,
}

impl Rate {
    fn new(per_second: u64) -> Self {
        Self { per_second, paid: Mutex::default() }
    }

    /// Takes so many; how long to wait for it.
    fn take(&self, now: Timestamp, count: u64) -> Duration {
        if self.per_second == 0 || count == 0 {
            return Duration::ZERO;
        }
        let cost_us = u128::from(count) * 1_000_000 / u128::from(self.per_second);
        let cost = Duration::from_micros(u64::try_from(cost_us).unwrap_or(u64::MAX));
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        *paid = (*paid).max(now) + cost;
        paid.since(now).saturating_sub(BURST)
    }
}

/// So many frames and so many bytes a second.
#[derive(Debug)]
pub(super) struct Pace {
    frames: Rate,
    bytes: Rate,
}

impl Pace {
    pub(super) fn new(frames_per_second: u64, bytes_per_second: u64) -> Self {
        Self { frames: Rate::new(frames_per_second), bytes: Rate::new(bytes_per_second) }
    }

    /// Takes so many; how long to wait for it.
    pub(super) fn take(&self, now: Timestamp, frames: u64, bytes: u64) -> Duration {
        self.frames.take(now, frames).max(self.bytes.take(now, bytes))
    }
}

/// What all who show the same token use up together.
#[derive(Debug)]
pub(super) struct TokenPace {
    pace: Pace,
    open: AtomicUsize,
}

impl TokenPace {
    pub(super) fn new(limits: &Limits) -> Self {
        let pace = Pace::new(limits.token_frames_per_second_max, limits.token_bytes_per_second_max);
        Self { pace, open: AtomicUsize::new(0) }
    }
}

/// One token has as much open as it may.
#[derive(Debug, thiserror::Error)]
#[error("{open_max} connections and requests are open with this token, which is the limit")]
pub(super) struct TooMany {
    open_max: usize,
}

/// One connection or request of a token, given back when it is dropped.
#[derive(Debug)]
pub(super) struct TokenShare(Arc<TokenPace>);

impl TokenShare {
    pub(super) fn of(pace: Arc<TokenPace>, open_max: usize) -> Result<Self, TooMany> {
        let more = |open| (open < open_max).then_some(open + 1);
        match pace.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Self(pace)),
            Err(_) => Err(TooMany { open_max }),
        }
    }

    pub(super) fn pace(&self) -> &Pace {
        &self.0.pace
    }
}

impl Drop for TokenShare {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_free_after_a_pause_and_then_each_one_waits_its_turn() {
        let rate = Rate::new(100);
        let at = |millis: u64| Timestamp(millis * 1_000);
        assert_eq!(rate.take(at(0), 100), Duration::ZERO);
        assert_eq!(rate.take(at(0), 50), Duration::from_millis(500));
        assert_eq!(rate.take(at(1_000), 50), Duration::ZERO, "a second later the first hundred are paid for");
        assert_eq!(rate.take(at(90_000), 101), Duration::from_millis(10), "no more than a second is saved up");
        assert_eq!(Rate::new(0).take(at(0), u64::MAX), Duration::ZERO);
    }

    #[test]
    fn a_token_has_so_many_open_and_not_one_more() {
        let pace = Arc::new(TokenPace::new(&Limits::default()));
        let share = || TokenShare::of(Arc::clone(&pace), 2);
        let (one, other) = (share().expect("first"), share().expect("second"));
        assert!(share().expect_err("third").to_string().contains("2 connections"));
        drop(one);
        let again = share().expect("one was given back");
        drop((other, again));
        assert_eq!(pace.open.load(Ordering::Relaxed), 0);
    }
}
