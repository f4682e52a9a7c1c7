//! `dacapo verify`: whether a store is whole, and whether its log is as it was written.

use std::path::PathBuf;

use clap::Args;
use dacapo_backends::{SqliteReader, sqlite::ChainHead};
use dacapo_core::store::StoreError;
use serde::Serialize;

use crate::{
    exit::{Exit, Usage},
    terminal::{Terminal, bad, good, strong},
};

/// What is said below `--help`.
pub(crate) const HELP: &str = "\
Each event carries a hash over itself and the one before. Whoever alters the file is found by it, unless he
computes all hashes anew: write the head that this prints down elsewhere, and give it back with --expect.";

/// `verify`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct VerifyArguments {
    /// The store; a bus may run on it
    #[arg(long, value_name = "FILE")]
    db: PathBuf,
    /// A head that was printed earlier: the log must still go through it
    #[arg(long, value_name = "HEAD")]
    expect: Option<ChainHead>,
}

#[derive(Serialize)]
struct Verified {
    head: String,
    position: u64,
    covered_as_a_whole: u64,
    altered_at: Option<u64>,
    why: Option<String>,
}

/// Walks the log; altered is an exit code of its own.
pub(crate) fn run(terminal: &Terminal, arguments: &VerifyArguments) -> anyhow::Result<Exit> {
    let mut reader = SqliteReader::open_read_only(&arguments.db).map_err(|error| match error {
        StoreError::NotAStore(sentence) => Usage::error(sentence),
        error => anyhow::Error::new(error),
    })?;
    let report = reader.verify_chain(arguments.expect)?;
    // What the chain does not cover: indices, heads, completions, lanes.
    let whole = reader.check();
    let (altered_at, why) = match (&report.altered, &whole) {
        (Some(altered), _) => (Some(altered.position.0), Some(altered.why.clone())),
        (None, Err(error)) => (None, Some(error.to_string())),
        (None, Ok(())) => (None, None),
    };
    let head = report.head.to_string();
    let is_whole = why.is_none();
    match (altered_at, &why) {
        (Some(position), Some(why)) => terminal.line(format_args!("{} at position {position}: {why}", bad("altered"))),
        (None, Some(why)) => terminal.line(format_args!("{}: {why}", bad("damaged"))),
        (_, None) => {
            terminal.line(format_args!("{} {} events follow from each other", good("whole"), report.head.position));
        }
    }
    terminal.line(format_args!("{} {head}", strong("head ")));
    if report.covered_as_a_whole.0 > 0 {
        let until = report.covered_as_a_whole;
        terminal.note(format_args!("events up to {until} are older than the chain, and covered as a whole"));
    }
    let covered_as_a_whole = report.covered_as_a_whole.0;
    terminal
        .object("verified", &Verified { head, position: report.head.position.0, covered_as_a_whole, altered_at, why });
    Ok(if is_whole { Exit::Passed } else { Exit::Violated })
}
