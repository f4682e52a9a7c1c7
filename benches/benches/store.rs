//! What an append to the SQLite store costs, durable, at 1, 64 and 512 events a commit, and at 64 events that each
//! complete an earlier one. Payloads have 200 bytes, ids are new, keys are 10,000 accounts in random order.
//!
//! What of it the hash chain is (tamper evidence) is measured by itself: 512 events hashed, and nothing written.
//!
//! A sync of this disk alone is measured beside, since a figure means nothing without it: compare ratios within one
//! run, never figures of two.

use std::{fs, io::Write as _, path::PathBuf, sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dacapo_backends::{SqliteStore, sqlite::chained};
use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, InstanceName, Key, Position, ServiceName, Source, Term, Version,
    WallTime,
    digest::digest_of,
    store::{Commit, Completion, Ended, Store as _},
};

const KEYS: usize = 10_000;
const PAYLOAD_BYTES: usize = 200;

/// A path in the target directory where nothing is yet.
fn fresh(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("store-bench").join(name);
    drop(fs::remove_dir_all(&directory));
    fs::create_dir_all(&directory).expect("the target directory can be written to");
    directory.join("bank.db")
}

/// Writes commits without end.
struct Log {
    term: Term,
    position: u64,
    versions: Vec<u64>,
    data: Data,
}

impl Log {
    fn new(term: Term) -> Self {
        Self { term, position: 0, versions: vec![0; KEYS], data: Data::of(&"x".repeat(PAYLOAD_BYTES - 2)) }
    }

    fn commit(&mut self, events: usize, with_completions: bool) -> Commit {
        let mut commit = Commit { term: self.term, ..Commit::default() };
        for _ in 0..events {
            let event = Arc::new(self.event());
            if with_completions {
                commit.completions.push(completion(&event));
            }
            commit.events.push(event);
        }
        commit
    }

    fn event(&mut self) -> Event {
        self.position += 1;
        let random = digest_of(1, &self.position);
        let key = random as usize % KEYS;
        self.versions[key] += 1;
        Event {
            position: Position(self.position),
            id: EventId::of(format!("{random:016x}-{}", self.position)),
            event_type: EventType::of(["ConfirmedDebit", "ConfirmedCredit", "AcceptedTransaction"][key % 3]),
            key: Key::of(format!("acc-{key}")),
            version: Version(self.versions[key]),
            correlation: CorrelationId::of(format!("op-{:016x}", digest_of(2, &(self.position / 5)))),
            causation: Some(EventId::of(format!("{:016x}", digest_of(1, &(self.position / 2))))),
            time: WallTime(self.position),
            source: Source::of("accounts"),
            data: self.data.clone(),
            attributes: dacapo_core::Attributes::default(),
        }
    }
}

fn completion(event: &Event) -> Completion {
    Completion {
        service: ServiceName::of("accounts"),
        position: event.position,
        key: event.key.clone(),
        version: event.version,
        ended: Ended::Completed,
        instance: Some(InstanceName::of("accounts-1")),
        epoch: 1,
        attempt: 1,
        time: event.time,
        produced: vec![event.position],
    }
}

fn appends(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sqlite append");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    let path = fresh("probe");
    let mut file = fs::File::create(path).expect("the file can be made");
    group.bench_function("probe: 4 KiB and fdatasync", |bencher| {
        bencher.iter(|| {
            file.write_all(&[7; 4_096]).expect("the disk takes it");
            file.sync_data().expect("the disk syncs");
        });
    });
    let of_chain = Log::new(Term(1)).commit(512, false);
    group.throughput(Throughput::Elements(512));
    group.bench_function("the hash chain alone, 512 events", |bencher| {
        bencher.iter(|| of_chain.events.iter().fold([0; 32], |hash, event| chained(&hash, event)));
    });
    for (events, with_completions) in [(1, false), (64, false), (512, false), (64, true)] {
        let name = if with_completions { format!("{events} completing") } else { events.to_string() };
        let mut store = SqliteStore::open(fresh(&name)).expect("the file can be made");
        let mut log = Log::new(store.recover().expect("a new store recovers").term);
        group.throughput(Throughput::Elements(events as u64));
        group.bench_function(format!("{name} a commit"), |bencher| {
            bencher.iter_batched(
                || log.commit(events, with_completions),
                |commit| store.commit(&commit).expect("the commit follows all rules"),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, appends);
criterion_main!(benches);
