//! The part of a step that happens outside of the bus, and what the bus is told then.

use dacapo_core::{
    Position,
    bus::{Admin, ConnId, Input},
    hashed::Hashed,
    trace::{Frame, What},
    wire::{Publish, Ready, Rebuild, ToBus},
};
use dacapo_properties::{Verdict, Violation};
use dacapo_service::{Input as NodeInput, Response};

use super::{World, at};
use crate::search::{
    counter,
    nodes::{Came, Node},
    peers::{self, Held, PUBLISHER, READER, service_name},
    step::Step,
};

/// Attempts of one customer, at most: their numbers must not meet those of the next.
const ATTEMPTS_MAX: u64 = 1_000;

/// The status of "ask again": what became of the request is not known.
const UNKNOWN: u16 = 503;

/// Whoever asks the service for one thing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(in crate::search) struct Customer {
    /// How often it asked.
    pub(in crate::search) attempts: u64,
    /// Whom it asked and waits for.
    waits_for: Option<usize>,
    /// What it was told.
    pub(in crate::search) answer: Option<(u16, String)>,
}

impl Customer {
    pub(super) fn may_ask(&self) -> bool {
        self.waits_for.is_none() && self.answer.is_none()
    }
}

impl World {
    pub(super) fn outside(&mut self, step: &Step) -> Result<Option<Input>, Box<Violation>> {
        match step {
            Step::Confirm => self.confirmed(),
            Step::CommitFails { applied } => {
                self.left.failed_commits -= 1;
                self.commit_fails(*applied)
            }
            Step::LookedUp(when) => self.looked_up(*when),
            Step::ReadDone(index, when) => self.read_done(*index, *when),
            Step::Join(index) if self.nodes.is_empty() => {
                let conn = self.peers[*index].connect();
                self.open(conn)?;
                let hello = self.peers[*index].hello(&self.scope);
                self.frame(conn, hello).map(Some)
            }
            Step::Join(index) => {
                let conn = self.nodes[*index].connect();
                self.open(conn)?;
                self.tell(*index, NodeInput::Connected).map(|()| None)
            }
            Step::Ready(index) => {
                self.peers[*index].ready = true;
                self.frame(self.conn_of(*index), Ready {}).map(Some)
            }
            Step::Publish => {
                self.published += 1;
                self.publish(self.published - 1).map(Some)
            }
            Step::Repeat(index) => {
                self.left.repeats -= 1;
                self.publish(*index).map(Some)
            }
            Step::Complete(index, which) => {
                let held = self.answered(*index, *which);
                self.story.say(|| format!("it completes {}", told(&held)));
                self.frame(self.conn_of(*index), held.complete()).map(Some)
            }
            Step::Nack(index, which) => {
                self.left.nacks -= 1;
                let held = self.answered(*index, *which);
                self.story.say(|| format!("it nacks {}", told(&held)));
                self.frame(self.conn_of(*index), held.nack()).map(Some)
            }
            Step::Ask(index) => self.ask(*index).map(|()| None),
            Step::BusHears(index) => self.bus_hears(*index),
            Step::NodeHears(index) => {
                let Some(frame) = self.nodes[*index].from_bus.pop_front() else { return Ok(None) };
                self.story.say(|| format!("it hears {}", frame.kind()));
                self.tell(*index, NodeInput::Frame(frame)).map(|()| None)
            }
            Step::Drop(index) | Step::Die(index) => {
                self.left.drops -= 1;
                let conn = self.conn_of(*index);
                self.lose(*index, matches!(step, Step::Die(_)))?;
                self.disconnected(conn).map(Some)
            }
            Step::TimePasses => {
                self.left.timeouts = self.left.timeouts.saturating_sub(1);
                self.time_passes()
            }
            Step::Retry(key) => Ok(Some(self.admin(Admin::Retry { service: service_name(), key: key.clone() }))),
            Step::Skip(key) => Ok(Some(self.admin(Admin::Skip { service: service_name(), key: key.clone() }))),
            Step::Rebuild => {
                self.left.rebuilds -= 1;
                self.follows = true;
                self.open(READER)?;
                let rebuild =
                    Rebuild { request: 1, after: Position::ZERO, types: Vec::new(), follow: true, credit: 64 };
                self.frame(READER, rebuild).map(Some)
            }
            Step::Crash { applied } => {
                self.left.crashes -= 1;
                self.crash(*applied).map(|()| None)
            }
        }
    }

    /// The connection that an instance has, or had.
    fn conn_of(&self, index: usize) -> ConnId {
        let conn = if self.nodes.is_empty() { self.peers[index].conn } else { self.nodes[index].conn };
        conn.unwrap_or(ConnId(0))
    }

    /// A delivery that is being answered; to answer it again would be late.
    fn answered(&mut self, index: usize, which: usize) -> Held {
        let held = &mut self.peers[index].held[which];
        if held.stale {
            self.left.late = self.left.late.saturating_sub(1);
        }
        held.stale = true;
        held.clone()
    }

    /// A connection comes to be.
    pub(super) fn open(&mut self, conn: ConnId) -> Verdict {
        self.observe(What::Connected { connection: conn.0 })?;
        let outputs = self.hand_in(Input::Connected { conn });
        outputs.into_iter().try_for_each(|output| self.carry_out(output))
    }

    fn frame(&mut self, conn: ConnId, frame: impl Into<ToBus>) -> Result<Input, Box<Violation>> {
        let frame = frame.into();
        self.observe(What::FrameReceived { connection: conn.0, frame: Frame::ToBus(Hashed::new(frame.clone())) })?;
        Ok(Input::Frame { conn, frame })
    }

    fn disconnected(&mut self, conn: ConnId) -> Result<Input, Box<Violation>> {
        self.observe(What::Disconnected { connection: conn.0 })?;
        Ok(Input::Disconnected { conn })
    }

    fn publish(&mut self, index: usize) -> Result<Input, Box<Violation>> {
        let events = vec![peers::event(&self.scope, index)];
        self.frame(PUBLISHER, Publish { request: index as u64 + 1, events, guards: Vec::new() })
    }

    fn admin(&mut self, admin: Admin) -> Input {
        self.left.retries -= 1;
        self.admins += 1;
        Input::Admin { conn: ConnId(1_000 + self.admins), admin, by: None }
    }

    /// A customer asks an instance: the first its own, then another at every attempt.
    fn ask(&mut self, index: usize) -> Verdict {
        let customer = &mut self.customers[index];
        if customer.attempts > 0 {
            self.left.repeats = self.left.repeats.saturating_sub(1);
        }
        let node = (index + customer.attempts as usize) % self.nodes.len();
        customer.attempts += 1;
        customer.waits_for = Some(node);
        let (operation, attempt) = (index as u64, customer.attempts);
        let key = peers::key(&self.scope, index);
        self.story.say(|| format!("it asks {} to count {key}", peers::instance_name(node)));
        self.observe(What::OperationSent {
            operation,
            attempt: attempt as u32,
            service: service_name(),
            method: "POST".to_owned(),
            path: format!("/count/{key}"),
            body: String::new(),
        })?;
        let id = operation * ATTEMPTS_MAX + attempt;
        self.tell(node, NodeInput::Request { id, request: counter::request(&key, index) })
    }

    /// The bus hears the next frame of an instance, or that it has closed its end.
    fn bus_hears(&mut self, index: usize) -> Result<Option<Input>, Box<Violation>> {
        let Some(conn) = self.nodes[index].conn else { return Ok(None) };
        if let Some(frame) = self.nodes[index].to_bus.pop_front() {
            self.story.say(|| format!("it hears {}", frame.kind()));
            self.frame(conn, frame).map(Some)
        } else {
            self.nodes[index].cut();
            self.disconnected(conn).map(Some)
        }
    }

    /// An instance loses its connection, and its memory if it dies.
    fn lose(&mut self, index: usize, dies: bool) -> Verdict {
        if self.nodes.is_empty() {
            let peer = &mut self.peers[index];
            if dies {
                peer.die();
            } else {
                peer.disconnected();
            }
            return Ok(());
        }
        self.nodes[index].cut();
        if !dies {
            return self.tell(index, NodeInput::Disconnected);
        }
        let connections = self.nodes[index].connections;
        let incarnation = self.nodes[index].incarnation() + 1;
        let (mut node, came) = Node::start(&self.scope, index, incarnation, at(self.now));
        node.connections = connections;
        self.nodes[index] = node;
        for (operation, customer) in self.customers.iter_mut().enumerate() {
            if customer.waits_for.take_if(|node| *node == index).is_some() {
                let (operation, attempt) = (operation as u64, customer.attempts as u32);
                let error = "the instance died".to_owned();
                self.jury.observe(self.now, What::OperationUnknown { operation, attempt, error })?;
            }
        }
        self.came(index, came)
    }

    /// Tells a real instance something, and takes what comes of it but its frames.
    pub(super) fn tell(&mut self, index: usize, input: NodeInput) -> Verdict {
        let came = self.nodes[index].tell(at(self.now), input);
        self.came(index, came)
    }

    pub(super) fn came(&mut self, index: usize, came: Came) -> Verdict {
        let name = self.nodes[index].name();
        for what in came.records {
            self.jury.observe_at(&name, self.now, what)?;
        }
        came.answers.into_iter().try_for_each(|(id, response)| self.responded(id, response))
    }

    fn responded(&mut self, id: u64, Response { status, body, .. }: Response) -> Verdict {
        let (operation, attempt) = (id / ATTEMPTS_MAX, id % ATTEMPTS_MAX);
        self.story.say(|| format!("customer {} is answered {status}: {body}", operation + 1));
        let customer = &mut self.customers[operation as usize];
        customer.waits_for = None;
        if status != UNKNOWN {
            customer.answer = Some((status, body.clone()));
        }
        self.observe(What::OperationAnswered { operation, attempt: attempt as u32, status, body })
    }

    /// The next time-out of anybody comes; who is due is told.
    fn time_passes(&mut self) -> Result<Option<Input>, Box<Violation>> {
        let Some(due) = self.next_timeout() else { return Ok(None) };
        self.now = self.now.max(due);
        for index in 0..self.nodes.len() {
            if self.nodes[index].due().is_some_and(|due| due <= self.now) {
                self.tell(index, NodeInput::Timeout)?;
            }
        }
        Ok(self.bus.poll_timeout().filter(|due| *due <= self.now).map(|_| Input::Timeout))
    }
}

fn told(held: &Held) -> String {
    let attempt = held.token.attempt;
    format!("version {} of {} (attempt {attempt}, epoch {})", held.version, held.key, held.token.epoch)
}
