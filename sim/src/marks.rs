//! Marks: places that a campaign should reach, and what each needs.
//!
//! A campaign that never redelivered anything has proved nothing about redelivery, however green it is. A mark that
//! needs a family of faults which the campaign's profile does not hold is not missed, it is out of reach.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::{
    event::Receipt,
    names::Position,
    trace::{Frame, Record, What},
    wire::{FromBus, ToBus},
};

use crate::fault::Family;

/// A place that a campaign should reach.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// Its name.
    pub name: &'static str,
    /// What it is, and the risk if it is never reached.
    pub sentence: &'static str,
    /// One of these families must be allowed; empty: every run can reach it.
    pub needs: &'static [Family],
    test: fn(&What) -> bool,
}

const CRASHES: &[Family] = &[
    Family::CrashBus,
    Family::CrashAtPoint,
    Family::CommitAnswerLost,
    Family::CrashLoop,
    Family::GracefulRestart,
];

const SEPARATIONS: &[Family] = &[
    Family::CrashBus,
    Family::CrashInstance,
    Family::CrashAtPoint,
    Family::CommitAnswerLost,
    Family::Partition,
    Family::PartitionOneWay,
    Family::Isolate,
    Family::Reset,
    Family::Pause,
    Family::CompletionLost,
    Family::CompletionLate,
];

const HANDLING: &[Family] = &[Family::FailingHandler, Family::PoisonEvent];

fn from_bus(what: &What, test: impl Fn(&FromBus) -> bool) -> bool {
    matches!(what, What::FrameSent { frame: Frame::FromBus(frame), .. } if test(frame))
}

fn to_bus(what: &What, test: impl Fn(&ToBus) -> bool) -> bool {
    matches!(what, What::FrameSent { frame: Frame::ToBus(frame), .. } if test(frame))
}

/// All marks that the records themselves show.
pub const MARKS: &[Mark] = &[
    Mark {
        name: "delivered_again",
        sentence: "an event was delivered a second time; without it nothing is known about redelivery",
        needs: SEPARATIONS,
        test: |what| from_bus(what, |frame| matches!(frame, FromBus::Deliver(deliver) if deliver.token.attempt > 1)),
    },
    Mark {
        name: "lane_moved",
        sentence: "a lane changed its owner; without it epochs are untested",
        needs: SEPARATIONS,
        test: |what| from_bus(what, |frame| matches!(frame, FromBus::Deliver(deliver) if deliver.token.epoch > 1)),
    },
    Mark {
        name: "fenced",
        sentence: "a former owner was told that its delivery is no longer its own; without it zombies are untested",
        needs: &[Family::Pause, Family::Hold, Family::CompletionLate, Family::SlowHandler, Family::Delay],
        test: |what| from_bus(what, |frame| matches!(frame, FromBus::Fenced(_))),
    },
    Mark {
        name: "completed_already",
        sentence: "a completion was sent again and answered from the log; without it lost answers are untested",
        needs: SEPARATIONS,
        test: |what| from_bus(what, |frame| matches!(frame, FromBus::Completed(completed) if completed.already)),
    },
    Mark {
        name: "conflict",
        sentence: "a completion met ground that had moved; without it guards are untested",
        needs: &[],
        test: |what| from_bus(what, |frame| matches!(frame, FromBus::Conflict(_))),
    },
    Mark {
        name: "published_twice",
        sentence: "a publish was answered with `duplicate`; without it idempotency is untested",
        needs: SEPARATIONS,
        test: |what| receipt(what, |receipt| matches!(receipt, Receipt::Duplicate { .. })),
    },
    Mark {
        name: "published_stale",
        sentence: "a publish was answered with `inconsistent`; without it expectations are untested",
        needs: &[],
        test: |what| receipt(what, |receipt| matches!(receipt, Receipt::Inconsistent { .. })),
    },
    Mark {
        name: "nacked",
        sentence: "an instance said that its handling failed; without it back-off is untested",
        needs: HANDLING,
        test: |what| to_bus(what, |frame| matches!(frame, ToBus::Nack(_))),
    },
    Mark {
        name: "parked",
        sentence: "a lane was set aside; without it parking is untested",
        needs: &[Family::PoisonEvent],
        test: |what| committed_lane(what, |change| matches!(change, dacapo_core::store::LaneChange::Put(lane) if lane.parked.is_some())),
    },
    Mark {
        name: "lane_behind",
        sentence: "a lane was put on the list of lanes behind; without it the frontier is untested",
        needs: &[],
        test: |what| committed_lane(what, |change| matches!(change, dacapo_core::store::LaneChange::Put(_))),
    },
    Mark {
        name: "recovered_log",
        sentence: "a bus began from a store that held a log; without it recovery is untested",
        needs: CRASHES,
        test: |what| matches!(what, What::Recovered { recovered } if recovered.position > Position::ZERO),
    },
    Mark {
        name: "rebuilt",
        sentence: "an instance played the past to its end; without it rebuilds are untested",
        needs: &[],
        test: |what| matches!(what, What::RebuildEnded { position, .. } if *position > Position::ZERO),
    },
    Mark {
        name: "hydrated",
        sentence: "an instance read a key up to its head; without it hydration is untested",
        needs: &[],
        test: |what| matches!(what, What::Applied { how: dacapo_core::trace::How::Hydrated, .. }),
    },
    Mark {
        name: "asked_again",
        sentence: "a customer repeated a request after an unknown outcome; without it idempotency keys are untested",
        needs: SEPARATIONS,
        test: |what| matches!(what, What::OperationSent { attempt, .. } if *attempt > 1),
    },
    Mark {
        name: "commits_gathered",
        sentence: "one commit held the work of several messages; without it group commit is untested",
        needs: &[],
        test: |what| matches!(what, What::CommitDurable { commit } if commit.completions.len() > 1),
    },
    Mark {
        name: "commit_unheard",
        sentence: "a commit became durable and the bus died before it heard; without it unknown outcomes are untested",
        needs: &[Family::CommitAnswerLost],
        test: |what| matches!(what, What::Mark { name } if name == COMMIT_UNHEARD),
    },
    Mark {
        name: "died_at_point",
        sentence: "the bus died between two of its outputs; without it every crash is between ticks",
        needs: &[Family::CrashAtPoint],
        test: |what| matches!(what, What::Mark { name } if name == DIED_AT_POINT),
    },
];

/// Recorded by the engine when a bus dies between a durable commit and its answer.
pub(crate) const COMMIT_UNHEARD: &str = "commit_unheard";
/// Recorded by the engine when a process dies at a point.
pub(crate) const DIED_AT_POINT: &str = "died_at_point";

fn receipt(what: &What, test: impl Fn(&Receipt) -> bool) -> bool {
    from_bus(what, |frame| matches!(frame, FromBus::Receipts(receipts) if receipts.receipts.iter().any(&test)))
}

fn committed_lane(what: &What, test: impl Fn(&dacapo_core::store::LaneChange) -> bool) -> bool {
    matches!(what, What::CommitDurable { commit } if commit.lanes.iter().any(test))
}

/// Counts what was reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached(BTreeMap<String, u64>);

impl Reached {
    /// Looks at one record.
    pub fn observe(&mut self, record: &Record) {
        for mark in MARKS {
            if (mark.test)(&record.what) {
                *self.0.entry(mark.name.to_owned()).or_default() += 1;
            }
        }
        if let What::Mark { name } = &record.what
            && !MARKS.iter().any(|mark| mark.name == name)
        {
            *self.0.entry(name.clone()).or_default() += 1;
        }
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name.clone()).or_default() += count;
        }
    }

    /// How often a mark was reached.
    pub fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Name and count of everything that was reached, by name.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// The marks that runs with these families could have reached and did not.
    pub fn missed(&self, families: &BTreeSet<Family>) -> Vec<&'static Mark> {
        let reachable = |mark: &&Mark| mark.needs.is_empty() || mark.needs.iter().any(|need| families.contains(need));
        MARKS.iter().filter(reachable).filter(|mark| self.count(mark.name) == 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_out_of_reach_is_not_missed() {
        let reached = Reached::default();
        let names = |families: &[Family]| -> Vec<&str> {
            reached.missed(&families.iter().copied().collect()).into_iter().map(|mark| mark.name).collect()
        };
        assert!(!names(&[]).contains(&"parked"));
        assert!(names(&[Family::PoisonEvent]).contains(&"parked"));
        assert!(names(&[]).contains(&"conflict"));
    }
}
