//! Many seeds, one after the other or on several threads.
//!
//! A run is single-threaded and knows nothing of other threads, so the threads share only the list of seeds; the results
//! are put together in the order of the seeds, whatever order they came in.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use dacapo_core::{planted::Bug, trace::Fingerprint};
use dacapo_properties::Scenario;

use crate::{
    engines::Engines,
    fault::Family,
    marks::{Mark, Reach, Reached},
    plan::{Plan, PlanError},
    profile::Profile,
    run::{End, Outcome, RunOptions, run},
    verify::{Difference, verify},
};

/// From so many seeds on, a mark that was not reached makes a campaign inconclusive.
pub const SEEDS_CONCLUSIVE: usize = 100;

/// The seeds of a campaign that names none: the same in every clone.
pub fn default_seeds(count: usize) -> Vec<u64> {
    (1..=count as u64).collect()
}

/// How seeds are explored.
#[derive(Debug, Clone, Default)]
pub struct Campaign {
    /// What plans are drawn from.
    pub profile: Profile,
    /// A planted bug.
    pub bug: Option<Bug>,
    /// What carries the runs out; `run.engine` does not count.
    pub engines: Engines,
    /// Runs at once; 0 counts as 1.
    pub jobs: usize,
    /// Go on after a failure.
    pub keep_going: bool,
    /// Run each seed twice and compare.
    pub verify: bool,
    /// How each run is carried out.
    pub run: RunOptions,
}

/// One seed is done.
#[derive(Debug)]
pub struct Progress<'a> {
    /// How many are done.
    pub done: usize,
    /// Of how many.
    pub of: usize,
    /// What came of this one.
    pub outcome: &'a Outcome,
    /// How its second run differs, if it was verified and does.
    pub difference: Option<&'a Difference>,
}

/// What came of a campaign.
#[derive(Debug, Default)]
pub struct Report {
    /// Seeds that were run, in the order given.
    pub seeds: Vec<u64>,
    /// Those that did not pass, in the order of the seeds.
    pub failed: Vec<Outcome>,
    /// Those whose second run differed.
    pub differing: Vec<Difference>,
    /// Runs that lost something to a lying or rotting disk and passed, since it was noticed.
    pub noticed: u64,
    /// The seeds' fingerprints, chained in the order of the seeds.
    pub fingerprint: Fingerprint,
    /// Simulated time of all runs.
    pub simulated: Duration,
    /// Events in all logs.
    pub events: u64,
    /// Records of all traces.
    pub steps: u64,
    /// Operations that succeeded, were refused, were skipped.
    pub operations: (u64, u64, u64),
    /// Faults that began, and that never did, by family.
    pub faults: BTreeMap<Family, (u64, u64)>,
    /// Each property: sentence and how often it was checked.
    pub checks: BTreeMap<&'static str, (&'static str, u64)>,
    /// Situations that properties met, by property and name.
    pub sometimes: BTreeMap<(&'static str, &'static str), u64>,
    /// Marks that were reached.
    pub reached: Reached,
    /// Marks that could have been reached and were not.
    pub missed: Vec<Mark>,
    /// It was stopped before all seeds were done.
    pub interrupted: bool,
}

impl Report {
    /// Whether every seed passed.
    pub fn passed(&self) -> bool {
        self.failed.is_empty() && self.differing.is_empty()
    }

    /// Whether enough seeds ran for a missed mark to mean something, and one was missed.
    pub fn is_inconclusive(&self) -> bool {
        self.seeds.len() >= SEEDS_CONCLUSIVE && !self.missed.is_empty()
    }

    fn add(&mut self, outcome: Outcome, difference: Option<Box<Difference>>) {
        self.seeds.push(outcome.seed);
        self.noticed += u64::from(outcome.noticed.is_some());
        self.fingerprint = self.fingerprint.then(&outcome.fingerprint);
        self.simulated += outcome.simulated;
        self.events += outcome.events;
        self.steps += outcome.steps;
        self.operations.0 += outcome.operations_succeeded;
        self.operations.1 += outcome.operations_refused;
        self.operations.2 += outcome.operations_skipped;
        for (family, (begun, never)) in outcome.faults_by_family() {
            let count = self.faults.entry(family).or_default();
            count.0 += begun;
            count.1 += never;
        }
        for judged in &outcome.judged {
            self.checks.entry(judged.name).or_insert((judged.sentence, 0)).1 += judged.checks;
            for (name, count) in &judged.sometimes {
                *self.sometimes.entry((judged.name, name)).or_default() += count;
            }
        }
        self.reached.add(&outcome.reached);
        self.differing.extend(difference.map(|difference| *difference));
        if !matches!(outcome.end, End::Passed | End::Stopped) {
            self.failed.push(outcome);
        }
    }
}

type Done = Result<(Outcome, Option<Box<Difference>>), PlanError>;

/// Explores seeds. `progress` is called for each as it is done, in whatever order; it may stop the campaign.
pub fn explore(
    scenario: &dyn Scenario,
    seeds: &[u64],
    campaign: &Campaign,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Report, PlanError> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut done: BTreeMap<usize, (Outcome, Option<Box<Difference>>)> = BTreeMap::new();
    let (sender, receiver) = mpsc::channel::<(usize, Done)>();
    let work = |sender: mpsc::Sender<(usize, Done)>| {
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(seed) = seeds.get(index) else { return };
            if sender.send((index, one(scenario, *seed, campaign))).is_err() {
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..campaign.jobs.max(1) {
            let sender = sender.clone();
            scope.spawn(|| work(sender));
        }
        drop(sender);
        for (index, result) in receiver {
            // Returning early drops the receiver, at which the workers end.
            let (outcome, difference) = result.inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            let told = Progress {
                done: done.len() + 1,
                of: seeds.len(),
                outcome: &outcome,
                difference: difference.as_deref(),
            };
            let failed = !matches!(outcome.end, End::Passed | End::Stopped) || difference.is_some();
            if progress(told).is_break() || (failed && !campaign.keep_going) {
                stop.store(true, Ordering::Relaxed);
            }
            done.insert(index, (outcome, difference));
        }
        Ok(())
    })?;
    if !campaign.keep_going {
        // Other threads may have gone on for a while; what they did is not part of the answer.
        let failed = |(outcome, difference): &(Outcome, Option<Box<Difference>>)| {
            !matches!(outcome.end, End::Passed | End::Stopped) || difference.is_some()
        };
        if let Some(first) = done.iter().find(|(_, done)| failed(done)).map(|(index, _)| *index) {
            done.split_off(&(first + 1));
        }
    }
    let mut report = Report { interrupted: done.len() < seeds.len(), ..Report::default() };
    for (outcome, difference) in done.into_values() {
        report.add(outcome, difference);
    }
    let families = campaign.profile.families.keys().copied();
    let reach = Reach {
        families: families.filter(|family| campaign.engines.can_do(*family)).collect(),
        engines: campaign.engines,
        scenario: scenario.name().to_owned(),
        seeds: Some(report.seeds.len() as u64),
    };
    report.missed = report.reached.missed(&reach);
    Ok(report)
}

fn one(scenario: &dyn Scenario, seed: u64, campaign: &Campaign) -> Done {
    let mut plan = Plan::draw(scenario, seed, &campaign.profile);
    plan.bug = campaign.bug;
    let options = RunOptions { engine: campaign.engines.of(seed), ..campaign.run.clone() };
    if campaign.verify {
        let verified = verify(scenario, &plan, &options)?;
        return Ok((verified.outcome, verified.difference));
    }
    Ok((run(scenario, &plan, &options)?, None))
}
