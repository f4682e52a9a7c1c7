//! `dacapo bugs`: the bug base, and what can be done with the bugs in it.
//!
//! Each verb has a file of its own; this one knows only who they are and where the base lies.

mod list;
pub(crate) mod planted;
mod table;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{exit::Exit, terminal::Terminal};

/// Where failures are kept unless `--bugs` says otherwise.
pub(crate) const DIRECTORY: &str = ".dacapo/bugs";

/// `bugs`
#[derive(Debug, Args)]
pub(crate) struct BugsArguments {
    /// The bug base
    #[arg(long, value_name = "DIR", default_value = DIRECTORY, global = true)]
    pub(crate) bugs: PathBuf,
    /// What to do with it
    #[command(subcommand)]
    pub(crate) verb: BugsVerb,
}

/// What to do with the bug base.
#[derive(Debug, Subcommand)]
pub(crate) enum BugsVerb {
    /// What was found so far
    List,
    /// How soon each planted bug is found: the harness's own test
    Planted(planted::PlantedArguments),
}

/// Obeys.
pub(crate) fn run(terminal: &Terminal, arguments: &BugsArguments) -> anyhow::Result<Exit> {
    match &arguments.verb {
        BugsVerb::List => list::run(terminal, &arguments.bugs),
        BugsVerb::Planted(planted) => planted::run(terminal, planted),
    }
}
