//! How many of some continuations fail, and what that says of all of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The normal deviate of a two-sided interval of 95 %.
const Z: f64 = 1.96;

/// So many of so many continuations fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Share {
    /// Those that fail the same way.
    pub failing: u64,
    /// All that were tried.
    pub of: u64,
}

impl Share {
    /// Of what was tried itself.
    pub const CERTAIN: Self = Self { failing: 1, of: 1 };

    /// In thousandths; 0 of none.
    pub fn permille(self) -> u64 {
        (self.failing * 1_000).checked_div(self.of).unwrap_or(0)
    }

    /// Where the true share lies, 19 times out of 20: Wilson's interval, in thousandths.
    pub fn interval_permille(self) -> (u64, u64) {
        if self.of == 0 {
            return (0, 1_000);
        }
        let (n, p) = (self.of as f64, self.failing as f64 / self.of as f64);
        let middle = p + Z * Z / (2.0 * n);
        let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let bound = |value: f64| (value / (1.0 + Z * Z / n) * 1_000.0).clamp(0.0, 1_000.0).round() as u64;
        (bound(middle - half), bound(middle + half))
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { failing: self.failing + other.failing, of: self.of + other.of }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |permille: u64| (permille + 5) / 10;
        let (low, high) = self.interval_permille();
        let share = percent(self.permille());
        write!(f, "{share} % ({} of {}; {} to {} %)", self.failing, self.of, percent(low), percent(high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        // From the formula, worked out by hand for known cases.
        assert_eq!(Share { failing: 0, of: 24 }.interval_permille(), (0, 138));
        assert_eq!(Share { failing: 24, of: 24 }.interval_permille(), (862, 1_000));
        assert_eq!(Share { failing: 12, of: 24 }.interval_permille(), (314, 686));
        assert_eq!(Share::default().interval_permille(), (0, 1_000));
    }

    #[test]
    fn a_share_is_told_with_its_sample() {
        assert_eq!(Share { failing: 3, of: 24 }.to_string(), "13 % (3 of 24; 4 to 31 %)");
    }

    #[test]
    fn more_samples_make_the_interval_narrower() {
        let width = |of: u64| {
            let (low, high) = Share { failing: of / 4, of }.interval_permille();
            high - low
        };
        assert!(width(16) > width(64) && width(64) > width(256));
    }
}
