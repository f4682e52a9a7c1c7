//! The small scripted ends of the bus's connections: a publisher that waits for nothing, and instances that answer
//! deliveries in any order, late, twice, or never.
//!
//! What the bus sends arrives at once. Nothing is lost by that: an answer may come at any later time, a delivery that is
//! never answered is one that never arrived, and what is said at any time is what was said earlier and was long on its
//! way.

use dacapo_core::{
    Data, EventId, EventType, Expectation, InstanceName, Key, NewEvent, Position, ServiceName, Source, Version,
    bus::ConnId,
    wire::{Complete, FromBus, Hello, Nack, Start, Token},
};

use super::scope::Scope;

/// The publisher's connection.
pub(super) const PUBLISHER: ConnId = ConnId(1);
/// The connection of whoever lets the log be played.
pub(super) const READER: ConnId = ConnId(2);

/// The one service.
pub(super) fn service_name() -> ServiceName {
    ServiceName::of("readers")
}

/// The name of the n-th instance, from 0.
pub(super) fn instance_name(index: usize) -> InstanceName {
    InstanceName::of(format!("reader-{}", index + 1))
}

/// The key of the n-th event, from 0.
pub(super) fn key(scope: &Scope, index: usize) -> Key {
    Key::of(format!("k{}", index % scope.keys.max(1) + 1))
}

/// The n-th event of the publisher. The first of a key may come to any head, the later ones follow their forerunners.
pub(super) fn event(scope: &Scope, index: usize) -> NewEvent {
    let before = index / scope.keys.max(1);
    NewEvent {
        id: EventId::of(format!("e{}", index + 1)),
        event_type: EventType::of("Noted"),
        key: key(scope, index),
        expectation: if before == 0 { Expectation::Any } else { Expectation::Version(Version(before as u64)) },
        correlation: None,
        causation: None,
        source: Some(Source::of("publisher")),
        data: Data::of(&index),
        attributes: dacapo_core::Attributes::default(),
    }
}

/// A delivery that an instance knows of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) position: Position,
    pub(super) key: Key,
    pub(super) version: Version,
    pub(super) token: Token,
    /// It was answered, or taken back: to answer it is late.
    pub(super) stale: bool,
}

impl Held {
    /// The completion: it produces one event, which nobody takes.
    pub(super) fn complete(&self) -> Complete {
        let event = NewEvent {
            id: EventId::of(format!("of-{}", self.position)),
            event_type: EventType::of("Read"),
            key: Key::of(format!("read-{}", self.key)),
            expectation: Expectation::Any,
            correlation: None,
            causation: None,
            source: None,
            data: Data::of(&self.position),
            attributes: dacapo_core::Attributes::default(),
        };
        Complete { position: self.position, token: self.token, events: vec![event], guards: Vec::new() }
    }

    pub(super) fn nack(&self) -> Nack {
        Nack { position: self.position, token: self.token, reason: "it does not work".to_owned() }
    }
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    index: usize,
    pub(super) conn: Option<ConnId>,
    /// Connections that it had to this bus.
    connections: u64,
    incarnation: u64,
    pub(super) welcomed: bool,
    pub(super) ready: bool,
    pub(super) held: Vec<Held>,
}

impl Peer {
    pub(super) fn new(index: usize) -> Self {
        Self { index, conn: None, connections: 0, incarnation: 1, welcomed: false, ready: false, held: Vec::new() }
    }

    /// Opens a connection: its number is the instance's own, so that it does not tell in which order others came.
    pub(super) fn connect(&mut self) -> ConnId {
        self.connections += 1;
        let conn = ConnId((self.index as u64 + 1) * 100 + self.connections);
        self.conn = Some(conn);
        conn
    }

    pub(super) fn hello(&self, scope: &Scope) -> Hello {
        Hello {
            service: service_name(),
            instance: instance_name(self.index),
            incarnation: self.incarnation,
            types: vec![EventType::of("Noted")],
            start: Start::Beginning,
            credit: scope.credit,
            bearer: None,
        }
    }

    /// The connection has ended: what it holds is no longer its own, and it does not know.
    pub(super) fn disconnected(&mut self) {
        self.conn = None;
        self.welcomed = false;
        self.ready = false;
        self.held.iter_mut().for_each(|held| held.stale = true);
    }

    /// It loses its memory, and comes back as another.
    pub(super) fn die(&mut self) {
        self.disconnected();
        self.incarnation += 1;
        self.held.clear();
    }

    /// Another bus: connections are counted anew.
    pub(super) fn bus_restarted(&mut self) {
        self.disconnected();
        self.connections = 0;
    }

    /// A frame of the bus.
    pub(super) fn heard(&mut self, frame: &FromBus) {
        match frame {
            FromBus::Welcome(_) => self.welcomed = true,
            FromBus::Deliver(deliver) => {
                let event = &deliver.event;
                self.held.iter_mut().filter(|held| held.position == event.position).for_each(|held| held.stale = true);
                self.held.push(Held {
                    position: event.position,
                    key: event.key.clone(),
                    version: event.version,
                    token: deliver.token,
                    stale: false,
                });
            }
            FromBus::Fenced(fenced) => self.mark(fenced.position, fenced.token, true),
            FromBus::Conflict(conflict) => self.mark(conflict.position, conflict.token, false),
            FromBus::Rejected(rejected) => self.mark(rejected.position, rejected.token, false),
            _ => {}
        }
    }

    pub(super) fn mark(&mut self, position: Position, token: Token, stale: bool) {
        let same = |held: &&mut Held| held.position == position && held.token == token;
        self.held.iter_mut().filter(same).for_each(|held| held.stale = stale);
    }

    /// Forgets what it may not answer any more.
    pub(super) fn forget_stale(&mut self) {
        self.held.retain(|held| !held.stale);
    }
}
