//! Marks: places that a campaign should reach, and what each needs.
//!
//! A campaign that never redelivered anything has proved nothing about redelivery, however green it is. Most marks are
//! the situations that the properties count ([`SITUATIONS`]) and places of the machines
//! ([`dacapo_core::marks`]); the engines add a few of their own, as records. A mark that needs an engine, a scenario or
//! a family of faults which the campaign does not have is not missed, it is out of reach.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::trace::{Record, What};
use dacapo_properties::{Judged, SITUATIONS};

mod needs;

use crate::{engine::Engine, engines::Engines, fault::Family};

/// What a run must have for a mark to be in reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: every campaign should reach it.
    Nothing,
    /// One of these families of faults.
    OneOf(&'static [Family]),
    /// One of these families of faults, and luck: many seeds.
    Rare(&'static [Family]),
    /// Something that no run does.
    OutOfReach(&'static str),
    /// This engine, and one of these families of faults; of none: nothing else.
    On(Engine, &'static [Family]),
    /// This scenario, and one of these families of faults.
    In(&'static str, &'static [Family]),
}

/// What a campaign can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The families of faults that its plans may hold.
    pub families: BTreeSet<Family>,
    /// What its plans are carried out by.
    pub engines: Engines,
    /// Its scenario.
    pub scenario: String,
    /// So many seeds; none: as many as it takes.
    pub seeds: Option<u64>,
}

/// From so many seeds on, marks that are rarely reached count too.
pub const SEEDS_FOR_RARE: u64 = 1_000;

impl Reach {
    /// Whether these needs are met.
    pub fn meets(&self, needs: Needs) -> bool {
        let can = |family: &Family| self.families.contains(family) && self.engines.can_do(*family);
        let one_of = |needed: &[Family]| needed.is_empty() || needed.iter().any(can);
        match needs {
            Needs::Nothing => true,
            Needs::OneOf(needed) => one_of(needed),
            Needs::Rare(needed) => self.seeds.is_none_or(|seeds| seeds >= SEEDS_FOR_RARE) && one_of(needed),
            Needs::On(engine, needed) => self.engines.holds(engine) && one_of(needed),
            Needs::In(scenario, needed) => self.scenario == scenario && one_of(needed),
            Needs::OutOfReach(_) => false,
        }
    }
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

/// Recorded by the engine when a backup was made of a store that a bus had open.
pub const BACKUP_MADE: &str = "backup made";
/// Recorded by the engine when a backup met trouble, and was none.
pub const BACKUP_FAILED: &str = "backup failed";
/// Recorded by the engine when the machine died in the midst of a backup.
pub const BACKUP_CUT: &str = "backup cut short";
/// Recorded by the engine when a backup lay there after a power cut.
pub const BACKUP_SURVIVED: &str = "backup survived a power cut";

/// Recorded by the engine when a bus found everything that a file of a former schema held.
pub const MIGRATED: &str = "older store brought forward";
/// Recorded by the engine when the machine died while a file of a former schema was brought forward.
pub const MIGRATION_CUT: &str = "migration cut short";
/// Recorded by the engine when the log was read while the disk was full.
pub const READ_WHILE_FULL: &str = "read while the disk was full";

/// Recorded by the engine when nobody was let in by a token that does not count.
pub const TURNED_AWAY_AT_THE_DOOR: &str = "turned away at the door";
/// Recorded by the full stack when a stranger was told that what he sent is no frame, or no request.
pub const NONSENSE_REFUSED: &str = "nonsense refused";
/// Recorded by the full stack when a stranger who said half of something was cut off.
pub const DAWDLER_CUT: &str = "dawdler cut off";

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
        name: BACKUP_MADE,
        risk: "nobody made a backup while the bus was at work",
        needs: Needs::OneOf(&[Family::Backup]),
    },
    Mark {
        name: BACKUP_FAILED,
        risk: "a backup that met trouble might be taken for one",
        needs: Needs::OneOf(&[Family::Backup]),
    },
    Mark {
        name: BACKUP_CUT,
        risk: "half a backup might be taken for one after a power cut",
        needs: Needs::Rare(&[Family::BackupCutShort]),
    },
    Mark {
        name: BACKUP_SURVIVED,
        risk: "what bears the name of a backup might be none after a power cut",
        needs: Needs::OutOfReach("a backup is sent and loses its name at once"),
    },
    Mark {
        name: MIGRATED,
        risk: "a store of a former schema might lose something, or never begin again",
        needs: Needs::OneOf(&[Family::MigrationCutShort]),
    },
    Mark {
        name: MIGRATION_CUT,
        risk: "a store might be half of one schema and half of another",
        needs: Needs::OneOf(&[Family::MigrationCutShort]),
    },
    Mark {
        name: READ_WHILE_FULL,
        risk: "a full disk might keep those from reading who need no room",
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

/// Marks that a stranger leaves.
const HOSTILE: &[Mark] = &[
    Mark {
        name: TURNED_AWAY_AT_THE_DOOR,
        risk: "a token that is unknown or was revoked might count",
        needs: Needs::OneOf(&[Family::HostileClient]),
    },
    Mark {
        name: NONSENSE_REFUSED,
        risk: "what is no frame might be heard, or hold the bus up",
        needs: Needs::On(Engine::Turmoil, &[Family::HostileClient]),
    },
    Mark {
        name: DAWDLER_CUT,
        risk: "whoever says half of something might hold a connection for ever",
        needs: Needs::On(Engine::Turmoil, &[Family::HostileClient]),
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
        needs: Needs::On(Engine::Event, &[Family::HostileClient]),
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

/// All marks.
pub fn marks() -> Vec<Mark> {
    let situations = SITUATIONS.iter().map(|situation| (situation.name, situation.risk));
    let machines = dacapo_core::marks::all().map(|mark| (mark.name, mark.risk));
    let named = situations.chain(machines).map(|(name, risk)| Mark { name, risk, needs: needs::of(name) });
    named.chain(ENGINE.iter().chain(HOSTILE).chain(NETWORK).copied()).collect()
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

    /// The marks that a campaign of this reach should have reached, and has not.
    pub fn missed(&self, reach: &Reach) -> Vec<Mark> {
        marks().into_iter().filter(|mark| reach.meets(mark.needs) && self.count(mark.name) == 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_out_of_reach_is_not_missed() {
        let names = |reached: &Reached, families: &[Family], scenario: &str| -> Vec<&str> {
            let families = families.iter().copied().collect();
            let reach = Reach { families, engines: Engines::Both, scenario: scenario.to_owned(), seeds: Some(100) };
            reached.missed(&reach).into_iter().map(|mark| mark.name).collect()
        };
        let mut reached = Reached::default();
        assert!(!names(&reached, &[], "bank").contains(&"lane parked"));
        assert!(names(&reached, &[Family::PoisonEvent], "bank").contains(&"lane parked"));
        assert!(names(&reached, &[Family::PoisonEvent], "bank").contains(&"skipped"));
        assert!(!names(&reached, &[Family::PoisonEvent], "seats").contains(&"skipped"));
        assert!(names(&reached, &[], "bank").contains(&"conflict"));
        assert!(!names(&reached, Family::ALL, "bank").contains(&"completion_rejected"));
        reached.count_in("conflict", 1);
        assert!(!names(&reached, &[], "bank").contains(&"conflict"));
    }

    #[test]
    fn what_needs_an_engine_is_missed_by_that_engine_alone() {
        let scenario = || "bank".to_owned();
        let reach = |engines| Reach { families: BTreeSet::new(), engines, scenario: scenario(), seeds: Some(100) };
        let needs = Needs::On(Engine::Event, &[]);
        assert!(reach(Engines::Both).meets(needs) && reach(Engines::Event).meets(needs));
        assert!(!reach(Engines::Turmoil).meets(needs));
    }

    #[test]
    fn a_rare_mark_is_missed_by_long_campaigns_alone() {
        let families = BTreeSet::from([Family::CrashLoop]);
        let (engines, scenario) = (Engines::Both, "bank");
        let reach = |seeds| Reach { families: families.clone(), engines, scenario: scenario.to_owned(), seeds };
        let needs = Needs::Rare(&[Family::CrashLoop]);
        assert!(!reach(Some(100)).meets(needs));
        assert!(reach(Some(SEEDS_FOR_RARE)).meets(needs) && reach(None).meets(needs));
        assert!(!reach(None).meets(Needs::Rare(&[Family::PoisonEvent])));
    }

    #[test]
    fn no_two_marks_share_a_name() {
        let names: Vec<&str> = marks().iter().map(|mark| mark.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    }

    #[test]
    fn whatever_needs_something_is_a_mark() {
        let known: BTreeSet<&str> = marks().iter().map(|mark| mark.name).collect();
        let source = include_str!("marks/needs.rs");
        let by_name = source.split("match mark {").nth(1).expect("the table is there");
        let named = by_name.lines().filter(|line| line.contains("=>") || line.trim_start().starts_with('|'));
        let quoted = named.flat_map(|line| line.split("=>").next().unwrap_or_default().split('"').skip(1).step_by(2));
        let mut count = 0;
        for name in quoted {
            assert!(known.contains(name), "{name:?} is no mark");
            count += 1;
        }
        assert!(count > 20, "{count} were looked at");
    }
}
