//! A service as the bus holds it: its lanes, its instances, and how far it has come.
//!
//! The log is divided by two positions. At or before `frontier` every event that the service takes is done or in a
//! listed lane; at or before `loaded` it is done, in a lane's memory, or in the log of a lane that is `spilled`. Past
//! `loaded` the service knows nothing: those events come by reading, or live when `loaded` is the end of the log.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{ConnId, feed::Arriving};
use crate::{
    event::Event,
    limits::Limits,
    names::{EventType, InstanceName, Key, Position, ServiceName, Version},
    sizes::SizesTold,
    store::{KeyHead, LaneRecord, ServiceRecord, Taken},
    time::Timestamp,
    wire::{Head, Token},
};

#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) name: ServiceName,
    /// Sorted by type.
    pub(super) types: Vec<Taken>,
    /// The head of the service's own key, on which its system events stand.
    pub(super) head: KeyHead,
    /// F as last written to a commit.
    pub(super) frontier: Position,
    pub(super) loaded: Position,
    /// The read that looks past `loaded`, if one is open.
    pub(super) reading: Option<(u64, Arriving)>,
    /// What is loaded, not done, and in no listed lane: the first of it holds the frontier back.
    pub(super) outstanding: BTreeMap<Position, Key>,
    /// Lanes with something to do.
    pub(super) lanes: BTreeMap<Key, Lane>,
    /// Lanes without work whose owner is remembered.
    pub(super) idle: Idle,
    /// Events in the lanes' memory.
    pub(super) pending: usize,
    pub(super) instances: BTreeMap<InstanceName, Instance>,
    /// Who got the last new lane.
    pub(super) turn: Option<InstanceName>,
    /// Lanes that want an owner, in the order in which they began to.
    pub(super) unowned: VecDeque<Key>,
    /// The last epoch given to any lane: they only grow, so a forgotten lane never gets an old one again.
    pub(super) epoch: u64,
    pub(super) system_events_skipped: u64,
    pub(super) sizes_told: SizesTold<2>,
}

impl Service {
    pub(super) fn new(record: ServiceRecord, head: KeyHead) -> Self {
        Self {
            name: record.name,
            types: record.types,
            head,
            frontier: record.frontier,
            loaded: record.frontier,
            reading: None,
            outstanding: BTreeMap::new(),
            lanes: BTreeMap::new(),
            idle: Idle::default(),
            pending: 0,
            instances: BTreeMap::new(),
            turn: None,
            unowned: VecDeque::new(),
            epoch: 0,
            system_events_skipped: 0,
            sizes_told: SizesTold::default(),
        }
    }

    /// Whether the service takes this event.
    pub(super) fn takes(&self, event: &Event) -> bool {
        self.types
            .binary_search_by(|taken| taken.event_type.cmp(&event.event_type))
            .is_ok_and(|index| event.position > self.types[index].since)
    }

    pub(super) fn record(&self) -> ServiceRecord {
        ServiceRecord { name: self.name.clone(), types: self.types.clone(), frontier: self.frontier }
    }

    /// How far the frontier could be by what is in memory.
    pub(super) fn frontier_now(&self) -> Position {
        match self.outstanding.first_key_value() {
            Some((first, _)) => Position(first.0 - 1),
            None => self.loaded,
        }
    }

    /// The next ready instance with credit, round robin.
    pub(super) fn next_instance(&self) -> Option<InstanceName> {
        let free =
            |(_, instance): &(&InstanceName, &Instance)| instance.takes_work() && instance.open < instance.credit;
        let after = self.turn.as_ref().and_then(|turn| {
            let bounds = (std::ops::Bound::Excluded(turn), std::ops::Bound::Unbounded);
            self.instances.range::<InstanceName, _>(bounds).find(free)
        });
        after.or_else(|| self.instances.iter().find(free)).map(|(name, _)| name.clone())
    }

    /// How many events its lanes may hold in memory: a spilled lane may load beyond the window, as many events as a lane
    /// may hold.
    pub(super) fn pending_max(&self, limits: &Limits) -> usize {
        let window = limits.service_pending_max;
        // Counting the lanes takes a walk over them.
        if self.pending <= window { window } else { window + self.lanes_behind() * limits.lane_pending_max }
    }

    pub(super) fn lanes_behind(&self) -> usize {
        self.lanes.values().filter(|lane| lane.listed).count()
    }
}

/// One connected process of a service, or one that may come back within its grace.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) incarnation: u64,
    /// None while it is away.
    pub(super) conn: Option<ConnId>,
    pub(super) session: u64,
    pub(super) ready: bool,
    pub(super) credit: u32,
    /// Open deliveries.
    pub(super) open: u32,
    /// Lanes that stick to it and want to deliver, in order.
    pub(super) queue: VecDeque<Key>,
    /// When its grace ends, if it is away.
    pub(super) grace: Option<Timestamp>,
}

impl Instance {
    pub(super) fn takes_work(&self) -> bool {
        self.ready && self.conn.is_some()
    }
}

/// An event of a lane in memory.
#[derive(Debug, Clone, Hash)]
pub(super) struct Pending {
    pub(super) event: Arc<Event>,
    pub(super) previous: Version,
    /// How often it was delivered.
    pub(super) attempts: u32,
}

/// A delivery that is not answered.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) token: Token,
    /// The commit that it was held back behind, if any: before that is durable nobody has it, and no deadline counts.
    pub(super) held_by: Option<u64>,
    /// When it was sent, or held back; for people.
    pub(super) since: Timestamp,
    /// Its completion waits to be judged: no deadline counts.
    pub(super) judging: bool,
    /// The heads that the last conflict told.
    pub(super) conflict: Option<Vec<Head>>,
}

/// (service, key): the unit of order, stickiness, redelivery and parking. The first `open.len()` of `pending` are
/// delivered, all to the owner under the same epoch.
#[derive(Debug, Clone, Default)]
pub(super) struct Lane {
    pub(super) owner: Option<InstanceName>,
    pub(super) epoch: u64,
    pub(super) pending: VecDeque<Pending>,
    pub(super) open: VecDeque<Open>,
    /// The deadline of the first open delivery.
    pub(super) deadline: Option<Timestamp>,
    /// Every taken event before this version is done.
    pub(super) next_version: Version,
    /// At least how often each of its events up to `delivered` was delivered before it was let go from memory: a token
    /// never repeats.
    pub(super) attempts: u32,
    /// The highest version that was ever delivered, in this bus's life.
    pub(super) delivered: Version,
    /// Of the first event that is not done.
    pub(super) failures: u32,
    pub(super) disconnects: u32,
    pub(super) backoff: Option<Timestamp>,
    pub(super) parked: Option<String>,
    /// It is on the list of lanes behind.
    pub(super) listed: bool,
    /// Events at or before the service's `loaded` are in the log only.
    pub(super) spilled: bool,
    /// The read that fetches them, if one is open, with what was loaded meanwhile.
    pub(super) reading: Option<LaneReading>,
    /// It stands in its owner's queue, or among the unowned.
    pub(super) queued: bool,
}

#[derive(Debug, Clone)]
pub(super) struct LaneReading {
    pub(super) id: u64,
    pub(super) arriving: VecDeque<Pending>,
    /// More arrived than may be kept: the lane stays spilled.
    pub(super) overflown: bool,
}

impl Lane {
    pub(super) fn from_record(record: &LaneRecord) -> Self {
        Self {
            next_version: record.next_version,
            failures: record.failures,
            parked: record.parked.clone(),
            listed: true,
            spilled: true,
            ..Self::default()
        }
    }

    pub(super) fn record(&self, service: &ServiceName, key: &Key) -> LaneRecord {
        LaneRecord {
            service: service.clone(),
            key: key.clone(),
            next_version: self.next_version,
            failures: self.failures,
            parked: self.parked.clone(),
        }
    }

    /// Whether nothing of it may be delivered now.
    pub(super) fn stands(&self) -> bool {
        self.parked.is_some() || self.backoff.is_some()
    }

    /// Whether a delivery could begin, given an owner with credit.
    pub(super) fn wants_delivery(&self, open_max: usize) -> bool {
        // Behind an event that has failed, nothing is delivered until it is done.
        let open_max = if self.failures > 0 { 1 } else { open_max };
        !self.stands() && self.open.len() < open_max.min(self.pending.len())
    }

    /// Nothing is left to do or to remember durably.
    pub(super) fn is_drained(&self) -> bool {
        self.pending.is_empty() && !self.spilled && self.parked.is_none()
    }

    /// The version after the last one in memory or done.
    pub(super) fn loaded_version(&self) -> Version {
        match self.pending.back() {
            Some(last) => last.event.version,
            None => Version(self.next_version.0.saturating_sub(1)),
        }
    }
}

/// Lanes without work, with the owner that they stick to: a bounded cache, the longest idle forgotten first.
#[derive(Debug, Clone, Default)]
pub(super) struct Idle {
    lanes: BTreeMap<Key, (InstanceName, u64, u64)>,
    by_age: BTreeSet<(u64, Key)>,
    age: u64,
}

impl Idle {
    /// Remembers that `key` sticks to `owner` under `epoch`.
    pub(super) fn insert(&mut self, key: Key, owner: InstanceName, epoch: u64, lanes_max: usize) {
        self.age += 1;
        if let Some((_, _, age)) = self.lanes.insert(key.clone(), (owner, epoch, self.age)) {
            self.by_age.remove(&(age, key.clone()));
        }
        self.by_age.insert((self.age, key));
        while self.lanes.len() > lanes_max {
            if let Some((_, key)) = self.by_age.pop_first() {
                self.lanes.remove(&key);
            }
        }
    }

    /// Takes a lane out: it has work again.
    pub(super) fn take(&mut self, key: &Key) -> Option<(InstanceName, u64)> {
        let (owner, epoch, age) = self.lanes.remove(key)?;
        self.by_age.remove(&(age, key.clone()));
        Some((owner, epoch))
    }

    /// The lanes of an instance that left stick to nobody.
    pub(super) fn forget_owner(&mut self, owner: &InstanceName) {
        let by_age = &mut self.by_age;
        self.lanes.retain(|key, (of, _, age)| {
            let stays = of != owner;
            if !stays {
                by_age.remove(&(*age, key.clone()));
            }
            stays
        });
    }

    pub(super) fn clear(&mut self) {
        self.lanes.clear();
        self.by_age.clear();
    }

    /// Moves idle lanes to `newcomer` until it has its share among `instances`, at most `moved_max`. Nothing of an
    /// idle lane is open, so this costs nobody anything; each gets the epoch that `epoch` gives.
    pub(super) fn share_with(
        &mut self,
        newcomer: &InstanceName,
        instances: usize,
        moved_max: usize,
        mut epoch: impl FnMut() -> u64,
    ) -> usize {
        let share = self.lanes.len() / instances.max(1);
        let mut count: BTreeMap<InstanceName, usize> = BTreeMap::new();
        for (owner, _, _) in self.lanes.values() {
            *count.entry(owner.clone()).or_default() += 1;
        }
        let mut moved = 0;
        for (owner, its_epoch, _) in self.lanes.values_mut() {
            let has = count.get(owner).copied().unwrap_or_default();
            if moved + count.get(newcomer).copied().unwrap_or_default() >= share || moved >= moved_max {
                break;
            }
            if owner != newcomer && has > share {
                count.insert(owner.clone(), has - 1);
                *owner = newcomer.clone();
                *its_epoch = epoch();
                moved += 1;
            }
        }
        moved
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Hashes who sticks to whom; what would be forgotten first counts once half of the room is taken.
    pub(super) fn digest(&self, lanes_max: usize, to: &mut impl Hasher) {
        let Self { lanes, by_age, age: _ } = self;
        for (key, (owner, epoch, _)) in lanes {
            (key, owner, epoch).hash(to);
        }
        if lanes.len() * 2 > lanes_max {
            for (_, key) in by_age {
                key.hash(to);
            }
        }
    }

    /// Whom a lane without work sticks to.
    pub(super) fn owner(&self, key: &Key) -> Option<&(InstanceName, u64, u64)> {
        self.lanes.get(key)
    }

    /// The owner of each of them.
    pub(super) fn owners(&self) -> impl Iterator<Item = &InstanceName> {
        self.lanes.values().map(|(owner, _, _)| owner)
    }
}

/// Types as a service declares them: sorted, each once.
pub(super) fn sorted(mut types: Vec<EventType>) -> Vec<EventType> {
    types.sort();
    types.dedup();
    types
}
