//! What the benches share: an instance without IO, and a bus that answers at once.

use std::collections::BTreeMap;

use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, InstanceName, Key, Now, Position, Receipt, Source, Term, Timestamp,
    Version, WallTime,
    wire::{Completed, Deliver, Events, FromBus, Head, Produced, ReadWhat, Rebuilt, Receipts, ToBus, Token, Welcome},
};
use dacapo_service::{Input, InstanceConfig, Machine, Output};
use serde_json::{Value, json};

/// The configuration of the instance in a [`Pair`].
pub fn config() -> InstanceConfig {
    InstanceConfig::new(InstanceName::of("a-1"), 1)
}

/// An event of the bank.
pub fn event(position: Position, key: Key, version: Version, event_type: &str, data: &Value) -> Event {
    Event {
        position,
        id: EventId::of(format!("event-{position}")),
        event_type: EventType::of(event_type),
        key,
        version,
        correlation: CorrelationId::of("c-1"),
        causation: None,
        time: WallTime(1),
        source: Source::of("bench"),
        data: Data::of(data),
        attributes: dacapo_core::Attributes::default(),
    }
}

/// An instance of the accounts service, and a bus that is a table of heads and answers at once. Events are delivered, and
/// followed by whoever asked for that, as a bus does both.
pub struct Pair {
    instance: Box<dyn Machine>,
    heads: BTreeMap<Key, Version>,
    position: Position,
    following: Option<u64>,
    /// Requests that the instance has answered.
    pub answered: u64,
    /// Deliveries that the instance has completed.
    pub completed: u64,
}

impl Pair {
    /// With so many accounts opened, which are deliveries too.
    pub fn new(instance: Box<dyn Machine>, accounts: u64) -> Self {
        let mut pair = Self {
            instance,
            heads: BTreeMap::new(),
            position: Position::ZERO,
            following: None,
            answered: 0,
            completed: 0,
        };
        pair.input(Input::Started);
        pair.input(Input::Connected);
        for account in 0..accounts {
            let data = json!({"user": "alice", "account": format!("a{account}"), "name": "Purse"});
            pair.deliver(account, "AccountCreated", &data);
        }
        pair
    }

    /// Hands the instance an input, and all that follows from it.
    pub fn input(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let now = Now { monotonic: Timestamp(1), wall: WallTime(1) };
            self.instance.handle_input(now, input);
            while let Some(output) = self.instance.poll_output() {
                match output {
                    Output::Send(frame) => inputs.extend(self.answer(frame).map(Input::Frame)),
                    Output::Respond { response, .. } => {
                        assert_eq!(response.status, 200, "{}", response.body);
                        self.answered += 1;
                    }
                    _ => {}
                }
            }
        }
    }

    /// Accepts and delivers an event of an account.
    pub fn deliver(&mut self, account: u64, event_type: &str, data: &Value) {
        let key = Key::of(format!("acc-a{account}"));
        let previous = self.heads.get(&key).copied().unwrap_or_default();
        self.accept(&key);
        let event = event(self.position, key, previous.next(), event_type, data);
        if let Some(request) = self.following {
            let (events, position) = (vec![event.clone().into()], event.position);
            self.input(Input::Frame(Events { request, events, heads: Vec::new(), position, more: false }.into()));
        }
        let token = Token { term: Term(1), session: 1, epoch: 1, attempt: 1 };
        self.input(Input::Frame(Deliver { token, previous, event: event.into() }.into()));
    }

    fn accept(&mut self, key: &Key) -> Receipt {
        self.position = self.position.next();
        let head = self.heads.entry(key.clone()).or_default();
        *head = head.next();
        Receipt::Accepted { position: self.position, version: *head, time: WallTime(1) }
    }

    fn answer(&mut self, frame: ToBus) -> Option<FromBus> {
        let position = self.position;
        Some(match frame {
            ToBus::Hello(hello) => Welcome {
                term: Term(1),
                session: 1,
                position,
                heartbeat_deadline_ms: 10_000,
                delivery_deadline_ms: 10_000,
                credit: hello.credit,
            }
            .into(),
            ToBus::Rebuild(rebuild) => {
                self.following = rebuild.follow.then_some(rebuild.request);
                Rebuilt { request: rebuild.request, position }.into()
            }
            ToBus::Read(read) => {
                let ReadWhat::Key { key, .. } = read.what else { return None };
                let version = self.heads.get(&key).copied().unwrap_or_default();
                let heads = vec![Head { key, version }];
                Events { request: read.request, events: Vec::new(), heads, position, more: false }.into()
            }
            ToBus::Publish(publish) => {
                let receipts = publish.events.iter().map(|event| self.accept(&event.key)).collect();
                Receipts { request: publish.request, receipts }.into()
            }
            ToBus::Complete(complete) => {
                self.completed += 1;
                let produced: Vec<Produced> = Vec::new();
                assert!(complete.events.is_empty(), "what is delivered here asks for nothing");
                Completed { position: complete.position, already: false, produced }.into()
            }
            _ => return None,
        })
    }
}
