//! Real instances of a service as the ends of the bus's connections: the machines that are deployed, with what is on its
//! way in both directions.
//!
//! Such a machine does not say what a digest of everything that it will act upon is. It is a function of what it was
//! told and when, so the digest of that history stands for its state: two branches meet where it was told the same.

use std::{
    collections::VecDeque,
    hash::{Hash as _, Hasher as _},
};

use dacapo_core::{
    NodeName, Now, Timestamp,
    bus::ConnId,
    digest::{StableHasher, digest_of},
    trace::What,
    wire::{FromBus, ToBus},
};
use dacapo_service::{Input, Instance, InstanceConfig, Machine, Output, Response};

use super::{
    counter::Counter,
    peers,
    scope::{Scope, limits},
};

/// An instance, and what it has to do with the world.
pub(super) struct Node {
    index: usize,
    machine: Box<dyn Machine>,
    /// The digest of all that it was told in this life.
    history: u64,
    pub(super) conn: Option<ConnId>,
    pub(super) connections: u64,
    incarnation: u64,
    /// It asked for a connection.
    pub(super) wants: bool,
    /// It closed its end: the bus learns that when it has heard the rest.
    pub(super) closing: bool,
    pub(super) to_bus: VecDeque<ToBus>,
    pub(super) from_bus: VecDeque<FromBus>,
}

/// What came of telling an instance something, besides frames.
#[derive(Default)]
pub(super) struct Came {
    pub(super) records: Vec<What>,
    /// By the number of the request.
    pub(super) answers: Vec<(u64, Response)>,
}

impl Clone for Node {
    fn clone(&self) -> Self {
        let Self { index, machine, history, conn, connections, incarnation, wants, closing, to_bus, from_bus } = self;
        Self {
            index: *index,
            machine: machine.boxed_clone(),
            history: *history,
            conn: *conn,
            connections: *connections,
            incarnation: *incarnation,
            wants: *wants,
            closing: *closing,
            to_bus: to_bus.clone(),
            from_bus: from_bus.clone(),
        }
    }
}

impl Node {
    /// An instance that has started, in its n-th life.
    pub(super) fn start(scope: &Scope, index: usize, incarnation: u64, now: Now) -> (Self, Came) {
        let config = InstanceConfig {
            credit: scope.credit,
            request_deadline: limits().delivery_deadline * 2,
            reconnect_first: std::time::Duration::from_secs(1),
            reconnect_max: std::time::Duration::from_secs(1),
            reconcile_every: None,
            record: true,
            planted: scope.planted,
            ..InstanceConfig::new(peers::instance_name(index), incarnation)
        };
        let mut node = Self {
            index,
            machine: Box::new(Instance::new(Counter, config)),
            history: 0,
            conn: None,
            connections: 0,
            incarnation,
            wants: false,
            closing: false,
            to_bus: VecDeque::new(),
            from_bus: VecDeque::new(),
        };
        let came = node.tell(now, Input::Started);
        (node, came)
    }

    /// The node of its records.
    pub(super) fn name(&self) -> NodeName {
        NodeName::of(peers::instance_name(self.index).as_str().to_owned())
    }

    /// Which life this is.
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Tells it something.
    pub(super) fn tell(&mut self, now: Now, input: Input) -> Came {
        let mut hasher = StableHasher::new(self.history);
        now.monotonic.hash(&mut hasher);
        match &input {
            Input::Frame(frame) => frame.hash(&mut hasher),
            Input::Request { id, request } => (id, request).hash(&mut hasher),
            other => digest_of(0, &format!("{other:?}")).hash(&mut hasher),
        }
        self.history = hasher.finish();
        self.machine.handle_input(now, input);
        let mut came = Came::default();
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Connect => self.wants = true,
                Output::Send(frame) => self.to_bus.push_back(frame),
                Output::Close => {
                    self.closing = self.conn.is_some();
                    self.from_bus.clear();
                }
                Output::Respond { id, response } => came.answers.push((id, response)),
                Output::Record(what) => came.records.push(what),
                Output::Exit => {}
            }
        }
        came
    }

    /// A connection of its own: its number does not tell in which order others came.
    pub(super) fn connect(&mut self) -> ConnId {
        self.connections += 1;
        let conn = ConnId((self.index as u64 + 1) * 100 + self.connections);
        self.conn = Some(conn);
        self.wants = false;
        conn
    }

    /// The connection is gone, with all that was on its way.
    pub(super) fn cut(&mut self) {
        self.conn = None;
        self.closing = false;
        self.to_bus.clear();
        self.from_bus.clear();
    }

    /// Another bus: connections are counted anew.
    pub(super) fn bus_restarted(&mut self) {
        self.cut();
        self.connections = 0;
    }

    /// When it wants to be woken.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.machine.poll_timeout()
    }

    /// Adds it to a digest.
    pub(super) fn digest(&self, to: &mut StableHasher) {
        let Self { index, machine: _, history, conn, connections, incarnation, wants, closing, to_bus, from_bus } =
            self;
        (index, history, conn, connections, incarnation, wants, closing, to_bus, from_bus).hash(to);
    }
}
