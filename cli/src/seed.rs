//! A seed on the command line; how people write one is said in [`dacapo_sim::seed`].

use std::{fmt, str::FromStr};

use dacapo_sim::seed::{NoSeed, parse};
use serde::{Deserialize, Serialize};

/// The number from which a plan is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    /// The seed that comes `n` after this one; after the largest comes 0.
    pub(crate) fn plus(self, n: u64) -> Self {
        Self(self.0.wrapping_add(n))
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Seed {
    type Err = NoSeed;

    fn from_str(text: &str) -> Result<Self, NoSeed> {
        parse(text).map(Self)
    }
}
