//! One run: a plan carried out, and what came of it.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use dacapo_core::{
    hooks::Clock,
    trace::{Fingerprint, Record},
};
use dacapo_properties::{Judged, Scenario, Violation};

use crate::{
    engine::{Branch, Engine, event, turmoil},
    fault::Family,
    marks::{self, Reached},
    plan::{Expects, Plan, PlanError},
    recorder::{Keep, Recorded, Tamper, Tap},
    shapes::Shapes,
};

/// How a run is carried out. Only `engine` and `branch` change what happens in it.
#[derive(Clone, Default)]
pub struct RunOptions {
    /// What carries it out.
    pub engine: Engine,
    /// Draw with another seed from a step on.
    pub branch: Option<Branch>,
    /// Which records are kept.
    pub keep: Keep,
    /// Stop after this step.
    pub until: Option<u64>,
    /// Measures the time that the run takes outside of its own.
    pub clock: Option<Arc<dyn Clock>>,
    /// Sees each record as it passes.
    pub tap: Option<Tap>,
    /// For the harness's own test.
    #[doc(hidden)]
    pub tamper: Option<Tamper>,
}

impl fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunOptions").field("keep", &self.keep).field("until", &self.until).finish_non_exhaustive()
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Every property held to the end.
    Passed,
    /// A property was violated.
    Violated,
    /// A process panicked.
    Panicked,
    /// Not everything ended within the bound after the healing.
    Stuck,
    /// It was to be stopped at a step, and was.
    Stopped,
}

/// A fault of the plan, and how often it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultOutcome {
    /// Its id in the plan.
    pub id: u32,
    /// Its family.
    pub family: Family,
    /// In words.
    pub description: String,
    /// How often it began; 0: never.
    pub begun: u64,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The plan's seed.
    pub seed: u64,
    /// How it ended.
    pub end: End,
    /// Where the disk may lose something ([`Expects::Detection`]): how it was noticed that it has. The run has passed.
    pub noticed: Option<String>,
    /// The first violation; there is one unless it passed or was stopped.
    pub violation: Option<Box<Violation>>,
    /// The chained hash over all records.
    pub fingerprint: Fingerprint,
    /// The fingerprint after every 256 records.
    pub checkpoints: Vec<Fingerprint>,
    /// How many records there were.
    pub steps: u64,
    /// The run's time at its end.
    pub simulated: Duration,
    /// The time that it took, if a clock was given.
    pub wall: Option<Duration>,
    /// The end of the log.
    pub events: u64,
    /// Operations that succeeded.
    pub operations_succeeded: u64,
    /// Operations that were answered with a refusal.
    pub operations_refused: u64,
    /// Operations that were skipped, since one that they depend on was gone or refused.
    pub operations_skipped: u64,
    /// The plan's faults.
    pub faults: Vec<FaultOutcome>,
    /// The properties, how often each was checked, and what situations it met.
    pub judged: Vec<Judged>,
    /// Marks.
    pub reached: Reached,
    /// What its state looked like.
    pub shapes: Shapes,
    /// What was kept, oldest first.
    pub records: Vec<Record>,
}

impl Outcome {
    /// Whether every property held to the end.
    pub fn passed(&self) -> bool {
        self.end == End::Passed
    }

    /// How many faults of each family began, and how many never did.
    pub fn faults_by_family(&self) -> BTreeMap<Family, (u64, u64)> {
        let mut counts: BTreeMap<Family, (u64, u64)> = BTreeMap::new();
        for fault in &self.faults {
            let count = counts.entry(fault.family).or_default();
            if fault.begun > 0 { count.0 += 1 } else { count.1 += 1 }
        }
        counts
    }
}

/// What came of a run whose disk may lose something.
enum Detection {
    /// Nothing was lost, or nothing that mattered.
    Nothing,
    /// Something was, and it was noticed: how.
    Noticed(String),
    /// Something was, and nobody noticed.
    Unnoticed(Box<Violation>),
    /// Another promise was broken.
    Other,
}

/// Whether what was lost was noticed. What the harness knows to be lost is a mark; what it takes for noticing is the
/// store's refusal, or promise 1 seen broken at the recovery that shows the loss. Liveness is waived.
fn detect(recorded: &Recorded, rots: bool, stuck: bool) -> Detection {
    let reached = |mark| recorded.reached.count(mark) > 0;
    let (lost, refused) = (reached(marks::DISK_LOST), reached(marks::DAMAGE_REFUSED));
    let unnoticed = |message: &str| {
        Detection::Unnoticed(Box::new(Violation {
            property: "loss_is_noticed",
            sentence: "what a lying or rotting disk loses is refused by the store or seen as a broken promise",
            step: recorded.steps,
            message: message.to_owned(),
            steps: Vec::new(),
        }))
    };
    match &recorded.violation {
        // Whatever rots can be refused; a lie that has come true a while later can only be noticed.
        _ if rots && reached(marks::DAMAGE_SERVED) => unnoticed("a recovered store served what had rotted"),
        Some(violation) if lost && violation.step > 0 => Detection::Noticed(violation.message.clone()),
        // The end of a run is where liveness is judged.
        Some(violation) if !stuck && violation.step > 0 => Detection::Other,
        _ if refused => Detection::Noticed("the store refused what is damaged".to_owned()),
        _ if lost => unnoticed("a recovered store was not what had been made durable, and nobody said so"),
        _ => Detection::Nothing,
    }
}

/// Carries a plan out and judges it.
pub fn run(scenario: &dyn Scenario, plan: &Plan, options: &RunOptions) -> Result<Outcome, PlanError> {
    plan.check(scenario)?;
    let began = options.clock.as_ref().map(|clock| clock.now().monotonic);
    let carried = match options.engine {
        Engine::Turmoil => turmoil::carry_out(scenario, plan, options),
        Engine::Event => event::carry_out(scenario, plan, options),
    };
    let wall = options.clock.as_ref().zip(began).map(|(clock, began)| clock.now().monotonic.since(began));
    let recorded = carried.recorded;
    let detection = (plan.expects() == Expects::Detection).then(|| detect(&recorded, plan.rots(), carried.stuck));
    let (noticed, violation) = match detection {
        Some(Detection::Nothing) => (None, None),
        Some(Detection::Noticed(how)) if !carried.panicked => (Some(how), None),
        Some(Detection::Unnoticed(violation)) if !carried.panicked => (None, Some(violation)),
        _ => (None, recorded.violation),
    };
    let end = match &violation {
        _ if carried.panicked => End::Panicked,
        Some(_) if carried.stuck => End::Stuck,
        Some(_) => End::Violated,
        None if options.until == Some(recorded.steps) => End::Stopped,
        None => End::Passed,
    };
    let faults = plan.faults.iter().map(|fault| FaultOutcome {
        id: fault.id,
        family: fault.family,
        description: fault.describe(),
        begun: recorded.faults_begun.get(&fault.id).copied().unwrap_or_default(),
    });
    Ok(Outcome {
        seed: plan.seed,
        end,
        noticed,
        violation,
        fingerprint: recorded.fingerprint,
        checkpoints: recorded.checkpoints,
        steps: recorded.steps,
        simulated: Duration::from_micros(carried.simulated_us),
        wall,
        events: carried.events,
        operations_succeeded: carried.operations.0,
        operations_refused: carried.operations.1,
        operations_skipped: carried.operations.2,
        faults: faults.collect(),
        judged: recorded.judged,
        reached: recorded.reached,
        shapes: recorded.shapes,
        records: recorded.records,
    })
}
