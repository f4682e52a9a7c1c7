//! Files of every former schema, made by code: they are brought forward, and nothing of them is lost. Files of a later one are
//! refused.

use std::path::{Path, PathBuf};

use dacapo_core::{
    Attributes, CorrelationId, Data, Event, EventId, EventType, InstanceName, Key, Position, ServiceName, Source,
    Version, WallTime,
    store::{Commit, Completion, Ended, LaneChange, LaneRecord, Query, Reader as _, ServiceRecord, Store as _, Taken},
};
use rusqlite::Connection;

use super::{Options, SqliteReader, SqliteStore, Synchronous, former, schema};

fn fresh(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("dacapo-older-{name}-{}", std::process::id()));
    // Left behind by a process of the same number, if at all.
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).expect("the directory for temporary files can be written to");
    directory.join("bank.db")
}

fn service() -> ServiceName {
    ServiceName::of("accounts")
}

fn event(position: u64) -> Event {
    Event {
        position: Position(position),
        id: EventId::of(format!("e-{position}")),
        event_type: EventType::of("Paid"),
        key: Key::of(format!("acc-{}", position % 2)),
        version: Version(position.div_ceil(2)),
        correlation: CorrelationId::of(format!("c-{}", position / 3)),
        causation: (position > 1).then(|| EventId::of(format!("e-{}", position - 1))),
        time: WallTime(1_700_000_000_000_000 + position),
        source: Source::of("till"),
        data: Data::of(&position),
        attributes: Attributes::default(),
    }
}

/// Ten events, the first of them completed; a service, and a parked lane.
fn fill(store: &mut SqliteStore) {
    let term = store.recover().expect("recovers").term;
    let completion = Completion {
        service: service(),
        position: Position(1),
        key: Key::of("acc-1"),
        version: Version(1),
        ended: Ended::Completed,
        instance: Some(InstanceName::of("accounts-1")),
        epoch: 1,
        attempt: 1,
        time: WallTime(1_700_000_000_000_020),
        produced: vec![Position(2)],
    };
    let lane = LaneRecord {
        service: service(),
        key: Key::of("acc-0"),
        next_version: Version(1),
        failures: 8,
        parked: Some("it does not work".to_owned()),
    };
    let commit = Commit {
        sequence: 1,
        term,
        events: (1..=10).map(|position| event(position).into()).collect(),
        completions: vec![completion],
        services: vec![ServiceRecord {
            name: service(),
            types: vec![Taken { event_type: EventType::of("Paid"), since: Position::ZERO }],
            frontier: Position(1),
        }],
        frontiers: Vec::new(),
        lanes: vec![LaneChange::Put(lane)],
    };
    store.commit(&commit).expect("follows all rules");
}

/// A file as a Dacapo of this schema left it.
fn as_of(version: i32) -> PathBuf {
    let path = fresh(&format!("v{version}"));
    let now = path.with_extension("now");
    let options = Options { synchronous: Synchronous::Off, ..Options::default() };
    fill(&mut SqliteStore::open_with(&now, options).expect("can be made"));
    former::write_as_of(version, &now, &path, &Options::default()).expect("can be written");
    path
}

fn schema_of(path: &Path) -> i32 {
    schema::version(&Connection::open(path).expect("is a file")).expect("has a version")
}

#[test]
fn a_store_of_every_former_schema_is_brought_forward_and_keeps_everything() {
    for version in 1..schema::VERSION {
        let path = as_of(version);
        assert_eq!(schema_of(&path), version);
        let reading = SqliteReader::open_read_only(&path).expect_err("a reader changes nothing").to_string();
        assert!(reading.contains(&format!("schema {version}, this one reads {}", schema::VERSION)), "{reading}");

        let mut store = SqliteStore::open(&path).expect("it is brought forward");
        assert_eq!(schema_of(&path), schema::VERSION);
        store.check().expect("and is sound");
        let recovered = store.recover().expect("recovers");
        assert_eq!((recovered.term.0, recovered.position), (2, Position(10)), "the term goes on");
        assert_eq!(recovered.services[0].frontier, Position(1));
        assert_eq!(recovered.lanes[0].parked.as_deref(), Some("it does not work"));
        let log = store.query(&Query::default()).expect("reads").events;
        assert_eq!(
            log.iter().map(|event| (**event).clone()).collect::<Vec<_>>(),
            (1..=10).map(event).collect::<Vec<_>>()
        );
        assert_eq!(store.completions(&[Position(1)]).expect("reads")[0].produced, [Position(2)]);

        // It can be written to, and what is new can be kept.
        let attributes = Attributes::default().with("traceparent", "t").expect("is one");
        let more = Event { attributes, ..event(11) };
        let commit =
            Commit { sequence: 1, term: recovered.term, events: vec![more.clone().into()], ..Commit::default() };
        store.commit(&commit).expect("follows all rules");
        drop(store);
        let mut again = SqliteReader::open_read_only(&path).expect("is a store of now");
        let query = Query { cursor: Some(Position(10)), ..Query::default() };
        assert_eq!(*again.query(&query).expect("reads").events[0], more);
    }
}

#[test]
fn a_store_of_a_later_schema_is_refused_and_left_as_it_is() {
    let path = fresh("later");
    drop(SqliteStore::open(&path).expect("can be made"));
    let connection = Connection::open(&path).expect("is a file");
    connection.pragma_update(None, "user_version", schema::VERSION + 1).expect("can be set");
    drop(connection);
    let before = std::fs::read(&path).expect("can be read");
    for refused in [
        SqliteStore::open(&path).expect_err("it is newer").to_string(),
        SqliteReader::open_read_only(&path).expect_err("it is newer").to_string(),
    ] {
        assert!(refused.contains("was written by a newer Dacapo"), "{refused}");
        assert!(refused.contains("open it with that version"), "{refused}");
    }
    assert_eq!(std::fs::read(&path).expect("can be read"), before);
}
