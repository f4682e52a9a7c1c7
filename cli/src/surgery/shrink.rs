//! `dacapo shrink`: the smallest plan that still fails the same way.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::Args;
use dacapo_backends::clock::SystemClock;
use dacapo_sim::{Minimality, Plan, RunOptions, ShrinkError, ShrinkOptions, Shrunk, shrink as shrink_plan};
use serde::Serialize;

use super::{
    subject::{self, Naming},
    words,
};
use crate::{
    arguments::{EngineName, duration},
    bugs::DIRECTORY,
    exit::{Exit, Usage},
    scenarios,
    stopwatch::Stopwatch,
    terminal::{Terminal, bad, count, good, span, strong},
};

/// `shrink`
#[derive(Debug, Args)]
pub(crate) struct ShrinkArguments {
    /// A seed, a bug of `dacapo bugs list`, or the file of a saved plan
    #[arg(value_name = "SEED|BUG|FILE")]
    pub(crate) what: String,
    /// What to simulate, when a seed is given
    #[arg(long, default_value = "bank")]
    pub(crate) scenario: String,
    /// The profile that the seed was explored with
    #[arg(long, default_value = "swarm")]
    pub(crate) profile: String,
    /// What runs the plans; `both`: whichever a campaign with both runs the seed on
    #[arg(long, value_enum, default_value = "both")]
    pub(crate) engine: EngineName,
    /// Plant a bug, to see it found; needs a build with `--features planted-bugs`
    #[arg(long, value_name = "NAME")]
    pub(crate) bug: Option<String>,
    /// How long it may take: 90s, 15m, 2h
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub(crate) time: std::time::Duration,
    /// Plans tried at once
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) jobs: u64,
    /// Where to write the smaller plan; beside the bug base if left out
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The bug base
    #[arg(long, value_name = "DIR", default_value = DIRECTORY)]
    pub(crate) bugs: PathBuf,
}

/// The answer, for a program.
#[derive(Serialize)]
struct Line<'a> {
    seed: u64,
    property: &'a str,
    message: &'a str,
    minimality: Minimality,
    operations: (usize, usize),
    faults: (usize, usize),
    runs: u64,
    wall_s: f64,
    file: String,
    plan: &'a Plan,
}

/// Shrinks.
pub(crate) fn run(terminal: &Terminal, arguments: &ShrinkArguments) -> anyhow::Result<Exit> {
    let naming = Naming {
        what: &arguments.what,
        scenario: &arguments.scenario,
        profile: &arguments.profile,
        bug: arguments.bug.as_deref(),
        bugs: &arguments.bugs,
    };
    let whole = subject::find(&naming)?.plan;
    let scenario = scenarios::named(&whole.scenario)?;
    terminal.note(format_args!(
        "{} seed {}, {}: {} operations, {} faults, within {}",
        strong("shrink"),
        whole.seed,
        whole.scenario,
        whole.operations.len(),
        whole.faults.len(),
        span(arguments.time.as_secs_f64()),
    ));
    let options = ShrinkOptions {
        run: RunOptions { engine: arguments.engine.of(whole.seed), ..RunOptions::default() },
        budget: Some((Arc::new(SystemClock::default()), arguments.time)),
        jobs: arguments.jobs as usize,
    };
    let watch = Stopwatch::start();
    let shrunk = match shrink_plan(&*scenario, &whole, &options) {
        Ok(shrunk) => shrunk,
        Err(ShrinkError::Passes) => {
            terminal.line(format_args!("{}: the plan breaks nothing, so there is nothing to shrink", good("passed")));
            return Ok(Exit::Passed);
        }
        Err(ShrinkError::Plan(error)) => return Err(Usage::error(error.to_string())),
    };
    let wall_s = watch.elapsed().as_secs_f64();
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => PathBuf::from(format!("shrunk-{}-seed-{}.json", shrunk.failing.property, whole.seed)),
    };
    fs::write(&out, shrunk.plan.to_json())
        .with_context(|| format!("cannot write the smaller plan to {}", out.display()))?;
    tell(terminal, &whole, &shrunk, wall_s);
    terminal.line(format_args!("{:<10} dacapo replay {}", "again", out.display()));
    terminal.object(
        "shrunk",
        &Line {
            seed: whole.seed,
            property: &shrunk.failing.property,
            message: &shrunk.violation.message,
            minimality: shrunk.minimality,
            operations: (whole.operations.len(), shrunk.plan.operations.len()),
            faults: (whole.faults.len(), shrunk.plan.faults.len()),
            runs: shrunk.runs,
            wall_s: (wall_s * 1e3).round() / 1e3,
            file: out.display().to_string(),
            plan: &shrunk.plan,
        },
    );
    Ok(Exit::Violated)
}

/// Says what is left, a line each.
pub(crate) fn tell(terminal: &Terminal, whole: &Plan, shrunk: &Shrunk, wall_s: f64) {
    let Shrunk { plan, violation, .. } = shrunk;
    terminal.line(format_args!("{} {}: {}", bad("VIOLATED"), strong(violation.property), violation.sentence));
    terminal.line(&violation.message);
    terminal.line("");
    for line in words::lines(plan) {
        terminal.line(format_args!("  {line}"));
    }
    terminal.line("");
    terminal.line(format_args!(
        "small      {} and {}, of {} and {}; {}",
        count(plan.operations.len() as u64, "operation", "operations"),
        count(plan.faults.len() as u64, "fault", "faults"),
        whole.operations.len(),
        whole.faults.len(),
        minimality(shrunk.minimality),
    ));
    terminal.line(format_args!("           found in {} with {}", span(wall_s), count(shrunk.runs, "run", "runs")));
}

/// In words.
pub(crate) fn minimality(minimality: Minimality) -> &'static str {
    match minimality {
        Minimality::Minimal => "minimal: without any one of them it fails no more",
        Minimality::TimeRanOut => "time ran out, so it may not be minimal; give more with --time",
    }
}
