//! Trying candidates: does this plan still fail the same way?
//!
//! A plan is tried once; what came of it is remembered. Several threads may try a batch at once: the first of the batch
//! that fails is taken, so that they change nothing but the time it takes.

use std::{collections::BTreeMap, thread};

use dacapo_core::digest::digest_of;
use dacapo_properties::Scenario;

use super::failure::Failing;
use crate::{
    deadline::{Deadline, OutOfTime},
    plan::Plan,
    recorder::Keep,
    run::{RunOptions, run},
};

/// The step at which a candidate failed the same way (0: at its end); none if it passes, or fails in another way.
type Fate = Option<u64>;

/// Tries candidates.
pub(super) struct Trials<'a> {
    scenario: &'a dyn Scenario,
    options: RunOptions,
    failing: Failing,
    jobs: usize,
    deadline: Option<Deadline>,
    /// By the plan's digest, what came of it and up to which step it was looked at.
    seen: BTreeMap<u64, (Fate, u64)>,
    /// Runs that were made.
    pub(super) runs: u64,
    /// Candidates that had been tried before.
    pub(super) known: u64,
    /// A run that goes on beyond this step passes.
    pub(super) steps_max: Option<u64>,
}

impl<'a> Trials<'a> {
    pub(super) fn new(
        scenario: &'a dyn Scenario,
        options: &RunOptions,
        failing: Failing,
        jobs: usize,
        deadline: Option<Deadline>,
    ) -> Self {
        let options = RunOptions { keep: Keep::None, clock: None, ..options.clone() };
        let seen = BTreeMap::new();
        let jobs = jobs.max(1);
        Self { scenario, options, failing, jobs, deadline, seen, runs: 0, known: 0, steps_max: None }
    }

    /// The first of these that still fails the same way, with its step.
    pub(super) fn first(
        &mut self,
        candidates: &mut dyn Iterator<Item = Plan>,
    ) -> Result<Option<(usize, Plan, u64)>, OutOfTime> {
        let mut tried = 0;
        loop {
            let batch: Vec<Plan> = candidates.take(self.jobs).collect();
            if batch.is_empty() {
                return Ok(None);
            }
            let fates = self.fates(&batch)?;
            let found = batch.into_iter().zip(fates).enumerate().find_map(|(index, (plan, fate))| {
                // Fates of later ones may be known too, but the first counts.
                fate.map(|step| (tried + index, plan, step))
            });
            if found.is_some() {
                return Ok(found);
            }
            tried += self.jobs;
        }
    }

    fn fates(&mut self, batch: &[Plan]) -> Result<Vec<Fate>, OutOfTime> {
        let bound = self.steps_max.unwrap_or(u64::MAX);
        let digests: Vec<u64> = batch.iter().map(|plan| digest_of(0, &plan.to_json())).collect();
        // A failure stands; whoever passed up to a step may fail later.
        let known = |digest| self.seen.get(digest).filter(|(fate, looked)| fate.is_some() || *looked >= bound);
        let mut fates: Vec<Option<Fate>> = digests.iter().map(|digest| known(digest).map(|(fate, _)| *fate)).collect();
        self.known += fates.iter().flatten().count() as u64;
        let new: Vec<usize> = (0..batch.len()).filter(|index| fates[*index].is_none()).collect();
        if new.is_empty() {
            return Ok(fates.into_iter().flatten().collect());
        }
        if let Some(deadline) = &self.deadline {
            deadline.check()?;
        }
        let this = &*self;
        let tried: Vec<Fate> = match &new[..] {
            [only] => vec![this.fate(&batch[*only])],
            several => thread::scope(|scope| {
                let threads: Vec<_> = several.iter().map(|index| scope.spawn(|| this.fate(&batch[*index]))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap_or(None)).collect()
            }),
        };
        self.runs += new.len() as u64;
        for (index, fate) in new.into_iter().zip(tried) {
            self.seen.insert(digests[index], (fate, bound));
            fates[index] = Some(fate);
        }
        Ok(fates.into_iter().flatten().collect())
    }

    fn fate(&self, plan: &Plan) -> Fate {
        let options = RunOptions { until: self.steps_max, ..self.options.clone() };
        // A candidate that cannot be carried out is none.
        let violation = run(self.scenario, plan, &options).ok()?.violation?;
        self.failing.is(&violation).then_some(violation.step)
    }
}
