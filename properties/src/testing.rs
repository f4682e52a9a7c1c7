//! Runs made by hand, for the tests of the observers: each call is a record, a millisecond after the one before.

use std::{collections::BTreeMap, sync::Arc};

use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, Expectation, Guard, InstanceName, Key, NewEvent, NodeName,
    Position, Receipt, ServiceName, Source, Term, Timestamp, Version, WallTime,
    store::{Commit, Completion, Ended, LaneChange, LaneRecord, Recovered, ServiceRecord, Taken},
    trace::{Frame, How, Record, What},
    wire::{self, FromBus, ToBus, Token},
};

use crate::{kinds::Kinds, known::Known, observer::Observer, property::Verdict};

/// A run in the making.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    records: Vec<Record>,
    at: Timestamp,
    term: Term,
    sequence: u64,
    events: Vec<Arc<Event>>,
}

/// An event of type `Debit`, published by `accounts`.
pub(crate) fn event(id: &str, key: &str, position: u64, version: u64) -> Event {
    Event {
        position: Position(position),
        id: EventId::of(id),
        event_type: EventType::of("Debit"),
        key: Key::of(key),
        version: Version(version),
        correlation: CorrelationId::of("c-1"),
        causation: None,
        time: WallTime(position),
        source: Source::of("accounts"),
        data: Data::null(),
        attributes: dacapo_core::Attributes::default(),
    }
}

/// The event with this cause.
pub(crate) fn caused(mut event: Event, cause: &str) -> Event {
    event.causation = Some(EventId::of(cause));
    event
}

/// An event as it is sent, with any head.
pub(crate) fn new_event(id: &str, key: &str) -> NewEvent {
    NewEvent {
        id: EventId::of(id),
        event_type: EventType::of("Debit"),
        key: Key::of(key),
        expectation: Expectation::Any,
        correlation: None,
        causation: None,
        source: None,
        data: Data::null(),
        attributes: dacapo_core::Attributes::default(),
    }
}

/// An event as it is sent, which expects this head.
pub(crate) fn new_event_at(id: &str, key: &str, head: u64) -> NewEvent {
    NewEvent { expectation: Expectation::Version(Version(head)), ..new_event(id, key) }
}

pub(crate) fn guard(key: &str, version: u64) -> Guard {
    Guard { key: Key::of(key), version: Version(version) }
}

pub(crate) fn accepted(position: u64, version: u64) -> Receipt {
    Receipt::Accepted { position: Position(position), version: Version(version), time: WallTime(position) }
}

pub(crate) fn duplicate(position: u64, version: u64) -> Receipt {
    Receipt::Duplicate { position: Position(position), version: Version(version), time: WallTime(position) }
}

pub(crate) fn inconsistent(key: &str, head: u64, id: Option<&str>) -> Receipt {
    Receipt::Inconsistent { key: Key::of(key), head: Version(head), id: id.map(EventId::of) }
}

/// A completion in the making.
#[derive(Debug, Clone)]
pub(crate) struct Completes(Completion);

/// By `accounts-1`, epoch 1, attempt 1.
pub(crate) fn completion(service: &str, position: u64, key: &str, version: u64) -> Completes {
    Completes(Completion {
        service: ServiceName::of(service),
        position: Position(position),
        key: Key::of(key),
        version: Version(version),
        ended: Ended::Completed,
        instance: Some(InstanceName::of("accounts-1")),
        epoch: 1,
        attempt: 1,
        time: WallTime(0),
        produced: vec![],
    })
}

pub(crate) fn skipped(service: &str, position: u64, key: &str, version: u64) -> Completes {
    let Completes(completion) = completion(service, position, key, version);
    Completes(Completion { ended: Ended::Skipped, instance: None, ..completion })
}

impl Completes {
    pub(crate) fn by(mut self, instance: &str, epoch: u64, attempt: u32) -> Self {
        self.0.instance = Some(InstanceName::of(instance));
        self.0.epoch = epoch;
        self.0.attempt = attempt;
        self
    }

    pub(crate) fn producing<const N: usize>(mut self, positions: [u64; N]) -> Self {
        self.0.produced = positions.map(Position).to_vec();
        self
    }
}

fn lane(service: &str, key: &str, next: u64, failures: u32, parked: Option<&str>) -> LaneChange {
    LaneChange::Put(LaneRecord {
        service: ServiceName::of(service),
        key: Key::of(key),
        next_version: Version(next),
        failures,
        parked: parked.map(str::to_owned),
    })
}

pub(crate) fn parked(service: &str, key: &str, next: u64, reason: &str) -> LaneChange {
    lane(service, key, next, 8, Some(reason))
}

/// Into the state of `accounts-1`, by delivery; the digest is the version.
pub(crate) fn applied(key: &str, position: u64, version: u64, after: u64) -> What {
    What::Applied {
        service: ServiceName::of("accounts"),
        instance: InstanceName::of("accounts-1"),
        incarnation: 1,
        code: 1,
        key: Key::of(key),
        position: Position(position),
        version: Version(version),
        after: Version(after),
        digest: version,
        how: How::Delivered,
    }
}

pub(crate) fn applied_with(instance: &str, key: &str, version: u64, digest: u64) -> What {
    What::Applied {
        service: ServiceName::of("accounts"),
        instance: InstanceName::of(instance),
        incarnation: 1,
        code: 1,
        key: Key::of(key),
        position: Position(version),
        version: Version(version),
        after: Version(version - 1),
        digest,
        how: How::Hydrated,
    }
}

pub(crate) fn viewed(instance: &str, position: u64, digest: u64) -> What {
    What::Viewed {
        service: ServiceName::of("accounts"),
        instance: InstanceName::of(instance),
        incarnation: 1,
        position: Position(position),
        digest,
    }
}

impl Run {
    /// With an empty store, in term 1.
    pub(crate) fn new() -> Self {
        Self { records: vec![], at: Timestamp::ZERO, term: Term(1), sequence: 0, events: vec![] }
    }

    pub(crate) fn node(&mut self, node: &str, what: What) {
        self.at.0 += 1_000;
        let step = self.records.len() as u64 + 1;
        self.records.push(Record { step, at: self.at, node: NodeName::of(node), what });
    }

    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.at.0 += ms * 1_000;
    }

    fn said(&mut self, connection: u64, frame: impl Into<FromBus>) {
        self.node("bus", What::FrameSent { connection, frame: Frame::from(frame.into()) });
    }

    fn heard(&mut self, connection: u64, frame: impl Into<ToBus>) {
        self.node("bus", What::FrameReceived { connection, frame: Frame::from(frame.into()) });
    }

    fn commit(&mut self, commit: Commit) {
        self.sequence += 1;
        self.events.extend(commit.events.iter().cloned());
        let commit = Commit { sequence: self.sequence, term: self.term, ..commit };
        self.node("bus", What::CommitDurable { commit: Arc::new(commit) });
    }

    pub(crate) fn commit_events(&mut self, events: impl IntoIterator<Item = Event>) {
        self.commit(Commit { events: events.into_iter().map(Arc::new).collect(), ..Commit::default() });
    }

    pub(crate) fn commit_completion(&mut self, completes: Completes, events: impl IntoIterator<Item = Event>) {
        let events = events.into_iter().map(Arc::new).collect();
        self.commit(Commit { events, completions: vec![completes.0], ..Commit::default() });
    }

    pub(crate) fn commit_lane(&mut self, change: LaneChange) {
        self.commit(Commit { lanes: vec![change], ..Commit::default() });
    }

    pub(crate) fn lane_behind(&mut self, service: &str, key: &str, next: u64, failures: u32) {
        self.commit_lane(lane(service, key, next, failures, None));
    }

    pub(crate) fn register(&mut self, service: &str, types: &[&str]) {
        self.register_since(service, types, 0);
    }

    pub(crate) fn register_since(&mut self, service: &str, types: &[&str], since: u64) {
        let taken = |name: &&str| Taken { event_type: EventType::of(*name), since: Position(since) };
        let record = ServiceRecord {
            name: ServiceName::of(service),
            types: types.iter().map(taken).collect(),
            frontier: Position(since),
        };
        self.commit(Commit { services: vec![record], ..Commit::default() });
    }

    pub(crate) fn recovered(&mut self, term: u64, position: u64) {
        self.term = Term(1);
        let (services, lanes) = self.durable_state();
        let recovered =
            Recovered { term: Term(term), position: Position(position), services, lanes, ..Recovered::default() };
        self.node("bus", What::Recovered { recovered: Box::new(recovered) });
    }

    /// Services and lanes behind, as the commits so far have left them.
    fn durable_state(&self) -> (Vec<ServiceRecord>, Vec<LaneRecord>) {
        let mut services: BTreeMap<ServiceName, ServiceRecord> = BTreeMap::new();
        let mut lanes: BTreeMap<(ServiceName, Key), LaneRecord> = BTreeMap::new();
        for record in self.records() {
            let What::CommitDurable { commit } = &record.what else { continue };
            services.extend(commit.services.iter().map(|service| (service.name.clone(), service.clone())));
            for (name, frontier) in &commit.frontiers {
                services.entry(name.clone()).and_modify(|service| service.frontier = *frontier);
            }
            for change in &commit.lanes {
                match change {
                    LaneChange::Put(lane) => {
                        lanes.insert((lane.service.clone(), lane.key.clone()), lane.clone());
                    }
                    LaneChange::Remove { service, key } => drop(lanes.remove(&(service.clone(), key.clone()))),
                }
            }
        }
        (services.into_values().collect(), lanes.into_values().collect())
    }

    pub(crate) fn hello(&mut self, connection: u64, service: &str, instance: &str, incarnation: u64) {
        self.hello_with_credit(connection, service, instance, incarnation, 16);
    }

    /// A hello and its welcome; the session has the connection's number.
    pub(crate) fn hello_with_credit(
        &mut self,
        connection: u64,
        service: &str,
        instance: &str,
        incarnation: u64,
        credit: u32,
    ) {
        self.heard(
            connection,
            wire::Hello {
                service: ServiceName::of(service),
                instance: InstanceName::of(instance),
                incarnation,
                types: vec![EventType::of("Debit")],
                start: wire::Start::Beginning,
                credit,
                bearer: None,
            },
        );
        let welcome = wire::Welcome {
            term: self.term,
            session: connection,
            position: Position(self.events.len() as u64),
            heartbeat_deadline_ms: 5_000,
            delivery_deadline_ms: 30_000,
            credit,
        };
        self.said(connection, welcome);
    }

    pub(crate) fn disconnected(&mut self, connection: u64) {
        self.node("bus", What::Disconnected { connection });
    }

    pub(crate) fn ready(&mut self, connection: u64) {
        self.heard(connection, wire::Ready {});
    }

    /// The bus hands the next commit to its store.
    pub(crate) fn submit(&mut self) {
        self.node("bus", What::CommitSubmitted { sequence: self.sequence + 1, events: 0, completions: 0 });
    }

    pub(crate) fn extend(&mut self, connection: u64, position: u64, epoch: u64, attempt: u32) {
        let token = self.token(connection, epoch, attempt);
        self.heard(connection, wire::Extend { position: Position(position), token });
    }

    pub(crate) fn publish(&mut self, connection: u64, request: u64, events: impl Into<Vec<NewEvent>>) {
        self.publish_guarded(connection, request, events, []);
    }

    pub(crate) fn publish_guarded(
        &mut self,
        connection: u64,
        request: u64,
        events: impl Into<Vec<NewEvent>>,
        guards: impl Into<Vec<Guard>>,
    ) {
        self.heard(connection, wire::Publish { request, events: events.into(), guards: guards.into() });
    }

    pub(crate) fn receipts(&mut self, connection: u64, request: u64, receipts: impl Into<Vec<Receipt>>) {
        self.said(connection, wire::Receipts { request, receipts: receipts.into() });
    }

    fn token(&self, connection: u64, epoch: u64, attempt: u32) -> Token {
        Token { term: self.term, session: connection, epoch, attempt }
    }

    /// The event that was committed at this position.
    pub(crate) fn deliver(&mut self, connection: u64, position: u64, epoch: u64, attempt: u32) {
        let event = Arc::clone(&self.events[position as usize - 1]);
        let token = self.token(connection, epoch, attempt);
        let previous = Version(event.version.0 - 1);
        self.said(connection, wire::Deliver { token, previous, event });
    }

    pub(crate) fn deliver_event(&mut self, connection: u64, event: Event, epoch: u64, attempt: u32, previous: u64) {
        let token = self.token(connection, epoch, attempt);
        self.said(connection, wire::Deliver { token, previous: Version(previous), event: Arc::new(event) });
    }

    pub(crate) fn complete(
        &mut self,
        connection: u64,
        position: u64,
        epoch: u64,
        attempt: u32,
        events: impl Into<Vec<NewEvent>>,
    ) {
        let token = self.token(connection, epoch, attempt);
        let complete = wire::Complete { position: Position(position), token, events: events.into(), guards: vec![] };
        self.heard(connection, complete);
    }

    pub(crate) fn completed(&mut self, connection: u64, position: u64, already: bool) {
        self.said(connection, wire::Completed { position: Position(position), already, produced: vec![] });
    }

    pub(crate) fn conflict(&mut self, connection: u64, position: u64, epoch: u64, attempt: u32, heads: &[(&str, u64)]) {
        let token = self.token(connection, epoch, attempt);
        let head = |(key, version): &(&str, u64)| wire::Head { key: Key::of(*key), version: Version(*version) };
        let heads = heads.iter().map(head).collect();
        self.said(connection, wire::Conflict { position: Position(position), token, heads });
    }

    pub(crate) fn fenced(&mut self, connection: u64, position: u64, epoch: u64, attempt: u32) {
        let token = self.token(connection, epoch, attempt);
        self.said(connection, wire::Fenced { position: Position(position), token, reason: "it is late".to_owned() });
    }

    /// From the beginning, all types, followed.
    pub(crate) fn rebuild(&mut self, connection: u64, request: u64, after: u64) {
        let after = Position(after);
        self.heard(connection, wire::Rebuild { request, after, types: vec![], follow: true, credit: 9 });
    }

    /// A page of a rebuild: the events that were committed at these positions.
    pub(crate) fn page(&mut self, connection: u64, request: u64, positions: impl Into<Vec<u64>>, position: u64) {
        let event = |position: &u64| Arc::clone(&self.events[*position as usize - 1]);
        let events = positions.into().iter().map(event).collect();
        self.said(
            connection,
            wire::Events { request, events, heads: vec![], position: Position(position), more: false },
        );
    }

    pub(crate) fn rebuilt(&mut self, connection: u64, request: u64, position: u64) {
        self.said(connection, wire::Rebuilt { request, position: Position(position) });
    }

    pub(crate) fn frontier(&mut self, service: &str, position: u64) {
        let frontiers = vec![(ServiceName::of(service), Position(position))];
        self.commit(Commit { frontiers, ..Commit::default() });
    }

    pub(crate) fn nack(&mut self, connection: u64, position: u64, epoch: u64, attempt: u32) {
        let token = self.token(connection, epoch, attempt);
        self.heard(connection, wire::Nack { position: Position(position), token, reason: "it failed".to_owned() });
    }

    pub(crate) fn forgotten(&mut self, service: &str, instance: &str, incarnation: u64) {
        let service = ServiceName::of(service);
        let what = What::Forgotten { service, instance: InstanceName::of(instance), incarnation, key: None };
        self.node(instance, what);
    }

    pub(crate) fn sizes(&mut self, sizes: &[(&str, u64, u64)]) {
        let sizes = sizes.iter().map(|(name, size, limit)| ((*name).to_owned(), *size, *limit)).collect();
        self.node("bus", What::Sizes { sizes });
    }

    pub(crate) fn healed(&mut self) {
        self.node("run", What::Healed { bound_us: 10_000_000 });
    }

    pub(crate) fn operation_sent(&mut self, operation: u64, attempt: u32) {
        let service = ServiceName::of("accounts");
        let (method, path, body) = ("POST".to_owned(), "/accounts".to_owned(), String::new());
        self.node("customer-0", What::OperationSent { operation, attempt, service, method, path, body });
    }

    pub(crate) fn operation_answered(&mut self, operation: u64, attempt: u32, status: u16) {
        self.node("customer-0", What::OperationAnswered { operation, attempt, status, body: String::new() });
    }

    fn judged(&self, observer: &mut impl Observer) -> Verdict {
        let mut known = Known::default();
        for record in &self.records {
            known.observe(record);
            if observer.looks_at().holds(Kinds::of(&record.what)) {
                observer.observe(&known, record)?;
            }
        }
        observer.finish(&known)
    }

    /// The promise holds. Answers what situations were met.
    #[track_caller]
    pub(crate) fn passes(&self, mut observer: impl Observer) -> Vec<(&'static str, u64)> {
        if let Err(violation) = self.judged(&mut observer) {
            panic!("{} is broken at step {}: {}", violation.property, violation.step, violation.message);
        }
        observer.sometimes()
    }

    /// The promise holds, and was in a position to fail.
    #[track_caller]
    pub(crate) fn holds(&self, mut observer: impl Observer) -> Vec<(&'static str, u64)> {
        if let Err(violation) = self.judged(&mut observer) {
            panic!("{} is broken at step {}: {}", violation.property, violation.step, violation.message);
        }
        assert!(observer.checks() > 0, "{} was never checked", observer.promise().name);
        observer.sometimes()
    }

    /// The promise is broken, and is told in words that contain these.
    #[track_caller]
    pub(crate) fn fails(&self, mut observer: impl Observer, contains: &str) {
        let Err(violation) = self.judged(&mut observer) else {
            panic!("{} holds", observer.promise().name);
        };
        assert_eq!(violation.property, observer.promise().name);
        assert!(violation.message.contains(contains), "{contains:?} is not in:\n{}", violation.message);
        assert!(violation.steps.iter().all(|step| violation.step == 0 || *step < violation.step), "{violation:?}");
    }
}
