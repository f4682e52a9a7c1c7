//! A bus over the model's log, and the few words in which the stories are told.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use dacapo_core::{
    Data, EventId, EventType, Expectation, Guard, InstanceName, Key, Limits, NewEvent, Now, Position, Receipt,
    ServiceName, Source, Timestamp, Version, WallTime,
    bus::{Admin, AdminAnswer, Bus, Config, ConnId, Input, Output},
    store::{Found, Page, StoreError},
    wire::{Complete, Credit, Deliver, ErrorCode, FromBus, Hello, Nack, Publish, Ready, Receipts, Start, ToBus},
};
use dacapo_properties::model::Log;

pub(crate) struct World {
    pub(crate) bus: Bus,
    pub(crate) log: Log,
    pub(crate) now: Now,
    limits: Limits,
    /// While set, commits are not answered.
    pub(crate) hold_commits: bool,
    /// While set, look-ups are answered later, as of when they were asked.
    pub(crate) hold_look_ups: bool,
    /// While set, reads are answered later, as of when they were asked.
    pub(crate) hold_reads: bool,
    /// While set, reads fail this way.
    pub(crate) reads_fail: Option<StoreError>,
    /// How many reads the bus asked for.
    pub(crate) reads: usize,
    /// Why the bus stopped; who does not look is told by a panic.
    pub(crate) stopped: Option<String>,
    /// The events in each commit.
    pub(crate) commits: Vec<usize>,
    held: Vec<Output>,
    found: VecDeque<(u64, Found)>,
    pages: Vec<(u64, Page)>,
    sent: BTreeMap<ConnId, Vec<FromBus>>,
    pub(crate) closed: Vec<ConnId>,
    answers: Vec<AdminAnswer>,
    conns: u64,
    requests: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A world whose limits differ from the default ones.
    pub(crate) fn with(change: impl FnOnce(&mut Limits)) -> Self {
        // One delivery of a lane at a time, unless a story is about more.
        let mut limits = Limits { lane_open_max: 1, ..Limits::default() };
        change(&mut limits);
        let mut log = Log::default();
        let now = Now { monotonic: Timestamp(1_000_000), wall: WallTime(1) };
        let recovered = log.recover();
        let bus = Bus::new(Config { limits: limits.clone(), ..Config::default() }, recovered, now);
        let mut world = Self {
            bus,
            log,
            now,
            limits,
            hold_commits: false,
            hold_look_ups: false,
            hold_reads: false,
            reads_fail: None,
            reads: 0,
            stopped: None,
            commits: Vec::new(),
            held: Vec::new(),
            found: VecDeque::new(),
            pages: Vec::new(),
            sent: BTreeMap::new(),
            closed: Vec::new(),
            answers: Vec::new(),
            conns: 0,
            requests: 0,
        };
        world.drain();
        world
    }

    /// The bus dies, and another begins from the log.
    pub(crate) fn restart(&mut self) {
        let recovered = self.log.recover();
        self.bus = Bus::new(Config { limits: self.limits.clone(), ..Config::default() }, recovered, self.now);
        self.held.clear();
        self.found.clear();
        self.pages.clear();
        self.sent.clear();
        self.drain();
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.bus.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.bus.poll_output() {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Commit(_) if self.hold_commits => self.held.push(output),
            Output::LookUp { id, look_up } if self.hold_look_ups => {
                self.found.push_back((id, self.log.look_up(&look_up)));
            }
            Output::Commit(commit) => {
                self.commits.push(commit.events.len());
                self.log.commit(&commit).expect("the bus breaks no invariant");
                self.bus.handle_input(self.now, Input::Committed { sequence: commit.sequence });
            }
            Output::LookUp { id, look_up } => {
                let found = Ok(self.log.look_up(&look_up));
                self.bus.handle_input(self.now, Input::LookedUp { id, found });
            }
            Output::Read { id, read } if self.hold_reads => {
                self.reads += 1;
                self.pages.push((id, self.log.read(&read)));
            }
            Output::Read { id, read } => {
                self.reads += 1;
                let page = self.reads_fail.clone().map_or_else(|| Ok(self.log.read(&read)), Err);
                self.bus.handle_input(self.now, Input::ReadDone { id, page });
            }
            Output::Send { conn, frame } => self.sent.entry(conn).or_default().push(frame),
            Output::Close { conn } => self.closed.push(conn),
            Output::Answer { answer, .. } => self.answers.push(answer),
            Output::CheckTerm => {
                let term = Ok(self.log.term());
                self.bus.handle_input(self.now, Input::TermIs { term });
            }
            Output::Record(_) => {}
            Output::Stop { reason } if self.reads_fail.is_some() => self.stopped = Some(reason),
            Output::Stop { reason } => panic!("the bus stopped: {reason}"),
        }
    }

    /// Answers what was held back.
    pub(crate) fn release(&mut self) {
        self.hold_commits = false;
        self.hold_look_ups = false;
        self.hold_reads = false;
        while self.answer_look_up() {}
        for (id, page) in std::mem::take(&mut self.pages) {
            self.input(Input::ReadDone { id, page: Ok(page) });
        }
        for output in std::mem::take(&mut self.held) {
            self.carry_out(output);
            self.drain();
        }
    }

    /// Answers the first look-up that was held back, as of when it was asked; says whether there was one.
    pub(crate) fn answer_look_up(&mut self) -> bool {
        let Some((id, found)) = self.found.pop_front() else { return false };
        self.input(Input::LookedUp { id, found: Ok(found) });
        true
    }

    /// Lets time pass, with every time-out on the way.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now.monotonic + time;
        while let Some(at) = self.bus.poll_timeout().filter(|at| *at <= until) {
            self.now.monotonic = self.now.monotonic.max(at);
            self.input(Input::Timeout);
        }
        self.now.monotonic = until;
    }

    pub(crate) fn connect(&mut self) -> ConnId {
        self.conns += 1;
        let conn = ConnId(self.conns);
        self.input(Input::Connected { conn });
        conn
    }

    pub(crate) fn say(&mut self, conn: ConnId, frame: impl Into<ToBus>) {
        self.input(Input::Frame { conn, frame: frame.into() });
    }

    /// What was sent on a connection since this was last asked.
    pub(crate) fn heard(&mut self, conn: ConnId) -> Vec<FromBus> {
        self.sent.remove(&conn).unwrap_or_default()
    }

    /// The deliveries that were sent on a connection since something was last heard on it.
    pub(crate) fn delivered(&mut self, conn: ConnId) -> Vec<Deliver> {
        let deliver = |frame| if let FromBus::Deliver(deliver) = frame { Some(deliver) } else { None };
        self.heard(conn).into_iter().filter_map(deliver).collect()
    }

    /// The versions of what was delivered on a connection, of one key's events.
    pub(crate) fn versions(&mut self, conn: ConnId) -> Vec<u64> {
        self.delivered(conn).iter().map(|deliver| deliver.event.version.0).collect()
    }

    /// The codes of the errors that were sent on a connection.
    pub(crate) fn errors(&mut self, conn: ConnId) -> Vec<ErrorCode> {
        let code = |frame| if let FromBus::Error(error) = frame { Some(error.code) } else { None };
        self.heard(conn).into_iter().filter_map(code).collect()
    }

    pub(crate) fn hello(&mut self, conn: ConnId, service: &str, instance: &str, incarnation: u64, credit: u32) {
        let hello = Hello {
            service: ServiceName::of(service.to_owned()),
            instance: InstanceName::of(instance.to_owned()),
            incarnation,
            types: vec![EventType::of("Noted")],
            start: Start::Beginning,
            credit,
            bearer: None,
        };
        self.say(conn, hello);
    }

    /// An instance that is ready for deliveries.
    pub(crate) fn instance(&mut self, service: &str, instance: &str, credit: u32) -> ConnId {
        let conn = self.connect();
        self.hello(conn, service, instance, 1, credit);
        self.say(conn, Ready {});
        conn
    }

    /// Publishes a batch and tells its receipts, if they came at once.
    pub(crate) fn publish_on(&mut self, conn: ConnId, events: Vec<NewEvent>, guards: Vec<Guard>) -> Vec<Receipt> {
        self.requests += 1;
        let request = self.requests;
        self.say(conn, Publish { request, events, guards });
        let of_request =
            |frame: &FromBus| matches!(frame, FromBus::Receipts(Receipts { request: of, .. }) if *of == request);
        let frames = self.sent.entry(conn).or_default();
        let Some(index) = frames.iter().position(of_request) else { return Vec::new() };
        match frames.remove(index) {
            FromBus::Receipts(receipts) => receipts.receipts,
            other => panic!("{other:?} is no receipt"),
        }
    }

    pub(crate) fn publish(&mut self, events: Vec<NewEvent>) -> Vec<Receipt> {
        let conn = self.connect();
        self.publish_on(conn, events, Vec::new())
    }

    /// Publishes one `Noted` event with any expectation.
    pub(crate) fn note(&mut self, id: &str, key: &str) -> Receipt {
        self.publish(vec![event(id, key)]).remove(0)
    }

    pub(crate) fn complete(&mut self, conn: ConnId, deliver: &Deliver, events: Vec<NewEvent>) {
        let complete = Complete { position: deliver.event.position, token: deliver.token, events, guards: Vec::new() };
        self.say(conn, complete);
    }

    pub(crate) fn nack(&mut self, conn: ConnId, deliver: &Deliver) {
        let nack = Nack { position: deliver.event.position, token: deliver.token, reason: "it does not work".into() };
        self.say(conn, nack);
    }

    pub(crate) fn credit(&mut self, conn: ConnId, credit: u32) {
        self.say(conn, Credit { request: None, credit });
    }

    pub(crate) fn admin(&mut self, admin: Admin) -> AdminAnswer {
        let conn = self.connect();
        self.input(Input::Admin { conn, admin, by: None });
        self.answers.pop().expect("an administrator is answered")
    }

    /// The types of the system events in the log, in order.
    pub(crate) fn system_events(&self) -> Vec<String> {
        let system = self.log.events().iter().filter(|event| event.event_type.is_reserved());
        system.map(|event| event.event_type.to_string()).collect()
    }
}

/// A `Noted` event of the publisher `tester` with any expectation.
pub(crate) fn event(id: &str, key: &str) -> NewEvent {
    NewEvent {
        id: EventId::of(id.to_owned()),
        event_type: EventType::of("Noted"),
        key: Key::of(key.to_owned()),
        expectation: Expectation::Any,
        correlation: None,
        causation: None,
        source: Some(Source::of("tester")),
        data: Data::of(&id),
    }
}

/// The same with the demand that the head be `version`.
pub(crate) fn expecting(id: &str, key: &str, version: u64) -> NewEvent {
    NewEvent { expectation: Expectation::Version(Version(version)), ..event(id, key) }
}

/// What a completion produces: the source is the service's own.
pub(crate) fn produced(id: &str, key: &str) -> NewEvent {
    NewEvent { source: None, event_type: EventType::of("Answered"), ..event(id, key) }
}

pub(crate) fn guard(key: &str, version: u64) -> Guard {
    Guard { key: Key::of(key.to_owned()), version: Version(version) }
}

pub(crate) fn at(position: u64) -> Position {
    Position(position)
}
