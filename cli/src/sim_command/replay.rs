//! `dacapo replay`: one run again, from its seed or from the file of its plan.

use std::{fs, path::Path};

use anyhow::Context as _;
use dacapo_core::{
    planted::Bug,
    trace::{self, Record},
};
use dacapo_sim::{Engine, Engines, Plan, RunOptions, narrate, recorder::Keep};

use super::{
    ended::Ended,
    engine::{Telling, run_plan},
    explore::{Begun, tell},
    failure::{program, story_line},
    picture,
    summary::Ending,
    tally::Tally,
};
use crate::{
    arguments::ReplayArguments,
    bugs::keep::{Keeper, Shrinking},
    exit::{Exit, Usage},
    home::Home,
    provenance::Provenance,
    scenarios,
    seed::Seed,
    stopwatch::Stopwatch,
    surgery::subject::{self, Naming},
    terminal::{Terminal, strong},
    view::{self, record},
};

/// Records shown before the step of `--until`, where the whole trace was not asked for.
const RECORDS_BEFORE_UNTIL: usize = 20;

/// Replays.
pub(crate) fn run(terminal: &Terminal, arguments: &ReplayArguments) -> anyhow::Result<Exit> {
    let (plan, engine, known) = plan_of(arguments)?;
    let scenario = scenarios::named(&plan.scenario)?;
    plan.check(&*scenario).map_err(|error| Usage::error(error.to_string()))?;
    let provenance = Provenance::here();
    let bug = plan.bug.map(Bug::name);
    terminal.note(format_args!(
        "{} seed {}, {}, profile {}, {} engine: {} operations, {} faults{}",
        strong("replay"),
        plan.seed,
        plan.scenario,
        plan.profile,
        engine.name(),
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
    let whole = arguments.without_fault.is_empty() && arguments.without_operation.is_empty();
    let as_drawn = whole && arguments.what.parse::<Seed>().is_ok();
    let ending = Ending {
        scenario: &plan.scenario,
        profile: &plan.profile,
        engines: if engine == Engine::Event { Engines::Event } else { Engines::Turmoil },
        ended: Ended::SeedsDone,
        bug,
        reachable: &[],
        as_drawn,
        wall_s,
        provenance: &provenance,
        exit: tally.exit(&[], Ended::SeedsDone),
    };
    // What was made by leaving something out is an experiment, and a bug of the base is known: neither is a finding.
    let mut keeper = Keeper::new(&arguments.bugs, Shrinking::None);
    tell(terminal, (whole && !known).then_some(&mut keeper), &tally, &ending, None)?;
    if arguments.view {
        let path = Path::new(record::DIRECTORY).join(format!("replay-{}", plan.seed));
        let again = format!("{} {}", program(), typed(arguments));
        record::record(&path, picture::of_seed(&plan, engine, &ending, again, Vec::new()))?;
        view::show_run(terminal, &path)?;
    }
    Ok(ending.exit)
}

/// The command that repeats this replay.
fn typed(arguments: &ReplayArguments) -> String {
    let mut command = format!("replay {}", arguments.what);
    let mut flag = |name: &str, value: &str| command.extend([" --", name, " ", value]);
    let defaults = [("scenario", &arguments.scenario, "bank"), ("profile", &arguments.profile, "swarm")];
    for (name, value, default) in defaults {
        if value != default {
            flag(name, value);
        }
    }
    if let Some(bug) = &arguments.bug {
        flag("bug", bug);
    }
    for fault in &arguments.without_fault {
        flag("without-fault", &fault.to_string());
    }
    for operation in &arguments.without_operation {
        flag("without-operation", &operation.to_string());
    }
    if arguments.as_found {
        command.push_str(" --as-found");
    }
    command
}

/// The plan that is meant, without what is to be left out; what carries it out; whether the bug base has it.
fn plan_of(arguments: &ReplayArguments) -> anyhow::Result<(Plan, Engine, bool)> {
    let subject = subject::find(&Naming {
        what: &arguments.what,
        scenario: &arguments.scenario,
        profile: &arguments.profile,
        bug: arguments.bug.as_deref(),
        bugs: &arguments.bugs,
    })?;
    let engine = arguments.engine.map_or_else(|| subject.engine(), |name| name.of(subject.plan.seed));
    let known = subject.known.is_some();
    let mut plan = if arguments.as_found { subject.plan } else { subject.smallest() };
    for id in &arguments.without_fault {
        let ids: Vec<u32> = plan.faults.iter().map(|fault| fault.id).collect();
        is_in_plan("fault", id, &ids)?;
        plan = plan.without_fault(*id);
    }
    for id in &arguments.without_operation {
        let ids: Vec<u64> = plan.operations.iter().map(|operation| operation.id).collect();
        is_in_plan("operation", id, &ids)?;
        plan = plan.without_operation(*id);
    }
    Ok((plan, engine, known))
}

fn is_in_plan<T: PartialEq + ToString>(what: &str, id: &T, ids: &[T]) -> anyhow::Result<()> {
    if ids.contains(id) {
        return Ok(());
    }
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    Err(Usage::error(format!("the plan has no {what} {}; it has: {}", id.to_string(), ids.join(", "))))
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
