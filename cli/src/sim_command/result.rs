//! What one run came to, as a worker tells it and as people and programs are told.

use std::collections::BTreeMap;

pub(crate) use dacapo_sim::narrate::StoryLine;
use dacapo_sim::{Engine, shapes::Shapes};
use serde::{Deserialize, Serialize};

use crate::seed::Seed;

/// What one run came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SeedResult {
    /// The seed that its plan was drawn from.
    pub(crate) seed: Seed,
    /// What carried it out.
    pub(crate) engine: Engine,
    /// The chained hash of its trace.
    pub(crate) fingerprint: u64,
    /// How long it took in the simulated world.
    pub(crate) simulated_us: u64,
    /// Records in the trace.
    pub(crate) records: u64,
    /// Events in the log at the end.
    pub(crate) events: u64,
    /// Operations in the plan.
    pub(crate) operations: u64,
    /// Faults in the plan.
    pub(crate) faults_planned: u64,
    /// Faults that began, by family.
    pub(crate) faults: BTreeMap<String, u64>,
    /// How often each property was in a position to fail.
    pub(crate) checks: BTreeMap<String, u64>,
    /// How often each mark was reached.
    pub(crate) marks: BTreeMap<String, u64>,
    /// What its state looked like.
    pub(crate) shapes: Shapes,
    /// What went wrong; none if the run passed.
    pub(crate) failure: Option<Failure>,
}

/// What went wrong in a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Failure {
    /// A property is violated.
    Violated(Violated),
    /// A second run of the plan went another way; both sides, in words.
    Differs(String),
    /// The harness itself failed: this is a bug of Dacapo, not of what was simulated.
    Harness(String),
}

/// A violated property, with what a person needs to see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Violated {
    /// Its name.
    pub(crate) property: String,
    /// Its sentence.
    pub(crate) sentence: String,
    /// Where it was seen; 0 at the end of the run.
    pub(crate) step: u64,
    /// When that was.
    pub(crate) at_us: u64,
    /// Who did what.
    pub(crate) message: String,
    /// The records that belong to it, oldest first.
    pub(crate) story: Vec<StoryLine>,
    /// The faults that had begun by then, oldest first.
    pub(crate) faults: Vec<FaultLine>,
    /// Whether the same property breaks without any fault; none if that was not tried.
    pub(crate) without_faults: Option<bool>,
    /// The plan, as a file holds it.
    pub(crate) plan: String,
}

/// A fault that began.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FaultLine {
    /// Its number in the plan.
    pub(crate) fault: u32,
    /// The step at which it began.
    pub(crate) step: u64,
    /// When.
    pub(crate) at_us: u64,
    /// Whether it was still on when the property broke.
    pub(crate) on: bool,
    /// Whether the property holds when this one is left out; none if that was not tried.
    pub(crate) needed: Option<bool>,
    /// What it is.
    pub(crate) text: String,
}

impl SeedResult {
    /// A run that the harness could not bring to its end.
    pub(crate) fn harness(seed: Seed, engine: Engine, reason: String) -> Self {
        Self {
            seed,
            engine,
            fingerprint: 0,
            simulated_us: 0,
            records: 0,
            events: 0,
            operations: 0,
            faults_planned: 0,
            faults: BTreeMap::new(),
            checks: BTreeMap::new(),
            marks: BTreeMap::new(),
            shapes: Shapes::default(),
            failure: Some(Failure::Harness(reason)),
        }
    }

    /// The property that failed, by name; `deterministic` and `harness` stand for the two other ways.
    pub(crate) fn failed(&self) -> Option<&str> {
        self.failure.as_ref().map(|failure| match failure {
            Failure::Violated(violated) => violated.property.as_str(),
            Failure::Differs(_) => "deterministic",
            Failure::Harness(_) => "harness",
        })
    }
}
