//! The bus without IO: how many events a second it publishes, delivers and completes when nothing else costs time.
//! The store is the one in memory, so the figure is the machine's ceiling, not a promise about any disk.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dacapo_backends::memory::MemoryStore;
use dacapo_core::{
    Data, EventId, EventType, InstanceName, Key, NewEvent, Now, ServiceName, Source, Timestamp, WallTime,
    bus::{Bus, Config, ConnId, Input, Output},
    event::Expectation,
    store::Store,
    wire::{Complete, Deliver, FromBus, Hello, Publish, Ready, Start, ToBus},
};

const EVENTS: u64 = 2_000;
const INSTANCE: ConnId = ConnId(1);
const PUBLISHER: ConnId = ConnId(2);

/// A bus and its store, with whatever the bus asks answered at once.
struct Pair {
    bus: Bus,
    store: Box<dyn Store>,
    deliveries: Vec<Deliver>,
    completed: u64,
    receipts: u64,
}

impl Pair {
    fn new() -> Self {
        let mut store: Box<dyn Store> = Box::new(MemoryStore::new());
        let recovered = store.recover().expect("memory does not fail");
        let bus = Bus::new(Config::default(), recovered, now());
        let mut pair = Self { bus, store, deliveries: Vec::new(), completed: 0, receipts: 0 };
        pair.input(Input::Connected { conn: INSTANCE });
        pair.input(Input::Connected { conn: PUBLISHER });
        let hello = Hello {
            service: ServiceName::of("accounts"),
            instance: InstanceName::of("accounts-1"),
            incarnation: 1,
            types: vec![EventType::of("Deposited")],
            start: Start::Beginning,
            credit: 256,
            bearer: None,
        };
        pair.frame(INSTANCE, hello);
        pair.frame(INSTANCE, Ready {});
        pair
    }

    fn frame(&mut self, conn: ConnId, frame: impl Into<ToBus>) {
        self.input(Input::Frame { conn, frame: frame.into() });
    }

    fn input(&mut self, input: Input) {
        self.bus.handle_input(now(), input);
        while let Some(output) = self.bus.poll_output() {
            match output {
                Output::Commit(commit) => {
                    self.store.commit(&commit).expect("memory does not fail");
                    self.bus.handle_input(now(), Input::Committed { sequence: commit.sequence });
                }
                Output::LookUp { id, look_up } => {
                    let found = self.store.look_up(&look_up);
                    self.bus.handle_input(now(), Input::LookedUp { id, found });
                }
                Output::Read { id, read } => {
                    let page = self.store.read(&read);
                    self.bus.handle_input(now(), Input::ReadDone { id, page });
                }
                Output::Send { frame: FromBus::Deliver(deliver), .. } => self.deliveries.push(deliver),
                Output::Send { frame: FromBus::Completed(_), .. } => self.completed += 1,
                Output::Send { frame: FromBus::Receipts(_), .. } => self.receipts += 1,
                _ => {}
            }
        }
    }

    fn publish(&mut self, number: u64) {
        let event = NewEvent {
            id: EventId::of(format!("event-{number}")),
            event_type: EventType::of("Deposited"),
            key: Key::of(format!("acc-{}", number % 500)),
            expectation: Expectation::Any,
            correlation: None,
            causation: None,
            source: Some(Source::of("bench")),
            attributes: dacapo_core::Attributes::default(),
            data: Data::of(
                "a payload of two hundred bytes, as in the comparison with the peers; it says nothing else than that, \
                            at some length, until it has about as many bytes as the events of a bank have on average",
            ),
        };
        self.frame(PUBLISHER, Publish { request: number, events: vec![event], guards: Vec::new() });
    }

    fn complete_all(&mut self) {
        while let Some(Deliver { token, event, .. }) = self.deliveries.pop() {
            let complete = Complete { position: event.position, token, events: Vec::new(), guards: Vec::new() };
            self.frame(INSTANCE, complete);
        }
    }
}

fn now() -> Now {
    Now { monotonic: Timestamp(1), wall: WallTime(1) }
}

fn bus(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bus without IO");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(20);
    group.bench_function("publish, deliver, complete", |bencher| {
        bencher.iter_batched(
            Pair::new,
            |mut pair| {
                for number in 0..EVENTS {
                    pair.publish(number);
                    pair.complete_all();
                }
                assert_eq!((pair.receipts, pair.completed), (EVENTS, EVENTS));
                pair
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, bus);
criterion_main!(benches);
