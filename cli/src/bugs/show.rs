//! `dacapo bugs show`.

use dacapo_sim::BugBase;

use super::{ShowArguments, list::BugLine, named};
use crate::{
    exit::Exit,
    surgery::words,
    terminal::{Terminal, bad, count, strong},
};

/// Says all that is known of a bug.
pub(super) fn run(terminal: &Terminal, base: &BugBase, arguments: &ShowArguments) -> anyhow::Result<Exit> {
    let bug = named(base, &arguments.id)?;
    terminal.line(format_args!("{} {}: {}", bad("VIOLATED"), strong(&bug.property), bug.sentence));
    terminal.line(&bug.message);
    terminal.line("");
    let plan = bug.smallest();
    for line in words::lines(plan) {
        terminal.line(format_args!("  {line}"));
    }
    terminal.line("");
    match &bug.small {
        Some(small) => terminal.line(format_args!(
            "small      {}, of {} operations and {} faults; {}",
            words::size(plan),
            bug.plan.operations.len(),
            bug.plan.faults.len(),
            words::minimality(small.minimality),
        )),
        None => {
            terminal.line(format_args!("plan       {}; not shrunk yet: dacapo shrink {}", words::size(plan), bug.id));
        }
    }
    terminal.line(format_args!(
        "found      {}, from {} to {}, by `{}`",
        count(bug.count, "time", "times"),
        bug.first_seen,
        bug.last_seen,
        bug.provenance.command,
    ));
    let clean = match bug.provenance.clean {
        Some(false) => ", with changes that are not committed",
        _ => "",
    };
    terminal.line(format_args!(
        "of         commit {}{clean}, version {}, profile {}",
        bug.provenance.commit, bug.provenance.version, bug.plan.profile
    ));
    terminal.line(format_args!("file       {}", base.path(&bug).display()));
    terminal.object("bug", &BugLine::of(base, &bug));
    Ok(Exit::Passed)
}
