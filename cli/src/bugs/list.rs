//! `dacapo bugs list`.

use dacapo_sim::{BugBase, bugbase::KnownBug};
use serde::Serialize;

use super::all;
use crate::{
    exit::Exit,
    terminal::{Terminal, count, faint, strong},
};

/// A bug, for a program.
#[derive(Serialize)]
pub(super) struct BugLine<'a> {
    id: &'a str,
    property: &'a str,
    seed: u64,
    scenario: &'a str,
    profile: &'a str,
    engine: dacapo_sim::Engine,
    bug: Option<&'a str>,
    count: u64,
    first_seen: &'a str,
    last_seen: &'a str,
    operations: usize,
    faults: usize,
    small_operations: Option<usize>,
    small_faults: Option<usize>,
    minimality: Option<dacapo_sim::Minimality>,
    message: &'a str,
    file: String,
    commit: &'a str,
    command: &'a str,
}

impl<'a> BugLine<'a> {
    /// What is told of a bug.
    pub(super) fn of(base: &BugBase, bug: &'a KnownBug) -> Self {
        let small = bug.small.as_ref();
        Self {
            id: &bug.id,
            property: &bug.property,
            seed: bug.seed,
            scenario: &bug.scenario,
            profile: &bug.plan.profile,
            engine: bug.engine,
            bug: bug.plan.bug.map(dacapo_core::planted::Bug::name),
            count: bug.count,
            first_seen: &bug.first_seen,
            last_seen: &bug.last_seen,
            operations: bug.plan.operations.len(),
            faults: bug.plan.faults.len(),
            small_operations: small.map(|small| small.plan.operations.len()),
            small_faults: small.map(|small| small.plan.faults.len()),
            minimality: small.map(|small| small.minimality),
            message: &bug.message,
            file: base.path(bug).display().to_string(),
            commit: &bug.provenance.commit,
            command: &bug.provenance.command,
        }
    }
}

/// Lists what was found.
pub(super) fn run(terminal: &Terminal, base: &BugBase) -> anyhow::Result<Exit> {
    let bugs = all(terminal, base)?;
    if bugs.is_empty() {
        terminal.line("no bug was found here yet");
    }
    for bug in &bugs {
        let planted = bug.plan.bug.map(|bug| format!(", planted: {bug}")).unwrap_or_default();
        terminal.line(format_args!("{}  {}{planted}", strong(&bug.id), bug.property));
        let plan = bug.smallest();
        terminal.line(faint(format_args!(
            "              {} and {}, seed {}, found {}, last {}",
            count(plan.operations.len() as u64, "operation", "operations"),
            count(plan.faults.len() as u64, "fault", "faults"),
            bug.seed,
            count(bug.count, "time", "times"),
            bug.last_seen,
        )));
        terminal.object("bug", &BugLine::of(base, bug));
    }
    Ok(Exit::Passed)
}
