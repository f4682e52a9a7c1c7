//! What a check that passed has seen.

use std::{collections::BTreeMap, fmt, time::Duration};

use dacapo_core::trace::Fingerprint;

use crate::{fault::Family, marks::Reached, run::Outcome};

/// What a check that passed has seen.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// The seeds, in their order; none if it was one plan.
    pub seeds: Vec<u64>,
    /// How many saved plans were run besides.
    pub regressions: usize,
    /// The fingerprints of all runs, chained in their order.
    pub fingerprint: Fingerprint,
    /// Events in all logs.
    pub events: u64,
    /// Records of all traces.
    pub steps: u64,
    /// Simulated time of all runs.
    pub simulated: Duration,
    /// Operations that succeeded.
    pub succeeded: u64,
    /// Operations that were answered with a refusal.
    pub refused: u64,
    /// Operations that were skipped, because one before them did not succeed.
    pub skipped: u64,
    /// Faults that began, by family.
    pub faults: BTreeMap<Family, u64>,
    /// How often each promise was in a position to be broken, those of the bus included.
    pub checks: BTreeMap<&'static str, u64>,
    /// How often each situation and each mark of the simulator was met.
    pub met: Reached,
}

impl Checked {
    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.fingerprint = self.fingerprint.then(&outcome.fingerprint);
        self.events += outcome.events;
        self.steps += outcome.steps;
        self.simulated += outcome.simulated;
        self.succeeded += outcome.operations_succeeded;
        self.refused += outcome.operations_refused;
        self.skipped += outcome.operations_skipped;
        for fault in outcome.faults.iter().filter(|fault| fault.begun > 0) {
            *self.faults.entry(fault.family).or_default() += 1;
        }
        for judged in &outcome.judged {
            *self.checks.entry(judged.name).or_default() += judged.checks;
        }
        self.met.add(&outcome.reached);
    }
}

/// `500 seeds: 1 h of simulated time, …`
impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { succeeded, refused, skipped, events, steps, fingerprint, .. } = self;
        let faults: u64 = self.faults.values().sum();
        write!(
            f,
            "{} seeds and {} saved plans: {} s simulated, {succeeded} operations succeeded, {refused} were refused, \
             {skipped} skipped, {faults} faults, {events} events, {steps} trace records, fingerprint {fingerprint}",
            self.seeds.len(),
            self.regressions,
            self.simulated.as_secs()
        )
    }
}
