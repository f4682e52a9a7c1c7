//! `dacapo shrink`: the smallest plan that still fails the same way.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use dacapo_backends::clock::SystemClock;
use dacapo_sim::{
    BugBase, Minimality, Plan, RunOptions, ShrinkError, ShrinkOptions, Shrunk,
    bugbase::{KnownBug, Small},
    shrink as shrink_plan,
};
use serde::Serialize;

use super::{arguments::ShrinkArguments, words};
use crate::{
    bugs,
    exit::{Exit, Usage},
    scenarios,
    stopwatch::Stopwatch,
    terminal::{Terminal, bad, count, good, span, strong},
};

/// The answer, for a program.
#[derive(Serialize)]
struct Line<'a> {
    seed: u64,
    property: &'a str,
    message: &'a str,
    minimality: Minimality,
    operations: usize,
    faults: usize,
    operations_before: usize,
    faults_before: usize,
    runs: u64,
    wall_s: f64,
    file: Option<String>,
    bug: Option<&'a str>,
    plan: &'a Plan,
}

/// Shrinks.
pub(crate) fn run(terminal: &Terminal, arguments: &ShrinkArguments) -> anyhow::Result<Exit> {
    let subject = arguments.subject.subject()?;
    let engine = arguments.subject.engine(&subject);
    let whole = &subject.plan;
    let scenario = scenarios::named(&whole.scenario)?;
    terminal.note(format_args!(
        "{} seed {}, {}: {}, for {} at most",
        strong("shrink"),
        whole.seed,
        whole.scenario,
        words::size(whole),
        span(arguments.time.as_secs_f64()),
    ));
    let options = ShrinkOptions {
        run: RunOptions { engine, ..RunOptions::default() },
        budget: Some((Arc::new(SystemClock::default()), arguments.time)),
        jobs: arguments.subject.jobs as usize,
    };
    let watch = Stopwatch::start();
    let shrunk = match shrink_plan(&*scenario, whole, &options) {
        Ok(shrunk) => shrunk,
        Err(ShrinkError::Passes) => {
            terminal.line(format_args!("{}: the plan breaks nothing, so there is nothing to shrink", good("passed")));
            return Ok(Exit::Passed);
        }
        Err(ShrinkError::Plan(error)) => return Err(Usage::error(error.to_string())),
    };
    let wall_s = watch.elapsed().as_secs_f64();
    let known = subject.known.as_ref().filter(|bug| bug.engine == engine && bug.plan == *whole);
    let file = save(arguments, known, &shrunk)?;
    tell(terminal, whole, &shrunk, wall_s);
    let again = match (&file, known) {
        (Some(file), _) => file.display().to_string(),
        (None, Some(bug)) => format!("{}{}", bug.id, bugs::flag(&arguments.subject.bugs)),
        (None, None) => unreachable!("where there is no bug, there is a file"),
    };
    terminal.line(format_args!("{:<10} dacapo replay {again}", "again"));
    terminal.object(
        "shrunk",
        &Line {
            seed: whole.seed,
            property: &shrunk.failing.property,
            message: &shrunk.violation.message,
            minimality: shrunk.minimality,
            operations: shrunk.plan.operations.len(),
            faults: shrunk.plan.faults.len(),
            operations_before: whole.operations.len(),
            faults_before: whole.faults.len(),
            runs: shrunk.runs,
            wall_s: (wall_s * 1e3).round() / 1e3,
            file: file.map(|file| file.display().to_string()),
            bug: known.map(|bug| bug.id.as_str()),
            plan: &shrunk.plan,
        },
    );
    Ok(Exit::Violated)
}

/// Into the file that was asked for, and into the bug base if it is a bug of it; else beside where we are.
fn save(arguments: &ShrinkArguments, known: Option<&KnownBug>, shrunk: &Shrunk) -> anyhow::Result<Option<PathBuf>> {
    if let Some(bug) = known {
        let small = Small { minimality: shrunk.minimality, plan: shrunk.plan.clone() };
        BugBase::at(&arguments.subject.bugs).keep_small(bug.clone(), small)?;
    }
    let out = match (&arguments.out, known) {
        (Some(out), _) => out.clone(),
        (None, Some(_)) => return Ok(None),
        (None, None) => {
            Path::new(".dacapo").join(format!("{}-seed-{}-small.json", shrunk.failing.property, shrunk.plan.seed))
        }
    };
    let directory = out.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&out, shrunk.plan.to_json()))
        .with_context(|| format!("cannot write the smaller plan to {}", out.display()))?;
    Ok(Some(out))
}

/// Says what is left, a line each, and what it was.
fn tell(terminal: &Terminal, whole: &Plan, shrunk: &Shrunk, wall_s: f64) {
    let Shrunk { plan, violation, .. } = shrunk;
    terminal.line(format_args!("{} {}: {}", bad("VIOLATED"), strong(violation.property), violation.sentence));
    terminal.line(&violation.message);
    terminal.line("");
    for line in words::lines(plan) {
        terminal.line(format_args!("  {line}"));
    }
    terminal.line("");
    terminal.line(format_args!("small      {}; {}", words::size(plan), words::minimality(shrunk.minimality)));
    for (index, line) in words::taken_out(whole, plan).iter().enumerate() {
        terminal.line(format_args!("{:<10} {line}", if index == 0 { "taken out" } else { "" }));
    }
    terminal.line(format_args!(
        "found      in {} with {}; {} more were known",
        span(wall_s),
        count(shrunk.runs, "run", "runs"),
        shrunk.known
    ));
}
