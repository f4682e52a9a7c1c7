//! The records of a run: written by all, read by properties and by the viewer.
//!
//! A step is a record's number. The fingerprint is a chained hash over the records, so that two runs are equal
//! exactly when their fingerprints are, and can be bisected to the first record that differs.

use std::{hash::Hash, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    access::Rights,
    digest::StableHasher,
    event::Event,
    hashed::Hashed,
    names::{InstanceName, Key, NodeName, Position, ServiceName, TokenName, Version},
    store::{Commit, Completion, Recovered},
    time::Timestamp,
    wire::{FromBus, ToBus, Token},
};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Its number, from 1.
    pub step: u64,
    /// The run's time, not the node's own clock.
    pub at: Timestamp,
    /// Whose doing it was.
    pub node: NodeName,
    /// What happened.
    pub what: What,
}

/// A frame of either direction. Whoever records that it was sent hands the same one on, so that the record of its
/// receipt shares it and does not hash it again.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame {
    /// To the bus.
    ToBus(Hashed<ToBus>),
    /// From the bus.
    FromBus(Hashed<FromBus>),
}

impl From<ToBus> for Frame {
    fn from(frame: ToBus) -> Self {
        Self::ToBus(Hashed::new(frame))
    }
}

impl From<FromBus> for Frame {
    fn from(frame: FromBus) -> Self {
        Self::FromBus(Hashed::new(frame))
    }
}

/// How an event came into a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// By its delivery.
    Delivered,
    /// By the receipt of its own completion or publish.
    Produced,
    /// By reading the key up to its head.
    Hydrated,
    /// By a rebuild from the beginning.
    Rebuilt,
}

/// What a handler is asked, of a service that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Whether its rebuild handler makes the same of the event.
    RebuildHandler,
    /// Whether it does the same when it is called again on the same ground.
    SecondCall,
    /// Whether it comes to its end without an error of its own.
    Errors,
}

/// What happened. `node` of the [`Record`] says to whom.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A process began a life.
    Started {
        /// Which life.
        incarnation: u64,
    },
    /// A process ended a life, willingly or not.
    Stopped {
        /// Why.
        reason: String,
    },
    /// A bus is about to end: it delivers nothing more in this life, and goes on with everything else.
    Draining {},
    /// There is no room for a bus to begin: until there is, publishes are throttled and questions answered, and no more.
    Full {},
    /// A customer sent a request.
    OperationSent {
        /// The operation's id, which is its idempotency key.
        operation: u64,
        /// From 1.
        attempt: u32,
        /// The service that was asked.
        service: ServiceName,
        /// `GET`, `POST`, …
        method: String,
        /// With its query.
        path: String,
        /// JSON, or empty.
        body: String,
    },
    /// The customer got the answer.
    OperationAnswered {
        /// The operation's id.
        operation: u64,
        /// Which attempt.
        attempt: u32,
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// The attempt ended without an answer: what became of it is unknown.
    OperationUnknown {
        /// The operation's id.
        operation: u64,
        /// Which attempt.
        attempt: u32,
        /// What was seen instead.
        error: String,
    },
    /// The operation was not tried, because one that it depends on is gone or was refused.
    OperationSkipped {
        /// The operation's id.
        operation: u64,
        /// The one that it depends on.
        because: u64,
    },
    /// A frame was handed to the network.
    FrameSent {
        /// The sender's number of the connection.
        connection: u64,
        /// The frame.
        frame: Frame,
    },
    /// A frame arrived.
    FrameReceived {
        /// The receiver's number of the connection.
        connection: u64,
        /// The frame.
        frame: Frame,
    },
    /// A connection came to be.
    Connected {
        /// The node's number of it.
        connection: u64,
    },
    /// Whoever is at the other end of a connection showed this token, or none, to a bus that demands one.
    Showed {
        /// The node's number of the connection.
        connection: u64,
        /// The token's name.
        token: Option<TokenName>,
        /// What it allows.
        rights: Rights,
    },
    /// A connection ended.
    Disconnected {
        /// The node's number of it.
        connection: u64,
    },
    /// The bus handed a commit to its store.
    CommitSubmitted {
        /// Which.
        sequence: u64,
        /// How many events it holds.
        events: usize,
        /// How many completions.
        completions: usize,
    },
    /// The store's wrapper saw this become durable; it does not take the bus's word for it.
    CommitDurable {
        /// Its contents.
        commit: Arc<Commit>,
    },
    /// This was in the store when the run began: a bus of an older build had put it there.
    Found {
        /// All of it, as one commit.
        commit: Arc<Commit>,
    },
    /// The store's wrapper saw a commit fail.
    CommitFailed {
        /// Which.
        sequence: u64,
        /// Why.
        error: String,
    },
    /// A bus began from what the store holds.
    Recovered {
        /// What it read back.
        recovered: Box<Recovered>,
    },
    /// A backup was restored, by whoever was told that it is one.
    Restored {
        /// What a bus would begin with.
        recovered: Box<Recovered>,
        /// Its log.
        events: Vec<Arc<Event>>,
        /// How services ended them, by position and service.
        completions: Vec<Completion>,
    },
    /// A handler began.
    HandlerBegun {
        /// Whose.
        service: ServiceName,
        /// The event that it handles.
        position: Position,
        /// The delivery's token.
        token: Token,
    },
    /// A handler ended.
    HandlerEnded {
        /// Whose.
        service: ServiceName,
        /// The event that it handled.
        position: Position,
        /// The delivery's token.
        token: Token,
        /// `decided`, `failed: …`, or `waits` for states that it lacks.
        outcome: String,
    },
    /// An event went into a key's state.
    Applied {
        /// Whose state.
        service: ServiceName,
        /// Which instance's.
        instance: InstanceName,
        /// Which life of it.
        incarnation: u64,
        /// The version of the service's code.
        code: u32,
        /// The key.
        key: Key,
        /// The event.
        position: Position,
        /// Its version, which the state now has.
        version: Version,
        /// The version of the event before it that went into this state; 0 for a fresh state.
        after: Version,
        /// The state's digest.
        digest: u64,
        /// By which way.
        how: How,
    },
    /// A state was dropped (evicted, or its store destroyed): it starts afresh.
    Forgotten {
        /// Whose state.
        service: ServiceName,
        /// Which instance's.
        instance: InstanceName,
        /// Which life of it.
        incarnation: u64,
        /// The key; none for all.
        key: Option<Key>,
    },
    /// An event went into a view.
    Viewed {
        /// Whose view.
        service: ServiceName,
        /// Which instance's.
        instance: InstanceName,
        /// Which life of it.
        incarnation: u64,
        /// The event.
        position: Position,
        /// The digest of the gathered contributions under the key that changed.
        digest: u64,
    },
    /// A rebuild began.
    RebuildBegun {
        /// Which instance.
        instance: InstanceName,
        /// Which stream.
        request: u64,
        /// After which position.
        after: Position,
    },
    /// A rebuild met the present.
    RebuildEnded {
        /// Which instance.
        instance: InstanceName,
        /// Which stream.
        request: u64,
        /// Up to which position.
        position: Position,
    },
    /// What a machine holds now, against its limits: sizes that have doubled since they were told, and all that are
    /// beyond their limit.
    Sizes {
        /// Name, size, limit.
        sizes: Vec<(String, u64, u64)>,
    },
    /// A planned fault began.
    FaultBegun {
        /// Its id in the plan.
        fault: u32,
    },
    /// A planned fault ended.
    FaultEnded {
        /// Its id in the plan.
        fault: u32,
    },
    /// A planned fault's trigger never came.
    FaultNeverFired {
        /// Its id in the plan.
        fault: u32,
    },
    /// All faults have ended; from here on liveness counts.
    Healed {
        /// Within this time everything must be done.
        bound_us: u64,
    },
    /// A place that a campaign should reach was reached.
    Mark {
        /// Its name.
        name: String,
    },
    /// What a handler or route did was looked into; only of services that ask for it.
    HandlerChecked {
        /// The event that it handled; 0 of a route.
        position: Position,
        /// What was asked.
        check: Check,
        /// What is wrong, in a sentence; none if all is well.
        flaw: Option<String>,
    },
}

/// The chained hash of a run's records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The fingerprint after one more record (or after another run's fingerprint).
    #[must_use]
    pub fn then<T: Hash + ?Sized>(self, next: &T) -> Self {
        Self(StableHasher::digest(self.0, next))
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A record as one line of a trace file.
pub fn encode(record: &Record) -> String {
    serde_json::to_string(record).unwrap_or_else(|error| panic!("records are plain data: {error}"))
}

/// Reads one line of a trace file.
pub fn decode(line: &str) -> Result<Record, serde_json::Error> {
    serde_json::from_str(line)
}
