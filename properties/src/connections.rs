//! The connections of the bus and what was said on them: which service an instance belongs to, which deliveries it
//! got, which publishes wait for their receipts.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::Hash as _,
};

use dacapo_core::{
    EventId, InstanceName, NodeName, ServiceName, Timestamp,
    digest::StableHasher,
    trace::{Frame, Record, What},
    wire::{FromBus, Hello, ToBus, Token, Welcome},
};

use crate::{log::Log, property::Moment};

/// One delivery, as the bus sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its token.
    pub token: Token,
    /// To whom.
    pub instance: InstanceName,
    /// To which life of it.
    pub incarnation: u64,
    /// On which connection of the bus.
    pub connection: u64,
    /// When.
    pub sent: Moment,
}

impl Delivery {
    /// Adds it to a digest, without its time.
    pub(crate) fn memory(&self, to: &mut StableHasher) {
        let Self { token, instance, incarnation, connection, sent: _ } = self;
        (token, instance, incarnation, connection).hash(to);
    }
}

impl std::fmt::Display for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Token { term, session, epoch, attempt } = self.token;
        write!(
            f,
            "delivered to {} (term {term}, session {session}, epoch {epoch}, attempt {attempt}; {})",
            self.instance, self.sent
        )
    }
}

/// Who an instance said that it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Introduced {
    /// Its service.
    pub service: ServiceName,
    /// Its name.
    pub instance: InstanceName,
    /// Which life of it.
    pub incarnation: u64,
    /// The credit that it asked for.
    pub credit: u32,
}

/// A connection of the bus.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// Who is at the other end, if it is an instance.
    pub introduced: Option<Introduced>,
    /// How it was welcomed.
    pub welcome: Option<Welcome>,
    /// When something last came.
    pub heard: Moment,
    /// When it ended, or was about to: a `bye`, a newer connection of the same instance, a `closing`, an error.
    pub leaving: Option<Moment>,
    publishes: BTreeMap<u64, VecDeque<Asked>>,
}

/// A publish that waits for its receipts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// When it came.
    pub at: Moment,
    /// The ids of its events, in order.
    pub ids: Vec<EventId>,
}

/// All connections of all buses, by node and number. A bus that starts again begins with none.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    by_node: BTreeMap<NodeName, BTreeMap<u64, Connection>>,
    /// The publish that the last record answers, if it is a `receipts`.
    answered: Option<Asked>,
}

impl Connections {
    /// The connection of this number at the bus of this name.
    pub fn get(&self, bus: &NodeName, connection: u64) -> Option<&Connection> {
        self.by_node.get(bus)?.get(&connection)
    }

    /// Who is at the other end of it, if that is an instance.
    pub fn introduced(&self, bus: &NodeName, connection: u64) -> Option<&Introduced> {
        self.get(bus, connection)?.introduced.as_ref()
    }

    /// The publish that the last record answers, if that is a `receipts` whose publish was seen.
    pub fn answered(&self) -> Option<&Asked> {
        self.answered.as_ref()
    }

    /// Adds to a digest what is said of each connection, without steps and absolute times.
    pub(crate) fn memory(&self, log: &Log, now: Timestamp, to: &mut StableHasher) {
        for (node, connections) in &self.by_node {
            for (number, Connection { introduced, welcome, heard, leaving, publishes }) in connections {
                (node, number, introduced, welcome.is_some(), leaving.is_some()).hash(to);
                // Who has left cannot become silent.
                leaving.is_none().then(|| now.since(heard.at)).hash(to);
                for (request, Asked { at, ids }) in
                    publishes.iter().flat_map(|(request, waiting)| waiting.iter().map(move |asked| (request, asked)))
                {
                    (request, ids).hash(to);
                    for id in ids {
                        let entry = log.position_of(id).and_then(|position| log.at(position));
                        entry.map(|entry| entry.durable.step < at.step).hash(to);
                    }
                }
            }
        }
    }

    pub(crate) fn observe(&mut self, record: &Record) {
        self.answered = None;
        let now = Moment::from(record);
        match &record.what {
            What::Started { .. } => {
                self.by_node.remove(&record.node);
            }
            What::Disconnected { connection } => self.disconnected(record, *connection, now),
            What::FrameReceived { connection, frame: Frame::ToBus(frame) } => {
                self.received(&record.node, *connection, frame, now);
            }
            What::FrameSent { connection, frame: Frame::FromBus(frame) } => {
                self.sent(&record.node, *connection, frame, now);
            }
            _ => {}
        }
    }

    fn disconnected(&mut self, record: &Record, number: u64, now: Moment) {
        let Some(connections) = self.by_node.get_mut(&record.node) else { return };
        let Some(connection) = connections.get_mut(&number) else { return };
        if connection.introduced.is_none() {
            connections.remove(&number);
            return;
        }
        // Who it was stays known: a frame may have been on its way out.
        connection.leaving.get_or_insert(now);
        connection.publishes.clear();
    }

    fn received(&mut self, bus: &NodeName, number: u64, frame: &ToBus, now: Moment) {
        let connections = self.by_node.entry(bus.clone()).or_default();
        if let ToBus::Hello(hello) = frame {
            Self::introduce(connections, number, hello, now);
        }
        let connection = connections.entry(number).or_default();
        connection.heard = now;
        match frame {
            ToBus::Publish(publish) => {
                let ids = publish.events.iter().map(|event| event.id.clone()).collect();
                connection.publishes.entry(publish.request).or_default().push_back(Asked { at: now, ids });
            }
            ToBus::Bye(_) => {
                connection.leaving.get_or_insert(now);
            }
            _ => {}
        }
    }

    fn introduce(connections: &mut BTreeMap<u64, Connection>, number: u64, hello: &Hello, now: Moment) {
        for (_, older) in connections.iter_mut().filter(|(older, _)| **older != number) {
            if let Some(known) = &older.introduced
                && known.service == hello.service
                && known.instance == hello.instance
            {
                older.leaving.get_or_insert(now);
            }
        }
        let connection = connections.entry(number).or_default();
        // A second hello on one connection is out of turn and changes nothing.
        if connection.leaving.is_some() {
            *connection = Connection::default();
        }
        connection.introduced.get_or_insert_with(|| Introduced {
            service: hello.service.clone(),
            instance: hello.instance.clone(),
            incarnation: hello.incarnation,
            credit: hello.credit,
        });
    }

    fn sent(&mut self, bus: &NodeName, number: u64, frame: &FromBus, now: Moment) {
        let Some(connection) = self.by_node.get_mut(bus).and_then(|connections| connections.get_mut(&number)) else {
            return;
        };
        match frame {
            FromBus::Welcome(welcome) => connection.welcome = Some(welcome.clone()),
            FromBus::Closing(_) | FromBus::Error(_) => {
                connection.leaving.get_or_insert(now);
            }
            FromBus::Receipts(receipts) => {
                let Some(waiting) = connection.publishes.get_mut(&receipts.request) else { return };
                self.answered = waiting.pop_front();
                if waiting.is_empty() {
                    connection.publishes.remove(&receipts.request);
                }
            }
            _ => {}
        }
    }
}
