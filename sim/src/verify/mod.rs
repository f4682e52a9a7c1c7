//! The same plan twice: are the runs the same, record by record?
//!
//! Fingerprints tell whether. Checkpoints, one after every few hundred records, tell between which two the first
//! difference lies: they are chained, so equal ones mean that everything before them was equal, and the first that differ
//! are found by bisection. For the record itself the plan is carried out twice more up to there, with the records of that
//! stretch kept and no others. What leaked need not leak at the same place again, so this is tried a few times over.
//! Last comes one run that gathers what led to it ([`Context`]).

mod context;

use dacapo_core::trace::{Fingerprint, Record};
use dacapo_properties::Scenario;

pub use self::context::{Context, Subject};
use crate::{
    plan::{Plan, PlanError},
    recorder::{CHECKPOINT_RECORDS, Keep},
    run::{Outcome, RunOptions, run},
};

/// How many records just before the first difference are shown, whatever they are about.
const BEFORE_RECORDS: u64 = 5;

/// How often a pair of runs is made again to find the differing record.
const TRIES_MAX: u32 = 8;

/// Two runs of one plan that are not the same.
#[derive(Debug)]
pub struct Difference {
    /// The plan's seed.
    pub seed: u64,
    /// The runs' fingerprints.
    pub fingerprints: (Fingerprint, Fingerprint),
    /// The first runs were equal up to this step at least.
    pub equal_until: u64,
    /// The last records before the difference, the same in both runs.
    pub before: Vec<Record>,
    /// The first record that differs, in one run; none if that run had ended.
    pub one: Option<Record>,
    /// The same step of the other run.
    pub other: Option<Record>,
    /// What led to them: of each event, operation, connection, key and node that they are about, the last records.
    pub led: Vec<Context>,
}

/// What comes of verifying a plan.
#[derive(Debug)]
pub struct Verified {
    /// The first run.
    pub outcome: Outcome,
    /// How the second differs, if it does.
    pub difference: Option<Box<Difference>>,
}

/// Carries the plan out twice and compares.
pub fn verify(scenario: &dyn Scenario, plan: &Plan, options: &RunOptions) -> Result<Verified, PlanError> {
    let first = run(scenario, plan, options)?;
    let second = run(scenario, plan, options)?;
    if first.fingerprint == second.fingerprint {
        return Ok(Verified { outcome: first, difference: None });
    }
    let mut difference = Difference {
        seed: plan.seed,
        fingerprints: (first.fingerprint, second.fingerprint),
        equal_until: equal_until(&first, &second),
        before: Vec::new(),
        one: None,
        other: None,
        led: Vec::new(),
    };
    let mut after = difference.equal_until;
    for _ in 0..TRIES_MAX {
        let found = stretch(scenario, plan, options, after)?;
        match found {
            Found::Here { before, one, other } => {
                difference.led = context::gather(scenario, plan, options, one.as_deref(), other.as_deref())?;
                difference.before = before;
                difference.one = one.map(|record| *record);
                difference.other = other.map(|record| *record);
                break;
            }
            Found::Earlier(step) => after = step,
            Found::Nothing => {
                // It leaks now and then: another pair may differ elsewhere.
                let (one, other) = (run(scenario, plan, options)?, run(scenario, plan, options)?);
                if one.fingerprint != other.fingerprint {
                    after = equal_until(&one, &other);
                }
            }
        }
    }
    Ok(Verified { outcome: first, difference: Some(Box::new(difference)) })
}

/// Up to which step two runs are certainly equal: that of the last checkpoint that they share.
fn equal_until(one: &Outcome, other: &Outcome) -> u64 {
    let (one, other) = (&one.checkpoints, &other.checkpoints);
    let (mut equal, mut differs) = (0, one.len().min(other.len()));
    while equal < differs {
        let middle = usize::midpoint(equal, differs);
        if one[middle] == other[middle] { equal = middle + 1 } else { differs = middle }
    }
    equal as u64 * CHECKPOINT_RECORDS
}

/// What two further runs show of one stretch.
enum Found {
    /// The first record that differs.
    Here { before: Vec<Record>, one: Option<Box<Record>>, other: Option<Box<Record>> },
    /// These two differ before it, after this step.
    Earlier(u64),
    /// These two are equal up to its end.
    Nothing,
}

/// Carries the plan out twice up to the next checkpoint after a step, and compares the records since then.
fn stretch(scenario: &dyn Scenario, plan: &Plan, options: &RunOptions, after: u64) -> Result<Found, PlanError> {
    let through = after + CHECKPOINT_RECORDS;
    let keep = Keep::Between { after: after.saturating_sub(BEFORE_RECORDS), through };
    let keeping = RunOptions { keep, until: Some(through), ..options.clone() };
    let (one, other) = (run(scenario, plan, &keeping)?, run(scenario, plan, &keeping)?);
    if one.fingerprint == other.fingerprint {
        return Ok(Found::Nothing);
    }
    let equal = equal_until(&one, &other);
    if equal < after {
        return Ok(Found::Earlier(equal));
    }
    let at = one.records.iter().zip(&other.records).take_while(|(one, other)| one == other).count();
    let before = one.records[at.saturating_sub(BEFORE_RECORDS as usize)..at].to_vec();
    let (one, other) = (one.records.into_iter().nth(at), other.records.into_iter().nth(at));
    Ok(Found::Here { before, one: one.map(Box::new), other: other.map(Box::new) })
}
