//! The only module that speaks to the simulator.

use dacapo_core::planted::{BUILT_IN, Bug};
use serde::{Deserialize, Serialize};

use super::result::SeedResult;
use crate::{exit::Usage, seed::Seed};

/// How plans are drawn and carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Which scenario.
    pub(crate) scenario: String,
    /// Which profile.
    pub(crate) profile: String,
    /// A planted bug.
    pub(crate) bug: Option<Bug>,
    /// Whether to run everything twice.
    pub(crate) verify: bool,
}

impl Order {
    /// Checks the names, so that a campaign does not find out at its first seed.
    pub(crate) fn new(scenario: &str, profile: &str, bug: Option<&str>, verify: bool) -> anyhow::Result<Self> {
        Ok(Self { scenario: scenario.to_owned(), profile: profile.to_owned(), bug: bug.map(planted).transpose()?, verify })
    }

    /// The marks that a campaign of this kind should reach.
    pub(crate) fn reachable_marks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A planted bug by name; a build that carries none says how to get one that does.
fn planted(name: &str) -> anyhow::Result<Bug> {
    let bug: Bug = name.parse().map_err(Usage::error)?;
    if BUILT_IN {
        Ok(bug)
    } else {
        Err(Usage::error(format!(
            "this build carries no planted bugs, so {name} cannot be planted; build one that does with `cargo build --release \
             --features planted-bugs`, or run `cargo run --release --features planted-bugs -- sim --bug {name}`"
        )))
    }
}

/// Runs one seed.
pub(crate) fn run_seed(order: &Order, seed: Seed) -> SeedResult {
    let _ = order;
    SeedResult::harness(seed, "the simulator has not landed".to_owned())
}
