//! The log as the store's wrapper saw it become durable: the truth that every promise is judged against.
//!
//! It is built from `CommitDurable` records, and from a `Found` one where a run begins with a store of an older build. What does not fit (a gap,
//! an id that is known) is left out, so that it stays a log; `versions_are_gap_free` and `publishing_is_idempotent`
//! say so at that very record.

use std::{collections::BTreeMap, hash::Hash as _, sync::Arc};

use dacapo_core::{
    Event, EventId, EventType, Key, Position, ServiceName, Term, Version,
    digest::StableHasher,
    store::{Commit, Completion, Ended, LaneChange, LaneRecord, ServiceRecord, Taken},
};

use crate::{connections::Delivery, property::Moment};

/// An event, and when it became durable.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The event.
    pub event: Arc<Event>,
    /// When.
    pub durable: Moment,
}

/// How a service ended an event.
#[derive(Debug, Clone)]
pub struct Done {
    /// Completed or skipped.
    pub ended: Ended,
    /// What the handling produced.
    pub produced: Vec<Position>,
    /// The last delivery of it before.
    pub delivery: Option<Delivery>,
    /// When.
    pub durable: Moment,
}

/// A lane on the list of lanes behind.
#[derive(Debug, Clone)]
pub struct Behind {
    /// Its record.
    pub record: LaneRecord,
    /// When that became durable.
    pub durable: Moment,
    /// Which commit of the run that was.
    pub commit: u64,
}

/// What the log says about one service.
#[derive(Debug, Clone, Default)]
pub struct ServiceLog {
    /// What it takes, sorted by type.
    types: Vec<Taken>,
    /// When its types last changed after its registration.
    types_changed: Option<Moment>,
    /// Everything that it takes up to here has ended, or is in a lane behind.
    frontier: Position,
    ended: BTreeMap<Position, Done>,
    behind: BTreeMap<Key, Behind>,
    /// The last delivery of each event that has not ended.
    pub(crate) delivered: BTreeMap<Position, Delivery>,
}

impl ServiceLog {
    /// What it takes, sorted by type.
    pub fn types(&self) -> &[Taken] {
        &self.types
    }

    /// When its types last changed after its registration.
    pub fn types_changed(&self) -> Option<Moment> {
        self.types_changed
    }

    /// Since when it takes this type, if it does.
    pub fn since(&self, event_type: &EventType) -> Option<Position> {
        let index = self.types.binary_search_by(|taken| taken.event_type.cmp(event_type)).ok()?;
        Some(self.types[index].since)
    }

    /// Whether the event is to be completed by it.
    pub fn takes(&self, event: &Event) -> bool {
        self.since(&event.event_type).is_some_and(|since| event.position > since)
    }

    /// How it ended the event, if it did.
    pub fn done(&self, position: Position) -> Option<&Done> {
        self.ended.get(&position)
    }

    /// Everything that it takes up to here has ended, or is in a lane behind.
    pub fn frontier(&self) -> Position {
        self.frontier
    }

    /// The list of lanes behind, by key.
    pub fn lanes_behind(&self) -> impl Iterator<Item = &LaneRecord> {
        self.behind.values().map(|behind| &behind.record)
    }

    /// The lane's record on the list of lanes behind.
    pub fn behind(&self, key: &Key) -> Option<&Behind> {
        self.behind.get(key)
    }

    /// The last delivery of an event that has not ended.
    pub fn delivery(&self, position: Position) -> Option<&Delivery> {
        self.delivered.get(&position)
    }

    fn register(&mut self, record: &ServiceRecord, now: Moment) {
        self.frontier = record.frontier;
        if self.types == record.types {
            return;
        }
        if !self.types.is_empty() {
            self.types_changed = Some(now);
        }
        self.types.clone_from(&record.types);
    }
}

/// The log.
#[derive(Debug, Clone, Default)]
pub struct Log {
    entries: Vec<Entry>,
    ids: BTreeMap<EventId, Position>,
    /// The positions of a key's events: version v stands at index v - 1.
    keys: BTreeMap<Key, Vec<Position>>,
    services: BTreeMap<ServiceName, ServiceLog>,
    /// Completions of the last commit that repeat one, with how it ended first.
    repeated: Vec<(Completion, Done)>,
    last_commit: Option<Moment>,
    commits: u64,
    term: Term,
}

impl Log {
    /// Adds to a digest what the contents of a store do not say: the deliveries of what has not ended, and which facts
    /// of the lanes behind are older than the last commit.
    pub(crate) fn memory(&self, to: &mut StableHasher) {
        (self.end(), self.term).hash(to);
        for (name, service) in &self.services {
            name.hash(to);
            for (position, delivery) in &service.delivered {
                position.hash(to);
                delivery.memory(to);
                service.types_changed.map(|changed| delivery.sent < changed).hash(to);
            }
            for (key, behind) in &service.behind {
                (key, self.commits > behind.commit).hash(to);
            }
        }
    }

    /// The last position.
    pub fn end(&self) -> Position {
        Position(self.entries.len() as u64)
    }

    /// When the last commit became durable.
    pub fn last_commit(&self) -> Option<Moment> {
        self.last_commit
    }

    /// How many commits became durable.
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// The term of the last commit.
    pub fn term(&self) -> Term {
        self.term
    }

    /// The event at a position.
    pub fn at(&self, position: Position) -> Option<&Entry> {
        self.entries.get(usize::try_from(position.0.checked_sub(1)?).ok()?)
    }

    /// All events, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Where an id entered first.
    pub fn position_of(&self, id: &EventId) -> Option<Position> {
        self.ids.get(id).copied()
    }

    /// The positions of a key's events, in order of version, from version 1.
    pub fn positions_of(&self, key: &Key) -> &[Position] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    /// The event of a key with this version.
    pub fn version_of(&self, key: &Key, version: Version) -> Option<&Entry> {
        let index = usize::try_from(version.0.checked_sub(1)?).ok()?;
        self.at(*self.positions_of(key).get(index)?)
    }

    /// A key's head.
    pub fn head(&self, key: &Key) -> Version {
        Version(self.positions_of(key).len() as u64)
    }

    /// A key's head when the log ended at a position.
    pub fn head_at(&self, key: &Key, position: Position) -> Version {
        Version(self.positions_of(key).partition_point(|at| *at <= position) as u64)
    }

    /// What the log says about a service.
    pub fn service(&self, service: &ServiceName) -> Option<&ServiceLog> {
        self.services.get(service)
    }

    /// All services, by name.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceName, &ServiceLog)> {
        self.services.iter()
    }

    /// Completions of the last commit that repeat one, with how the event had ended before.
    pub fn repeated(&self) -> &[(Completion, Done)] {
        &self.repeated
    }

    pub(crate) fn service_mut(&mut self, service: &ServiceName) -> &mut ServiceLog {
        if !self.services.contains_key(service) {
            self.services.insert(service.clone(), ServiceLog::default());
        }
        self.services.get_mut(service).expect("it was put in above")
    }

    pub(crate) fn append(&mut self, commit: &Commit, now: Moment) {
        self.last_commit = Some(now);
        self.commits += 1;
        self.term = commit.term;
        self.repeated.clear();
        for event in &commit.events {
            self.append_event(event, now);
        }
        for record in &commit.services {
            self.service_mut(&record.name).register(record, now);
        }
        for (service, frontier) in &commit.frontiers {
            self.service_mut(service).frontier = *frontier;
        }
        for completion in &commit.completions {
            self.end_event(completion, now);
        }
        for change in &commit.lanes {
            match change {
                LaneChange::Put(record) => {
                    let behind = Behind { record: record.clone(), durable: now, commit: self.commits };
                    self.service_mut(&record.service).behind.insert(record.key.clone(), behind);
                }
                LaneChange::Remove { service, key } => {
                    self.service_mut(service).behind.remove(key);
                }
            }
        }
    }

    fn append_event(&mut self, event: &Arc<Event>, now: Moment) {
        if event.position != self.end().next() || event.version != self.head(&event.key).next() {
            return;
        }
        self.entries.push(Entry { event: Arc::clone(event), durable: now });
        self.ids.entry(event.id.clone()).or_insert(event.position);
        match self.keys.get_mut(&event.key) {
            Some(positions) => positions.push(event.position),
            None => {
                self.keys.insert(event.key.clone(), vec![event.position]);
            }
        }
    }

    fn end_event(&mut self, completion: &Completion, now: Moment) {
        let service = self.service_mut(&completion.service);
        if let Some(first) = service.ended.get(&completion.position) {
            let first = first.clone();
            self.repeated.push((completion.clone(), first));
            return;
        }
        let delivery = service.delivered.remove(&completion.position);
        let produced = completion.produced.clone();
        service.ended.insert(completion.position, Done { ended: completion.ended, produced, delivery, durable: now });
    }
}
