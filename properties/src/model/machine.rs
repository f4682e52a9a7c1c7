//! The model as a whole: what it is told, and whom it asks to judge.
//!
//! A driver tells it every input before the bus gets it, every output before it is carried out, and when its store
//! applies the commit under way. It never drives anything itself.

use std::{collections::BTreeMap, sync::Arc};

use dacapo_core::{
    Key, Limits, Position, ServiceName, Term, Timestamp,
    bus::{AdminAnswer, ConnId, Input, Output},
    store::{Commit, Read, Recovered},
    trace::What,
    wire::{FromBus, ToBus, Token},
};

use super::{
    Broken, Connection, Delivery, Judged, Log, Mark, Marks, Stream, admins::Asked, audit, completions::Completing,
    must, publishes::Publishing, streams::Reading,
};

/// The reference model of a bus with its store.
#[derive(Debug, Clone)]
pub struct Model {
    pub(super) limits: Limits,
    pub(super) log: Log,
    /// The term of this life of the bus.
    pub(super) term: Term,
    pub(super) marks: Marks,
    pub(super) now: Timestamp,
    /// When no commit was under way for the last time: whatever was held back since was decided after this.
    pub(super) quiet_at: Timestamp,
    /// Counts what came from connections, over all lives of the bus.
    pub(super) arrivals: u64,
    /// The commit under way, and whether the store has applied it.
    pub(super) under_way: Option<(Arc<Commit>, bool)>,
    pub(super) connections: BTreeMap<ConnId, Connection>,
    pub(super) publishes: Vec<Publishing>,
    pub(super) completes: Vec<Completing>,
    pub(super) deliveries: Vec<Delivery>,
    /// What was nacked or extended in this life of the bus.
    pub(super) spoken: Vec<(ConnId, Position, Token)>,
    /// How often an event was delivered, over all lives of the bus.
    pub(super) delivered: BTreeMap<(ServiceName, Position), u32>,
    /// Nacks that count, of the first undone event of a lane, since the last retry.
    pub(super) nacked: BTreeMap<(ServiceName, Position), (u32, Timestamp)>,
    pub(super) reads: Vec<Reading>,
    pub(super) streams: Vec<Stream>,
    pub(super) asked: Vec<Asked>,
    pub(super) stopped: bool,
}

impl Model {
    /// A model of a bus that has not begun, with an empty log.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            log: Log::default(),
            term: Term::ZERO,
            marks: Marks::default(),
            now: Timestamp::ZERO,
            quiet_at: Timestamp::ZERO,
            arrivals: 0,
            under_way: None,
            connections: BTreeMap::new(),
            publishes: vec![],
            completes: vec![],
            deliveries: vec![],
            spoken: vec![],
            delivered: BTreeMap::new(),
            nacked: BTreeMap::new(),
            reads: vec![],
            streams: vec![],
            asked: vec![],
            stopped: false,
        }
    }

    /// What is durable.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The situations that were reached.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Notes a situation that only the driver can see.
    pub fn reach(&mut self, mark: Mark) {
        self.marks.reach(mark);
    }

    /// The commit under way, and whether the store has applied it.
    pub fn under_way(&self) -> Option<&(Arc<Commit>, bool)> {
        self.under_way.as_ref()
    }

    /// The connections of this life of the bus.
    pub fn connections(&self) -> &BTreeMap<ConnId, Connection> {
        &self.connections
    }

    /// The deliveries of this life of the bus, in the order in which they were sent.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// The rebuilds of this life of the bus.
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// Whether the bus said that it can go no further.
    pub fn has_stopped(&self) -> bool {
        self.stopped
    }

    /// A new bus begins: everything but the log is gone.
    pub fn recover(&mut self, now: Timestamp) -> Recovered {
        let recovered = self.log.recover();
        if !recovered.lanes.is_empty() {
            self.marks.reach(Mark::RecoveredBehind);
        }
        let nacked = std::mem::take(&mut self.nacked);
        for ((service, position), (count, _)) in nacked {
            if let Some(event) = self.log.event(position)
                && let Some(lane) = self.log.lane(&service, &event.key)
                && self.is_first_undone(&service, event)
            {
                self.nacked.insert((service, position), (count.min(lane.failures), Timestamp::ZERO));
            }
        }
        self.term = recovered.term;
        self.now = now;
        self.quiet_at = now;
        self.under_way = None;
        self.connections.clear();
        self.publishes.clear();
        self.completes.clear();
        self.deliveries.clear();
        self.spoken.clear();
        self.reads.clear();
        self.streams.clear();
        self.asked.clear();
        self.stopped = false;
        recovered
    }

    /// Whether another bus took a newer term.
    pub fn is_usurped(&self) -> bool {
        self.term != self.log.term()
    }

    /// Another bus took a term.
    pub fn usurp(&mut self) {
        self.log.hand_out_term();
    }

    /// The store applies the commit under way.
    pub fn apply_commit(&mut self) -> Judged {
        let Some((commit, applied)) = &mut self.under_way else { return Ok(()) };
        if *applied {
            return Ok(());
        }
        *applied = true;
        let commit = commit.clone();
        self.log
            .commit(&commit)
            .map_err(|error| Broken { rule: "the store's last line", what: format!("{error}: {commit:?}") })?;
        audit::frontiers_hold(&self.log)
    }

    /// What the bus is about to be told.
    pub fn input(&mut self, now: Timestamp, input: &Input) {
        self.now = now;
        match input {
            Input::Connected { conn } => self.connected(*conn),
            Input::Disconnected { conn } => self.disconnected(*conn),
            Input::Frame { conn, frame } => {
                self.arrivals += 1;
                self.heard(*conn);
                self.frame(*conn, frame);
            }
            Input::Admin { conn, admin, .. } => {
                self.arrivals += 1;
                self.admin(*conn, admin);
            }
            Input::Committed { .. } | Input::CommitFailed { .. } => self.under_way = None,
            Input::LookedUp { .. } | Input::ReadDone { .. } | Input::TermIs { .. } | Input::Timeout => {}
        }
    }

    fn frame(&mut self, conn: ConnId, frame: &ToBus) {
        match frame {
            ToBus::Hello(hello) => self.hello(conn, hello),
            ToBus::Ready(_) => self.ready(conn),
            ToBus::Publish(publish) => self.publish(conn, publish),
            ToBus::Complete(complete) => self.complete(conn, complete),
            ToBus::Nack(nack) => self.nack(conn, nack.position, nack.token),
            ToBus::Extend(extend) => self.extend(conn, extend.position, extend.token),
            ToBus::Read(read) => self.read(conn, read),
            ToBus::Rebuild(rebuild) => self.rebuild(conn, rebuild),
            ToBus::Credit(credit) => self.credit(conn, credit),
            ToBus::Ping(_) => {}
            ToBus::Bye(_) => self.bye(conn),
        }
    }

    /// What the bus wants done.
    pub fn output(&mut self, output: &Output) -> Judged {
        must!(!self.stopped, "stopping", "{output:?} came after the bus had stopped");
        match output {
            Output::Send { conn, frame } => self.sent(*conn, frame),
            Output::Answer { conn, answer } => self.answered(*conn, answer),
            Output::Close { conn } => {
                self.closed(*conn);
                Ok(())
            }
            Output::Commit(commit) => self.submitted(commit),
            Output::Read { read, .. } => {
                match &**read {
                    Read::Lane { .. } => self.marks.reach(Mark::LaneDrained),
                    Read::Undone { .. } => self.marks.reach(Mark::ServiceCaughtUp),
                    _ => {}
                }
                Ok(())
            }
            Output::Record(What::Sizes { sizes }) => {
                for (name, size, limit) in sizes {
                    must!(size <= limit, "bounded", "{name} is {size}, the limit is {limit}");
                }
                Ok(())
            }
            Output::LookUp { .. } | Output::CheckTerm | Output::Record(_) => Ok(()),
            Output::Stop { .. } => {
                self.stopped = true;
                Ok(())
            }
        }
    }

    fn sent(&mut self, conn: ConnId, frame: &FromBus) -> Judged {
        let Some(connection) = self.connections.get(&conn) else {
            return Err(Broken { rule: "answers", what: format!("{conn:?} never was: {frame:?}") });
        };
        if connection.gone || connection.closed {
            self.sent_to_nobody(conn, frame);
            return Ok(());
        }
        match frame {
            FromBus::Welcome(welcome) => self.welcomed(conn, welcome),
            FromBus::Receipts(receipts) => self.receipts(conn, receipts),
            FromBus::Deliver(deliver) => self.deliver(conn, deliver),
            FromBus::Completed(completed) => self.completed(conn, completed),
            FromBus::Conflict(conflict) => self.conflict(conn, conflict),
            FromBus::Fenced(fenced) => self.fenced(conn, fenced),
            FromBus::Rejected(rejected) => self.rejected(conn, rejected),
            FromBus::Events(events) => self.events(conn, events),
            FromBus::Rebuilt(rebuilt) => self.rebuilt(conn, rebuilt),
            FromBus::Resume(_) => self.resumed(conn),
            FromBus::Error(error) => self.erred(conn, error),
            FromBus::Pong(_) | FromBus::Closing(_) => Ok(()),
        }
    }

    /// A frame to a connection that is gone: the driver drops it. A delivery counts all the same, since the bus may
    /// count its failure.
    fn sent_to_nobody(&mut self, conn: ConnId, frame: &FromBus) {
        if let FromBus::Deliver(deliver) = frame
            && let Some(hello) = &self.connections[&conn].hello
        {
            *self.delivered.entry((hello.service.clone(), deliver.event.position)).or_default() += 1;
        }
    }

    fn answered(&mut self, conn: ConnId, answer: &AdminAnswer) -> Judged {
        self.admin_answered(conn, answer)
    }

    fn submitted(&mut self, commit: &Arc<Commit>) -> Judged {
        must!(self.under_way.is_none(), "one commit at a time", "{commit:?} came while one is under way");
        must!(commit.term == self.term, "terms", "{commit:?} is not of {}", self.term);
        let mut after = self.log.clone();
        if self.term == self.log.term() {
            after
                .commit(commit)
                .map_err(|error| Broken { rule: "the store's last line", what: format!("{error}: {commit:?}") })?;
            self.batches_justified(commit, &after)?;
            self.completions_justified(commit, &after)?;
            self.lanes_justified(commit, &after)?;
            self.services_justified(commit)?;
        }
        self.under_way = Some((commit.clone(), false));
        Ok(())
    }

    /// The bus has said everything for now.
    pub fn drained(&mut self) {
        if self.under_way.is_none() {
            self.quiet_at = self.now;
            self.connections.values_mut().for_each(Connection::quiet);
        }
    }

    /// Whether a commit under way, or the log, ends this event for this service.
    pub(super) fn is_ending(&self, service: &ServiceName, position: Position) -> bool {
        self.log.ended(service, position).is_some()
            || self.under_way.as_ref().is_some_and(|(commit, _)| {
                commit.completions.iter().any(|ended| ended.service == *service && ended.position == position)
            })
    }

    /// Whether this is the first event of its lane that is not done.
    pub(super) fn is_first_undone(&self, service: &ServiceName, event: &dacapo_core::Event) -> bool {
        self.log.undone(service).find(|undone| undone.key == event.key).is_some_and(|undone| undone.id == event.id)
    }

    /// What was asked on connections that live and has no answer.
    pub fn unanswered(&self) -> Vec<String> {
        let lives = |conn: &ConnId| self.connections.get(conn).is_some_and(Connection::lives);
        let mut all = vec![];
        let hellos = self.connections.iter().filter(|(_, connection)| connection.lives() && connection.waits());
        all.extend(hellos.map(|(conn, connection)| format!("{conn:?}: {:?}", connection.hello)));
        let publishes = self.publishes.iter().filter(|publish| lives(&publish.conn) && !publish.answered);
        all.extend(publishes.map(|publish| format!("{publish:?}")));
        let completes = self.completes.iter().filter(|complete| lives(&complete.conn));
        let completes = completes.filter(|complete| !complete.answered && !complete.perhaps);
        all.extend(completes.map(|complete| format!("{complete:?}")));
        let reads = self.reads.iter().filter(|read| lives(&read.conn) && !read.answered);
        all.extend(reads.map(|read| format!("{read:?}")));
        let asked = self.asked.iter().filter(|asked| lives(&asked.conn) && !asked.answered);
        all.extend(asked.map(|asked| format!("{asked:?}")));
        let throttled = self.connections.iter().filter(|(_, connection)| connection.lives() && connection.throttled);
        all.extend(throttled.map(|(conn, _)| format!("{conn:?} waits for resume")));
        let streams = self.streams.iter().filter(|stream| lives(&stream.conn) && stream.owes(&self.log));
        all.extend(streams.map(|stream| format!("{stream:?}")));
        all
    }

    /// What liveness still owes: taken, not ended, and not in a parked lane.
    pub fn owed(&self) -> Vec<(ServiceName, Position)> {
        audit::owed(&self.log)
    }

    /// Whether a lane is parked, durably.
    pub fn is_parked(&self, service: &ServiceName, key: &Key) -> bool {
        self.log.lane(service, key).is_some_and(|lane| lane.parked.is_some())
    }
}
