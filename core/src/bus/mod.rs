//! The bus as a state machine.
//!
//! ```text
//! handle_input(now, Input)          mutate
//! poll_output() -> Option<Output>   then drain
//! poll_timeout() -> Option<Timestamp>
//! ```
//!
//! A driver hands in what happened, then drains the outputs in order and carries them out; when the time of
//! `poll_timeout` comes it hands in [`Input::Timeout`]. Nothing that the bus says overtakes a commit that it rests
//! upon: such outputs are held inside until [`Input::Committed`].
//!
//! The way of an event through the rooms of this module: `judge` takes it up in its turn, `batch` decides whether it
//! enters, `gather` makes it durable with others, `feed` brings it to the lanes of the services that take it, `deliver`
//! hands it to an owner, and `answers` decides whether its completion counts. `reads` plays the log, `sessions` knows
//! who is there, `admin` answers people, and `knowledge` remembers a bounded part of what the store knows.

mod admin;
mod answers;
mod audit;
mod batch;
mod deliver;
mod digest;
mod feed;
mod gather;
mod invariants;
mod io;
mod judge;
mod knowledge;
mod reads;
mod service;
mod sessions;
mod timers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use io::{Admin, AdminAnswer, ConnId, Input, InstanceStatus, LaneStatus, Output, ServiceStatus};

use crate::{
    event::{Data, Event},
    limits::Limits,
    marks::{Mark, bus as marks},
    names::{CorrelationId, EventId, EventType, Key, Position, ServiceName, Source, Term},
    planted::{Bug, Planted},
    sizes::SizesTold,
    store::{KeyHead, Recovered, StoreError, service_key},
    time::{Now, Timestamp},
    trace::What,
    wire::{Error, ErrorCode, FromBus, ToBus},
};
use batch::Apart;
use gather::{Gather, Outbox};
use judge::Inbox;
use knowledge::Knowledge;
use reads::{OpenRead, Stream};
use service::{Lane, Service};
use sessions::Conn;
use timers::{Timer, Timers};

/// How a bus is set up.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Its limits.
    pub limits: Limits,
    /// A planted bug, for the harness's own test.
    pub planted: Planted,
    /// Whether to produce [`Output::Record`].
    pub record: bool,
}

/// The machine. Its contract is the module's.
#[derive(Debug, Clone)]
pub struct Bus {
    config: Config,
    term: Term,
    /// As of the current input.
    now: Now,
    /// It has said [`Output::Stop`]; nothing is taken any more.
    stopped: bool,
    outbox: Outbox,
    gather: Gather,
    knowledge: Knowledge,
    inbox: Inbox,
    conns: BTreeMap<ConnId, Conn>,
    /// Connections whose publishes are throttled until `resume`.
    throttled: BTreeSet<ConnId>,
    /// By connection and the request that began them.
    streams: BTreeMap<(ConnId, u64), Stream>,
    services: BTreeMap<ServiceName, Service>,
    /// The lane of each open delivery.
    open_keys: BTreeMap<(ServiceName, Position), Key>,
    reads: BTreeMap<u64, OpenRead>,
    read_number: u64,
    /// The last session given.
    session: u64,
    /// System events of this term.
    system_events: u64,
    timers: Timers,
    /// Services with something to deliver or to read.
    dirty: BTreeSet<ServiceName>,
    /// Of the planted bug `completion-apart`.
    apart: Vec<Apart>,
    sizes_told: SizesTold<5>,
}

impl Bus {
    /// A bus that begins from what its store recovered.
    pub fn new(config: Config, recovered: Recovered, now: Now) -> Self {
        let mut heads: BTreeMap<Key, KeyHead> = recovered.service_heads.into_iter().collect();
        let mut services = BTreeMap::new();
        for record in recovered.services {
            let head = heads.remove(&service_key(&record.name)).unwrap_or_default();
            services.insert(record.name.clone(), Service::new(record, head));
        }
        let mut timers = Timers::default();
        timers.arm(now.monotonic + config.limits.heartbeat_deadline / 3, Timer::CheckTerm);
        let mut bus = Self {
            config,
            term: recovered.term,
            now,
            stopped: false,
            outbox: Outbox::default(),
            gather: Gather::new(recovered.term),
            knowledge: Knowledge::new(recovered.position),
            inbox: Inbox::default(),
            conns: BTreeMap::new(),
            throttled: BTreeSet::new(),
            streams: BTreeMap::new(),
            dirty: services.keys().cloned().collect(),
            services,
            open_keys: BTreeMap::new(),
            reads: BTreeMap::new(),
            read_number: 0,
            session: 0,
            system_events: 0,
            timers,
            apart: Vec::new(),
            sizes_told: SizesTold::default(),
        };
        if !recovered.lanes.is_empty() {
            bus.mark(marks::RECOVERED_WITH_LANES_BEHIND);
        }
        for record in recovered.lanes {
            let Some(service) = bus.services.get_mut(&record.service) else { continue };
            service.lanes.insert(record.key.clone(), Lane::from_record(&record));
            bus.enqueue(&record.service, &record.key);
        }
        bus.settle_down();
        bus
    }

    /// Takes one input. Drain [`poll_output`](Self::poll_output) afterwards.
    ///
    /// # Panics
    /// When a driver breaks the contract: an answer to what was not asked, a commit that was not submitted.
    pub fn handle_input(&mut self, now: Now, input: Input) {
        if self.stopped {
            return;
        }
        self.now = now;
        match input {
            Input::Connected { conn } => self.connected(conn),
            Input::Frame { conn, frame } => self.frame(conn, frame),
            Input::Disconnected { conn } => self.disconnected(conn),
            Input::Admin { conn, admin, by } => self.admin(conn, admin, by),
            Input::Committed { sequence } => self.committed(sequence),
            Input::CommitFailed { error, .. } => self.commit_failed(&error),
            Input::LookedUp { id, found: Ok(found) } => self.looked_up(id, &found),
            Input::LookedUp { found: Err(error), .. } => self.stop(&format!("a look-up failed: {error}")),
            Input::ReadDone { id, page: Ok(page) } => self.read_done(id, page),
            Input::ReadDone { id, page: Err(error) } => self.read_failed(id, &error),
            Input::TermIs { term } => self.term_is(term),
            Input::Timeout => self.timeout(),
        }
        if !self.stopped {
            self.settle_down();
        }
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }

    /// The next output, in order; none when all is said.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    /// When [`Input::Timeout`] is due; none if the bus waits for nothing.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if self.stopped { None } else { self.timers.next() }
    }

    /// The term that it writes under.
    pub fn term(&self) -> Term {
        self.term
    }

    /// The end of the log as committed.
    pub fn durable_position(&self) -> Position {
        self.knowledge.durable
    }

    fn frame(&mut self, conn: ConnId, frame: ToBus) {
        let Some(state) = self.conns.get_mut(&conn) else { return }; // It was closed.
        state.heard = self.now.monotonic;
        match frame {
            ToBus::Hello(hello) => self.hello(conn, hello),
            ToBus::Ready(_) => self.ready(conn),
            ToBus::Publish(publish) => self.publish(conn, publish),
            ToBus::Complete(complete) => self.complete(conn, complete),
            ToBus::Nack(nack) => self.nack(conn, nack),
            ToBus::Extend(extend) => self.extend(conn, &extend),
            ToBus::Read(read) => self.read(conn, read),
            ToBus::Rebuild(rebuild) => self.rebuild(conn, rebuild),
            ToBus::Credit(credit) => self.credit(conn, &credit),
            ToBus::Ping(ping) => self.ping(conn, &ping),
            ToBus::Bye(_) => self.bye(conn),
        }
    }

    fn timeout(&mut self) {
        while let Some(timer) = self.timers.pop_due(self.now.monotonic) {
            match timer {
                Timer::Heartbeat(conn) => self.heartbeat_due(conn),
                Timer::Grace(service, instance) => {
                    if let Some(state) =
                        self.services.get_mut(&service).and_then(|service| service.instances.get_mut(&instance))
                    {
                        state.grace = None;
                    }
                    self.leave(&service, &instance, "it did not come back within its grace");
                }
                Timer::Deadline(service, key) => self.deadline_passed(&service, &key),
                Timer::Backoff(service, key) => self.backoff_passed(&service, &key),
                Timer::CheckTerm => {
                    let next = self.now.monotonic + self.config.limits.heartbeat_deadline / 3;
                    self.timers.arm(next, Timer::CheckTerm);
                    self.outbox.say_now(Output::CheckTerm);
                }
            }
        }
    }

    /// After each input: judge what can be judged, deliver what can be delivered, submit what has gathered.
    fn settle_down(&mut self) {
        loop {
            let judged = self.judge();
            for name in std::mem::take(&mut self.dirty) {
                self.pump(&name);
                self.read_on(&name);
                self.pass_slow_lanes(&name);
            }
            let submitted = self.submit();
            if !judged && !submitted && self.dirty.is_empty() {
                break;
            }
        }
        self.look_up();
        let since = self.reads.values().map(|read| read.since).chain(self.inbox.since()).min();
        let floor = since.unwrap_or(self.knowledge.durable_sequence);
        self.knowledge.forget(&self.config.limits, floor);
    }

    /// Hands what has gathered to the store, if nothing is under way.
    fn submit(&mut self) -> bool {
        if self.gather.is_under_way() || self.gather.commit.is_empty() {
            return false;
        }
        let early = self.config.planted.is(Bug::CursorBeforeCommit);
        let commit = &mut self.gather.commit;
        for (name, service) in &mut self.services {
            let frontier = if early { service.loaded } else { service.frontier_now() };
            // A service row is written when the service worked, or when its frontier lags by a page.
            let worked = commit.completions.iter().any(|completion| completion.service == *name);
            let lag = frontier.0.saturating_sub(service.frontier.0);
            if frontier > service.frontier && (worked || lag >= self.config.limits.read_page_events as u64) {
                service.frontier = frontier;
                commit.frontiers.push((name.clone(), frontier));
            }
        }
        let Some(commit) = self.gather.submit() else { return false };
        self.outbox.say_now(Output::Commit(commit));
        true
    }

    fn committed(&mut self, sequence: u64) {
        let (commit, before) = self.gather.committed(sequence);
        let durable_before = self.knowledge.durable;
        self.knowledge.durable_sequence = sequence;
        if let Some(last) = commit.events.last() {
            self.knowledge.durable = last.position;
        }
        let mut outbox = std::mem::take(&mut self.outbox);
        outbox.release(sequence, |output| self.is_void_delivery(output));
        self.outbox = outbox;
        if !commit.events.is_empty() {
            self.feed_commit(&commit, &before, durable_before);
            self.follow_commit(&commit, durable_before);
        }
        self.append_apart();
        if self.config.record {
            self.record_sizes();
        }
    }

    fn commit_failed(&mut self, error: &StoreError) {
        if self.config.planted.is(Bug::HeadBeforeCommit) {
            // The bus goes on as if nothing had been decided, but its heads and ids stay moved.
            self.gather.drop_all();
            self.outbox.drop_held();
            self.knowledge.position = self.knowledge.durable;
            return;
        }
        self.stop(&format!("a commit failed: {error}"));
    }

    fn read_failed(&mut self, id: u64, error: &StoreError) {
        let purpose = self.reads.get(&id).map(|read| read.purpose.clone());
        let damaged = matches!(error, StoreError::Damaged(_));
        let (conn, request, is_page) = match purpose {
            Some(reads::Purpose::Page { conn, request, .. }) if damaged => (conn, request, true),
            Some(reads::Purpose::Stream { conn, request }) if damaged => (conn, request, false),
            _ => return self.stop(&format!("a read failed: {error}")),
        };
        // A damaged event concerns who asked for it; the bus goes on.
        self.reads.remove(&id);
        if !is_page {
            self.streams.remove(&(conn, request));
        } else if let Some(state) = self.conns.get_mut(&conn) {
            state.reads -= 1;
        }
        self.error(conn, ErrorCode::Unavailable, &error.to_string(), "restore the store from a backup", Some(request));
    }

    fn term_is(&mut self, term: Result<Term, StoreError>) {
        match term {
            Ok(current) if current == self.term => {}
            Ok(current) => self.stop(&format!("the store has handed out term {current}: a newer bus has taken over")),
            Err(error) => self.stop(&format!("the term could not be checked: {error}")),
        }
    }

    /// Ends this bus: what is held is never said.
    fn stop(&mut self, reason: &str) {
        self.stopped = true;
        self.outbox.end_with(Output::Stop { reason: reason.to_owned() });
    }

    /// Says a frame once everything decided so far is durable.
    fn send(&mut self, conn: ConnId, frame: impl Into<FromBus>) {
        self.outbox.say(self.gather.barrier(), Output::Send { conn, frame: frame.into() });
    }

    fn error(&mut self, conn: ConnId, code: ErrorCode, message: &str, help: &str, request: Option<u64>) {
        self.send(conn, Error { code, message: message.to_owned(), help: help.to_owned(), request });
    }

    /// Appends an event of the bus's own on the service's reserved key, and returns its position.
    fn system_event(
        &mut self,
        name: &ServiceName,
        event_type: &'static str,
        cause: Option<(EventId, CorrelationId)>,
        data: &serde_json::Value,
    ) -> Position {
        let id = self.system_event_id();
        let (causation, correlation) = match cause {
            Some((id, correlation)) => (Some(id), correlation),
            None => (None, CorrelationId::of(id.as_str().to_owned())),
        };
        let head = self.services.get(name).map(|service| service.head.clone()).unwrap_or_default();
        let event = Arc::new(Event {
            position: self.knowledge.position.next(),
            id,
            event_type: EventType::of(event_type),
            key: service_key(name),
            version: head.version.next(),
            correlation,
            causation,
            time: self.now.wall,
            source: Source::of("$bus"),
            data: Data::of(data),
        });
        let before = Arc::clone(&head.by_type);
        let head = head.advanced(&event);
        if let Some(service) = self.services.get_mut(name) {
            service.head = head.clone();
        }
        let position = event.position;
        self.append(event, before, head);
        position
    }

    fn system_event_id(&mut self) -> EventId {
        self.system_events += 1;
        EventId::of(format!("$bus/{}/{}", self.term, self.system_events))
    }

    /// Records that an interesting place was reached.
    fn mark(&mut self, mark: Mark) {
        if self.config.record {
            self.outbox.say_now(Output::Record(What::Mark { name: mark.name.to_owned() }));
        }
    }
}
