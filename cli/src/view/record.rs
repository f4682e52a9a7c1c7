//! Recording a run: the plan carried out once more with every record kept, written where the viewer finds it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use dacapo_core::{NodeName, planted::Bug};
use dacapo_reporting::{
    export,
    run::{self, Blamed, Fault, Manifest, Operation, Run, Violation, Way},
    words,
};
use dacapo_sim::{
    Engine, Plan, RunOptions, cast,
    fault::{Harm, Trigger},
    recorder::Keep,
    run as carry_out,
};

use super::bank;
use crate::{provenance::Provenance, scenarios};

/// Where runs are recorded, unless something else is said.
pub(crate) const DIRECTORY: &str = ".dacapo/runs";

/// What is to be recorded.
pub(crate) struct Recording<'a> {
    /// In a few words.
    pub(crate) name: String,
    /// What is carried out.
    pub(crate) plan: &'a Plan,
    /// By what.
    pub(crate) engine: Engine,
    /// On which code.
    pub(crate) provenance: &'a Provenance,
    /// The command that repeats it.
    pub(crate) replay: String,
    /// Further commands, each with what it does.
    pub(crate) commands: Vec<(String, String)>,
    /// For which faults it is known whether they are needed.
    pub(crate) needed: Vec<(u32, bool)>,
    /// Where it was lost, if that is known.
    pub(crate) blamed: Option<Blamed>,
    /// Runs beside it: what each is, and its directory's name.
    pub(crate) beside: Vec<(String, String)>,
}

/// Carries it out and writes it.
pub(crate) fn record(path: &Path, recording: Recording<'_>) -> anyhow::Result<Run> {
    let Recording { name, plan, engine, provenance, replay, mut commands, needed, blamed, beside } = recording;
    let scenario = scenarios::named(&plan.scenario)?;
    let outcome = carry_out(&*scenario, plan, &RunOptions { engine, keep: Keep::All, ..RunOptions::default() })?;
    commands.insert(0, ("again".to_owned(), replay.clone()));
    let violation = outcome.violation.map(|violation| Violation {
        property: violation.property.to_owned(),
        sentence: violation.sentence.to_owned(),
        message: violation.message.clone(),
        step: violation.step,
        steps: violation.steps.clone(),
    });
    let manifest = Manifest {
        version: run::VERSION,
        name,
        seed: plan.seed,
        scenario: plan.scenario.clone(),
        profile: plan.profile.clone(),
        engine: engine.name().to_owned(),
        bug: plan.bug.map(|bug: Bug| bug.name().to_owned()),
        fingerprint: outcome.fingerprint.to_string(),
        provenance: provenance.to_string(),
        simulated_us: u64::try_from(outcome.simulated.as_micros()).unwrap_or(u64::MAX),
        violation,
        blamed,
        faults: plan.faults.iter().map(|fault| fault_of(fault, &needed)).collect(),
        operations: plan.operations.iter().map(operation_of).collect(),
        properties: outcome.judged.iter().map(|judged| (judged.name.to_owned(), judged.checks)).collect(),
        commands,
        replay,
        beside,
        log_note: None,
    };
    run::write(path, &manifest, outcome.records).with_context(|| format!("cannot record the run in {}", path.display()))
}

fn fault_of(fault: &dacapo_sim::Fault, needed: &[(u32, bool)]) -> Fault {
    let at_host = match &fault.trigger {
        Trigger::On { host, .. } => Some(host),
        Trigger::At { .. } => None,
    };
    let mut hosts: Vec<String> = fault.what.hosts().into_iter().chain(at_host).map(ToString::to_string).collect();
    hosts.sort_unstable();
    hosts.dedup();
    Fault {
        id: fault.id,
        family: fault.family.to_string(),
        text: fault.describe(),
        hosts,
        needed: needed.iter().find(|(id, _)| *id == fault.id).map(|(_, needed)| *needed),
        cut: cut_by(&fault.what),
        clock: clock_of(&fault.what),
    }
}

/// The ways that a fault cuts off, each in its direction.
fn cut_by(harm: &Harm) -> Vec<Way> {
    let names = |hosts: &[NodeName]| hosts.iter().map(ToString::to_string).collect();
    let way = |from: &[NodeName], to: &[NodeName]| Way { from: names(from), to: names(to) };
    match harm {
        Harm::Partition { a, b } => vec![way(a, b), way(b, a)],
        Harm::PartitionOneWay { from, to } => vec![way(from, to)],
        _ => Vec::new(),
    }
}

/// What is wrong with a clock.
fn clock_of(harm: &Harm) -> Option<String> {
    match harm {
        Harm::ClockOffset { offset_us, .. } => Some(words::signed(*offset_us)),
        Harm::ClockStep { wall_us, .. } => Some(words::signed(*wall_us)),
        Harm::ClockDrift { ppm, .. } => Some(format!("{ppm:+} µs/s")),
        _ => None,
    }
}

fn operation_of(operation: &dacapo_properties::Operation) -> Operation {
    let method = format!("{:?}", operation.method).to_uppercase();
    let text = format!("{} {method} {} {}", operation.service, operation.path, operation.body);
    Operation {
        id: operation.id,
        at_us: operation.at_us,
        customer: cast::customer(operation.customer).to_string(),
        text: text.trim_end().to_owned(),
    }
}

/// Writes the page that stands alone.
pub(crate) fn page(run: &Run, path: PathBuf) -> anyhow::Result<PathBuf> {
    let page = export::html::run(run, Some(&bank()))?;
    fs::write(&path, page).with_context(|| format!("cannot write the picture {}", path.display()))?;
    Ok(path)
}
