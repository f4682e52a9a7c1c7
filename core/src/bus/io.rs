//! What goes into the bus and what comes out of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    names::{EventType, InstanceName, Key, Position, ServiceName, Term, TokenName, Version},
    store::{Commit, Found, LookUp, Page, Read, StoreError, SystemEvent, Taken},
    trace::What,
    wire::{self, FromBus, Start, ToBus},
};

/// The driver's number of a connection; never used twice in a bus's life. An HTTP request counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnId(pub u64);

/// What an administrator, or a page, asks of the bus.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admin {
    /// All services with their instances.
    Services,
    /// A service's lanes in memory or behind, by key.
    Lanes {
        /// The service.
        service: ServiceName,
        /// Only the parked ones.
        parked: bool,
        /// Only keys after this one.
        after: Option<Key>,
        /// At most so many.
        limit: usize,
    },
    /// Deliver a parked lane again. Audited.
    Retry {
        /// The service.
        service: ServiceName,
        /// The lane's key.
        key: Key,
    },
    /// Pass over a parked lane's first event for ever, and deliver what is behind it. Audited.
    Skip {
        /// The service.
        service: ServiceName,
        /// The lane's key.
        key: Key,
    },
    /// Change the types that a service takes. Audited. Connected instances must reconnect with the new ones.
    ChangeTypes {
        /// The service.
        service: ServiceName,
        /// All types that it takes from now on.
        types: Vec<EventType>,
        /// Where the added ones begin.
        start: Start,
    },
    /// Put an event of the bus's own into the log, which tells of an act outside of the machine.
    Audit(SystemEvent),
}

/// The answer to an [`Admin`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminAnswer {
    /// Of [`Admin::Services`].
    Services(Vec<ServiceStatus>),
    /// Of [`Admin::Lanes`].
    Lanes(Vec<LaneStatus>),
    /// It is done and durable; the audit event stands here.
    Done(Position),
    /// It is not done.
    Error(wire::Error),
}

/// A service as the bus sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: ServiceName,
    /// What it takes.
    pub types: Vec<Taken>,
    /// Everything up to here is done or in a lane behind.
    pub frontier: Position,
    /// Everything up to here has been looked at.
    pub loaded: Position,
    /// Events in memory that are not done.
    pub pending: usize,
    /// Deliveries that are open.
    pub open: usize,
    /// Lanes on the list of lanes behind.
    pub lanes_behind: usize,
    /// Of these, parked.
    pub lanes_parked: usize,
    /// System events that could not be handled and were passed over.
    pub system_events_skipped: u64,
    /// Its instances.
    pub instances: Vec<InstanceStatus>,
}

/// An instance as the bus sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct InstanceStatus {
    /// Its name.
    pub name: InstanceName,
    /// Which life of it.
    pub incarnation: u64,
    /// Connected, or within its grace.
    pub connected: bool,
    /// Takes deliveries.
    pub ready: bool,
    /// Lanes that stick to it.
    pub lanes: usize,
    /// Deliveries that are open.
    pub open: usize,
    /// How many may be.
    pub credit: u32,
}

/// A lane as the bus sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct LaneStatus {
    /// The service.
    pub service: ServiceName,
    /// The key.
    pub key: Key,
    /// Its owner, if it has one.
    pub owner: Option<InstanceName>,
    /// Counts the changes of the owner.
    pub epoch: u64,
    /// The first version that is not done, if it is known.
    pub next_version: Version,
    /// Failures of that event.
    pub failures: u32,
    /// Disconnects with that event open.
    pub disconnects: u32,
    /// Why it is parked, if it is.
    pub parked: Option<String>,
    /// Events in memory.
    pub pending: usize,
    /// Of these, delivered and open.
    pub open: usize,
    /// More wait in the log.
    pub more_in_log: bool,
    /// One sentence: why it stands where it stands.
    pub state: String,
}

/// What happened to the bus.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A connection was opened.
    Connected {
        /// Its number.
        conn: ConnId,
    },
    /// A frame came.
    Frame {
        /// On this connection.
        conn: ConnId,
        /// The frame.
        frame: ToBus,
    },
    /// The connection ended, or the driver closed it.
    Disconnected {
        /// Its number.
        conn: ConnId,
    },
    /// An administrator asks. Answered by [`Output::Answer`].
    Admin {
        /// On this connection.
        conn: ConnId,
        /// What.
        admin: Admin,
        /// The token of who asks, where tokens are demanded. It stands in the audit event.
        by: Option<TokenName>,
    },
    /// The commit is durable.
    Committed {
        /// Which.
        sequence: u64,
    },
    /// The commit failed, or nobody knows.
    CommitFailed {
        /// Which.
        sequence: u64,
        /// Why.
        error: StoreError,
    },
    /// A look-up's answer.
    LookedUp {
        /// Which.
        id: u64,
        /// The answer.
        found: Result<Found, StoreError>,
    },
    /// A read's answer.
    ReadDone {
        /// Which.
        id: u64,
        /// The answer.
        page: Result<Page, StoreError>,
    },
    /// The answer to [`Output::CheckTerm`].
    TermIs {
        /// The newest that was handed out.
        term: Result<Term, StoreError>,
    },
    /// The time of `poll_timeout` has come.
    Timeout,
}

/// What the bus wants done, in this order.
#[derive(Debug, Clone, PartialEq, Hash)]
pub enum Output {
    /// Send a frame. A connection that is gone is ignored.
    Send {
        /// On this connection.
        conn: ConnId,
        /// The frame.
        frame: FromBus,
    },
    /// Answers [`Input::Admin`].
    Answer {
        /// On this connection.
        conn: ConnId,
        /// The answer.
        answer: AdminAnswer,
    },
    /// Close the connection after what was sent on it.
    Close {
        /// Its number.
        conn: ConnId,
    },
    /// Make this durable, then say [`Input::Committed`]. At most one at a time.
    Commit(Arc<Commit>),
    /// Ask the store, then say [`Input::LookedUp`].
    LookUp {
        /// Its number.
        id: u64,
        /// What to look up.
        look_up: Arc<LookUp>,
    },
    /// Ask the store, then say [`Input::ReadDone`].
    Read {
        /// Its number.
        id: u64,
        /// What to read.
        read: Arc<Read>,
    },
    /// Ask the store for the newest term, then say [`Input::TermIs`].
    CheckTerm,
    /// A record for the trace; only if the configuration asks for them.
    Record(What),
    /// The bus can go no further: drop it, close all connections, recover from the store.
    Stop {
        /// Why.
        reason: String,
    },
}
