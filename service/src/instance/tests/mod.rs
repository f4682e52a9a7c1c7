//! The machine frame by frame against a bus that is played by the test: a log, and whatever the test makes of it.

mod handling;
mod planted;
mod requests;
mod session;
mod states;
mod views;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, Expectation, InstanceName, Key, NewEvent, Now, Position, Receipt,
    ServiceName, Source, Term, Timestamp, Version, WallTime,
    trace::What,
    wire::{
        Complete, Completed, Deliver, Events, FromBus, Head, Produced, Publish, Read, ReadWhat, Rebuilt, Receipts,
        ToBus, Token, Welcome,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Context, Input, Instance, InstanceConfig, Machine, Output};
use crate::service::{Contribution, Interrupt, Method, Request, Response, Route, Service};

/// Sums per key. `Put {n}` adds to its key's sum; `Move {from, to, n}` moves if there is enough.
#[derive(Debug, Clone)]
struct Ledger {
    /// Whether it has a view.
    view: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Hash, Serialize, Deserialize)]
struct Sum {
    sum: i64,
    /// Every version that was folded, in order.
    folded: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct Put {
    n: i64,
}

#[derive(Serialize, Deserialize)]
struct Move {
    from: Key,
    to: Key,
    n: i64,
}

impl Service for Ledger {
    type State = Sum;

    fn name(&self) -> ServiceName {
        ServiceName::of("ledger")
    }

    fn types(&self) -> Vec<EventType> {
        ["Put", "Poison", "Move"].map(EventType::of).into()
    }

    fn apply(&self, _: &Key, state: &mut Sum, event: &Event) {
        state.folded.push(event.version.0);
        if let Ok(put) = event.data.to::<Put>() {
            state.sum += put.n;
        }
    }

    fn handle(&self, event: &Event, context: &mut Context<'_, Sum>) -> Result<(), Interrupt> {
        match event.event_type.as_str() {
            "Move" => {
                let Move { from, to, n } = event.data.to().map_err(|error| Interrupt::Failed(error.to_string()))?;
                if context.state(&from)?.sum >= n {
                    context.emit(EventType::of("Put"), from, &Put { n: -n });
                    context.emit(EventType::of("Put"), to, &Put { n });
                } else {
                    context.emit(EventType::of("Refused"), event.key.clone(), &json!({}));
                }
                Ok(())
            }
            "Poison" => Err(Interrupt::Failed("it is poison".into())),
            _ => Ok(()),
        }
    }

    fn view_types(&self) -> Vec<EventType> {
        if self.view { vec![EventType::of("Put")] } else { Vec::new() }
    }

    fn contribute(&self, event: &Event) -> Option<Contribution> {
        let gather = event.key.as_str().split('-').next().map(Key::of)?;
        Some(Contribution { gather, value: event.version.to_string() })
    }

    fn routes(&self) -> Vec<Route> {
        let route = |method, path| Route { method, path };
        vec![
            route(Method::Get, "/sums/{key}"),
            route(Method::Post, "/sums/{key}"),
            route(Method::Get, "/gathered/{key}"),
        ]
    }

    fn request(&self, request: &Request, context: &mut Context<'_, Sum>) -> Result<Response, Interrupt> {
        let key = Key::of(request.parameter("key"));
        match (request.method, request.route) {
            (Method::Get, "/gathered/{key}") => Ok(Response::json(200, &context.view(&key))),
            (Method::Get, _) => Ok(Response::json(200, &context.state(&key)?.sum)),
            _ => {
                let n: i64 = request.body.parse().map_err(|_| Interrupt::Failed("no number".into()))?;
                let sum = context.state(&key)?.sum + n;
                context.emit(EventType::of("Put"), key, &Put { n });
                let status = if sum < 0 { 409 } else { 201 };
                Ok(Response::json(status, &sum))
            }
        }
    }
}

/// An instance, a log, and what came out of the instance.
struct Rig {
    instance: Instance<Ledger>,
    at: Timestamp,
    session: u64,
    log: Vec<Arc<Event>>,
    sent: Vec<ToBus>,
    /// `connect`, `close`, `exit`, in order.
    acts: Vec<&'static str>,
    answers: BTreeMap<u64, Response>,
    records: Vec<What>,
}

impl Rig {
    fn idle(ledger: Ledger, change: impl FnOnce(&mut InstanceConfig)) -> Self {
        let mut config = InstanceConfig::new(InstanceName::of("ledger-1"), 77);
        config.reconcile_every = None;
        config.record = true;
        change(&mut config);
        Self {
            instance: Instance::new(ledger, config),
            at: Timestamp(1_000_000),
            session: 0,
            log: Vec::new(),
            sent: Vec::new(),
            acts: Vec::new(),
            answers: BTreeMap::new(),
            records: Vec::new(),
        }
    }

    /// Connected, welcomed, ready.
    fn ready_with(change: impl FnOnce(&mut InstanceConfig)) -> Self {
        let mut rig = Self::idle(Ledger { view: false }, change);
        rig.input(Input::Started);
        rig.welcome();
        assert_eq!(rig.take_kinds(), ["hello", "ready"]);
        rig
    }

    fn ready() -> Self {
        Self::ready_with(|_| {})
    }

    fn input(&mut self, input: Input) {
        self.instance.handle_input(Now { monotonic: self.at, wall: WallTime(0) }, input);
        while let Some(output) = self.instance.poll_output() {
            match output {
                Output::Connect => self.acts.push("connect"),
                Output::Close => self.acts.push("close"),
                Output::Exit => self.acts.push("exit"),
                Output::Send(frame) => self.sent.push(frame),
                Output::Respond { id, response } => {
                    assert!(self.answers.insert(id, response).is_none(), "request {id} was answered twice");
                }
                Output::Record(what) => self.records.push(what),
            }
        }
    }

    fn frame(&mut self, frame: impl Into<FromBus>) {
        self.input(Input::Frame(frame.into()));
    }

    /// Opens a connection and grants a session.
    fn welcome(&mut self) {
        assert_eq!(self.acts.pop(), Some("connect"));
        self.input(Input::Connected);
        self.session += 1;
        self.frame(Welcome {
            term: Term(1),
            session: self.session,
            position: self.end(),
            heartbeat_deadline_ms: 3_000,
            delivery_deadline_ms: 20_000,
            credit: 4,
        });
    }

    /// Loses the connection and makes a new one.
    fn reconnect(&mut self) {
        self.input(Input::Disconnected);
        self.pass(Duration::from_secs(6));
        self.sent.clear();
        self.welcome();
    }

    /// Lets time pass; timers fire when they are due.
    fn pass(&mut self, time: Duration) {
        let end = self.at + time;
        while let Some(due) = self.instance.poll_timeout().filter(|due| *due <= end) {
            self.at = self.at.max(due);
            self.input(Input::Timeout);
            assert!(self.instance.poll_timeout().is_none_or(|next| next > due), "a timer fires without end");
        }
        self.at = end;
    }

    fn take_sent(&mut self) -> Vec<ToBus> {
        std::mem::take(&mut self.sent)
    }

    fn take_kinds(&mut self) -> Vec<&'static str> {
        self.take_sent().iter().map(ToBus::kind).collect()
    }

    fn end(&self) -> Position {
        Position(self.log.len() as u64)
    }

    fn head(&self, key: &Key) -> Version {
        Version(self.log.iter().filter(|event| event.key == *key).count() as u64)
    }

    /// Puts an event into the log.
    fn log(&mut self, key: &str, event_type: &str, data: &impl Serialize) -> Arc<Event> {
        let id = format!("e-{}", self.log.len() + 1);
        self.append(NewEvent {
            id: EventId::of(id),
            event_type: EventType::of(event_type),
            key: Key::of(key),
            expectation: Expectation::Any,
            correlation: None,
            causation: None,
            source: None,
            data: Data::of(data),
            attributes: dacapo_core::Attributes::default(),
        })
    }

    fn put(&mut self, key: &str, n: i64) -> Arc<Event> {
        self.log(key, "Put", &Put { n })
    }

    fn append(&mut self, new: NewEvent) -> Arc<Event> {
        let event = Arc::new(Event {
            position: self.end().next(),
            version: self.head(&new.key).next(),
            correlation: new.correlation.unwrap_or_else(|| CorrelationId::of("c")),
            causation: None,
            time: WallTime(0),
            source: Source::of("ledger"),
            id: new.id,
            event_type: new.event_type,
            key: new.key,
            data: new.data,
            attributes: new.attributes,
        });
        self.log.push(event.clone());
        event
    }

    fn token(&self, attempt: u32) -> Token {
        Token { term: Term(1), session: self.session, epoch: 1, attempt }
    }

    fn deliver(&mut self, event: &Arc<Event>) {
        self.deliver_as(event, self.token(1));
    }

    fn deliver_as(&mut self, event: &Arc<Event>, token: Token) {
        let taken = |earlier: &&Arc<Event>| {
            earlier.key == event.key
                && earlier.version < event.version
                && ["Put", "Poison", "Move"].contains(&earlier.event_type.as_str())
        };
        let previous = self.log.iter().filter(taken).map(|earlier| earlier.version).max().unwrap_or_default();
        self.frame(Deliver { token, previous, event: event.clone() });
    }

    /// Answers every read that was sent, from the log; returns how many.
    fn answer_reads(&mut self) -> usize {
        let (reads, rest): (Vec<ToBus>, Vec<ToBus>) =
            self.take_sent().into_iter().partition(|frame| matches!(frame, ToBus::Read(_)));
        self.sent = rest;
        let count = reads.len();
        for frame in reads {
            if let ToBus::Read(read) = frame {
                self.answer_read(&read);
            }
        }
        count
    }

    fn answer_read(&mut self, read: &Read) {
        let position = self.end();
        let (events, heads) = match &read.what {
            ReadWhat::Key { key, after, types } => {
                let wanted = |event: &&Arc<Event>| {
                    event.key == *key
                        && event.version > *after
                        && (types.is_empty() || types.contains(&event.event_type))
                };
                let events = self.log.iter().filter(wanted).cloned().collect();
                (events, vec![Head { key: key.clone(), version: self.head(key) }])
            }
            ReadWhat::Keys { after } => {
                let keys: std::collections::BTreeSet<Key> = self.log.iter().map(|event| event.key.clone()).collect();
                let wanted = keys.into_iter().filter(|key| after.as_ref().is_none_or(|after| key > after));
                (Vec::new(), wanted.map(|key| Head { version: self.head(&key), key }).collect())
            }
        };
        self.frame(Events { request: read.request, events, heads, position, more: false });
    }

    /// The only completion that was sent.
    fn take_complete(&mut self) -> Complete {
        let mut sent = self.take_sent();
        match (sent.pop(), sent.as_slice()) {
            (Some(ToBus::Complete(complete)), []) => complete,
            other => panic!("not one completion: {other:?}"),
        }
    }

    /// Commits a completion as the bus would, and says so.
    fn commit(&mut self, complete: Complete) {
        let position = complete.position;
        let produced = complete.events.into_iter().map(|new| self.append(new)).map(|event| Produced {
            id: event.id.clone(),
            key: event.key.clone(),
            version: event.version,
            position: event.position,
            time: event.time,
        });
        let produced = produced.collect();
        self.frame(Completed { position, already: false, produced });
    }

    /// The only publish that was sent.
    fn take_publish(&mut self) -> Publish {
        let mut sent = self.take_sent();
        match (sent.pop(), sent.as_slice()) {
            (Some(ToBus::Publish(publish)), []) => publish,
            other => panic!("not one publish: {other:?}"),
        }
    }

    /// Puts a batch into the log as the bus would; the receipts are not told yet.
    fn accept(&mut self, publish: Publish) -> Receipts {
        let receipts = publish.events.into_iter().map(|new| self.append(new)).map(|event| Receipt::Accepted {
            position: event.position,
            version: event.version,
            time: event.time,
        });
        Receipts { request: publish.request, receipts: receipts.collect() }
    }

    fn ask(&mut self, id: u64, request: Request) {
        self.input(Input::Request { id, request });
    }

    /// The sum of a key in memory, with the versions that were folded; none if it is not in memory.
    fn sum(&self, key: &str) -> Option<(i64, Vec<u64>, Version)> {
        let entry = self.instance.states.get(&Key::of(key))?;
        Some((entry.state.sum, entry.state.folded.clone(), entry.version))
    }

    fn marked(&self, part: &str) -> bool {
        self.records.iter().any(|what| matches!(what, What::Mark { name } if name.contains(part)))
    }

    fn stream(&mut self) -> dacapo_core::wire::Rebuild {
        let streams = self.take_sent().into_iter().filter_map(|frame| match frame {
            ToBus::Rebuild(rebuild) => Some(rebuild),
            _ => None,
        });
        streams.last().expect("a stream was opened")
    }

    fn page(&mut self, request: u64, events: &[Arc<Event>]) {
        let position = events.last().map(|event| event.position).unwrap_or_default();
        self.frame(Events { request, events: events.to_vec(), heads: Vec::new(), position, more: false });
    }

    fn rebuilt(&mut self, request: u64) {
        self.frame(Rebuilt { request, position: self.end() });
    }
}

fn get(key: &str) -> Request {
    Request {
        method: Method::Get,
        route: "/sums/{key}",
        parameters: [("key".to_owned(), key.to_owned())].into(),
        idempotency_key: None,
        caller: None,
        at_least: None,
        body: String::new(),
    }
}

fn post(key: &str, n: i64, idempotency_key: &str) -> Request {
    Request { method: Method::Post, idempotency_key: Some(idempotency_key.to_owned()), body: n.to_string(), ..get(key) }
}

fn transfer(from: &str, to: &str, n: i64) -> Move {
    Move { from: Key::of(from), to: Key::of(to), n }
}
