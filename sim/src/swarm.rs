//! Drawing faults: which families are on, how many of each, and what exactly.
//!
//! Each family has a stream of its own for whether it is on, and another one for what happens, so that taking one family
//! out of a profile leaves the others' faults as they were.

use std::collections::BTreeMap;

use dacapo_core::NodeName;

use crate::{
    cast::{self, Cast},
    draw::Stream,
    fault::{Family, Fault, Harm, Trigger, points},
    plan::Settings,
    profile::Profile,
};

const MS: u64 = 1_000;

/// Which families are on, with the number of their faults.
pub fn mask(seed: u64, profile: &Profile) -> BTreeMap<Family, u32> {
    let mut mask = BTreeMap::new();
    for (family, strength) in &profile.families {
        let mut stream = Stream::new(seed, &format!("mask {family}"));
        let on = stream.chance(profile.family_permille);
        let count = stream.between(u64::from(strength.count_min), u64::from(strength.count_max)) as u32;
        if on && count > 0 {
            mask.insert(*family, count);
        }
    }
    mask
}

/// The faults of a mask. Ids count per family, so that they stay when another family changes.
pub fn faults(seed: u64, mask: &BTreeMap<Family, u32>, cast: &Cast, settings: &Settings) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut extra = 0;
    for (family, count) in mask {
        let mut drawing =
            Drawing { stream: Stream::new(seed, &format!("faults {family}")), cast, settings, extra: &mut extra };
        for n in 0..*count {
            let (trigger, duration_us, what) = drawing.fault(*family);
            faults.push(Fault { id: *family as u32 * 100 + n + 1, family: *family, trigger, duration_us, what });
        }
    }
    faults
}

struct Drawing<'a> {
    stream: Stream,
    cast: &'a Cast,
    settings: &'a Settings,
    /// Instances brought so far: their hosts are numbered on from the standing ones.
    extra: &'a mut usize,
}

impl Drawing<'_> {
    /// Any time but the very beginning and end.
    fn at(&mut self) -> Trigger {
        let duration_us = self.settings.duration_us;
        Trigger::At { us: self.stream.between(duration_us / 50, duration_us / 10 * 9) / MS * MS }
    }

    fn ms(&mut self, low: u64, high: u64) -> u64 {
        self.stream.between(low, high) * MS
    }

    fn instance(&mut self) -> NodeName {
        self.stream.pick(&self.cast.instances()).clone()
    }

    fn customer(&mut self) -> NodeName {
        self.stream.pick(&self.cast.customers()).clone()
    }

    fn any(&mut self) -> NodeName {
        // The bus is one host of many and the centre of all: half of the faults strike there.
        if self.stream.chance(500) { cast::bus() } else { self.stream.pick(&self.cast.hosts()).clone() }
    }

    /// The bus or an instance.
    fn process(&mut self) -> NodeName {
        if self.stream.chance(400) { cast::bus() } else { self.instance() }
    }

    /// Two hosts that talk to each other: the bus and an instance, or a customer and an instance.
    fn pair(&mut self) -> (NodeName, NodeName) {
        let other = if self.stream.chance(700) { cast::bus() } else { self.customer() };
        (other, self.instance())
    }

    /// The bus on one side, and some instances and customers on the other.
    fn sides(&mut self) -> (Vec<NodeName>, Vec<NodeName>) {
        let (mut a, mut b) = (vec![cast::bus()], Vec::new());
        let hosts = self.cast.hosts();
        for host in &hosts[1..] {
            if self.stream.chance(500) { a.push(host.clone()) } else { b.push(host.clone()) }
        }
        if b.is_empty() {
            b.extend(a.pop().filter(|_| a.len() > 1));
        }
        if b.is_empty() {
            b.push(self.instance());
        }
        a.retain(|host| !b.contains(host));
        (a, b)
    }

    fn fault(&mut self, family: Family) -> (Trigger, u64, Harm) {
        let trigger = self.at();
        match family {
            Family::Delay => (trigger, self.ms(200, 3_000), Harm::Delay { extra_us: self.ms(1, 100) }),
            Family::SlowPair => {
                let (a, b) = self.pair();
                let whole = Trigger::At { us: 0 };
                (whole, self.settings.duration_us, Harm::SlowPair { a, b, extra_us: self.ms(5, 100) })
            }
            Family::Partition => {
                let (a, b) = self.sides();
                (trigger, self.ms(200, 2_000), Harm::Partition { a, b })
            }
            Family::PartitionOneWay => {
                let (a, b) = self.sides();
                let (from, to) = if self.stream.chance(500) { (a, b) } else { (b, a) };
                (trigger, self.ms(200, 2_000), Harm::PartitionOneWay { from, to })
            }
            Family::Isolate => (trigger, self.ms(200, 2_000), Harm::Isolate { host: self.any() }),
            Family::Hold => {
                let (a, b) = self.pair();
                (trigger, self.ms(50, 1_500), Harm::Hold { a, b })
            }
            Family::Reset => {
                let (a, b) = self.pair();
                (trigger, 0, Harm::Reset { a, b })
            }
            Family::Refuse => {
                let (host, hang) = (self.any(), self.stream.chance(500));
                (trigger, self.ms(200, 2_000), Harm::Refuse { host, hang })
            }
            Family::CrashBus => {
                let silent = self.stream.chance(500);
                (trigger, self.ms(1, 1_500), Harm::Crash { host: cast::bus(), silent })
            }
            Family::CrashInstance => {
                let (host, silent) = (self.instance(), self.stream.chance(500));
                (trigger, self.ms(1, 3_000), Harm::Crash { host, silent })
            }
            Family::CrashCustomer => {
                let (host, silent) = (self.customer(), self.stream.chance(500));
                (trigger, self.ms(1, 2_000), Harm::Crash { host, silent })
            }
            Family::CrashAtPoint => {
                let point = *self.stream.pick(&[
                    points::COMMIT,
                    points::SEND_RECEIPTS,
                    points::SEND_DELIVER,
                    points::SEND_COMPLETED,
                ]);
                self.bus_dies_at(point)
            }
            Family::CommitAnswerLost => self.bus_dies_at(points::COMMIT_DURABLE),
            Family::CrashLoop => {
                let host = self.any();
                let (down_us, up_us) = (self.ms(20, 400), self.ms(20, 600));
                (trigger, self.ms(500, 2_500), Harm::CrashLoop { host, down_us, up_us })
            }
            Family::Pause => {
                let heartbeat = self.settings.limits.heartbeat_deadline.as_millis() as u64;
                let host = if self.stream.chance(200) { cast::bus() } else { self.instance() };
                (trigger, self.ms(heartbeat / 2, heartbeat * 3), Harm::Pause { host })
            }
            Family::StateDestroyed => (trigger, self.ms(1, 500), Harm::StateDestroyed { host: self.instance() }),
            Family::ScaleOut => {
                let (service, standing) = self.stream.pick(&self.cast.services).clone();
                let host = cast::instance(&service, standing + *self.extra);
                *self.extra += 1;
                (trigger, self.ms(500, 6_000), Harm::ScaleOut { service, host })
            }
            Family::ScaleIn => (trigger, self.ms(1_000, 6_000), Harm::Leave { host: self.instance() }),
            Family::GracefulRestart => {
                let host = if self.stream.chance(400) { cast::bus() } else { self.instance() };
                (trigger, self.ms(50, 800), Harm::Leave { host })
            }
            Family::ClockOffset => {
                let size = (self.stream.between(11, 288_000) * MS) as i64;
                let offset_us = if self.stream.chance(500) { size } else { -size };
                (trigger, self.ms(200, 6_000), Harm::ClockOffset { host: self.any(), offset_us })
            }
            Family::SlowHandler => {
                let service = self.stream.pick(&self.cast.services).0.clone();
                (trigger, self.ms(500, 4_000), Harm::SlowHandler { service, extra_us: self.ms(5, 200) })
            }
            Family::FailingHandler => {
                let service = self.stream.pick(&self.cast.services).0.clone();
                let attempts_max = u64::from(self.settings.limits.failures_max) - 1;
                let attempts = self.stream.between(1, attempts_max) as u32;
                let share_permille = self.stream.between(20, 400) as u32;
                let what = Harm::FailingHandler { service, share_permille, attempts };
                (Trigger::At { us: 0 }, self.settings.duration_us, what)
            }
            Family::PoisonEvent => {
                let service = self.stream.pick(&self.cast.services).0.clone();
                let share_permille = self.stream.between(2, 40) as u32;
                let what = Harm::FailingHandler { service, share_permille, attempts: u32::MAX };
                (Trigger::At { us: 0 }, self.settings.duration_us, what)
            }
            Family::CompletionLost => {
                let (host, share_permille) = (self.instance(), self.stream.between(50, 600) as u32);
                (trigger, self.ms(200, 3_000), Harm::CompletionLost { host, share_permille })
            }
            Family::CompletionLate => {
                let deadline = self.settings.limits.delivery_deadline.as_millis() as u64;
                let (host, share_permille) = (self.instance(), self.stream.between(50, 600) as u32);
                let delay_us = self.ms(deadline / 10, deadline * 3 / 2);
                (trigger, self.ms(200, 3_000), Harm::CompletionLate { host, share_permille, delay_us })
            }
            Family::StoreFails => {
                let (share_permille, applied) = (self.stream.between(20, 300) as u32, self.stream.chance(500));
                (trigger, self.ms(200, 2_000), Harm::StoreFails { share_permille, applied })
            }
            Family::SlowStore => (trigger, self.ms(200, 3_000), Harm::SlowStore { extra_us: self.ms(5, 400) }),
            Family::PowerCut => {
                let trigger = if self.stream.chance(400) { trigger } else { self.at_disk() };
                (trigger, self.ms(1, 1_500), power_cut(500))
            }
            Family::DirectoryEntryLost => (trigger, self.ms(1, 500), power_cut(1_000)),
            Family::FsyncFails => {
                let share_permille = *self.stream.pick(&[20, 200, 1_000]);
                (trigger, self.ms(50, 1_000), Harm::FsyncFails { share_permille })
            }
            Family::ReadError => {
                let share_permille = *self.stream.pick(&[5, 50, 300]);
                (trigger, self.ms(300, 3_000), Harm::ReadError { share_permille })
            }
            Family::DiskFull => {
                let room_bytes = self.stream.between(0, 32) * 1_024;
                (trigger, self.ms(200, 2_000), Harm::DiskFull { room_bytes })
            }
            Family::SlowDisk => {
                let (write_us, sync_us) = (self.stream.between(0, 400), self.ms(0, 30));
                let (stalls_permille, stall_us) = (self.stream.between(0, 100) as u32, self.ms(50, 500));
                (trigger, self.ms(200, 3_000), Harm::SlowDisk { write_us, sync_us, stalls_permille, stall_us })
            }
            Family::FsyncLies => {
                let share_permille = *self.stream.pick(&[300, 1_000]);
                (trigger, self.ms(500, 6_000), Harm::FsyncLies { share_permille })
            }
            Family::MuteInstance => {
                let deadline = self.settings.limits.delivery_deadline.as_millis() as u64;
                let host = self.instance();
                (trigger, self.ms(deadline, deadline * 3), Harm::CompletionLost { host, share_permille: 1_000 })
            }
            Family::RebuildCutShort => {
                let host = self.instance();
                let point = *self.stream.pick(&[
                    points::SEND_REBUILD,
                    points::SEND_CREDIT,
                    points::SEND_CREDIT,
                    points::SEND_READY,
                ]);
                let nth = self.stream.between(1, 6);
                let trigger = Trigger::On { host: host.clone(), point: point.to_owned(), identity: None, nth };
                (trigger, self.ms(1, 500), Harm::StateDestroyed { host })
            }
            Family::RebuildsTogether => {
                let instances = self.cast.instances();
                let mut hosts: Vec<NodeName> = Vec::new();
                for host in &instances {
                    if self.stream.chance(600) {
                        hosts.push(host.clone());
                    }
                }
                // Two at least, if there are two.
                for host in &instances {
                    if hosts.len() < 2 && !hosts.contains(host) {
                        hosts.push(host.clone());
                    }
                }
                (trigger, self.ms(1, 500), Harm::StatesDestroyed { hosts })
            }
            Family::InstanceAtPoint => {
                let host = self.instance();
                let point = *self.stream.pick(&[
                    points::SEND_COMPLETE,
                    points::SEND_PUBLISH,
                    points::RESPOND,
                    points::SEND_CREDIT,
                    points::SEND_READY,
                ]);
                let nth = self.stream.between(1, 40);
                let trigger = Trigger::On { host: host.clone(), point: point.to_owned(), identity: None, nth };
                let silent = self.stream.chance(500);
                (trigger, self.ms(1, 1_000), Harm::Crash { host, silent })
            }
            Family::LateService => {
                let (service, standing) = self.stream.pick(&self.cast.services).clone();
                let hosts = (0..standing).map(|n| cast::instance(&service, n)).collect();
                (Trigger::At { us: 0 }, self.ms(200, 3_000), Harm::CrashSeveral { hosts, silent: false })
            }
            Family::BitRot => {
                let bits = *self.stream.pick(&[1, 4, 64]);
                (trigger, MS, Harm::BitRot { bits })
            }
            Family::PacketLoss => {
                let (a, b) = self.pair();
                let share_permille = self.stream.between(20, 300) as u32;
                (trigger, self.ms(200, 3_000), Harm::PacketLoss { a, b, share_permille })
            }
            Family::DuplicateAttempt => {
                let share_permille = self.stream.between(100, 800) as u32;
                (trigger, self.ms(500, 4_000), Harm::DuplicateAttempt { share_permille })
            }
            Family::HalfOpen => {
                let (a, b) = self.pair();
                let (unaware, other) = if self.stream.chance(500) { (a, b) } else { (b, a) };
                (trigger, 0, Harm::HalfOpen { unaware, other })
            }
            Family::Swizzle => {
                let mut links: Vec<(NodeName, NodeName)> =
                    (0..self.stream.between(2, 6)).map(|_| self.pair()).collect();
                links.sort();
                links.dedup();
                let duration_us = self.ms(300, 3_000);
                let step_us = duration_us / (2 * links.len() as u64 + 1);
                (trigger, duration_us, Harm::Swizzle { links, step_us })
            }
            Family::SlowReader => (trigger, self.ms(200, 3_000), Harm::SlowReader { host: self.instance() }),
            Family::ClockDrift => {
                let size = self.stream.between(10_000, 400_000) as i64;
                let ppm = if self.stream.chance(500) { size } else { -size };
                (trigger, self.ms(500, 6_000), Harm::ClockDrift { host: self.process(), ppm })
            }
            Family::ClockStep => {
                let size = (self.stream.between(11, 288_000) * MS) as i64;
                let wall_us = if self.stream.chance(500) { size } else { -size };
                let deadline = self.settings.limits.delivery_deadline.as_millis() as u64;
                let asleep_us = self.ms(deadline / 2, deadline * 3);
                let host = self.process();
                // A bus whose monotonic clock jumps is one that stood still: that is what a pause is.
                let monotonic_us = if host == cast::bus() || self.stream.chance(500) { 0 } else { asleep_us };
                (trigger, MS, Harm::ClockStep { host, wall_us, monotonic_us })
            }
            Family::RollingRestart => {
                let (service, standing) = self.stream.pick(&self.cast.services).clone();
                let hosts: Vec<NodeName> = (0..standing).map(|n| cast::instance(&service, n)).collect();
                let each_us = self.ms(100, 1_200);
                (trigger, each_us * hosts.len() as u64, Harm::RollingRestart { hosts, each_us })
            }
            Family::CrashSeveral => {
                let mut hosts = self.cast.hosts();
                let count = self.stream.between(2, (hosts.len() as u64 / 2).max(2)) as usize;
                while hosts.len() > count {
                    let drawn = self.stream.between(0, hosts.len() as u64 - 1);
                    hosts.remove(drawn as usize);
                }
                let silent = self.stream.chance(500);
                (trigger, self.ms(1, 1_500), Harm::CrashSeveral { hosts, silent })
            }
            Family::Backup => {
                let room_bytes = if self.stream.chance(250) { Some(self.stream.between(0, 64) * 1_024) } else { None };
                let syncs_fail_permille = *self.stream.pick(&[0, 0, 0, 1_000]);
                let reads_fail_permille = *self.stream.pick(&[0, 0, 0, 100]);
                let what = Harm::Backup { room_bytes, syncs_fail_permille, reads_fail_permille };
                (trigger, self.ms(300, 1_500), what)
            }
            Family::MigrationCutShort => {
                let (point, nth) = if self.stream.chance(700) {
                    (points::DISK_WRITE, self.stream.between(1, 40))
                } else {
                    (points::DISK_SYNC, self.stream.between(1, 8))
                };
                let trigger = Trigger::On { host: cast::bus(), point: point.to_owned(), identity: None, nth };
                (trigger, self.ms(1, 500), power_cut(500))
            }
            Family::HostileClient => (trigger, self.ms(1_000, 6_000), Harm::Hostile {}),
            Family::BackupCutShort => {
                let (point, nth) = (points::BACKUP_WRITE.to_owned(), self.stream.between(1, 24));
                let trigger = Trigger::On { host: cast::bus(), point, identity: None, nth };
                (trigger, self.ms(1, 1_500), power_cut(500))
            }
            Family::CompletionTwice => {
                let (host, share_permille) = (self.instance(), self.stream.between(50, 600) as u32);
                (trigger, self.ms(200, 3_000), Harm::CompletionTwice { host, share_permille })
            }
        }
    }

    /// In the midst of a write or a sync, most of which belong to commits.
    fn at_disk(&mut self) -> Trigger {
        let (point, nth) = if self.stream.chance(700) {
            (points::DISK_WRITE, self.stream.between(1, 4_000))
        } else {
            (points::DISK_SYNC, self.stream.between(1, 400))
        };
        Trigger::On { host: cast::bus(), point: point.to_owned(), identity: None, nth }
    }

    fn bus_dies_at(&mut self, point: &str) -> (Trigger, u64, Harm) {
        let nth = self.stream.between(1, 150);
        let trigger = Trigger::On { host: cast::bus(), point: point.to_owned(), identity: None, nth };
        let silent = self.stream.chance(500);
        (trigger, self.ms(1, 1_000), Harm::Crash { host: cast::bus(), silent })
    }
}

/// Of the bus's machine; what it leaves of unsynced writes is what SQLite's own crash tests draw.
fn power_cut(entries_lost_permille: u32) -> Harm {
    Harm::PowerCut { host: cast::bus(), written_permille: 375, torn_permille: 250, entries_lost_permille }
}
