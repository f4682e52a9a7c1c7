//! What was measured.

use std::{fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

/// A minute: whatever takes longer is told as that.
const LONGEST_US: u64 = 60_000_000;

/// Of microseconds, to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are constants that fit together")
}

/// What was measured after the warm-up.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figures {
    /// Events that are in the log.
    pub(super) accepted: u64,
    /// Events that were meant to be stale, and were found so.
    pub(super) stale: u64,
    /// Publishes that had to be sent again because the bus was full.
    pub(super) throttled: u64,
    /// Completions, over all services.
    pub(super) completed: u64,
    /// Deliveries that were not the first of their event.
    pub(super) delivered_again: u64,
    /// Events accepted in each second.
    pub(super) accepted_by_second: Vec<u64>,
    /// Completions in each second.
    pub(super) completed_by_second: Vec<u64>,
    #[serde(skip)]
    pub(super) time: Duration,
    /// From sending a publish to its receipt.
    #[serde(skip)]
    pub(super) receipt: Histogram<u64>,
    /// From sending a publish to knowing that a service has completed its event.
    #[serde(skip)]
    pub(super) publish_to_completed: Histogram<u64>,
}

impl Figures {
    pub(super) fn new() -> Self {
        Self {
            accepted: 0,
            stale: 0,
            throttled: 0,
            completed: 0,
            delivered_again: 0,
            accepted_by_second: Vec::new(),
            completed_by_second: Vec::new(),
            time: Duration::ZERO,
            receipt: histogram(),
            publish_to_completed: histogram(),
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.time.as_secs_f64().max(0.001)
    }
}

/// Adds to the second in which something was.
pub(super) fn count_in(seconds: &mut Vec<u64>, at: Duration, n: u64) {
    let second = at.as_secs() as usize;
    if seconds.len() <= second {
        seconds.resize(second + 1, 0);
    }
    seconds[second] += n;
}

/// A histogram in a few numbers, in microseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Latency {
    pub(super) count: u64,
    pub(super) mean_us: f64,
    pub(super) p50_us: u64,
    pub(super) p90_us: u64,
    pub(super) p99_us: u64,
    pub(super) p999_us: u64,
    pub(super) max_us: u64,
}

impl Latency {
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            mean_us: histogram.mean(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max(),
        }
    }
}

/// For people.
pub(super) fn shown(us: u64) -> String {
    match us {
        0..=999 => format!("{us} µs"),
        1_000..=99_999 => format!("{:.2} ms", us as f64 / 1_000.0),
        _ => format!("{:.2} s", us as f64 / 1_000_000.0),
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("nothing was measured");
        }
        let [p50, p99, p999, max] = [self.p50_us, self.p99_us, self.p999_us, self.max_us].map(shown);
        write!(f, "median {p50}, p99 {p99}, p99.9 {p999}, longest {max}")
    }
}
