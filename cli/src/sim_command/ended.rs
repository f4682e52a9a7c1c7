//! Why a campaign ended, and when it has covered what there is to cover.

use std::collections::BTreeMap;

use dacapo_sim::shapes::Shapes;
use serde::Serialize;

use super::result::SeedResult;

/// The rule that ended a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// All the seeds that were asked for.
    SeedsDone,
    /// The time that was given.
    TimeOver,
    /// Every mark in reach was reached, and nothing new was seen for long enough.
    Covered,
    /// As many seeds as may be, and it was not covered.
    CapReached,
    /// A seed failed.
    FirstFailure,
    /// Ctrl-C.
    Interrupted,
}

impl Ended {
    /// In words.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::SeedsDone => "all seeds done",
            Self::TimeOver => "time over",
            Self::Covered => "covered: every mark in reach was reached, and no new shape of state came up",
            Self::CapReached => "as many seeds as may be, and not covered",
            Self::FirstFailure => "the first failure",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What was covered so far, in the order of the seeds: so it does not depend on which worker was the fastest.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    /// Seeds that came before it was their turn.
    early: BTreeMap<u64, (Vec<String>, Shapes)>,
    /// The place of the seed whose turn it is.
    turn: u64,
    reached: Vec<String>,
    shapes: Shapes,
    /// The place of the last seed that showed something new.
    last_new: u64,
}

impl Coverage {
    /// Takes a seed's result. Answers the first place up to which the campaign is covered, if it is: all of `reachable`
    /// reached, and nothing new for `quiet` seeds.
    pub(crate) fn take(&mut self, place: u64, result: &SeedResult, reachable: &[String], quiet: u64) -> Option<u64> {
        let marks = result.marks.iter().filter(|(_, count)| **count > 0).map(|(name, _)| name.clone()).collect();
        self.early.insert(place, (marks, result.shapes.clone()));
        while let Some((marks, shapes)) = self.early.remove(&self.turn) {
            let mut new = self.shapes.add(&shapes) > 0;
            for mark in marks {
                if !self.reached.contains(&mark) {
                    self.reached.push(mark);
                    new = true;
                }
            }
            if new {
                self.last_new = self.turn;
            }
            let place = self.turn;
            self.turn += 1;
            let all = reachable.iter().all(|mark| self.reached.contains(mark));
            if all && place - self.last_new >= quiet {
                return Some(place);
            }
        }
        None
    }

    /// How many shapes there were.
    pub(crate) fn shapes(&self) -> usize {
        self.shapes.len()
    }
}

#[cfg(test)]
mod tests {
    use dacapo_sim::Engine;

    use super::*;
    use crate::seed::Seed;

    fn result(marks: &[(&str, u64)]) -> SeedResult {
        let marks = marks.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        SeedResult { marks, failure: None, ..SeedResult::harness(Seed(1), Engine::Event, String::new()) }
    }

    #[test]
    fn a_campaign_is_covered_when_all_is_reached_and_nothing_new_comes() {
        let reachable = ["parked".to_owned()];
        let mut coverage = Coverage::default();
        assert_eq!(coverage.take(0, &result(&[("fenced", 1)]), &reachable, 2), None);
        assert_eq!(coverage.take(1, &result(&[]), &reachable, 2), None);
        assert_eq!(coverage.take(2, &result(&[]), &reachable, 2), None, "parked was never reached");
        assert_eq!(coverage.take(3, &result(&[("parked", 1)]), &reachable, 2), None);
        assert_eq!(coverage.take(4, &result(&[("parked", 0)]), &reachable, 2), None);
        assert_eq!(coverage.take(5, &result(&[("fenced", 7)]), &reachable, 2), Some(5));
    }

    #[test]
    fn the_order_in_which_results_come_changes_nothing() {
        let reachable = ["parked".to_owned()];
        let results = [result(&[("parked", 1)]), result(&[]), result(&[]), result(&[("late", 1)])];
        let covered = |order: [usize; 4]| {
            let mut coverage = Coverage::default();
            order.into_iter().find_map(|place| coverage.take(place as u64, &results[place], &reachable, 2))
        };
        assert_eq!(covered([0, 1, 2, 3]), Some(2));
        assert_eq!(covered([3, 2, 1, 0]), Some(2));
    }
}
