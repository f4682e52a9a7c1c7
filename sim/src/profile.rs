//! The ranges that plans are drawn from.
//!
//! A profile says how large a run is and which families of faults it may hold; the seed does the rest. Profiles are
//! data: the built-in ones can be written to a file, changed and read again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{fault::Family, plan::Expects};

/// How many faults of a family a plan holds when the family is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Strength {
    /// At least.
    pub count_min: u32,
    /// At most.
    pub count_max: u32,
}

/// How large caches, pages, windows and credit are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sizes {
    /// Drawn, so that they overflow in some runs; waits are short.
    Drawn,
    /// They have room for all that a run needs; heartbeats and comparisons of heads are rarer, since the run is longer.
    Roomy,
    /// Far too small for what a run needs, so that nothing can grow but what has no limit; heartbeats and comparisons of heads
    /// are as rare as in production, since the run takes hours.
    Tight,
}

/// The ranges of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Its name on the command line.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// How many customers there are.
    pub customers: u32,
    /// About how many operations they do.
    pub operations: usize,
    /// How long faults may last, in microseconds of the run; operations begin in its first three quarters.
    pub duration_us: u64,
    /// The grain of the full stack's network, in microseconds: what is sent takes at least one tick and arrives at a whole
    /// multiple of it.
    pub tick_us: u64,
    /// How often a family is on, in thousandths.
    pub family_permille: u32,
    /// How often the store is on a simulated disk, in thousandths; else it is in memory.
    pub disk_permille: u32,
    /// How large caches, pages, windows and credit are, and how rare heartbeats.
    pub sizes: Sizes,
    /// The families that may be on.
    pub families: BTreeMap<Family, Strength>,
}

impl Default for Profile {
    fn default() -> Self {
        Self::swarm()
    }
}

impl Profile {
    /// Everything that a correct system survives, each family on in half of the runs.
    pub fn swarm() -> Self {
        Self {
            name: "swarm".to_owned(),
            description: "every survivable fault; the seed switches each family on or off".to_owned(),
            customers: 4,
            operations: 80,
            duration_us: 12_000_000,
            tick_us: 5_000,
            family_permille: 500,
            disk_permille: 500,
            sizes: Sizes::Drawn,
            families: Family::ALL
                .iter()
                .filter(|family| !family.is_destructive())
                .map(|family| (*family, Strength { count_min: 1, count_max: 2 }))
                .collect(),
        }
    }

    /// No faults at all.
    pub fn calm() -> Self {
        Self {
            name: "calm".to_owned(),
            description: "no faults".to_owned(),
            families: BTreeMap::new(),
            ..Self::swarm()
        }
    }

    /// A run of ordinary length under ordinary load, with ordinary sizes and all faults of the swarm: about 500 events and
    /// 4,000 messages. What speed is measured with; what overflows is for the swarm to find.
    pub fn standard() -> Self {
        Self {
            name: "standard".to_owned(),
            description: "the swarm's faults over a minute of about 500 events: what speed is measured with".to_owned(),
            operations: 180,
            duration_us: 60_000_000,
            sizes: Sizes::Roomy,
            ..Self::swarm()
        }
    }

    /// A day in one run, with what goes wrong in a day: whether anything grows that has a limit shows only after long. Every
    /// family is on, many times over.
    pub fn soak() -> Self {
        let strength = Strength { count_min: 6, count_max: 12 };
        let swarm = Self::swarm();
        Self {
            name: "soak".to_owned(),
            description: "24 hours in one run, with faults all day: what grows without a limit is found".to_owned(),
            operations: 3_000,
            duration_us: 24 * 3_600 * 1_000_000,
            family_permille: 1_000,
            disk_permille: 0,
            sizes: Sizes::Tight,
            families: swarm.families.into_keys().map(|family| (family, strength)).collect(),
            ..Self::swarm()
        }
    }

    /// A swarm over some families only.
    fn only(name: &str, description: &str, families: &[Family]) -> Self {
        let strength = Strength { count_min: 1, count_max: 4 };
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            families: families.iter().map(|family| (*family, strength)).collect(),
            ..Self::swarm()
        }
    }

    /// The built-in profiles.
    pub fn all() -> Vec<Self> {
        use Family as F;
        vec![
            Self::swarm(),
            Self::calm(),
            Self::only(
                "network",
                "faults of the network alone",
                &[F::Delay, F::SlowPair, F::Partition, F::PartitionOneWay, F::Isolate, F::Hold, F::Reset, F::Refuse],
            ),
            Self::only(
                "process",
                "crashes, pauses and restarts alone",
                &[
                    F::CrashBus,
                    F::CrashInstance,
                    F::CrashCustomer,
                    F::CrashAtPoint,
                    F::CommitAnswerLost,
                    F::CrashLoop,
                    F::Pause,
                    F::StateDestroyed,
                    F::ScaleOut,
                    F::ScaleIn,
                    F::GracefulRestart,
                    F::StoreFails,
                    F::RebuildCutShort,
                    F::RebuildsTogether,
                    F::InstanceAtPoint,
                    F::LateService,
                ],
            ),
            Self::only(
                "handling",
                "slow, failing and lost handling alone",
                &[
                    F::SlowHandler,
                    F::FailingHandler,
                    F::PoisonEvent,
                    F::CompletionLost,
                    F::CompletionLate,
                    F::SlowStore,
                    F::MuteInstance,
                ],
            ),
            Self {
                disk_permille: 1_000,
                ..Self::only(
                    "disk",
                    "survivable faults of the disk alone, and crashes of the bus",
                    &[
                        F::CrashBus,
                        F::GracefulRestart,
                        F::PowerCut,
                        F::DirectoryEntryLost,
                        F::FsyncFails,
                        F::ReadError,
                        F::DiskFull,
                        F::SlowDisk,
                        F::Backup,
                        F::BackupCutShort,
                        F::MigrationCutShort,
                    ],
                )
            },
            Self::destructive(
                "lying-disk",
                "the disk says that it has synced and has not: what is lost must be noticed",
                &[F::FsyncLies, F::PowerCut, F::CrashBus],
            ),
            Self::destructive(
                "rot",
                "bits of the only copy change: they must be refused, never served",
                &[F::BitRot, F::PowerCut, F::CrashBus, F::GracefulRestart],
            ),
            Self::standard(),
            Self::soak(),
        ]
    }

    /// Families that are all on, one of which takes away what no store can do without.
    fn destructive(name: &str, description: &str, families: &[Family]) -> Self {
        Self { disk_permille: 1_000, family_permille: 1_000, ..Self::only(name, description, families) }
    }

    /// What must come of its runs.
    pub fn expects(&self) -> Expects {
        if self.families.keys().any(|family| family.is_destructive()) { Expects::Detection } else { Expects::Survival }
    }

    /// The built-in profile of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|profile| profile.name == name)
    }
}
