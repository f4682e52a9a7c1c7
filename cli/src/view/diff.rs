//! `dacapo diff`: where two recorded runs part.

use dacapo_reporting::run::{Run, divergence};
use dacapo_sim::narrate;

use super::export::found;
use crate::{
    arguments::DiffArguments,
    exit::{Exit, Usage},
    terminal::{Terminal, faint, grouped, strong},
};

/// Records shown before the first that differs.
const BEFORE: usize = 5;

/// Compares.
pub(crate) fn run(terminal: &Terminal, arguments: &DiffArguments) -> anyhow::Result<Exit> {
    let open = |path| {
        let path = found(path)?;
        Run::open(&path).map_err(|error| Usage::error(error.to_string()))
    };
    let (one, other) = (open(&arguments.one)?, open(&arguments.other)?);
    let at = divergence(&one.records, &other.records);
    terminal.object(
        "difference",
        &serde_json::json!({ "equal": at.is_none(), "step": at.map(|at| at + 1), "runs": [one.id, other.id] }),
    );
    let Some(at) = at else {
        terminal.line(format_args!("equal: {} records", grouped(one.records.len() as u64)));
        return Ok(Exit::Passed);
    };
    terminal.line(format_args!("equal for {} records", grouped(at as u64)));
    for record in &one.records[at.saturating_sub(BEFORE)..at] {
        terminal.line(faint(narrate::line(record)));
    }
    for run in [&one, &other] {
        terminal.line(strong(&run.manifest.name));
        match run.records.get(at) {
            Some(record) => terminal.line(narrate::line(record)),
            None => terminal.line("  (had ended)"),
        }
    }
    Ok(Exit::Differ)
}
