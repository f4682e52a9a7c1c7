//! Blame: the step at which failure became inevitable.
//!
//! A run that fails is continued differently from each of several steps: the past stays, the future is drawn again. The
//! share of futures that fail the same way says how likely failure was at that moment; where the share jumps, the run
//! was lost. That is rarely the step at which a property noticed, and often a fault or a decision long before it.
//!
//! It says what made failure likely, not whose mistake it is, and shares are estimates: each comes with its sample.
//!
//! | module | what lives there |
//! |---|---|
//! | `share` | estimates and their intervals |
//! | `locate` | where the share jumps |
//! | `continuation` | plans that share a past and differ in their future |

mod continuation;
mod locate;
mod share;

use std::{collections::BTreeMap, fmt, thread};

use dacapo_core::{
    digest::digest_of,
    trace::{Fingerprint, Record},
};
use dacapo_properties::{Scenario, Violation};

pub use self::share::Share;
use self::{
    continuation::Past,
    locate::{Curve, locate, steepest},
};
use crate::{
    cast::Cast,
    deadline::{Budget, Deadline, OutOfTime},
    engine::Branch,
    plan::{Plan, PlanError},
    recorder::{CHECKPOINT_RECORDS, Keep},
    run::{RunOptions, run},
    shrink::Failing,
};

/// Futures that are tried from each step.
pub const SAMPLES: u64 = 24;

/// Records told before and after the step.
const AROUND_RECORDS: usize = 4;

/// How a failing run is looked into.
#[derive(Clone, Default)]
pub struct BlameOptions {
    /// How runs are carried out; only the engine matters.
    pub run: RunOptions,
    /// How long it may take; none: as long as it takes.
    pub budget: Option<Budget>,
    /// Futures that are tried from each step; 0: [`SAMPLES`].
    pub samples: u64,
    /// Futures tried at once; 0 counts as 1. It changes nothing in the result.
    pub jobs: usize,
}

impl fmt::Debug for BlameOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlameOptions").field("samples", &self.samples).field("jobs", &self.jobs).finish_non_exhaustive()
    }
}

/// How sure the step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// The share jumps between two neighbouring steps.
    Located,
    /// Failure was as likely at the start as it ever was: no single step is to blame, the plan's operations are.
    FromTheStart,
    /// Time ran out: it is this step or one of those before it, back to the one that `before` was estimated at.
    TimeRanOut,
}

/// What is to blame.
#[derive(Debug)]
pub struct Blame {
    /// What broke.
    pub failing: Failing,
    /// How.
    pub violation: Violation,
    /// The step at which failure became inevitable.
    pub step: u64,
    /// How sure that is.
    pub certainty: Certainty,
    /// The last step before it at which futures were tried.
    pub before_step: u64,
    /// How likely failure was before it.
    pub before: Share,
    /// How likely it was after it.
    pub after: Share,
    /// The records around the step, oldest first.
    pub around: Vec<Record>,
    /// All estimates: of the futures that branch off after a step, so many fail.
    pub curve: BTreeMap<u64, Share>,
    /// Runs that were made.
    pub runs: u64,
    /// Faults that were drawn for a future and left out, since they would have begun in the past.
    pub left_out: u64,
    /// Futures that were given up, since their run did not share the past; they count nowhere.
    pub strayed: u64,
}

/// Why a run cannot be looked into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlameError {
    /// It cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// It does not fail.
    #[error("the plan passes, so nothing is to blame; give one that fails, such as those of `dacapo bugs list`")]
    Passes,
    /// Its futures are no futures of it.
    #[error("this engine does not branch runs off; use the event engine with --engine event")]
    NoBranches,
}

/// Finds the step at which failure became inevitable.
pub fn blame(scenario: &dyn Scenario, plan: &Plan, options: &BlameOptions) -> Result<Blame, BlameError> {
    let deadline = options.budget.as_ref().map(Deadline::within);
    let whole = RunOptions { keep: Keep::All, until: None, branch: None, ..options.run.clone() };
    let trunk = run(scenario, plan, &whole)?;
    let Some(violation) = trunk.violation.as_deref() else { return Err(BlameError::Passes) };
    let failing = Failing::of(violation);
    let mut estimates = Estimates {
        scenario,
        plan,
        cast: Cast::of(scenario, plan.settings.customers),
        options,
        failing: failing.clone(),
        records: &trunk.records,
        checkpoints: &trunk.checkpoints,
        deadline,
        runs: 1,
        left_out: 0,
        strayed: 0,
    };
    let last = trunk.steps;
    let mut curve = Curve::from([(last, Share::CERTAIN)]);
    let samples = if options.samples == 0 { SAMPLES } else { options.samples };
    let located = locate(&mut curve, last, &mut |step, look| estimates.share(step, look.samples(samples)));
    if estimates.strayed > 0 && curve.values().all(|share| share.of == 0 || *share == Share::CERTAIN) {
        return Err(BlameError::NoBranches);
    }
    let (before_step, step) = steepest(&curve);
    let mut certainty = if located.is_ok() { Certainty::Located } else { Certainty::TimeRanOut };
    let (before, after) = (curve.get(&before_step).copied(), curve.get(&step).copied());
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or(Share::CERTAIN));
    let start = curve.get(&0).copied().unwrap_or_default();
    if certainty == Certainty::Located && start.interval_permille().1 >= after.interval_permille().0 {
        certainty = Certainty::FromTheStart;
    }
    let at = usize::try_from(step).unwrap_or(usize::MAX).min(trunk.records.len());
    let around = at.saturating_sub(AROUND_RECORDS + 1)..(at + AROUND_RECORDS).min(trunk.records.len());
    Ok(Blame {
        failing,
        violation: violation.clone(),
        step,
        certainty,
        before_step,
        before,
        after,
        around: trunk.records[around].to_vec(),
        curve,
        runs: estimates.runs,
        left_out: estimates.left_out,
        strayed: estimates.strayed,
    })
}

/// Tries futures.
struct Estimates<'a> {
    scenario: &'a dyn Scenario,
    plan: &'a Plan,
    cast: Cast,
    options: &'a BlameOptions,
    failing: Failing,
    records: &'a [Record],
    checkpoints: &'a [Fingerprint],
    deadline: Option<Deadline>,
    runs: u64,
    left_out: u64,
    strayed: u64,
}

/// What came of a future.
struct Tried {
    /// None if it did not share the past.
    fails: Option<bool>,
    left_out: u64,
    runs: u64,
}

impl Estimates<'_> {
    /// The share of failing futures after a step.
    fn share(&mut self, step: u64, samples: std::ops::Range<u64>) -> Result<Share, OutOfTime> {
        let past = Past::of(self.records, step);
        let fingerprint = self.fingerprint(step);
        let mut share = Share::default();
        let samples: Vec<u64> = samples.collect();
        for batch in samples.chunks(self.options.jobs.max(1)) {
            if let Some(deadline) = &self.deadline {
                deadline.check()?;
            }
            let this = &*self;
            let tried: Vec<Tried> = match batch {
                [only] => vec![this.try_future(&past, fingerprint, *only)],
                several => thread::scope(|scope| {
                    let threads: Vec<_> = several
                        .iter()
                        .map(|sample| scope.spawn(|| this.try_future(&past, fingerprint, *sample)))
                        .collect();
                    let strayed = || Tried { fails: None, left_out: 0, runs: 1 };
                    threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| strayed())).collect()
                }),
            };
            for tried in tried {
                self.runs += tried.runs;
                self.left_out += tried.left_out;
                match tried.fails {
                    Some(fails) => share = share.and(Share { failing: u64::from(fails), of: 1 }),
                    None => self.strayed += 1,
                }
            }
        }
        Ok(share)
    }

    /// The hash chained over the records of the past.
    fn fingerprint(&self, step: u64) -> Fingerprint {
        let past = self.records.iter().take(usize::try_from(step).unwrap_or(usize::MAX));
        past.fold(Fingerprint::default(), dacapo_core::trace::Fingerprint::then)
    }

    fn try_future(&self, past: &Past, fingerprint: Fingerprint, sample: u64) -> Tried {
        let seed = digest_of(digest_of(self.plan.seed, "blame"), &sample);
        let mut future = continuation::draw(self.plan, &self.cast, past, seed);
        let branch = Some(Branch { after_step: past.step, seed });
        let options = RunOptions { keep: Keep::None, branch, ..self.options.run.clone() };
        let mut tried = Tried { fails: None, left_out: future.left_out, runs: 1 };
        // A fault that begins at a point may have reached it in the past: then it is left out as well. Without it another
        // one may reach its point.
        loop {
            if past.step == 0 {
                break;
            }
            tried.runs += 1;
            let until = RunOptions { until: Some(past.step), ..options.clone() };
            let Ok(replayed) = run(self.scenario, &future.plan, &until) else { return tried };
            if replayed.fingerprint == fingerprint {
                break;
            }
            let early = |id: u32| replayed.faults.iter().any(|fault| fault.id == id && fault.begun > 0);
            let before = future.plan.faults.len();
            future.plan.faults.retain(|fault| !(future.at_points.contains(&fault.id) && early(fault.id)));
            if future.plan.faults.len() == before {
                return tried;
            }
            tried.left_out += (before - future.plan.faults.len()) as u64;
        }
        let Ok(outcome) = run(self.scenario, &future.plan, &options) else { return tried };
        let shared = outcome.checkpoints.iter().zip(self.checkpoints).take((past.step / CHECKPOINT_RECORDS) as usize);
        if shared.into_iter().any(|(one, other)| one != other) {
            return tried;
        }
        tried.fails = Some(outcome.violation.is_some_and(|violation| self.failing.is(&violation)));
        tried
    }
}
