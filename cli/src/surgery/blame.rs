//! `dacapo blame`: the step at which failure became inevitable.

use std::{sync::Arc, time::Duration};

use dacapo_backends::clock::SystemClock;
use dacapo_core::{Timestamp, trace::Record};
use dacapo_reporting::run::Blamed;
use dacapo_sim::{
    Blame, BlameError, BlameOptions, RunOptions, Share, blame as blame_plan,
    blame::{Certainty, SAMPLES},
    bugbase::{KnownBug, Small},
};
use serde::Serialize;

use super::arguments::BlameArguments;
use crate::{
    exit::{Exit, Usage},
    scenarios,
    sim_command::record_line,
    stopwatch::Stopwatch,
    terminal::{Terminal, bad, count, good, span, strong},
};

/// A share, for a program.
#[derive(Serialize)]
struct ShareLine {
    step: u64,
    failing: u64,
    of: u64,
    /// Wilson's interval, in thousandths.
    interval_permille: (u64, u64),
}

impl ShareLine {
    fn of(step: u64, share: Share) -> Self {
        Self { step, failing: share.failing, of: share.of, interval_permille: share.interval_permille() }
    }
}

/// The answer, for a program.
#[derive(Serialize)]
struct Line<'a> {
    seed: u64,
    property: &'a str,
    message: &'a str,
    step: u64,
    at_us: Option<u64>,
    certainty: Certainty,
    before: ShareLine,
    after: ShareLine,
    violated_at_step: u64,
    curve: Vec<ShareLine>,
    around: &'a [Record],
    runs: u64,
    left_out: u64,
    strayed: u64,
    wall_s: f64,
}

/// Blames.
pub(crate) fn run(terminal: &Terminal, arguments: &BlameArguments) -> anyhow::Result<Exit> {
    let subject = arguments.subject.subject()?;
    let engine = arguments.subject.engine(&subject);
    let plan = &subject.plan;
    let scenario = scenarios::named(&plan.scenario)?;
    terminal.note(format_args!(
        "{} seed {}, {}: {} futures from each step, for {} at most",
        strong("blame"),
        plan.seed,
        plan.scenario,
        arguments.samples,
        span(arguments.time.as_secs_f64()),
    ));
    let options = BlameOptions {
        run: RunOptions { engine, ..RunOptions::default() },
        budget: Some((Arc::new(SystemClock::default()), arguments.time)),
        samples: arguments.samples,
        jobs: arguments.subject.jobs as usize,
    };
    let watch = Stopwatch::start();
    let blame = match blame_plan(&*scenario, plan, &options) {
        Ok(blame) => blame,
        Err(BlameError::Passes) => {
            terminal.line(format_args!("{}: the plan breaks nothing, so nothing is to blame", good("passed")));
            return Ok(Exit::Passed);
        }
        Err(error) => return Err(Usage::error(error.to_string())),
    };
    let wall_s = watch.elapsed().as_secs_f64();
    tell(terminal, &blame, wall_s);
    let record = record_of(&blame);
    terminal.object(
        "blame",
        &Line {
            seed: plan.seed,
            property: &blame.failing.property,
            message: &blame.violation.message,
            step: blame.step,
            at_us: record.map(|record| record.at.0),
            certainty: blame.certainty,
            before: ShareLine::of(blame.before_step, blame.before),
            after: ShareLine::of(blame.step, blame.after),
            violated_at_step: blame.violation.step,
            curve: blame.curve.iter().map(|(step, share)| ShareLine::of(*step, *share)).collect(),
            around: &blame.around,
            runs: blame.runs,
            left_out: blame.left_out,
            strayed: blame.strayed,
            wall_s: (wall_s * 1e3).round() / 1e3,
        },
    );
    Ok(match blame.certainty {
        Certainty::TimeRanOut => Exit::Inconclusive,
        Certainty::Located | Certainty::FromTheStart => Exit::Violated,
    })
}

/// How long a failure may be blamed before it is told.
const TELLING_BUDGET: Duration = Duration::from_secs(10);

/// Where the smallest plan of a bug is lost; none if that does not turn out in time, or nothing but the plan is to blame.
pub(crate) fn briefly(bug: &KnownBug) -> anyhow::Result<Option<Blamed>> {
    let Some(Small { plan, .. }) = &bug.small else { return Ok(None) };
    let options = BlameOptions {
        run: RunOptions { engine: bug.engine, ..RunOptions::default() },
        budget: Some((Arc::new(SystemClock::default()), TELLING_BUDGET)),
        samples: SAMPLES,
        jobs: 1,
    };
    Ok(match blame_plan(&*scenarios::named(&plan.scenario)?, plan, &options) {
        Ok(blame) if blame.certainty == Certainty::Located => Some(Blamed {
            step: blame.step,
            text: format!(
                "{}; of the futures before it fail {}, of those after it {}",
                verdict(&blame),
                blame.before,
                blame.after
            ),
        }),
        _ => None,
    })
}

fn record_of(blame: &Blame) -> Option<&Record> {
    blame.around.iter().find(|record| record.step == blame.step)
}

fn tell(terminal: &Terminal, blame: &Blame, wall_s: f64) {
    let violation = &blame.violation;
    terminal.line(format_args!("{} {}: {}", bad("VIOLATED"), strong(violation.property), violation.sentence));
    terminal.line(&violation.message);
    terminal.line("");
    for record in &blame.around {
        let mark = if record.step == blame.step { ">" } else { " " };
        terminal.line(format_args!("{mark}{}", record_line(record)));
    }
    terminal.line("");
    terminal.line(format_args!("blame      {}", verdict(blame)));
    terminal.line(format_args!("before     after step {}, {} of the futures fail", blame.before_step, blame.before));
    terminal.line(format_args!("after      after step {}, {}", blame.step, blame.after));
    terminal.line(format_args!("found      in {} with {}", span(wall_s), count(blame.runs, "run", "runs")));
    if blame.left_out > 0 {
        terminal.line(format_args!(
            "           {} drawn for these futures would have begun in the past, and were left out",
            count(blame.left_out, "fault", "faults")
        ));
    }
    if blame.strayed > 0 {
        terminal.line(format_args!(
            "           {} did not share the past and count nowhere",
            count(blame.strayed, "future", "futures")
        ));
    }
}

fn verdict(blame: &Blame) -> String {
    let at = record_of(blame).map_or_else(|| "the end".to_owned(), |record| Timestamp(record.at.0).to_string());
    match blame.certainty {
        Certainty::Located if blame.step == blame.violation.step => {
            format!(
                "step {} ({at}), the very step at which it was seen: until then it could have gone well",
                blame.step
            )
        }
        Certainty::Located => format!("from step {} ({at}) on, failure was all but inevitable", blame.step),
        Certainty::FromTheStart => {
            "no single step: failure was as likely at the start, so it lies in what customers do".to_owned()
        }
        Certainty::TimeRanOut => format!(
            "a step after {} and up to {} ({at}); time ran out, give more with --time",
            blame.before_step, blame.step
        ),
    }
}
