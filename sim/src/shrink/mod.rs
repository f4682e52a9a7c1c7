//! Shrinking: the smallest plan that still fails the same way.
//!
//! First whole groups go (all faults, those of a family or a host, whatever comes after the failure), then items one by
//! one (`ddmin`), then what is left is lowered: strengths, durations, times, settings. The seed stays as it is, and
//! what is drawn during a run depends on it and on identities alone, so that taking one item out re-times no other.
//! It never makes a plan larger, and never takes another failure for the one it was asked about.
//!
//! | module | what lives there |
//! |---|---|
//! | `failure` | when two failures are the same |
//! | `trials` | trying candidates, each once, on several threads |
//! | `ddmin` | taking chunks out of any list |
//! | `items` | what can be taken out of a plan |
//! | `lower` | earlier, shorter, weaker, less |
//! | `settings` | plain settings, fewer customers |

mod ddmin;
mod failure;
mod items;
mod lower;
mod settings;
mod trials;

use std::fmt;

use dacapo_properties::{Scenario, Violation};

pub use self::failure::Failing;
use self::{items::Item, trials::Trials};
use crate::{
    deadline::{Budget, Deadline, OutOfTime},
    plan::{Plan, PlanError},
    recorder::Keep,
    run::{Outcome, RunOptions, run},
};

/// Up to how many items are lowered one by one; more are taken to be a plan that resists.
const LOWERED_ITEMS_MAX: usize = 40;

/// Up to how many operations, and as many faults, are tried for pairs that may as well meet.
const MEETING_ITEMS_MAX: usize = 6;

/// Up to how many operations one is tried to be traded for a smaller amount of another.
const TRADED_ITEMS_MAX: usize = 16;

/// How a plan is shrunk.
#[derive(Clone, Default)]
pub struct ShrinkOptions {
    /// How candidates are carried out; only its engine matters.
    pub run: RunOptions,
    /// How long it may take, by this clock; none: as long as it takes.
    pub budget: Option<Budget>,
    /// Candidates tried at once; 0 counts as 1. It changes nothing in the result.
    pub jobs: usize,
}

impl fmt::Debug for ShrinkOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let budget = self.budget.as_ref().map(|(_, budget)| budget);
        f.debug_struct("ShrinkOptions").field("budget", &budget).field("jobs", &self.jobs).finish_non_exhaustive()
    }
}

/// Whether a shrunk plan could be smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Minimality {
    /// Without any one of its operations or faults it passes, or fails in another way: each was tried.
    Minimal,
    /// Time ran out before that was known.
    TimeRanOut,
}

/// What came of shrinking.
#[derive(Debug)]
pub struct Shrunk {
    /// The smaller plan.
    pub plan: Plan,
    /// What it breaks, as the plan it came from does.
    pub failing: Failing,
    /// How it breaks it.
    pub violation: Violation,
    /// Its run.
    pub outcome: Outcome,
    /// Whether it could be smaller.
    pub minimality: Minimality,
    /// Runs that were made.
    pub runs: u64,
    /// Runs that were saved, since their plan had been tried before.
    pub known: u64,
}

/// Why a plan cannot be shrunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShrinkError {
    /// It cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// It does not fail.
    #[error("the plan passes, so there is nothing to shrink; give one that fails, such as those of `dacapo bugs list`")]
    Passes,
}

/// Shrinks a plan that fails.
pub fn shrink(scenario: &dyn Scenario, plan: &Plan, options: &ShrinkOptions) -> Result<Shrunk, ShrinkError> {
    let deadline = options.budget.as_ref().map(Deadline::within);
    let plain_run = RunOptions { keep: Keep::None, until: None, branch: None, ..options.run.clone() };
    let first = run(scenario, plan, &plain_run)?;
    let Some(violation) = first.violation.as_deref() else { return Err(ShrinkError::Passes) };
    let failing = Failing::of(violation);
    let trials = Trials::new(scenario, &plain_run, failing.clone(), options.jobs, deadline);
    let mut shrinking = Shrinking { plan: plan.clone(), trials };
    shrinking.bound(violation.step);
    let minimality = match shrinking.go(&first) {
        Ok(()) => Minimality::Minimal,
        Err(OutOfTime) => Minimality::TimeRanOut,
    };
    let Shrinking { plan, trials } = shrinking;
    let outcome = run(scenario, &plan, &plain_run)?;
    let violation = outcome.violation.as_deref().filter(|violation| failing.is(violation)).cloned();
    let violation = violation.unwrap_or_else(|| panic!("only plans that break {} were taken", failing.property));
    Ok(Shrunk { plan, failing, violation, outcome, minimality, runs: trials.runs, known: trials.known })
}

/// The smallest plan so far.
struct Shrinking<'a> {
    plan: Plan,
    trials: Trials<'a>,
}

impl Shrinking<'_> {
    fn go(&mut self, first: &Outcome) -> Result<(), OutOfTime> {
        self.cut_what_came_too_late(first)?;
        self.cut_groups()?;
        loop {
            let before = self.plan.clone();
            self.try_these(settings::plain(&self.plan).into_iter().chain(settings::without_spread(&self.plan)))?;
            self.take_items_out()?;
            self.lower()?;
            if self.plan == before && self.is_minimal()? {
                return Ok(());
            }
        }
    }

    /// A failing run of fewer things has fewer records; one that goes on for much longer is taken to pass. What fails
    /// at its end may take any number.
    fn bound(&mut self, step: u64) {
        self.trials.steps_max = (step > 0).then_some(step * 2 + 1_000);
    }

    /// Takes the first of these that still fails, if any does.
    fn try_these(&mut self, candidates: impl IntoIterator<Item = Plan>) -> Result<bool, OutOfTime> {
        // What is the same is not smaller.
        let whole = self.plan.clone();
        let found = self.trials.first(&mut candidates.into_iter().filter(|candidate| *candidate != whole))?;
        let Some((_, plan, step)) = found else { return Ok(false) };
        self.plan = plan;
        self.bound(step);
        Ok(true)
    }

    /// Whatever begins after the failure has no part in it.
    fn cut_what_came_too_late(&mut self, first: &Outcome) -> Result<(), OutOfTime> {
        let fired = |id: u32| first.faults.iter().any(|fault| fault.id == id && fault.begun > 0);
        let mut without = self.plan.clone();
        without.faults.retain(|fault| fired(fault.id));
        let end_us = u64::try_from(first.simulated.as_micros()).unwrap_or(u64::MAX);
        without.operations.retain(|operation| operation.at_us <= end_us);
        items::adjust_mask(&mut without);
        if without == self.plan {
            return Ok(());
        }
        self.try_these([without]).map(drop)
    }

    fn cut_groups(&mut self) -> Result<(), OutOfTime> {
        let operations = items::operations(&self.plan);
        self.try_these([items::with_only(&self.plan, &operations)])?;
        self.try_these(settings::plain(&self.plan))?;
        for group in items::fault_groups(&self.plan) {
            let kept = items::faults(&self.plan).into_iter().filter(|item| match item {
                Item::Fault(id) => !group.contains(id),
                Item::Operation(_) => true,
            });
            let kept: Vec<Item> = kept.chain(items::operations(&self.plan)).collect();
            let candidate = items::with_only(&self.plan, &kept);
            if candidate.faults.len() < self.plan.faults.len() {
                self.try_these([candidate])?;
            }
        }
        Ok(())
    }

    /// Faults, then operations, then all together, until no single item can go.
    fn take_items_out(&mut self) -> Result<(), OutOfTime> {
        loop {
            let before = self.plan.faults.len() + self.plan.operations.len();
            let (faults, operations) = (items::faults(&self.plan), items::operations(&self.plan));
            self.ddmin(faults, &operations)?;
            let faults = items::faults(&self.plan);
            self.ddmin(operations, &faults)?;
            if self.plan.faults.len() + self.plan.operations.len() == before {
                return Ok(());
            }
        }
    }

    /// Shrinks `items`, while `others` stay.
    fn ddmin(&mut self, mut items: Vec<Item>, others: &[Item]) -> Result<(), OutOfTime> {
        let whole = self.plan.clone();
        ddmin::ddmin(&mut items, &mut |candidates| {
            let mut plans = candidates.map(|candidate| items::with_only(&whole, &[&candidate[..], others].concat()));
            let found = self.trials.first(&mut plans)?;
            Ok(found.map(|(index, plan, step)| {
                self.plan = plan;
                self.bound(step);
                index
            }))
        })
    }

    /// Lowers whatever can be lowered, one thing at a time.
    fn lower(&mut self) -> Result<(), OutOfTime> {
        while self.try_these(lower::sooner(&self.plan.clone()))? {}
        while self.try_these(settings::with_fewer_customers(&self.plan))? {}
        while self.try_these(settings::with_one_lowered(&self.plan))? {}
        if self.plan.faults.len() + self.plan.operations.len() > LOWERED_ITEMS_MAX {
            return Ok(());
        }
        for which in 0..self.plan.faults.len() {
            while self.try_these(lower::with_fault_lowered(&self.plan.clone(), which))? {}
        }
        for which in 0..self.plan.operations.len() {
            while self.try_these(lower::with_operation_lowered(&self.plan.clone(), which))? {}
        }
        if self.plan.faults.len().max(self.plan.operations.len()) <= MEETING_ITEMS_MAX {
            self.try_these(lower::with_meeting_operations(&self.plan.clone()))?;
        }
        if self.plan.operations.len() <= TRADED_ITEMS_MAX {
            self.try_these(lower::with_operation_traded(&self.plan.clone()))?;
        }
        Ok(())
    }

    /// Tries once more without each single item, and lets each run go on to its end. If one still fails, it is taken.
    fn is_minimal(&mut self) -> Result<bool, OutOfTime> {
        self.trials.steps_max = None;
        let all: Vec<Item> = items::faults(&self.plan).into_iter().chain(items::operations(&self.plan)).collect();
        let whole = self.plan.clone();
        let without = |index: usize| {
            let mut rest = all.clone();
            rest.remove(index);
            items::with_only(&whole, &rest)
        };
        let smaller = self.try_these((0..all.len()).map(without))?;
        Ok(!smaller)
    }
}
