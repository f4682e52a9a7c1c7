//! Marks: places that a campaign should reach, and what each needs.
//!
//! A campaign that never redelivered anything has proved nothing about redelivery, however green it is. Most marks are
//! the situations that the properties count ([`SITUATIONS`]); the engine adds a few of its own, as records. A mark that
//! needs a family of faults which the campaign's profile does not hold is not missed, it is out of reach.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::trace::{Record, What};
use dacapo_properties::{Judged, SITUATIONS};

use crate::fault::Family;

/// What a run must have for a mark to be in reach of the turmoil engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: every campaign should reach it.
    Nothing,
    /// One of these families of faults.
    OneOf(&'static [Family]),
    /// Something that this engine does not do.
    OutOfReach(&'static str),
}

/// A place that a campaign should reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Its name.
    pub name: &'static str,
    /// What could be broken without anyone noticing.
    pub risk: &'static str,
    /// What it needs.
    pub needs: Needs,
}

/// Recorded by the engine when a bus dies between a durable commit and its answer.
pub const COMMIT_UNHEARD: &str = "commit unheard";
/// Recorded by the engine when a process dies between two of its outputs.
pub const DIED_AT_POINT: &str = "died at a point";

/// Recorded by the engine when a sync failed.
pub const SYNC_FAILED: &str = "sync failed";
/// Recorded by the engine when a sync lied.
pub const SYNC_LIED: &str = "sync lied";
/// Recorded by the engine when a read of the disk failed.
pub const READ_FAILED: &str = "read failed";
/// Recorded by the engine when a write found no room.
pub const DISK_WAS_FULL: &str = "disk was full";
/// Recorded by the engine when a commit of unknown outcome turned out to be in the log.
pub const DOUBT_PROVED: &str = "doubtful commit kept";
/// Recorded by the engine when a commit of unknown outcome turned out not to be in the log.
pub const DOUBT_DISPROVED: &str = "doubtful commit gone";
/// Recorded by the event engine when a parcel was lost on its way and sent again.
pub const PARCEL_LOST: &str = "parcel lost";
/// Recorded by the event engine when an end of a connection was forgotten and the other did not hear of it.
pub const HALF_OPEN: &str = "half-open connection";
/// Recorded by the event engine when an attempt of a customer was sent to a second instance.
pub const ATTEMPT_TWICE: &str = "attempt sent twice";
/// Recorded by the event engine when the bus cut off a peer that did not read.
pub const SLOW_READER_CUT: &str = "slow reader cut off";

/// Recorded by the engine when the store refused what is damaged.
pub const DAMAGE_REFUSED: &str = "damage refused";
/// Recorded by the engine when a recovered store was not what had been made durable. Only where a disk may lose
/// something; it is what the harness knows, not what anybody noticed.
pub const DISK_LOST: &str = "disk lost something";
/// Recorded by the engine when a recovered store answered otherwise than what had been made durable, and not only with
/// a log that was too short.
pub const DAMAGE_SERVED: &str = "damage served";

const ENGINE: &[Mark] = &[
    Mark {
        name: COMMIT_UNHEARD,
        risk: "a commit that nobody heard of might be forgotten or made twice",
        needs: Needs::OneOf(&[Family::CommitAnswerLost]),
    },
    Mark {
        name: DIED_AT_POINT,
        risk: "every crash might have come between two ticks, where nothing is half done",
        needs: Needs::OneOf(&[Family::CrashAtPoint]),
    },
    Mark {
        name: SYNC_FAILED,
        risk: "the store might go on over unknown ground after a failed sync",
        needs: Needs::OneOf(&[Family::FsyncFails]),
    },
    Mark {
        name: SYNC_LIED,
        risk: "a lie that nothing rests upon proves nothing",
        needs: Needs::OneOf(&[Family::FsyncLies]),
    },
    Mark { name: DAMAGE_REFUSED, risk: "what has rotted might be served", needs: Needs::OneOf(&[Family::BitRot]) },
    Mark {
        name: DISK_LOST,
        risk: "a lie that takes nothing away proves nothing",
        needs: Needs::OneOf(&[Family::FsyncLies]),
    },
    Mark {
        name: READ_FAILED,
        risk: "what cannot be read might be taken for what is not there",
        needs: Needs::OneOf(&[Family::ReadError]),
    },
    Mark {
        name: DISK_WAS_FULL,
        risk: "a full disk might leave half a commit, or a bus that never serves again",
        needs: Needs::OneOf(&[Family::DiskFull]),
    },
    Mark {
        name: DOUBT_PROVED,
        risk: "a commit that was cut off and is there all the same might be forgotten or made twice",
        needs: Needs::OneOf(&[Family::PowerCut]),
    },
    Mark {
        name: DOUBT_DISPROVED,
        risk: "every power cut might have come between two commits, where nothing is half done",
        needs: Needs::OneOf(&[Family::PowerCut]),
    },
];

/// Marks of faults that only some engine can do: campaigns of others leave their families out of reach.
const NETWORK: &[Mark] = &[
    Mark {
        name: PARCEL_LOST,
        risk: "what is behind a lost parcel might overtake it",
        needs: Needs::OneOf(&[Family::PacketLoss]),
    },
    Mark {
        name: HALF_OPEN,
        risk: "an end that hears nothing of the other's end might wait for ever",
        needs: Needs::OneOf(&[Family::HalfOpen]),
    },
    Mark {
        name: ATTEMPT_TWICE,
        risk: "a request that arrives twice might take effect twice",
        needs: Needs::OneOf(&[Family::DuplicateAttempt]),
    },
    Mark {
        name: SLOW_READER_CUT,
        risk: "a peer that does not read might fill the memory of the bus",
        needs: Needs::OutOfReach("the queue for a peer that does not read holds more than a run sends"),
    },
];

const BUS_ENDS: &[Family] = &[
    Family::CrashBus,
    Family::CrashAtPoint,
    Family::CommitAnswerLost,
    Family::CrashLoop,
    Family::GracefulRestart,
    Family::StoreFails,
    Family::PowerCut,
    Family::DirectoryEntryLost,
    Family::FsyncFails,
];

/// Whatever separates an owner from the bus while it holds a delivery, or takes its answer away.
const SEPARATIONS: &[Family] = &[
    Family::CrashBus,
    Family::CrashInstance,
    Family::CrashAtPoint,
    Family::CommitAnswerLost,
    Family::CrashLoop,
    Family::StateDestroyed,
    Family::Partition,
    Family::PartitionOneWay,
    Family::Isolate,
    Family::Reset,
    Family::Pause,
    Family::CompletionLost,
    Family::CompletionLate,
    Family::StoreFails,
    Family::PowerCut,
    Family::DirectoryEntryLost,
    Family::FsyncFails,
];

const ZOMBIES: &[Family] =
    &[Family::Pause, Family::Hold, Family::CompletionLate, Family::CompletionLost, Family::PartitionOneWay];

/// What a situation needs. One that is not listed is in reach of every campaign.
fn needs(situation: &str) -> Needs {
    match situation {
        "duplicate receipt"
        | "completed already"
        | "outcome unknown"
        | "redelivery"
        | "owner moved"
        | "healed with a backlog" => Needs::OneOf(SEPARATIONS),
        "fenced completion" => Needs::OneOf(ZOMBIES),
        "lane parked" | "lane retried" => Needs::OneOf(&[Family::PoisonEvent]),
        "bus recovered" | "recovered with lanes behind" => Needs::OneOf(BUS_ENDS),
        "event skipped" => Needs::OutOfReach("the administrator mends and never passes over"),
        "throttled" => Needs::OutOfReach("the waiting room for publishes is larger than all customers together"),
        _ => Needs::Nothing,
    }
}

/// All marks.
pub fn marks() -> Vec<Mark> {
    let situation = |situation: &dacapo_properties::Situation| Mark {
        name: situation.name,
        risk: situation.risk,
        needs: needs(situation.name),
    };
    SITUATIONS.iter().map(situation).chain(ENGINE.iter().chain(NETWORK).copied()).collect()
}

/// Counts what was reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached(BTreeMap<String, u64>);

impl Reached {
    /// Looks at one record: marks may be records.
    pub(crate) fn observe(&mut self, record: &Record) {
        if let What::Mark { name } = &record.what {
            self.count_in(name, 1);
        }
    }

    /// Takes the situations that a property counted.
    pub(crate) fn take(&mut self, judged: &[Judged]) {
        for (name, count) in judged.iter().flat_map(|judged| &judged.sometimes) {
            self.count_in(name, *count);
        }
    }

    fn count_in(&mut self, name: &str, count: u64) {
        match self.0.get_mut(name) {
            Some(counted) => *counted += count,
            None => drop(self.0.insert(name.to_owned(), count)),
        }
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            self.count_in(name, *count);
        }
    }

    /// How often a mark was reached.
    pub fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Name and count of every mark that was met at least by name, by name.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// The marks that runs with these families could have reached and did not.
    pub fn missed(&self, families: &BTreeSet<Family>) -> Vec<Mark> {
        let in_reach = |mark: &Mark| match mark.needs {
            Needs::Nothing => true,
            Needs::OneOf(needed) => needed.iter().any(|family| families.contains(family)),
            Needs::OutOfReach(_) => false,
        };
        marks().into_iter().filter(in_reach).filter(|mark| self.count(mark.name) == 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_out_of_reach_is_not_missed() {
        let names = |reached: &Reached, families: &[Family]| -> Vec<&str> {
            reached.missed(&families.iter().copied().collect()).into_iter().map(|mark| mark.name).collect()
        };
        let mut reached = Reached::default();
        assert!(!names(&reached, &[]).contains(&"lane parked"));
        assert!(names(&reached, &[Family::PoisonEvent]).contains(&"lane parked"));
        assert!(names(&reached, &[]).contains(&"conflict"));
        assert!(!names(&reached, Family::ALL).contains(&"throttled"));
        reached.count_in("conflict", 1);
        assert!(!names(&reached, &[]).contains(&"conflict"));
    }

    #[test]
    fn every_need_is_of_a_situation_that_exists() {
        let known: BTreeSet<&str> = SITUATIONS.iter().map(|situation| situation.name).collect();
        for name in
            ["duplicate receipt", "fenced completion", "lane parked", "bus recovered", "lane retried", "throttled"]
        {
            assert!(known.contains(name), "{name}");
        }
    }
}
