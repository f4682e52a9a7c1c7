//! The command lines of `shrink` and `blame`.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use dacapo_sim::Engine;

use super::subject::{self, Naming, Subject};
use crate::{
    arguments::{EngineName, duration},
    bugs::DIRECTORY,
};

/// Which plan, and what runs it.
#[derive(Debug, Args)]
pub(crate) struct SubjectArguments {
    /// A seed, a bug of `dacapo bugs list`, or the file of a saved plan
    #[arg(value_name = "SEED|BUG|FILE")]
    pub(crate) what: String,
    /// What to simulate, when a seed is given
    #[arg(long, default_value = "bank")]
    pub(crate) scenario: String,
    /// The profile that the seed was explored with
    #[arg(long, default_value = "swarm")]
    pub(crate) profile: String,
    /// What runs the plans; if left out: of a bug, what found it, else what a campaign with both runs the seed on
    #[arg(long, value_enum)]
    pub(crate) engine: Option<EngineName>,
    /// Plant a bug, to see it found; needs a build with `--features planted-bugs`
    #[arg(long, value_name = "NAME")]
    pub(crate) bug: Option<String>,
    /// Plans tried at once
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) jobs: u64,
    /// The bug base
    #[arg(long, value_name = "DIR", default_value = DIRECTORY)]
    pub(crate) bugs: PathBuf,
}

impl SubjectArguments {
    /// The plan that is meant.
    pub(crate) fn subject(&self) -> anyhow::Result<Subject> {
        subject::find(&Naming {
            what: &self.what,
            scenario: &self.scenario,
            profile: &self.profile,
            bug: self.bug.as_deref(),
            bugs: &self.bugs,
        })
    }

    /// What runs it.
    pub(crate) fn engine(&self, subject: &Subject) -> Engine {
        self.engine.map_or_else(|| subject.engine(), |name| name.of(subject.plan.seed))
    }
}

/// `shrink`
#[derive(Debug, Args)]
pub(crate) struct ShrinkArguments {
    /// Which plan
    #[command(flatten)]
    pub(crate) subject: SubjectArguments,
    /// How long it may take: 90s, 15m, 2h
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub(crate) time: Duration,
    /// Write the smaller plan here; a bug of the bug base gets it in any case
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// `blame`
#[derive(Debug, Args)]
pub(crate) struct BlameArguments {
    /// Which plan
    #[command(flatten)]
    pub(crate) subject: SubjectArguments,
    /// How long it may take: 90s, 15m, 2h
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s")]
    pub(crate) time: Duration,
    /// Futures that are tried from each step
    #[arg(long, value_name = "N", default_value_t = dacapo_sim::blame::SAMPLES, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) samples: u64,
}
