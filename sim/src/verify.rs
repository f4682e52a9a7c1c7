//! The same plan twice: are the runs the same, record by record?
//!
//! Fingerprints tell whether; checkpoints tell about where. For the record itself both runs are made again with their
//! records kept, since what leaked need not leak at the same place twice.

use dacapo_core::trace::{Fingerprint, Record};
use dacapo_properties::Scenario;

use crate::{
    plan::{Plan, PlanError},
    recorder::{CHECKPOINT_RECORDS, Keep},
    run::{Outcome, RunOptions, run},
};

/// How many records before the first difference are shown.
const CONTEXT_RECORDS: usize = 5;

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
    let equal = first.checkpoints.iter().zip(&second.checkpoints).take_while(|(one, other)| one == other).count();
    let mut difference = Difference {
        seed: plan.seed,
        fingerprints: (first.fingerprint, second.fingerprint),
        equal_until: equal as u64 * CHECKPOINT_RECORDS,
        before: Vec::new(),
        one: None,
        other: None,
    };
    let keeping = RunOptions { keep: Keep::All, ..options.clone() };
    for _ in 0..TRIES_MAX {
        let one = run(scenario, plan, &keeping)?;
        let other = run(scenario, plan, &keeping)?;
        if one.fingerprint != other.fingerprint {
            let at = one.records.iter().zip(&other.records).take_while(|(one, other)| one == other).count();
            difference.before = one.records[at.saturating_sub(CONTEXT_RECORDS)..at].to_vec();
            difference.one = one.records.get(at).cloned();
            difference.other = other.records.get(at).cloned();
            break;
        }
    }
    Ok(Verified { outcome: first, difference: Some(Box::new(difference)) })
}
