//! One instance of the accounts service without IO: deliveries that it folds and completes, and requests that it answers
//! from its states. The bus is a table of heads that answers at once.

use std::collections::BTreeMap;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dacapo_bank::accounts::Accounts;
use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, InstanceName, Key, Now, Position, Receipt, Source, Term, Timestamp,
    Version, WallTime,
    wire::{Completed, Deliver, Events, FromBus, Head, Produced, ReadWhat, Rebuilt, Receipts, ToBus, Token, Welcome},
};
use dacapo_service::{Input, Instance, InstanceConfig, Machine, Method, Output, Request};

const ACCOUNTS: u64 = 100;
const ROUNDS: u64 = 20;

/// An instance, and a bus that only counts.
struct Pair {
    instance: Instance<Accounts>,
    heads: BTreeMap<Key, Version>,
    position: u64,
    answered: u64,
    completed: u64,
}

fn key(account: u64) -> Key {
    Key::of(format!("acc-a{account}"))
}

fn now() -> Now {
    Now { monotonic: Timestamp(1), wall: WallTime(1) }
}

impl Pair {
    /// With every account opened.
    fn new() -> Self {
        let instance =
            Instance::new(Accounts, InstanceConfig { record: true, ..InstanceConfig::new(InstanceName::of("a-1"), 1) });
        let mut pair = Self { instance, heads: BTreeMap::new(), position: 0, answered: 0, completed: 0 };
        pair.input(Input::Started);
        pair.input(Input::Connected);
        for account in 0..ACCOUNTS {
            let data = serde_json::json!({"user": "alice", "account": format!("a{account}"), "name": "Purse"});
            pair.deliver(account, "AccountCreated", &data);
        }
        pair
    }

    fn input(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.instance.handle_input(now(), input);
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

    fn answer(&mut self, frame: ToBus) -> Option<FromBus> {
        let position = Position(self.position);
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
            ToBus::Rebuild(rebuild) => Rebuilt { request: rebuild.request, position }.into(),
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

    fn accept(&mut self, key: &Key) -> Receipt {
        self.position += 1;
        let head = self.heads.entry(key.clone()).or_default();
        *head = head.next();
        Receipt::Accepted { position: Position(self.position), version: *head, time: WallTime(1) }
    }

    fn deliver(&mut self, account: u64, event_type: &str, data: &serde_json::Value) {
        let key = key(account);
        self.accept(&key);
        let version = self.heads[&key];
        let event = Event {
            position: Position(self.position),
            id: EventId::of(format!("event-{}", self.position)),
            event_type: EventType::of(event_type),
            key,
            version,
            correlation: CorrelationId::of("c-1"),
            causation: None,
            time: WallTime(1),
            source: Source::of("bench"),
            data: Data::of(data),
            attributes: dacapo_core::Attributes::default(),
        };
        let token = Token { term: Term(1), session: 1, epoch: 1, attempt: 1 };
        let previous = Version(version.0 - 1);
        self.input(Input::Frame(Deliver { token, previous, event: event.into() }.into()));
    }

    fn request(&mut self, id: u64, account: u64, method: Method, route: &'static str, body: &str) {
        let request = Request {
            method,
            route,
            parameters: BTreeMap::from([("id".to_owned(), format!("a{account}"))]),
            idempotency_key: Some(format!("op-{id}")),
            caller: None,
            at_least: None,
            body: body.to_owned(),
        };
        self.input(Input::Request { id, request });
    }
}

fn instance(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("instance without IO");
    group.throughput(Throughput::Elements(ACCOUNTS * ROUNDS)).sample_size(20);
    group.bench_function("deliver, fold, complete", |bencher| {
        let credit = serde_json::json!({"why": "deposit", "pence": 5});
        bencher.iter_batched(
            Pair::new,
            |mut pair| {
                for number in 0..ACCOUNTS * ROUNDS {
                    pair.deliver(number % ACCOUNTS, "ConfirmedCredit", &credit);
                }
                assert_eq!(pair.completed, ACCOUNTS * (ROUNDS + 1));
                pair
            },
            BatchSize::LargeInput,
        );
    });
    for (name, method, route, body) in [
        ("request that reads", Method::Get, "/accounts/{id}", ""),
        ("request that publishes", Method::Post, "/accounts/{id}/deposit", r#"{"pence":5}"#),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                Pair::new,
                |mut pair| {
                    for number in 0..ACCOUNTS * ROUNDS {
                        pair.request(number + 1, number % ACCOUNTS, method, route, body);
                    }
                    assert_eq!(pair.answered, ACCOUNTS * ROUNDS);
                    pair
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = instance
}
criterion_main!(benches);
