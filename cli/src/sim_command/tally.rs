//! What a campaign adds up to.

use std::collections::BTreeMap;

use dacapo_core::trace::Fingerprint;

use super::{
    ended::Ended,
    result::{Failure, SeedResult},
};
use crate::exit::Exit;

/// From so many seeds on, a mark that was never reached makes a campaign inconclusive; with fewer it is chance.
pub(crate) const CONCLUSIVE_SEEDS_MIN: u64 = 100;

/// The sums, in seed order: they do not depend on which worker was the fastest.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Seeds that ran.
    pub(crate) seeds: u64,
    /// The seeds' fingerprints, chained; of one seed, its own.
    pub(crate) fingerprint: Fingerprint,
    /// In the simulated world.
    pub(crate) simulated_us: u64,
    /// Records.
    pub(crate) records: u64,
    /// Events in the logs.
    pub(crate) events: u64,
    /// Operations in the plans.
    pub(crate) operations: u64,
    /// Faults that began, by family.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Checks, by property.
    pub(crate) checks: BTreeMap<String, u64>,
    /// How often each mark was reached.
    pub(crate) marks: BTreeMap<String, u64>,
    /// How many shapes the state took.
    pub(crate) shapes: u64,
    /// Seeds by the engine that ran them.
    pub(crate) engines: BTreeMap<&'static str, u64>,
    /// The seeds that failed.
    pub(crate) failed: Vec<SeedResult>,
}

impl Tally {
    /// Adds the next seed's result.
    pub(crate) fn add(&mut self, result: SeedResult) {
        self.fingerprint = match self.seeds {
            0 => Fingerprint(result.fingerprint),
            // With its engine: what one engine made of a seed stands for nothing that another makes of it.
            _ => self.fingerprint.then(&(result.engine.name(), result.fingerprint)),
        };
        self.seeds += 1;
        *self.engines.entry(result.engine.name()).or_default() += 1;
        self.simulated_us += result.simulated_us;
        self.records += result.records;
        self.events += result.events;
        self.operations += result.operations;
        let sums =
            [(&mut self.faults, &result.faults), (&mut self.checks, &result.checks), (&mut self.marks, &result.marks)];
        for (sum, more) in sums {
            for (name, n) in more {
                *sum.entry(name.clone()).or_default() += n;
            }
        }
        if result.failure.is_some() {
            self.failed.push(result);
        }
    }

    /// Those of the marks that no seed has reached.
    pub(crate) fn missing<'a>(&self, reachable: &'a [String]) -> Vec<&'a str> {
        let reached = |mark: &str| self.marks.get(mark).is_some_and(|n| *n > 0);
        reachable.iter().map(String::as_str).filter(|mark| !reached(mark)).collect()
    }

    /// How the campaign ends; the worst that any seed came to counts.
    pub(crate) fn exit(&self, reachable: &[String], ended: Ended) -> Exit {
        let any = |test: fn(&Failure) -> bool| self.failed.iter().filter_map(|seed| seed.failure.as_ref()).any(test);
        if any(|failure| matches!(failure, Failure::Violated(_))) {
            Exit::Violated
        } else if any(|failure| matches!(failure, Failure::Differs(_))) {
            Exit::NotDeterministic
        } else if any(|failure| matches!(failure, Failure::Harness(_))) {
            Exit::Failed
        } else if ended == Ended::Interrupted {
            Exit::Interrupted
        } else if self.seeds == 0
            || ended == Ended::CapReached
            || (self.seeds >= CONCLUSIVE_SEEDS_MIN && !self.missing(reachable).is_empty())
        {
            Exit::Inconclusive
        } else {
            Exit::Passed
        }
    }
}

#[cfg(test)]
mod tests {
    use dacapo_sim::Engine;

    use super::*;
    use crate::seed::Seed;

    fn result(seed: u64, failure: Option<Failure>) -> SeedResult {
        SeedResult {
            seed: Seed(seed),
            fingerprint: seed * 3,
            simulated_us: 1_000_000,
            records: 10,
            events: 5,
            operations: 2,
            faults_planned: 1,
            faults: BTreeMap::from([("crash-bus".to_owned(), 1)]),
            checks: BTreeMap::from([("lane_order".to_owned(), 4)]),
            marks: BTreeMap::from([("redelivered".to_owned(), seed % 2)]),
            failure,
            ..SeedResult::harness(Seed(seed), Engine::Event, String::new())
        }
    }

    fn tally(seeds: u64) -> Tally {
        let mut tally = Tally::default();
        (0..seeds).for_each(|seed| tally.add(result(seed, None)));
        tally
    }

    #[test]
    fn the_fingerprint_depends_on_the_order_of_the_seeds() {
        let mut swapped = Tally::default();
        for seed in [1, 0] {
            swapped.add(result(seed, None));
        }
        assert_ne!(tally(2).fingerprint, swapped.fingerprint);
        assert_eq!(tally(2).fingerprint, tally(2).fingerprint);
        let mut other = tally(1);
        other.add(SeedResult { engine: Engine::Turmoil, ..result(1, None) });
        assert_ne!(tally(2).fingerprint, other.fingerprint, "the engine counts too");
    }

    #[test]
    fn a_mark_counts_only_from_a_hundred_seeds_on() {
        let marks = ["redelivered".to_owned(), "lane_parked".to_owned()];
        assert_eq!(tally(99).exit(&marks, Ended::SeedsDone), Exit::Passed);
        assert_eq!(tally(100).exit(&marks, Ended::SeedsDone), Exit::Inconclusive);
        assert_eq!(tally(100).exit(&marks[..1], Ended::SeedsDone), Exit::Passed);
        assert_eq!(tally(100).missing(&marks), ["lane_parked"]);
        assert_eq!(tally(0).exit(&[], Ended::SeedsDone), Exit::Inconclusive);
    }

    #[test]
    fn the_worst_that_happened_decides_the_exit_code() {
        let mut tally = tally(3);
        assert_eq!(tally.exit(&[], Ended::Interrupted), Exit::Interrupted);
        tally.add(result(4, Some(Failure::Harness("out of memory".to_owned()))));
        assert_eq!(tally.exit(&[], Ended::Interrupted), Exit::Failed);
        tally.add(result(5, Some(Failure::Differs("step 3".to_owned()))));
        assert_eq!(tally.exit(&[], Ended::Interrupted), Exit::NotDeterministic);
        assert_eq!(tally.failed[1].failed(), Some("deterministic"));
    }
}
