//! A small bank's log, written straight into a store, and a directory of one's own.

#![allow(dead_code, reason = "each suite uses its own part of this")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use dacapo_backends::{
    SqliteStore,
    sqlite::{Options, Synchronous},
};
use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, InstanceName, Key, Position, ServiceName, Source, Version,
    WallTime,
    store::{Commit, Completion, Ended, LaneChange, LaneRecord, ServiceRecord, Store as _, Taken},
};
use dacapo_reporting::{
    ask::Ask,
    declared::{Change, Declared, Transfer},
    site::{Reply, Shown, Site},
};
use serde_json::{Value, json};

/// A directory that goes with its test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A fresh one.
    pub(crate) fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dacapo-view-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the directory for temporary files can be written to");
        Self(path)
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// 2026-01-01T00:00:00Z.
const BEGIN_US: u64 = 1_767_225_600_000_000;

/// A log that is being written.
pub(crate) struct Book {
    store: SqliteStore,
    commit: Commit,
    position: u64,
    versions: BTreeMap<String, u64>,
    correlations: BTreeMap<String, String>,
}

impl Book {
    /// A new store with the services of a bank.
    pub(crate) fn new(path: &Path) -> Self {
        let options = Options { synchronous: Synchronous::Off, ..Options::default() };
        let mut store = SqliteStore::open_with(path, options).expect("a new store");
        let term = store.recover().expect("recovers").term;
        let service = |name: &str, types: &[&str]| ServiceRecord {
            name: ServiceName::of(name),
            types: types
                .iter()
                .map(|event_type| Taken { event_type: EventType::of(*event_type), since: Position::ZERO })
                .collect(),
            frontier: Position::ZERO,
        };
        let services = vec![
            service("accounts", &["ConfirmedCredit", "ConfirmedDebit", "PendingTransaction"]),
            service("transactions", &["AcceptedTransaction", "RejectedTransaction"]),
        ];
        let commit = Commit { sequence: 1, term, services, ..Commit::default() };
        Self { store, commit, position: 0, versions: BTreeMap::new(), correlations: BTreeMap::new() }
    }

    /// Appends an event, `after_us` after the log's beginning; its id is `e-<position>`.
    pub(crate) fn event(
        &mut self,
        after_us: u64,
        event_type: &str,
        key: &str,
        source: &str,
        cause: Option<u64>,
        data: &Value,
    ) -> u64 {
        self.position += 1;
        let version = self.versions.entry(key.to_owned()).or_default();
        *version += 1;
        let id = format!("e-{}", self.position);
        let correlation = match cause {
            Some(cause) => self.correlations.get(&format!("e-{cause}")).cloned().unwrap_or_else(|| "c-lost".to_owned()),
            None => format!("c-{}", self.position),
        };
        self.correlations.insert(id.clone(), correlation.clone());
        self.commit.events.push(Arc::new(Event {
            position: Position(self.position),
            id: EventId::of(id),
            event_type: EventType::of(event_type),
            key: Key::of(key),
            version: Version(*version),
            correlation: CorrelationId::of(correlation),
            causation: cause.map(|cause| EventId::of(format!("e-{cause}"))),
            time: WallTime(BEGIN_US + after_us),
            source: Source::of(source),
            data: Data::of(data),
            attributes: dacapo_core::Attributes::default(),
        }));
        self.position
    }

    /// A service has handled an event.
    pub(crate) fn done(&mut self, service: &str, position: u64, attempt: u32, after_us: u64, produced: &[u64]) {
        let event = self.commit.events.iter().rev().find(|event| event.position.0 == position).expect("of this commit");
        let completion = Completion {
            service: ServiceName::of(service),
            position: Position(position),
            key: event.key.clone(),
            version: event.version,
            ended: Ended::Completed,
            instance: Some(InstanceName::of(format!("{service}-0"))),
            epoch: 2,
            attempt,
            time: WallTime(BEGIN_US + after_us),
            produced: produced.iter().copied().map(Position).collect(),
        };
        self.commit.completions.push(completion);
    }

    /// A lane is parked at a version.
    pub(crate) fn park(&mut self, service: &str, key: &str, version: u64, reason: &str) {
        self.commit.lanes.push(LaneChange::Put(LaneRecord {
            service: ServiceName::of(service),
            key: Key::of(key),
            next_version: Version(version),
            failures: 5,
            parked: Some(reason.to_owned()),
        }));
    }

    /// The last event's position.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Makes durable what was gathered.
    pub(crate) fn commit(&mut self) {
        self.store.commit(&self.commit).expect("is consistent");
        self.commit = Commit { sequence: self.commit.sequence + 1, term: self.commit.term, ..Commit::default() };
    }
}

/// A deposit, a transfer, a rejected transfer, a lane that is parked, and a payload that would like to be a script.
pub(crate) fn small_bank(path: &Path) -> Book {
    let mut book = Book::new(path);
    let deposit =
        book.event(0, "ConfirmedCredit", "acc-alice", "accounts", None, &json!({"why": "deposit", "pence": 500}));
    book.done("accounts", deposit, 1, 900, &[]);
    let pending = book.event(
        10_000,
        "PendingTransaction",
        "trans-1",
        "transactions",
        None,
        &json!({"from": "alice", "to": "bob", "pence": 300}),
    );
    let accepted = book.event(
        14_000,
        "AcceptedTransaction",
        "trans-1",
        "accounts",
        Some(pending),
        &json!({"from": "alice", "to": "bob", "pence": 300}),
    );
    let debit = book.event(
        14_000,
        "ConfirmedDebit",
        "acc-alice",
        "accounts",
        Some(pending),
        &json!({"why": "transfer", "pence": 300}),
    );
    let credit = book.event(
        14_000,
        "ConfirmedCredit",
        "acc-bob",
        "accounts",
        Some(pending),
        &json!({"why": "transfer", "pence": 300}),
    );
    book.done("accounts", pending, 2, 14_000, &[accepted, debit, credit]);
    book.done("transactions", accepted, 1, 15_000, &[]);
    book.done("accounts", debit, 1, 15_500, &[]);
    book.done("accounts", credit, 1, 16_000, &[]);
    let pending = book.event(
        20_000,
        "PendingTransaction",
        "trans-2",
        "transactions",
        None,
        &json!({"from": "alice", "to": "bob", "pence": 9_000}),
    );
    let rejected = book.event(
        23_000,
        "RejectedTransaction",
        "trans-2",
        "accounts",
        Some(pending),
        &json!({"reason": "insufficient_funds", "message": "alice holds 200 pence"}),
    );
    book.done("accounts", pending, 1, 23_000, &[rejected]);
    book.done("transactions", rejected, 1, 24_000, &[]);
    let onwards = book.event(
        30_000,
        "PendingTransaction",
        "trans-3",
        "transactions",
        None,
        &json!({"from": "bob", "to": "carol", "pence": 250}),
    );
    let accepted = book.event(
        31_000,
        "AcceptedTransaction",
        "trans-3",
        "accounts",
        Some(onwards),
        &json!({"from": "bob", "to": "carol", "pence": 250}),
    );
    let debit = book.event(
        31_000,
        "ConfirmedDebit",
        "acc-bob",
        "accounts",
        Some(onwards),
        &json!({"why": "transfer", "pence": 250}),
    );
    let credit = book.event(
        31_000,
        "ConfirmedCredit",
        "acc-carol",
        "accounts",
        Some(onwards),
        &json!({"why": "transfer", "pence": 250}),
    );
    book.done("accounts", onwards, 1, 31_000, &[accepted, debit, credit]);
    book.event(
        40_000,
        "ConfirmedDebit",
        "acc-carol",
        "accounts",
        None,
        &json!({"why": "withdrawal", "pence": 250, "note": "<script>alert('caught')</script>"}),
    );
    book.park("accounts", "acc-carol", 2, "the handler panicked");
    book.commit();
    book
}

/// What the bank's payloads mean.
pub(crate) fn declared() -> Declared {
    let change = |event_type: &str, outside: &str| Change {
        event_type: event_type.to_owned(),
        amount: "pence".to_owned(),
        why: "why".to_owned(),
        outside: outside.to_owned(),
    };
    Declared {
        unit: "pence".to_owned(),
        account_key: "acc-".to_owned(),
        transfers: vec![Transfer {
            event_type: "AcceptedTransaction".to_owned(),
            amount: "pence".to_owned(),
            from: "from".to_owned(),
            to: "to".to_owned(),
        }],
        credits: vec![change("ConfirmedCredit", "deposit")],
        debits: vec![change("ConfirmedDebit", "withdrawal")],
    }
}

/// A site over a store.
pub(crate) fn site(path: &Path) -> Site {
    let shown = Shown { store: Some(path.to_owned()), declared: Some(declared()), ..Shown::default() };
    Site::open(Arc::new(shown)).expect("the store can be read")
}

/// What a site answers.
pub(crate) fn get(site: &mut Site, target: &str) -> Reply {
    site.answer(&Ask::parse(target).expect(target))
}

/// The body of a page that must be there.
pub(crate) fn page(site: &mut Site, target: &str) -> String {
    let reply = get(site, target);
    assert_eq!(reply.status, 200, "{target}: {}", reply.body);
    reply.body
}

/// The addresses that a page leads to, within the viewer.
pub(crate) fn links(page: &str) -> Vec<String> {
    let quoted = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let targets = quoted.filter(|link| link.starts_with('/')).map(|link| link.replace("&amp;", "&"));
    targets.map(|link| link.split('#').next().unwrap_or_default().to_owned()).collect()
}
