//! Services in Lua without IO: what a call of a handler costs, and an instance beside the one in Rust that does the same.

use std::collections::BTreeMap;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dacapo_bank::{accounts::Accounts, lua::script};
use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, InstanceName, Key, Now, Position, Source, Term, Timestamp, Version,
    WallTime,
    wire::{Completed, Deliver, Events, FromBus, Head, Produced, ReadWhat, Rebuilt, ToBus, Token, Welcome},
};
use dacapo_service::{
    Input, Instance, InstanceConfig, Machine, Output,
    lua::{LuaMachine, LuaService, LuaSettings, Script},
};
use serde_json::{Value, json};

const CALLS: u64 = 10_000;
const KEYS: u64 = 100;

/// A listener that does nothing.
const TRIVIAL: &str = "bus:register('idle') bus:add_event_listener('Happened', function() end)";

fn event(position: u64, key: &str, version: u64, event_type: &str, data: &Value) -> Event {
    Event {
        position: Position(position),
        id: EventId::of(format!("event-{position}")),
        event_type: EventType::of(event_type),
        key: Key::of(key),
        version: Version(version),
        correlation: CorrelationId::of("c-1"),
        causation: None,
        time: WallTime(1),
        source: Source::of("bench"),
        data: Data::of(data),
        attributes: dacapo_core::Attributes::default(),
    }
}

fn loaded(script: &Script) -> LuaService {
    LuaService::load(script, &LuaSettings::default()).expect("the script loads")
}

/// An instance, and a bus that answers at once. Events are delivered and followed, as a bus does both.
struct Pair {
    instance: Box<dyn Machine>,
    heads: BTreeMap<Key, Version>,
    position: u64,
    following: Option<u64>,
    completed: u64,
}

impl Pair {
    fn new(instance: Box<dyn Machine>) -> Self {
        let mut pair = Self { instance, heads: BTreeMap::new(), position: 0, following: None, completed: 0 };
        pair.input(Input::Started);
        pair.input(Input::Connected);
        for key in 0..KEYS {
            pair.deliver(
                key,
                "AccountCreated",
                &json!({"user": "alice", "account": format!("a{key}"), "name": "Purse"}),
            );
        }
        pair
    }

    fn input(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let now = Now { monotonic: Timestamp(1), wall: WallTime(1) };
            self.instance.handle_input(now, input);
            while let Some(output) = self.instance.poll_output() {
                if let Output::Send(frame) = output {
                    inputs.extend(self.answer(frame).map(Input::Frame));
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
            ToBus::Complete(complete) => {
                self.completed += 1;
                let produced: Vec<Produced> = Vec::new();
                assert!(complete.events.is_empty(), "what is delivered here asks for nothing");
                Completed { position: complete.position, already: false, produced }.into()
            }
            _ => return None,
        })
    }

    fn deliver(&mut self, key: u64, event_type: &str, data: &Value) {
        self.position += 1;
        let key = Key::of(format!("acc-a{key}"));
        let head = self.heads.entry(key.clone()).or_default();
        let previous = *head;
        *head = head.next();
        let event = event(self.position, key.as_str(), head.0, event_type, data);
        if let Some(request) = self.following {
            let (events, position) = (vec![event.clone().into()], event.position);
            self.input(Input::Frame(Events { request, events, heads: Vec::new(), position, more: false }.into()));
        }
        let token = Token { term: Term(1), session: 1, epoch: 1, attempt: 1 };
        self.input(Input::Frame(Deliver { token, previous, event: event.into() }.into()));
    }
}

type Make<'a> = Box<dyn Fn() -> Box<dyn Machine> + 'a>;

fn lua(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lua without IO");
    group.throughput(Throughput::Elements(CALLS)).sample_size(20);
    let idle = loaded(&Script::of("idle.lua", TRIVIAL));
    let happened = event(1, "key-1", 1, "Happened", &json!({"pence": 5}));
    group.bench_function("call of a trivial listener", |bencher| {
        bencher.iter(|| {
            for _ in 0..CALLS {
                assert_eq!(idle.rehearse(&happened), Ok(0));
            }
        });
    });
    let config = || InstanceConfig::new(InstanceName::of("a-1"), 1);
    let accounts = script("accounts").expect("the bank has it");
    let makes: [(&str, Make<'_>); 2] = [
        ("deliver, fold, complete: accounts in Rust", Box::new(|| Box::new(Instance::new(Accounts, config())))),
        (
            "deliver, fold, complete: accounts in Lua",
            Box::new(|| Box::new(LuaMachine::new(loaded(&accounts), config()))),
        ),
    ];
    for (name, make) in makes {
        group.bench_function(name, |bencher| {
            let credit = json!({"why": "deposit", "pence": 5});
            bencher.iter_batched(
                || Pair::new(make()),
                |mut pair| {
                    for number in 0..CALLS {
                        pair.deliver(number % KEYS, "ConfirmedCredit", &credit);
                    }
                    assert_eq!(pair.completed, CALLS + KEYS);
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
    targets = lua
}
criterion_main!(benches);
