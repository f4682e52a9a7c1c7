//! Which faults are active, and what follows from all of them together.
//!
//! Nothing here remembers a link's or a host's state: it is computed anew from all active faults whenever it is asked
//! for, so that the end of one fault never ends another.

use dacapo_core::{
    NodeName, ServiceName, Timestamp,
    hooks::{Identity, Point},
    store::Commit,
};

use crate::{
    engine::{
        chance::Chance,
        disk_faults::{self, DiskFaults},
        identity::{self, Identities},
    },
    fault::{Fault, Harm, Trigger},
};

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// How often an `On` trigger's point was reached.
    counted: u64,
    begun_us: Option<u64>,
    ended: bool,
    /// When it ended, if it did.
    ended_us: u64,
    /// Of a fault that changes while it lasts: how far it is.
    stage: usize,
}

/// A directed link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Messages pass.
    Open,
    /// Messages wait.
    Held,
    /// Messages are lost.
    Cut,
}

/// How a host is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Down {
    /// Asked to end.
    Leaving,
    /// Killed; its sockets are closed by the system.
    Killed,
    /// Gone without a word.
    Silent,
}

/// What a host's clocks show beside the run's time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ClocksOff {
    /// By how much the monotonic clock is ahead, at the time that was asked for.
    pub(crate) monotonic_us: i64,
    /// By how much the wall clock is, besides.
    pub(crate) wall_us: i64,
    /// How much both gain in a second.
    pub(crate) ppm: i64,
}

/// What a completion meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completing {
    Lost,
    Twice,
    Late(u64),
}

/// All faults of a plan with their states.
#[derive(Debug)]
pub(crate) struct FaultTable {
    chance: Chance,
    faults: Vec<Fault>,
    /// What deliveries are about.
    identities: Identities,
    /// In the order of `faults`.
    states: Vec<State>,
    /// The faults that begin at points, by index.
    at_points: Vec<usize>,
    /// Those that have to do with a disk, by index: it is asked about with every call of the store.
    on_disk: Vec<usize>,
    /// The active faults, by index, with when they began: asked for with every message, and made anew with every change.
    active: Vec<(usize, u64)>,
    healed: bool,
    /// Rises with every change, so that what is derived can be derived again only then.
    changes: u64,
}

impl FaultTable {
    pub(crate) fn new(chance: Chance, faults: &[Fault]) -> Self {
        let those = |of: fn(&Fault) -> bool| {
            faults.iter().enumerate().filter(|(_, fault)| of(fault)).map(|(index, _)| index).collect()
        };
        Self {
            chance,
            faults: faults.to_vec(),
            identities: Identities::default(),
            states: vec![State::default(); faults.len()],
            at_points: those(|fault| matches!(fault.trigger, Trigger::On { .. })),
            on_disk: those(disk_faults::concerns_disk),
            active: Vec::new(),
            healed: false,
            changes: 0,
        }
    }

    /// Takes a durable commit.
    pub(crate) fn observe(&mut self, commit: &Commit) {
        self.identities.observe(commit);
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn fault(&self, id: u32) -> Option<&Fault> {
        self.faults.iter().find(|fault| fault.id == id)
    }

    /// The time-triggered faults that begin by now.
    pub(crate) fn begin_due(&mut self, now_us: u64) -> Vec<u32> {
        if self.healed {
            return Vec::new();
        }
        let mut begun = Vec::new();
        for (fault, state) in self.faults.iter().zip(&mut self.states) {
            if matches!(fault.trigger, Trigger::At { us } if us <= now_us) && state.begun_us.is_none() {
                state.begun_us = Some(now_us);
                begun.push(fault.id);
            }
        }
        self.changed(begun.len());
        begun
    }

    /// So many faults have begun or ended.
    fn changed(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        self.changes += count as u64;
        let states = self.states.iter().enumerate().filter(|(_, state)| !state.ended);
        self.active = states.filter_map(|(index, state)| state.begun_us.map(|begun_us| (index, begun_us))).collect();
    }

    /// A host has reached a point so many times since it was last asked: the faults that begin there.
    pub(crate) fn reach_times(&mut self, host: &NodeName, point: Point, times: u64, now_us: u64) -> Vec<u32> {
        if self.healed || times == 0 {
            return Vec::new();
        }
        let mut begun = Vec::new();
        for index in &self.at_points {
            let fault = &self.faults[*index];
            let Trigger::On { host: at, point: name, identity, nth } = &fault.trigger else { continue };
            if at != host || name != point.name || identity.is_some_and(|identity| identity != point.identity) {
                continue;
            }
            let state = &mut self.states[*index];
            let before = state.counted;
            state.counted += times;
            if before < *nth && *nth <= state.counted {
                state.begun_us = Some(now_us);
                begun.push(fault.id);
            }
        }
        self.changed(begun.len());
        begun
    }

    /// The faults that end by now.
    pub(crate) fn end_due(&mut self, now_us: u64) -> Vec<u32> {
        let mut ended = Vec::new();
        for (fault, state) in self.faults.iter().zip(&mut self.states) {
            if let Some(begun) = state.begun_us
                && !state.ended
            {
                if begun + fault.duration_us <= now_us {
                    (state.ended, state.ended_us) = (true, now_us);
                    ended.push(fault.id);
                } else if let Harm::Swizzle { links, step_us } = &fault.what {
                    let stage = stalled(links.len(), *step_us, now_us - begun, begun + fault.duration_us - now_us);
                    self.changes += u64::from(stage != state.stage);
                    state.stage = stage;
                }
            }
        }
        self.changed(ended.len());
        ended
    }

    /// Ends everything for good: the faults that end now, and those that never began.
    pub(crate) fn heal(&mut self, now_us: u64) -> (Vec<u32>, Vec<u32>) {
        self.healed = true;
        let (mut ended, mut never) = (Vec::new(), Vec::new());
        for (fault, state) in self.faults.iter().zip(&mut self.states) {
            match state.begun_us {
                None => never.push(fault.id),
                Some(_) if !state.ended => {
                    (state.ended, state.ended_us) = (true, now_us);
                    ended.push(fault.id);
                }
                Some(_) => {}
            }
        }
        self.changed(ended.len() + 1);
        (ended, never)
    }

    /// When a fault next begins, ends, or changes within; none once all is healed.
    pub(crate) fn next_change_us(&self, now_us: u64) -> Option<u64> {
        if self.healed {
            return None;
        }
        let next = |(fault, state): (&Fault, &State)| match (state.begun_us, &fault.trigger) {
            (None, Trigger::At { us }) => Some(*us),
            (None, Trigger::On { .. }) => None,
            (Some(_), _) if state.ended => None,
            (Some(begun), _) => {
                let end = begun + fault.duration_us;
                Some(within_us(&fault.what, (begun, end), now_us).map_or(end, |within| within.min(end)))
            }
        };
        self.faults.iter().zip(&self.states).filter_map(next).min()
    }

    /// Whether some fault has yet to begin at a point.
    pub(crate) fn waits_for_points(&self) -> bool {
        !self.healed && self.at_points.iter().any(|index| self.states[*index].begun_us.is_none())
    }

    /// Whether a fault is active that may strike what somebody completes.
    pub(crate) fn may_strike_completions(&self) -> bool {
        self.active().any(|(fault, _)| {
            matches!(
                fault.what,
                Harm::CompletionLost { .. }
                    | Harm::CompletionTwice { .. }
                    | Harm::CompletionLate { .. }
                    | Harm::SlowHandler { .. }
            )
        })
    }

    /// How many in a thousand parcels are lost at a time on their way, and sent again later.
    pub(crate) fn loss_permille(&self, from: &NodeName, to: &NodeName) -> u32 {
        let lost = |(fault, _): (&Fault, u64)| match &fault.what {
            Harm::PacketLoss { a, b, share_permille } if is_pair(a, b, from, to) => *share_permille,
            _ => 0,
        };
        self.active().map(lost).sum::<u32>().min(900)
    }

    pub(crate) fn is_healed(&self) -> bool {
        self.healed
    }

    fn active(&self) -> impl Iterator<Item = (&Fault, u64)> {
        self.active.iter().map(|(index, begun_us)| (&self.faults[*index], *begun_us))
    }

    fn stage(&self, fault: u32) -> usize {
        let states = self.faults.iter().zip(&self.states);
        states.into_iter().find(|(of, _)| of.id == fault).map_or(0, |(_, state)| state.stage)
    }

    /// What is added to the latency between two hosts.
    pub(crate) fn extra_latency_us(&self, one: &NodeName, other: &NodeName) -> u64 {
        let extra = |(fault, _): (&Fault, u64)| match &fault.what {
            Harm::Delay { extra_us } => *extra_us,
            Harm::SlowPair { a, b, extra_us } if is_pair(a, b, one, other) => *extra_us,
            _ => 0,
        };
        self.active().map(extra).sum()
    }

    /// What happens to messages from one host to another.
    pub(crate) fn way(&self, from: &NodeName, to: &NodeName) -> Way {
        let (mut cut, mut held) = (false, false);
        for (fault, _) in self.active() {
            match &fault.what {
                Harm::Partition { a, b } => {
                    cut |= a.contains(from) && b.contains(to) || b.contains(from) && a.contains(to);
                }
                Harm::PartitionOneWay { from: mute, to: deaf } => cut |= mute.contains(from) && deaf.contains(to),
                Harm::Isolate { host } => cut |= host == from || host == to,
                Harm::Hold { a, b } => held |= is_pair(a, b, from, to),
                Harm::Swizzle { links, .. } => {
                    let stalled = links.iter().take(self.stage(fault.id));
                    held |= stalled.into_iter().any(|(a, b)| is_pair(a, b, from, to));
                }
                _ => {}
            }
        }
        if cut {
            Way::Cut
        } else if held {
            Way::Held
        } else {
            Way::Open
        }
    }

    /// Whether new connections to the host fail, and whether they hang.
    pub(crate) fn refuses(&self, to: &NodeName) -> Option<bool> {
        let refused = |(fault, _): (&Fault, u64)| match &fault.what {
            Harm::Refuse { host, hang } if host == to => Some(*hang),
            _ => None,
        };
        self.active().filter_map(refused).max()
    }

    /// Whether and how the host is down.
    pub(crate) fn down(&self, name: &NodeName, now_us: u64) -> Option<Down> {
        let down = |(fault, begun): (&Fault, u64)| match &fault.what {
            Harm::Crash { host, silent } if host == name => Some(if *silent { Down::Silent } else { Down::Killed }),
            Harm::StateDestroyed { host } if host == name => Some(Down::Killed),
            Harm::StatesDestroyed { hosts } if hosts.contains(name) => Some(Down::Killed),
            Harm::CrashLoop { host, down_us, up_us } if host == name => {
                let phase = now_us.saturating_sub(begun) % (down_us + up_us).max(1);
                (phase < *down_us).then_some(Down::Killed)
            }
            Harm::Leave { host } if host == name => Some(Down::Leaving),
            Harm::RollingRestart { hosts, each_us } => {
                let turn = now_us.saturating_sub(begun) / (*each_us).max(1);
                let whose = usize::try_from(turn).ok().and_then(|turn| hosts.get(turn));
                (whose == Some(name)).then_some(Down::Leaving)
            }
            Harm::CrashSeveral { hosts, silent } if hosts.contains(name) => {
                Some(if *silent { Down::Silent } else { Down::Killed })
            }
            Harm::PowerCut { host, .. } if host == name => Some(Down::Silent),
            _ => None,
        };
        self.active().filter_map(down).max()
    }

    /// Whether an extra instance is wanted now.
    pub(crate) fn is_wanted(&self, name: &NodeName) -> bool {
        self.active().any(|(fault, _)| matches!(&fault.what, Harm::ScaleOut { host, .. } if host == name))
    }

    /// Whether the host's next life begins by playing the past.
    pub(crate) fn destroys_state(&self, name: &NodeName) -> bool {
        self.active().any(|(fault, _)| match &fault.what {
            Harm::StateDestroyed { host } => host == name,
            Harm::StatesDestroyed { hosts } => hosts.contains(name),
            _ => false,
        })
    }

    /// Until when the host stands still.
    pub(crate) fn paused_until(&self, name: &NodeName) -> Option<Timestamp> {
        let until = |(fault, begun): (&Fault, u64)| match &fault.what {
            Harm::Pause { host } if host == name => Some(Timestamp(begun + fault.duration_us)),
            _ => None,
        };
        self.active().filter_map(until).max()
    }

    /// What the host's clocks show at a time of the run.
    pub(crate) fn clocks(&self, name: &NodeName, now_us: u64) -> ClocksOff {
        let mut off = ClocksOff::default();
        for (fault, state) in self.faults.iter().zip(&self.states) {
            let Some(begun) = state.begun_us else { continue };
            match &fault.what {
                Harm::ClockOffset { host, offset_us } if host == name && !state.ended => off.wall_us += offset_us,
                Harm::ClockDrift { host, ppm } if host == name => {
                    let until = if state.ended { state.ended_us } else { now_us };
                    off.monotonic_us += (until.saturating_sub(begun) as i64).saturating_mul(*ppm) / 1_000_000;
                    off.ppm += if state.ended { 0 } else { *ppm };
                }
                Harm::ClockStep { host, wall_us, monotonic_us } if host == name => {
                    off.wall_us += wall_us;
                    off.monotonic_us += *monotonic_us as i64;
                }
                _ => {}
            }
        }
        off
    }

    /// Whether the host reads what is sent to it.
    pub(crate) fn reads(&self, name: &NodeName) -> bool {
        !self.active().any(|(fault, _)| matches!(&fault.what, Harm::SlowReader { host } if host == name))
    }

    /// Whether this attempt of a customer arrives twice.
    pub(crate) fn duplicates(&self, operation: u64, attempt: u32) -> bool {
        self.active().any(|(fault, _)| match &fault.what {
            Harm::DuplicateAttempt { share_permille } => {
                self.chance.happens("attempt twice", &(fault.id, operation, attempt), *share_permille)
            }
            _ => false,
        })
    }

    /// How much longer the store takes.
    pub(crate) fn extra_store_us(&self) -> u64 {
        let extra =
            |(fault, _): (&Fault, u64)| if let Harm::SlowStore { extra_us } = fault.what { extra_us } else { 0 };
        self.active().map(extra).sum()
    }

    /// Whether this commit fails, and whether it is made all the same.
    pub(crate) fn fails_commit(&self, commit: &Commit) -> Option<bool> {
        self.active().find_map(|(fault, _)| match &fault.what {
            Harm::StoreFails { share_permille, applied } => self
                .chance
                .happens("commit fails", &(fault.id, identity::of_commit(commit)), *share_permille)
                .then_some(*applied),
            _ => None,
        })
    }

    /// Whether somebody wants a backup.
    pub(crate) fn wants_backup(&self) -> bool {
        self.active().any(|(fault, _)| matches!(fault.what, Harm::Backup { .. }))
    }

    /// Whether the disk has filled up.
    pub(crate) fn fills_disk(&self) -> bool {
        self.active().any(|(fault, _)| matches!(fault.what, Harm::DiskFull { .. }))
    }

    /// Whether a stranger is about.
    pub(crate) fn wants_stranger(&self) -> bool {
        self.active().any(|(fault, _)| matches!(fault.what, Harm::Hostile {}))
    }

    /// What is wrong with a host's disk.
    pub(crate) fn disk(&self, name: &NodeName) -> DiskFaults {
        let mut disk = DiskFaults::default();
        for (fault, state) in self.on_disk.iter().map(|index| (&self.faults[*index], self.states[*index])) {
            if state.begun_us.is_some() && !state.ended {
                disk.add(fault, name);
            }
            match (&fault.what, &fault.trigger) {
                (Harm::BitRot { bits }, _) if state.begun_us.is_some() => disk.rotten.push((fault.id, *bits)),
                (what, Trigger::On { host, point, identity: None, nth })
                    if host == name && state.begun_us.is_none() && !self.healed && what.takes_down(name) =>
                {
                    disk.arm(point, nth.saturating_sub(state.counted));
                }
                _ => {}
            }
        }
        disk
    }

    /// What a completion that the host is about to send meets.
    pub(crate) fn completing(&self, name: &NodeName, service: &ServiceName, identity: Identity) -> Option<Completing> {
        let (mut late_us, mut twice) = (0, false);
        let identity = self.identities.of(identity);
        for (fault, _) in self.active() {
            let hit = |permille| self.chance.happens("completion", &(fault.id, name.as_str(), identity), permille);
            match &fault.what {
                Harm::CompletionLost { host, share_permille } if host == name && hit(*share_permille) => {
                    return Some(Completing::Lost);
                }
                Harm::CompletionLate { host, share_permille, delay_us } if host == name && hit(*share_permille) => {
                    late_us = late_us.max(*delay_us);
                }
                Harm::CompletionTwice { host, share_permille } if host == name => twice |= hit(*share_permille),
                Harm::SlowHandler { service: of, extra_us } if of == service => late_us = late_us.max(*extra_us),
                _ => {}
            }
        }
        match late_us {
            0 => twice.then_some(Completing::Twice),
            late_us => Some(Completing::Late(late_us)),
        }
    }
}

/// How many of so many links are stalled, so long after the first was and before the last is let go.
fn stalled(links: usize, step_us: u64, since_us: u64, left_us: u64) -> usize {
    let step_us = step_us.max(1);
    let (stalled, kept) = (since_us / step_us + 1, left_us.div_ceil(step_us));
    usize::try_from(stalled.min(kept)).map_or(links, |count| count.min(links))
}

/// When a fault that began then next changes by itself, after now.
fn within_us(what: &Harm, (begun_us, end_us): (u64, u64), now_us: u64) -> Option<u64> {
    match what {
        Harm::Swizzle { links, step_us } => {
            let steps = || (1..links.len() as u64).map(|n| n * step_us);
            let edges =
                steps().map(|after| begun_us + after).chain(steps().map(|before| end_us.saturating_sub(before)));
            edges.filter(|at_us| *at_us > now_us).min()
        }
        Harm::RollingRestart { each_us, .. } => {
            let each_us = (*each_us).max(1);
            Some(begun_us + (now_us.saturating_sub(begun_us) / each_us + 1) * each_us)
        }
        Harm::CrashLoop { down_us, up_us, .. } => {
            let period = (down_us + up_us).max(1);
            let into = now_us.saturating_sub(begun_us) % period;
            Some(now_us - into + if into < *down_us { *down_us } else { period })
        }
        _ => None,
    }
}

fn is_pair(a: &NodeName, b: &NodeName, one: &NodeName, other: &NodeName) -> bool {
    (a, b) == (one, other) || (b, a) == (one, other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Family;

    fn fault(id: u32, us: u64, duration_us: u64, what: Harm) -> Fault {
        Fault { id, family: Family::Partition, trigger: Trigger::At { us }, duration_us, what }
    }

    #[test]
    fn the_end_of_one_fault_never_ends_another() {
        let (bus, one) = (NodeName::of("bus"), NodeName::of("accounts-0"));
        let partition = Harm::Partition { a: vec![bus.clone()], b: vec![one.clone()] };
        let hold = Harm::Hold { a: bus.clone(), b: one.clone() };
        let faults = [
            fault(1, 0, 100, partition.clone()),
            fault(2, 50, 100, partition),
            fault(3, 0, 300, hold),
            fault(4, 0, 120, Harm::Isolate { host: one.clone() }),
        ];
        let mut table = FaultTable::new(Chance::new(1, None), &faults);
        assert_eq!(table.begin_due(0), vec![1, 3, 4]);
        assert_eq!(table.way(&bus, &one), Way::Cut);
        table.begin_due(50);
        assert_eq!(table.end_due(100), vec![1]);
        assert_eq!(table.way(&bus, &one), Way::Cut, "the second partition and the isolation go on");
        assert_eq!(table.end_due(120), vec![4]);
        assert_eq!(table.way(&one, &bus), Way::Cut, "the second partition goes on");
        assert_eq!(table.end_due(150), vec![2]);
        assert_eq!(table.way(&bus, &one), Way::Held);
        assert_eq!(table.heal(1_000), (vec![3], vec![]));
        assert_eq!(table.way(&bus, &one), Way::Open);
    }

    #[test]
    fn a_point_counts_for_its_host_name_and_identity_alone() {
        let bus = NodeName::of("bus");
        let trigger = Trigger::On { host: bus.clone(), point: "commit".to_owned(), identity: None, nth: 2 };
        let what = Harm::Crash { host: bus.clone(), silent: false };
        let mut table = FaultTable::new(
            Chance::new(1, None),
            &[Fault { id: 7, family: Family::CrashAtPoint, trigger, duration_us: 10, what }],
        );
        let commit = |n| Point { name: "commit", identity: Identity::Sequence(n) };
        assert!(table.reach_times(&NodeName::of("accounts-0"), commit(1), 1, 5).is_empty());
        assert!(table.reach_times(&bus, commit(1), 1, 5).is_empty());
        assert_eq!(table.reach_times(&bus, commit(2), 1, 6), vec![7]);
        assert!(table.reach_times(&bus, commit(3), 1, 7).is_empty(), "it begins once");
        assert_eq!(table.down(&bus, 7), Some(Down::Killed));
        assert_eq!(table.end_due(16), vec![7]);
        assert_eq!(table.down(&bus, 16), None);
    }

    #[test]
    fn what_never_began_is_told() {
        let trigger = Trigger::On { host: NodeName::of("bus"), point: "commit".to_owned(), identity: None, nth: 2 };
        let what = Harm::SlowStore { extra_us: 1 };
        let mut table = FaultTable::new(
            Chance::new(1, None),
            &[Fault { id: 7, family: Family::SlowStore, trigger, duration_us: 10, what }],
        );
        assert_eq!(table.heal(1_000), (vec![], vec![7]));
    }

    #[test]
    fn what_meets_a_completion_depends_on_its_event_and_not_on_its_place_in_the_log() {
        let host = NodeName::of("mirrors-0");
        let what = Harm::CompletionLost { host: host.clone(), share_permille: 500 };
        let faults = [fault(1, 0, 100, what)];
        let table = |ids: &[&str]| {
            let mut table = FaultTable::new(Chance::new(1, None), &faults);
            table.begin_due(0);
            table.observe(&identity::tests::commit(1, 1, ids));
            table
        };
        let ids = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let (whole, without) = (table(&ids), table(&ids[1..]));
        let met = |table: &FaultTable, position| {
            let delivery = Identity::Delivery(dacapo_core::Position(position), 1);
            table.completing(&host, &ServiceName::of("mirrors"), delivery)
        };
        let of_whole: Vec<_> = (2..=8).map(|position| met(&whole, position)).collect();
        let of_rest: Vec<_> = (1..=7).map(|position| met(&without, position)).collect();
        assert_eq!(of_whole, of_rest);
        assert!(of_whole.contains(&None) && of_whole.contains(&Some(Completing::Lost)), "{of_whole:?}");
    }
}
