//! `dacapo replay`: one run again, from its seed or from the file of its plan.

use std::{fs, path::Path};

use anyhow::Context as _;
use dacapo_core::{
    planted::Bug,
    trace::{self, Record},
};
use dacapo_sim::{Plan, RunOptions, narrate, recorder::Keep};

use super::{
    ended::Ended,
    engine::{Order, Telling, planted, run_plan},
    explore::{Begun, tell},
    failure::story_line,
    summary::Ending,
    tally::Tally,
};
use crate::{
    arguments::ReplayArguments,
    exit::{Exit, Usage},
    home::Home,
    provenance::Provenance,
    scenarios,
    seed::Seed,
    stopwatch::Stopwatch,
    terminal::{Terminal, strong},
};

/// Records shown before the step of `--until`, where the whole trace was not asked for.
const RECORDS_BEFORE_UNTIL: usize = 20;

/// Replays.
pub(crate) fn run(terminal: &Terminal, arguments: &ReplayArguments) -> anyhow::Result<Exit> {
    let plan = plan_of(arguments)?;
    let scenario = scenarios::named(&plan.scenario)?;
    plan.check(&*scenario).map_err(|error| Usage::error(error.to_string()))?;
    let provenance = Provenance::here();
    let bug = plan.bug.map(Bug::name);
    let engine = arguments.engine.of(plan.seed);
    terminal.note(format_args!(
        "{} seed {}, {}, profile {}, {engine} engine: {} operations, {} faults{}",
        strong("replay"),
        plan.seed,
        plan.scenario,
        plan.profile,
        plan.operations.len(),
        plan.faults.len(),
        bug.map(|bug| format!(", with the planted bug {bug}")).unwrap_or_default(),
    ));
    let mut home = Home::open()?;
    home.write_down(&Begun {
        seed: Seed(plan.seed),
        scenario: &plan.scenario,
        profile: &plan.profile,
        bug,
        commit: &provenance.commit,
    })?;
    let keep = match (&arguments.trace, arguments.until) {
        (Some(_), _) => Keep::All,
        (None, Some(_)) => Keep::Last(RECORDS_BEFORE_UNTIL),
        (None, None) => Keep::None,
    };
    let watch = Stopwatch::start();
    let options = RunOptions { engine, keep, until: arguments.until, ..RunOptions::default() };
    let telling = if arguments.until.is_none() { Telling::Attributed } else { Telling::Story };
    let ran = run_plan(&*scenario, &plan, arguments.verify, telling, &options)?;
    let wall_s = watch.elapsed().as_secs_f64();
    show_records(terminal, arguments, &ran.records)?;
    if let (Some(until), false) = (arguments.until, ran.stopped) {
        terminal.note(format_args!("the run ended at step {}, before step {until}", ran.result.records));
    }
    let mut tally = Tally::default();
    tally.add(ran.result);
    let ending = Ending {
        scenario: &plan.scenario,
        profile: &plan.profile,
        engines: arguments.engine.engines(),
        ended: Ended::SeedsDone,
        bug,
        reachable: &[],
        as_drawn: arguments.what.parse::<Seed>().is_ok() && arguments.without_fault.is_empty(),
        wall_s,
        provenance: &provenance,
        exit: tally.exit(&[], Ended::SeedsDone),
    };
    tell(terminal, &home, &tally, &ending, None)?;
    Ok(ending.exit)
}

/// The plan that is meant, without what is to be left out.
fn plan_of(arguments: &ReplayArguments) -> anyhow::Result<Plan> {
    let path = Path::new(&arguments.what);
    let mut plan = match arguments.what.parse::<Seed>() {
        Ok(seed) => Order::new(&arguments.scenario, &arguments.profile, None, false)?.plan(seed)?,
        Err(_) if path.is_file() => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Plan::from_json(&text).map_err(|error| Usage::error(format!("{}: {error}", path.display())))?
        }
        Err(error) => {
            return Err(Usage::error(format!(
                "{error}; or give the file of a saved plan, such as those in .dacapo/bugs/"
            )));
        }
    };
    if let Some(bug) = &arguments.bug {
        plan = plan.with_bug(planted(bug)?);
    }
    for id in &arguments.without_fault {
        if plan.faults.iter().all(|fault| fault.id != *id) {
            let ids: Vec<String> = plan.faults.iter().map(|fault| fault.id.to_string()).collect();
            return Err(Usage::error(format!("the plan has no fault {id}; it has: {}", ids.join(", "))));
        }
        plan = plan.without_fault(*id);
    }
    Ok(plan)
}

/// To the terminal or into a file, as asked.
fn show_records(terminal: &Terminal, arguments: &ReplayArguments, records: &[Record]) -> anyhow::Result<()> {
    match arguments.trace.as_deref() {
        None if arguments.until.is_none() => {}
        None | Some("-") => {
            for record in records {
                terminal.line(story_line(&narrate::line(record)));
                terminal.object("record", record);
            }
        }
        Some(path) => {
            let mut lines = String::new();
            for record in records {
                lines.push_str(&trace::encode(record));
                lines.push('\n');
            }
            fs::write(path, lines).with_context(|| format!("cannot write the trace to {path}"))?;
            terminal.note(format_args!("{} records written to {path}", records.len()));
        }
    }
    Ok(())
}
