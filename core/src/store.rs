//! What the bus asks of a store, and what it commits. Adapters live in `dacapo-backends`.
//!
//! A store does three things: it applies a [`Commit`] atomically and durably, it answers look-ups and reads naming
//! the position that they were read at, and it hands out terms so that only one bus can ever write.
//!
//! What a store must uphold by itself, as the last line: an event id enters once; (key, version) enters once;
//! (service, position) is completed once; positions are 1..m; a commit of an older term is refused. Violating them is
//! an error ([`StoreError::Violation`]) which stops the bus.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    event::{Data, Event, Expectation},
    names::{CorrelationId, EventId, EventType, InstanceName, Key, Position, ServiceName, Source, Term, Version},
    time::WallTime,
    wire::Produced,
};

/// Everything that becomes durable together.
#[derive(Debug, Clone, Default, PartialEq, Hash, Serialize, Deserialize)]
pub struct Commit {
    /// Counts this bus's commits from 1.
    pub sequence: u64,
    /// The term that the bus recovered with.
    pub term: Term,
    /// In order of position, the first following the store's head.
    pub events: Vec<Arc<Event>>,
    /// What was completed or skipped.
    pub completions: Vec<Completion>,
    /// Services registered or changed: the record replaces the former.
    pub services: Vec<ServiceRecord>,
    /// Frontiers that moved forward. Applied after `services`.
    pub frontiers: Vec<(ServiceName, Position)>,
    /// Lanes behind that were put on the list, changed, or taken off it, in order.
    pub lanes: Vec<LaneChange>,
}

impl Commit {
    /// Whether there is nothing to make durable.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.completions.is_empty()
            && self.services.is_empty()
            && self.frontiers.is_empty()
            && self.lanes.is_empty()
    }
}

/// How an event ended for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// An instance handled it.
    Completed,
    /// An administrator passed it over for ever, or it was a system event that could not be handled.
    Skipped,
}

/// The record that a service is done with an event. At most one for each (service, position).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Completion {
    /// The service.
    pub service: ServiceName,
    /// The event.
    pub position: Position,
    /// Its key.
    pub key: Key,
    /// Its version.
    pub version: Version,
    /// How it ended.
    pub ended: Ended,
    /// Who handled it; none if it was skipped.
    pub instance: Option<InstanceName>,
    /// The lane's epoch then.
    pub epoch: u64,
    /// Which delivery it was.
    pub attempt: u32,
    /// When.
    pub time: WallTime,
    /// The positions of the events that the handling produced, all in the same commit.
    pub produced: Vec<Position>,
}

/// A type that a service takes, and since when.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Taken {
    /// The type.
    pub event_type: EventType,
    /// Events of this type after this position count; 0: from the beginning.
    pub since: Position,
}

/// A registered service. Its frontier is F: every event at or before F that it takes is done, or is in a lane on the
/// list of lanes behind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Its name.
    pub name: ServiceName,
    /// Sorted by type.
    pub types: Vec<Taken>,
    /// F.
    pub frontier: Position,
}

/// A lane on the list of lanes behind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LaneRecord {
    /// The service.
    pub service: ServiceName,
    /// The key.
    pub key: Key,
    /// Every taken event of the lane before this version is done.
    pub next_version: Version,
    /// Failures of the first event that is not done.
    pub failures: u32,
    /// Why it is parked, if it is.
    pub parked: Option<String>,
}

/// A change of the list of lanes behind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneChange {
    /// Put on the list, or changed.
    Put(LaneRecord),
    /// Taken off: every taken event of the lane up to the frontier is done.
    Remove {
        /// The service.
        service: ServiceName,
        /// The key.
        key: Key,
    },
}

/// What a bus begins with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recovered {
    /// Newer than every term handed out before; durable before this is returned.
    pub term: Term,
    /// The end of the log.
    pub position: Position,
    /// All services, by name.
    pub services: Vec<ServiceRecord>,
    /// The heads of the services' own keys ([`service_key`]), for those that have one.
    pub service_heads: Vec<(Key, KeyHead)>,
    /// The list of lanes behind, by service and key.
    pub lanes: Vec<LaneRecord>,
}

/// An event of the bus's own, about something that was done outside of the machine: a token made, a backup taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SystemEvent {
    /// A reserved one.
    pub key: Key,
    /// A reserved one.
    pub event_type: EventType,
    /// What is demanded of the key's head.
    pub expectation: Expectation,
    /// What it says.
    pub data: Data,
}

/// The reserved key on which a service's system events stand.
pub fn service_key(service: &ServiceName) -> Key {
    Key::of(format!("$service/{service}"))
}

/// A key's head, as look-ups tell it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyHead {
    /// The latest version; 0: no event.
    pub version: Version,
    /// The event at the head.
    pub id: Option<EventId>,
    /// The last version of each type on the key, sorted by type.
    pub by_type: Arc<Vec<(EventType, Version)>>,
}

impl KeyHead {
    /// The head after one more event.
    #[must_use]
    pub fn advanced(mut self, event: &Event) -> Self {
        debug_assert_eq!(event.version, self.version.next(), "versions are gap-free");
        self.version = event.version;
        self.id = Some(event.id.clone());
        let by_type = Arc::make_mut(&mut self.by_type);
        match by_type.binary_search_by(|(event_type, _)| event_type.cmp(&event.event_type)) {
            Ok(index) => by_type[index].1 = event.version,
            Err(index) => by_type.insert(index, (event.event_type.clone(), event.version)),
        }
        self
    }

    /// The last version among these types (sorted); 0 if there is none.
    pub fn last_of(&self, types: &[Taken]) -> Version {
        let taken = |event_type: &EventType| types.binary_search_by(|taken| taken.event_type.cmp(event_type)).is_ok();
        self.by_type
            .iter()
            .filter(|(event_type, _)| taken(event_type))
            .map(|(_, version)| *version)
            .max()
            .unwrap_or_default()
    }
}

/// What the bus needs to know to judge messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LookUp {
    /// Are these in the log?
    pub ids: Vec<EventId>,
    /// What are these keys' heads?
    pub heads: Vec<Key>,
    /// Did these services end these events?
    pub completions: Vec<(ServiceName, Position)>,
}

/// The answer to a [`LookUp`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// The end of the log when it was read: at or after every commit that was durable when the look-up was asked.
    pub read_at: Position,
    /// Those that are in the log.
    pub ids: BTreeMap<EventId, Arc<Event>>,
    /// One for each key that was asked for; version 0 for those without events.
    pub heads: BTreeMap<Key, KeyHead>,
    /// Those that ended, with what they produced.
    pub completions: BTreeMap<(ServiceName, Position), Vec<Produced>>,
}

/// What the bus reads: for a service that catches up, a lane that is drained from the log, an instance.
///
/// A page holds at most `limit` events or heads, never more than [`crate::limits::PAGE_EVENTS_MAX`] (0 means that),
/// and ends early, as if its limit were reached, with the event that brings it to [`crate::limits::PAGE_BYTES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Read {
    /// Events after a position that the service takes and has not ended. Answered by [`Page::Undone`].
    Undone {
        /// The service.
        service: ServiceName,
        /// Exclusive.
        after: Position,
        /// Sorted by type.
        types: Vec<Taken>,
        /// At most so many.
        limit: usize,
    },
    /// The same of one key, up to a position. Answered by [`Page::Undone`].
    Lane {
        /// The service.
        service: ServiceName,
        /// The key.
        key: Key,
        /// Exclusive.
        after: Version,
        /// Inclusive.
        through: Position,
        /// Sorted by type.
        types: Vec<Taken>,
        /// At most so many.
        limit: usize,
    },
    /// One key's events. Answered by [`Page::Key`].
    Key {
        /// The key.
        key: Key,
        /// Exclusive.
        after: Version,
        /// Empty for all.
        types: Vec<EventType>,
        /// At most so many.
        limit: usize,
    },
    /// The log. Answered by [`Page::Log`].
    Log {
        /// Exclusive.
        after: Position,
        /// Empty for all.
        types: Vec<EventType>,
        /// At most so many.
        limit: usize,
    },
    /// The heads of the keys, in order. Answered by [`Page::Keys`].
    Keys {
        /// Exclusive; none for the first.
        after: Option<Key>,
        /// At most so many.
        limit: usize,
    },
}

/// An event that a service has not ended, with the previous version of its types on the key.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Undone {
    /// The event.
    pub event: Arc<Event>,
    /// The last version before it, on its key, of any type that the service takes (`since` does not matter here);
    /// 0 if there is none.
    pub previous: Version,
}

/// The answer to a [`Read`].
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub enum Page {
    /// Of [`Read::Undone`] (in order of position) and [`Read::Lane`] (in order of version).
    Undone {
        /// In order.
        events: Vec<Undone>,
        /// Everything up to here was looked at: the last event's position if the limit was reached, else where the
        /// log ended (for a lane: `through` or the log's end, whichever is less).
        through: Position,
        /// The limit was reached: there may be more.
        more: bool,
    },
    /// Of [`Read::Key`].
    Key {
        /// In order of version.
        events: Vec<Arc<Event>>,
        /// The key's head when it was read.
        head: Version,
        /// Where the log ended when it was read.
        read_at: Position,
        /// The limit was reached: there may be more.
        more: bool,
    },
    /// Of [`Read::Log`].
    Log {
        /// In order of position.
        events: Vec<Arc<Event>>,
        /// As for `Undone`.
        through: Position,
        /// The limit was reached: there may be more.
        more: bool,
    },
    /// Of [`Read::Keys`].
    Keys {
        /// In order of key.
        heads: Vec<(Key, Version)>,
        /// Where the log ended when it was read.
        read_at: Position,
        /// The limit was reached: there may be more.
        more: bool,
    },
}

/// A question from outside (HTTP, terminal, viewer): every given condition must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Query {
    /// Only events after this position (before it, if `newest_first`): the cursor. None: from the end that comes first.
    pub cursor: Option<Position>,
    /// Only this key.
    pub key: Option<Key>,
    /// Only these types; empty for all.
    pub types: Vec<EventType>,
    /// Only this correlation.
    pub correlation: Option<CorrelationId>,
    /// Only what this event caused. A store may look for it within this event's correlation alone, since cause and effect
    /// share theirs.
    pub causation: Option<EventId>,
    /// Only what this source published.
    pub source: Option<Source>,
    /// Only this event.
    pub id: Option<EventId>,
    /// Accepted at or after this.
    pub from: Option<WallTime>,
    /// Accepted before this.
    pub until: Option<WallTime>,
    /// From the end of the log backwards.
    pub newest_first: bool,
    /// At most so many, and never more than [`crate::limits::PAGE_EVENTS_MAX`]; 0 means that.
    pub limit: usize,
}

/// The answer to a [`Query`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// In order of position.
    pub events: Vec<Arc<Event>>,
    /// The cursor for the next page; none when this was the last.
    pub next: Option<Position>,
    /// Where the log ended when it was read.
    pub read_at: Position,
}

/// A backup that was made and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// Where it is.
    pub path: PathBuf,
    /// Where its log ends: it is the store's log up to here.
    pub position: Position,
    /// How many completions it holds.
    pub completions: u64,
    /// How many keys.
    pub keys: u64,
    /// How many services.
    pub services: u64,
    /// How many lanes behind.
    pub lanes: u64,
    /// Its size.
    pub bytes: u64,
}

/// Why a store could not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The medium failed; whether a commit happened is unknown.
    #[error("the store failed: {0}; the bus stops and recovers from what is durable")]
    Io(String),
    /// There is no space left; nothing was applied. Where it ran out at the very end of a commit, a crash before the
    /// next recovery may bring the commit back.
    #[error("the disk is full: {0}; free some space")]
    Full(String),
    /// A newer bus took over.
    #[error(
        "this bus has term {mine}, the store has handed out term {current}: a newer bus has taken over; stop this one"
    )]
    Fenced {
        /// The commit's.
        mine: Term,
        /// The store's.
        current: Term,
    },
    /// A commit would break what must always hold.
    #[error("the commit breaks an invariant of the log: {0}; this is a bug of the bus, nothing was written")]
    Violation(String),
    /// What is stored is not what was written.
    #[error("the store is damaged: {0}; restore it from a backup")]
    Damaged(String),
    /// It is no store, or one of a newer version.
    #[error("{0}")]
    NotAStore(String),
}

/// Answers questions about what is durable.
pub trait Reader: Send {
    /// Answers a look-up.
    fn look_up(&mut self, look_up: &LookUp) -> Result<Found, StoreError>;
    /// Reads a page.
    fn read(&mut self, read: &Read) -> Result<Page, StoreError>;
    /// Answers a question from outside.
    fn query(&mut self, query: &Query) -> Result<Answer, StoreError>;
    /// How a service ended an event and the others of its page: the completions of these positions, by service.
    fn completions(&mut self, positions: &[Position]) -> Result<Vec<Completion>, StoreError>;
    /// The newest term that was handed out; a bus asks at every heartbeat.
    fn current_term(&mut self) -> Result<Term, StoreError>;
    /// Reads what makes later answers cheaper, which may take long, for as long as `go_on` says so. Nothing depends on it.
    fn warm_up(&mut self, go_on: &dyn Fn() -> bool) -> Result<(), StoreError> {
        let _ = go_on;
        Ok(())
    }
    /// Makes a copy of one moment while the store is in use, checks it, and only then gives it its name: `to`, or one beside
    /// the store. It overwrites nothing. At most so many bytes a second are written, if a rate is given.
    fn back_up(&mut self, to: Option<&Path>, bytes_per_second: Option<u64>) -> Result<BackedUp, StoreError> {
        let _ = (to, bytes_per_second);
        Err(StoreError::NotAStore("this kind of store cannot be backed up while it is in use".to_owned()))
    }
}

/// A store: what a bus writes to.
pub trait Store: Reader {
    /// Hands out a new term, durably, and tells what a bus begins with. Everything read is durable before it returns.
    fn recover(&mut self) -> Result<Recovered, StoreError>;
    /// Applies a commit, durably and whole; on an error other than [`StoreError::Io`] nothing of it was applied.
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError>;
    /// A reader on a connection of its own; it sees every commit that has returned.
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError>;
    /// What can be told without reading, for those who are in a hurry; none if that is nothing.
    fn glance(&self) -> Option<Arc<dyn Glance>> {
        None
    }
}

/// What a store knows without reading.
pub trait Glance: fmt::Debug + Send + Sync {
    /// The answer to a look-up, the same as [`Reader::look_up`] would give; none if it takes reading.
    fn look_up(&self, look_up: &LookUp) -> Option<Found>;
}
