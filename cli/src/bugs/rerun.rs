//! `dacapo bugs rerun`: do they still fail?

use dacapo_sim::{BugBase, Plan, RunOptions, bugbase::KnownBug, run as run_plan};
use serde::Serialize;

use super::{RerunArguments, all, named};
use crate::{
    exit::{Exit, Usage},
    scenarios,
    terminal::{Terminal, bad, count, good, strong},
};

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
enum Fate {
    /// It breaks the same property.
    StillFails {
        /// How.
        message: String,
    },
    /// It breaks another one.
    FailsOtherwise {
        /// Which.
        property: String,
        /// How.
        message: String,
    },
    /// It breaks nothing.
    PassesNow,
}

impl Fate {
    fn words(&self) -> String {
        match self {
            Self::StillFails { message } => format!("{}: {message}", bad("still fails")),
            Self::FailsOtherwise { property, message } => format!("{} {property}: {message}", bad("now breaks")),
            Self::PassesNow => good("passes now"),
        }
    }
}

/// A bug, for a program.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    property: &'a str,
    found: Fate,
    small: Option<Fate>,
}

/// Runs bugs again.
pub(super) fn run(terminal: &Terminal, base: &BugBase, arguments: &RerunArguments) -> anyhow::Result<Exit> {
    let bugs = if arguments.ids.is_empty() {
        all(terminal, base)?
    } else {
        arguments.ids.iter().map(|id| named(base, id)).collect::<anyhow::Result<_>>()?
    };
    let mut failing = 0;
    for bug in &bugs {
        let found = fate(bug, &bug.plan)?;
        let small = bug.small.as_ref().map(|small| fate(bug, &small.plan)).transpose()?;
        let fates: Vec<&Fate> = [Some(&found), small.as_ref()].into_iter().flatten().collect();
        failing += u64::from(fates.iter().any(|fate| **fate != Fate::PassesNow));
        terminal.line(format_args!("{}  {}", strong(&bug.id), bug.property));
        terminal.line(format_args!("  as found   {}", found.words()));
        if let Some(small) = &small {
            terminal.line(format_args!("  as shrunk  {}", small.words()));
        }
        terminal.object("rerun", &Line { id: &bug.id, property: &bug.property, found, small });
    }
    let bugs = count(bugs.len() as u64, "bug", "bugs");
    if failing == 0 {
        terminal.line(format_args!("{}: none of {bugs} fails any more", good("passed")));
        return Ok(Exit::Passed);
    }
    terminal.line(format_args!(
        "{}: {failing} of {bugs} still {}",
        bad("failed"),
        if failing == 1 { "fails" } else { "fail" }
    ));
    Ok(Exit::Violated)
}

fn fate(bug: &KnownBug, plan: &Plan) -> anyhow::Result<Fate> {
    let scenario = scenarios::named(&bug.scenario)?;
    let options = RunOptions { engine: bug.engine, ..RunOptions::default() };
    let outcome = run_plan(&*scenario, plan, &options).map_err(|error| Usage::error(format!("{}: {error}", bug.id)))?;
    Ok(match outcome.violation {
        None => Fate::PassesNow,
        Some(violation) if violation.property == bug.property => Fate::StillFails { message: violation.message },
        Some(violation) => Fate::FailsOtherwise { property: violation.property.to_owned(), message: violation.message },
    })
}
