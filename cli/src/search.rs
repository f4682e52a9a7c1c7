//! `search`: every order of a few events, and of what may go wrong with them.

use dacapo_core::planted::Planted;
use dacapo_sim::search::{Budget, Ended, Finding, Reach, Scope, Standing, reach, search};
use serde_json::json;

use crate::{
    arguments::SearchArguments,
    exit::{Exit, Usage},
    interrupt::Interrupt,
    sim_command::planted,
    stopwatch::Stopwatch,
    terminal::{Terminal, bad, count, faint, good, grouped, span, strong},
};

/// What `--help` says below the options.
pub(crate) const HELP: &str = "\
A seed tries one order of things; a search tries all, within these bounds: the bus is the one that is deployed, the
store is in memory, instances answer in any order, and everything else happens as often as the options allow, at any
moment. The number of states grows steeply with each of them. With --bug and no bounds the scope is one that shows the bug. It ends with 0 when every state was seen and every
promise held, with 1 at the first that is broken (told with a shortest way to it), and with 3 when it gave up.";

/// Seconds between two lines about how far it is.
const SAY_EVERY_S: f64 = 10.0;

/// Runs it.
pub(crate) fn run(terminal: &Terminal, arguments: &SearchArguments) -> anyhow::Result<Exit> {
    let scope = scope(arguments)?;
    let interrupt = Interrupt::listen()?;
    terminal.line(format_args!("{} {}", strong("searching"), describe(&scope)));
    let watch = Stopwatch::start();
    let mut said_at = 0.0;
    let report = search(scope, &mut |standing: &Standing| {
        let seconds = watch.elapsed().as_secs_f64();
        if seconds - said_at >= SAY_EVERY_S {
            said_at = seconds;
            terminal.note(faint(so_far(standing, seconds)));
        }
        !interrupt.asked()
    });
    let seconds = watch.elapsed().as_secs_f64();
    let standing = &report.standing;
    terminal.line(format_args!("seen       {}", so_far(standing, seconds)));
    terminal.line(format_args!(
        "           the longest way to a state has {}; {} let heal",
        count(standing.deepest as u64, "step", "steps"),
        count(standing.healed, "quiet state was", "quiet states were"),
    ));
    let exit = match &report.ended {
        Ended::Complete => {
            terminal.line(format_args!("{} in every state that there is within these bounds", good("passed")));
            Exit::Passed
        }
        Ended::Bounded(states) => {
            terminal.line(format_args!(
                "{} at {} states: there are more, which nobody has looked at; every state on a way of at most {} was seen. \
                 Lower a bound, or raise --states-max",
                bad("bounded"),
                grouped(*states),
                count(standing.breadth as u64, "step", "steps"),
            ));
            Exit::Inconclusive
        }
        Ended::Interrupted => {
            terminal.line(format_args!("{}: there are more states", bad("interrupted")));
            Exit::Interrupted
        }
        Ended::Found(finding) => {
            tell(terminal, finding);
            Exit::Violated
        }
    };
    terminal.object("search", &object(&report.ended, standing, seconds, exit));
    Ok(exit)
}

fn scope(arguments: &SearchArguments) -> anyhow::Result<Scope> {
    let bug = arguments.bug.as_deref().map(planted).transpose()?;
    let real = arguments.requests > 0;
    let budget = Budget {
        crashes: arguments.crashes,
        nacks: if real { 0 } else { arguments.nacks },
        timeouts: arguments.timeouts,
        drops: arguments.drops,
        repeats: arguments.repeats,
        late: arguments.late,
        failed_commits: arguments.failed_commits,
        retries: arguments.retries,
        rebuilds: arguments.rebuilds,
    };
    let scope = Scope {
        events: if real { 0 } else { usize::from(arguments.events) },
        requests: usize::from(arguments.requests),
        keys: usize::from(arguments.keys),
        instances: usize::from(arguments.instances),
        credit: u32::from(arguments.credit),
        budget,
        states_max: arguments.states_max,
        planted: bug.map_or(Planted::NONE, Planted::bug),
    };
    match bug {
        Some(bug)
            if (Scope { planted: Planted::NONE, states_max: Scope::default().states_max, ..scope.clone() })
                == Scope::default() =>
        {
            match reach(bug) {
                Reach::Within(within) => Ok(Scope { states_max: scope.states_max, ..within }),
                Reach::Beyond(reason) => Err(Usage::error(format!(
                    "no search finds {bug}: {reason}; look for it with `dacapo sim --bug {bug}`"
                ))),
            }
        }
        _ => Ok(scope),
    }
}

fn describe(scope: &Scope) -> String {
    let Budget { crashes, nacks, timeouts, drops, repeats, late, failed_commits, retries, rebuilds } = scope.budget;
    let bounds = [
        (scope.events as u64, "event", "events"),
        (scope.requests as u64, "request", "requests"),
        (scope.keys as u64, "key", "keys"),
        (scope.instances as u64, "instance", "instances"),
        (u64::from(crashes), "crash", "crashes"),
        (u64::from(nacks), "failing handler", "failing handlers"),
        (u64::from(timeouts), "time-out", "time-outs"),
        (u64::from(drops), "broken connection", "broken connections"),
        (u64::from(repeats), "repeated publish", "repeated publishes"),
        (u64::from(late), "late answer", "late answers"),
        (u64::from(failed_commits), "failing commit", "failing commits"),
        (u64::from(retries), "retry or skip", "retries or skips"),
        (u64::from(rebuilds), "rebuild", "rebuilds"),
    ];
    let told = bounds.iter().filter(|(number, ..)| *number > 0).map(|(number, one, many)| count(*number, one, many));
    let told = told.collect::<Vec<_>>().join(", ");
    scope.planted.get().map_or(told.clone(), |bug| format!("{told}; planted: {bug}"))
}

fn so_far(standing: &Standing, seconds: f64) -> String {
    format!(
        "{}, {} in {} ({} states/s)",
        count(standing.states, "state", "states"),
        count(standing.transitions, "choice", "choices"),
        span(seconds),
        grouped((standing.states as f64 / seconds.max(0.001)).round() as u64),
    )
}

fn tell(terminal: &Terminal, finding: &Finding) {
    let violation = &finding.violation;
    terminal.line(format_args!("{} {}: {}", bad("violated"), strong(violation.property), violation.sentence));
    terminal.line(format_args!("           {}", violation.message));
    let shortest = if finding.shortest { "no shorter way leads to it" } else { "a shorter way may lead to it" };
    let steps = count(finding.path.len() as u64, "step", "steps");
    terminal.line(format_args!("the way    {steps}; {shortest}"));
    for (number, told) in finding.told.iter().enumerate() {
        terminal.line(format_args!("{:>4}. {}", number + 1, told.sentence));
        for line in &told.then {
            terminal.line(faint(format_args!("        {line}")));
        }
    }
}

fn object(ended: &Ended, standing: &Standing, seconds: f64, exit: Exit) -> serde_json::Value {
    let (word, finding) = match ended {
        Ended::Complete => ("complete", None),
        Ended::Bounded(_) => ("bounded", None),
        Ended::Interrupted => ("interrupted", None),
        Ended::Found(finding) => ("found", Some(finding)),
    };
    json!({
        "ended": word,
        "exit": exit as i32,
        "states": standing.states,
        "choices": standing.transitions,
        "deepest": standing.deepest,
        "breadth": standing.breadth,
        "healed": standing.healed,
        "seconds": seconds,
        "violation": finding.map(|finding| &finding.violation),
        "shortest": finding.map(|finding| finding.shortest),
        "path": finding.map(|finding| {
            let step = |told: &dacapo_sim::search::Told| json!({ "step": told.sentence, "then": told.then });
            finding.told.iter().map(step).collect::<Vec<_>>()
        }),
        "steps": finding.map(|finding| finding.path.len()),
    })
}
