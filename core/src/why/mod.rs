//! Why a lane stands where it stands: one paragraph for whoever is called at night, with what to do about it.
//!
//! A running bus tells what only it knows ([`LaneFacts`]: owner, back-off, open delivery, instances), a store what is
//! durable ([`Ground`]: the key's head, what of it is not done); [`explain`] puts both into words. Asked of a file alone,
//! it says what a file cannot know. Nothing here decides anything: the causes are read off, in the order in which the bus
//! itself would meet them.

mod words;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    bus::InstanceStatus,
    event::Event,
    names::{InstanceName, Key, Position, ServiceName, Version},
    store::{KeyHead, LaneRecord, Page, Read, Reader, ServiceRecord, StoreError, Taken},
    wire::Head,
};

pub use words::explain;

/// Events of a lane that are looked at: enough to tell a few from many.
pub const WAITING_EVENTS_MAX: usize = 100;

/// How far back from a key's head a lane without a record is looked at: it bounds what a question about a hot key costs.
pub const VERSIONS_LOOKED_AT_MAX: u64 = 10_000;

/// What is known of a lane apart from the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct LaneFacts {
    /// The service.
    pub service: ServiceName,
    /// The key.
    pub key: Key,
    /// What the service takes, sorted by type.
    pub types: Vec<Taken>,
    /// Everything that it takes up to here is done, or in a lane behind.
    pub frontier: Position,
    /// The first version that is not done; none if the lane has nothing to do, as far as this teller knows.
    pub next_version: Option<Version>,
    /// Failures of that event.
    pub failures: u32,
    /// Why the lane is parked, if it is.
    pub parked: Option<String>,
    /// What only a running bus knows.
    pub live: Option<Live>,
}

/// What only a running bus knows of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Live {
    /// The lane's owner.
    pub owner: Option<InstanceName>,
    /// How often that has changed.
    pub epoch: u64,
    /// Milliseconds until its back-off ends.
    pub backoff_ms: Option<u64>,
    /// Failures after which it is parked.
    pub failures_max: u32,
    /// Its first open delivery.
    pub open: Option<OpenFacts>,
    /// The service has looked at the log up to here.
    pub loaded: Position,
    /// The service's instances.
    pub instances: Vec<InstanceStatus>,
}

/// A delivery that is open.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct OpenFacts {
    /// Counts the deliveries of the event.
    pub attempt: u32,
    /// Milliseconds since it was sent.
    pub since_ms: u64,
    /// Milliseconds until its deadline, if one counts.
    pub deadline_ms: Option<u64>,
    /// Open deliveries of the lane, this one included.
    pub count: usize,
    /// Its completion has come and is being judged, or it is held back behind a commit.
    pub in_the_bus: bool,
    /// What the last conflict told; empty if there was none.
    pub conflict: Vec<Head>,
}

/// What a store tells of a lane.
#[derive(Debug, Clone, PartialEq)]
pub struct Ground {
    /// The key's head.
    pub head: KeyHead,
    /// Where the log ended.
    pub end: Position,
    /// The first events of the lane that are not done, in order.
    pub waiting: Vec<Arc<Event>>,
    /// There are more than were looked at.
    pub more: bool,
}

/// Why a lane stands where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The key has no event.
    NoEvents,
    /// The service takes no type that the key has events of.
    NotSubscribed,
    /// Everything that it takes is done.
    Idle,
    /// Its first event failed too often.
    Parked,
    /// Its first event failed, and comes again after a while.
    BackingOff,
    /// An instance has its first event, and has not answered.
    Delivered,
    /// The same, and its last completion met another version than it expected.
    Conflict,
    /// The bus itself has it in hand: it waits for a commit.
    Committing,
    /// No instance of the service is connected.
    NoInstance,
    /// Instances are connected, and none has said that it is ready: they rebuild.
    Rebuilding,
    /// Whoever would get it has as many open deliveries as its credit allows.
    NoCredit,
    /// The service has not come so far in the log.
    CatchingUp,
    /// Nothing stands in its way: it is delivered as soon as it is read.
    OnItsWay,
    /// A file alone does not tell.
    NotInTheFile,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The service.
    pub service: ServiceName,
    /// The key.
    pub key: Key,
    /// In one word.
    pub cause: Cause,
    /// In one paragraph.
    pub why: String,
    /// What to do.
    pub help: String,
    /// The first version that is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_version: Option<Version>,
    /// Events that are not done, as far as was looked.
    pub waiting: usize,
    /// There are more of them.
    pub more: bool,
    /// Failures of the first one.
    pub failures: u32,
}

impl LaneFacts {
    /// What a file tells of a lane: its record, if it is on the list of lanes behind.
    pub fn of_records(service: ServiceRecord, key: Key, lane: Option<LaneRecord>) -> Self {
        Self {
            service: service.name,
            key,
            types: service.types,
            frontier: service.frontier,
            next_version: lane.as_ref().map(|lane| lane.next_version),
            failures: lane.as_ref().map_or(0, |lane| lane.failures),
            parked: lane.and_then(|lane| lane.parked),
            live: None,
        }
    }

    /// The read that finds what is not done, given the key's head.
    pub fn read(&self, head: &KeyHead) -> Read {
        let first = self
            .next_version
            .map_or(head.version.0.saturating_sub(VERSIONS_LOOKED_AT_MAX), |next| next.0.saturating_sub(1));
        Read::Lane {
            service: self.service.clone(),
            key: self.key.clone(),
            after: Version(first),
            through: Position(u64::MAX >> 1),
            types: self.types.clone(),
            limit: WAITING_EVENTS_MAX,
        }
    }

    /// Asks a store for the ground.
    pub fn ground(&self, store: &mut dyn Reader) -> Result<Ground, StoreError> {
        let look_up = crate::store::LookUp { heads: vec![self.key.clone()], ..Default::default() };
        let mut found = store.look_up(&look_up)?;
        let head = found.heads.remove(&self.key).unwrap_or_default();
        let page = store.read(&self.read(&head))?;
        Ok(Ground::of(head, found.read_at, page))
    }
}

impl Ground {
    /// From the answers to a look-up of the head and to [`LaneFacts::read`].
    ///
    /// # Panics
    /// When the page answers another read.
    pub fn of(head: KeyHead, end: Position, page: Page) -> Self {
        let Page::Undone { events, more, .. } = page else { panic!("a lane read was answered with {page:?}") };
        Self { head, end, waiting: events.into_iter().map(|undone| undone.event).collect(), more }
    }
}
