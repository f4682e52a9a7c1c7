//! `dacapo bugs`: the bug base, and what can be done with the bugs in it.
//!
//! Each verb has a file of its own; this one knows only who they are and where the base lies. What other verbs find gets
//! into the base by [`keep`].

pub(crate) mod keep;
mod list;
pub(crate) mod planted;
mod promote;
mod rerun;
mod show;
mod table;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use dacapo_sim::{BugBase, bugbase::KnownBug};

use crate::{
    exit::{Exit, Usage},
    terminal::Terminal,
};

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
    /// All that is known of a bug
    Show(ShowArguments),
    /// Run bugs again, as found and as shrunk: which still fail?
    Rerun(RerunArguments),
    /// Write a bug that is mended into a folder of regressions, which tests replay
    Promote(PromoteArguments),
}

/// `bugs show`
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// Which bug; the beginning of its id is enough
    #[arg(value_name = "BUG")]
    pub(crate) id: String,
}

/// `bugs rerun`
#[derive(Debug, Args)]
pub(crate) struct RerunArguments {
    /// Which bugs; all if none is named
    #[arg(value_name = "BUG")]
    pub(crate) ids: Vec<String>,
}

/// `bugs promote`
#[derive(Debug, Args)]
pub(crate) struct PromoteArguments {
    /// Which bug; it must pass by now
    #[arg(value_name = "BUG")]
    pub(crate) id: String,
    /// What went wrong, for whoever reads it in a year; what the property said if left out
    #[arg(long, value_name = "TEXT")]
    pub(crate) story: Option<String>,
    /// A mark that the plan reaches; the rarest if left out
    #[arg(long, value_name = "MARK")]
    pub(crate) mark: Option<String>,
    /// The folder of regressions
    #[arg(long, value_name = "DIR", default_value = "regressions")]
    pub(crate) to: PathBuf,
}

/// Obeys.
pub(crate) fn run(terminal: &Terminal, arguments: &BugsArguments) -> anyhow::Result<Exit> {
    let base = BugBase::at(&arguments.bugs);
    match &arguments.verb {
        BugsVerb::List => list::run(terminal, &base),
        BugsVerb::Show(wanted) => show::run(terminal, &base, wanted),
        BugsVerb::Rerun(wanted) => rerun::run(terminal, &base, wanted),
        BugsVerb::Promote(wanted) => promote::run(terminal, &base, wanted),
        BugsVerb::Planted(planted) => planted::run(terminal, planted),
    }
}

/// The bug that is meant.
pub(crate) fn named(base: &BugBase, id: &str) -> anyhow::Result<KnownBug> {
    base.get(id).map_err(|error| Usage::error(error.to_string()))
}

/// All bugs, the first found first. Files that are none are told.
fn all(terminal: &Terminal, base: &BugBase) -> anyhow::Result<Vec<KnownBug>> {
    let contents = base.contents()?;
    for error in &contents.unreadable {
        terminal.note(error);
    }
    Ok(contents.bugs)
}

/// ` --bugs DIR`, for a command that is shown; nothing where the default is meant.
pub(crate) fn flag(directory: &Path) -> String {
    if directory == Path::new(DIRECTORY) { String::new() } else { format!(" --bugs {}", directory.display()) }
}
