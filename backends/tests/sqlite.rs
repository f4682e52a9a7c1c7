//! What is true of a store in a file: it keeps everything over a restart, refuses what it must not touch, and tells of
//! damage instead of handing it on.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use dacapo_backends::sqlite::{Options, SqliteReader, SqliteStore, Synchronous};
use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, Key, Position, ServiceName, Source, Term, Version, WallTime,
    store::{
        Commit, Completion, Ended, LaneChange, LaneRecord, LookUp, Page, Query, Read, Reader, ServiceRecord, Store,
        StoreError, Taken,
    },
};
use rusqlite::Connection;

/// A path in the target directory where nothing is yet.
fn fresh(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sqlite").join(name);
    drop(fs::remove_dir_all(&directory));
    fs::create_dir_all(&directory).expect("the target directory can be written to");
    directory.join("bank.db")
}

/// Opens it as a long store is: not read whole.
fn unchecked(path: &Path) -> SqliteStore {
    SqliteStore::open_with(path, Options { check_kib_max: 0, ..Options::default() })
        .expect("the end of the log is sound")
}

fn quick() -> Options {
    Options { synchronous: Synchronous::Off, ..Options::default() }
}

/// The event at a position, on one of 100 keys, in turn.
fn event(position: u64) -> Arc<Event> {
    Arc::new(Event {
        position: Position(position),
        id: EventId::of(format!("event-{position}")),
        event_type: EventType::of(["Opened", "Moved", "Audited"][position as usize % 3]),
        key: Key::of(format!("acc-{}", (position - 1) % 100)),
        version: Version((position - 1) / 100 + 1),
        correlation: CorrelationId::of(format!("correlation-{}", position / 5)),
        causation: (position > 1).then(|| EventId::of(format!("event-{}", position - 1))),
        time: WallTime(1_700_000_000_000_000 + position),
        source: Source::of("accounts"),
        data: Data::of(&format!("payload {position}")),
        attributes: dacapo_core::Attributes::default(),
    })
}

fn commit(term: Term, positions: std::ops::RangeInclusive<u64>) -> Commit {
    Commit { sequence: 1, term, events: positions.map(event).collect(), ..Commit::default() }
}

/// A store with events 1 to `events`, closed again.
fn filled(name: &str, events: u64) -> PathBuf {
    let path = fresh(name);
    let mut store = SqliteStore::open_with(&path, quick()).expect("the file can be made");
    let term = store.recover().expect("a new store recovers").term;
    for first in (1..=events).step_by(1_000) {
        store.commit(&commit(term, first..=events.min(first + 999))).expect("the commit follows all rules");
    }
    path
}

/// What one who writes is told of a short store, which is read whole at the door.
fn at_the_door(path: &Path) -> String {
    SqliteStore::open(path).expect_err("it is refused").to_string()
}

fn refusal(path: &Path) -> String {
    let error = SqliteStore::open(path).expect_err("it is refused");
    let reading = SqliteReader::open_read_only(path).expect_err("readers refuse it too");
    assert_eq!(error, reading, "in the same words");
    error.to_string()
}

#[test]
fn a_reopened_store_keeps_all() {
    let path = fresh("reopened");
    let completion = Completion {
        service: ServiceName::of("accounts"),
        position: Position(2),
        key: event(2).key.clone(),
        version: Version(1),
        ended: Ended::Completed,
        instance: None,
        epoch: 1,
        attempt: 2,
        time: WallTime(3),
        produced: vec![Position(4)],
    };
    let taken = vec![Taken { event_type: EventType::of("Opened"), since: Position::ZERO }];
    let service = ServiceRecord { name: ServiceName::of("accounts"), types: taken, frontier: Position(2) };
    let lane = LaneRecord {
        service: service.name.clone(),
        key: Key::of("acc-0"),
        next_version: Version(1),
        failures: 3,
        parked: Some("poison".to_owned()),
    };
    let term = {
        let mut store = SqliteStore::open(&path).unwrap();
        let term = store.recover().unwrap().term;
        let mut commit = commit(term, 1..=250);
        commit.completions.push(completion.clone());
        commit.services.push(service.clone());
        commit.lanes.push(LaneChange::Put(lane.clone()));
        store.commit(&commit).unwrap();
        term
    };
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.current_term(), Ok(term));
    let recovered = store.recover().unwrap();
    assert_eq!(recovered.term, term.next());
    assert_eq!((recovered.position, recovered.services, recovered.lanes), (Position(250), vec![service], vec![lane]));
    let events: Vec<_> = (1..=250).map(event).collect();
    assert_eq!(store.query(&Query::default()).unwrap().events, events);
    assert_eq!(store.completions(&[Position(2)]), Ok(vec![completion]));
    store.commit(&commit(recovered.term, 251..=260)).unwrap();
}

#[test]
fn two_stores_on_one_file_fence_each_other() {
    let path = fresh("fenced");
    let mut old = SqliteStore::open(&path).unwrap();
    let mine = old.recover().unwrap().term;
    old.commit(&commit(mine, 1..=1)).unwrap();
    let mut new = SqliteStore::open(&path).unwrap();
    let current = new.recover().unwrap().term;
    assert_eq!(old.commit(&commit(mine, 2..=2)), Err(StoreError::Fenced { mine, current }));
    assert_eq!(old.current_term(), Ok(current), "the older bus sees it at its next heartbeat");
    new.commit(&commit(current, 2..=2)).unwrap();
}

#[test]
fn another_process_may_read_while_the_bus_writes() {
    let path = fresh("read-beside");
    let mut store = SqliteStore::open(&path).unwrap();
    let term = store.recover().unwrap().term;
    let mut beside = SqliteReader::open_read_only(&path).unwrap();
    for position in 1..=20 {
        store.commit(&commit(term, position..=position)).unwrap();
        let found = beside.look_up(&LookUp { ids: vec![event(position).id.clone()], ..LookUp::default() }).unwrap();
        assert_eq!(found.ids.len(), 1);
        assert_eq!(beside.current_term(), Ok(term));
    }
    store.recover().expect("an idle reader does not hold recovery up");
    drop(store);
    let mut closed = SqliteReader::open_read_only(&path).expect("a store that no bus has open can be read");
    assert_eq!(closed.query(&Query::default()).unwrap().events.len(), 20);
}

#[test]
fn files_that_are_no_stores_are_refused_with_what_to_do() {
    let path = fresh("not-a-store");
    fs::write(&path, "name,balance\nann,12\n").unwrap();
    let sentence = refusal(&path);
    assert!(sentence.contains("bank.db is not a Dacapo store: it is no SQLite file; give the path of a store"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "name,balance\nann,12\n", "it is left as it was");

    let path = fresh("other-application");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE cats (name TEXT)").unwrap();
    let before = fs::read(&path).unwrap();
    let sentence = refusal(&path);
    assert!(sentence.contains("is the SQLite file of another application; give the path of a store"), "{sentence}");
    assert_eq!(fs::read(&path).unwrap(), before, "it is left as it was");

    let directory = path.parent().unwrap();
    assert!(refusal(directory).contains("is a directory; give the path of a file in it"));

    let nowhere = directory.join("missing").join("bank.db");
    let error = SqliteStore::open(&nowhere).expect_err("there is no directory").to_string();
    assert!(error.contains("there is no directory") && error.contains("make it, or give another path"), "{error}");
    let error = SqliteReader::open_read_only(&nowhere).expect_err("there is no file").to_string();
    assert!(error.contains("does not exist; give the path of a store"), "{error}");
}

#[test]
fn an_empty_file_becomes_a_store() {
    let path = fresh("empty");
    fs::write(&path, "").unwrap();
    let reading = SqliteReader::open_read_only(&path).expect_err("there is nothing to read").to_string();
    assert!(reading.contains("is empty; give the path of a store"), "{reading}");
    assert_eq!(SqliteStore::open(&path).unwrap().recover().unwrap().position, Position::ZERO);
}

#[test]
fn a_newer_schema_is_refused() {
    let path = filled("newer", 10);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let sentence = refusal(&path);
    assert!(sentence.contains("written by a newer Dacapo (schema 99, this one knows up to 6); open it with that"));
}

#[test]
fn a_truncated_file_is_told_at_the_door() {
    let path = filled("truncated", 5_000);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let error = SqliteStore::open(&path).expect_err("half a store is none");
    assert!(matches!(error, StoreError::Damaged(_)), "{error:?}");
    let sentence = error.to_string();
    assert!(sentence.contains("bank.db") && sentence.ends_with("restore it from a backup"), "{sentence}");
}

#[test]
fn a_schema_number_that_nobody_wrote_is_damage() {
    let path = filled("negative-schema", 3);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", -7).unwrap();
    let error = SqliteStore::open(&path).expect_err("it is refused");
    assert!(matches!(&error, StoreError::Damaged(why) if why.contains("number -7")), "{error:?}");
}

#[test]
fn a_damaged_event_is_told_by_its_position_and_never_handed_on() {
    let path = filled("damaged", 300);
    for (position, change) in [
        (150, "UPDATE events SET data = replace(data, 'payload', 'PAYLOAD') WHERE position = 150"),
        (151, "UPDATE events SET time = time + 1 WHERE position = 151"),
        (152, "UPDATE events SET type = type % 3 + 1 WHERE position = 152"),
        (153, "UPDATE events SET data = '{' WHERE position = 153"),
        (154, "UPDATE events SET id = '' WHERE position = 154"),
    ] {
        Connection::open(&path).unwrap().execute(change, []).unwrap();
        assert!(at_the_door(&path).contains("the event at position 150"), "{change}");
        let mut store = unchecked(&path);
        let after = Position(position - 1);
        let read = store.read(&Read::Log { after, types: vec![], limit: 5 });
        let Err(StoreError::Damaged(why)) = read else { panic!("{change} went unnoticed: {read:?}") };
        assert!(why.contains(&format!("the event at position {position}")), "{why}");
        let query = store.query(&Query { cursor: Some(after), limit: 5, ..Query::default() });
        assert!(matches!(query, Err(StoreError::Damaged(_))));
    }
    let mut store = unchecked(&path);
    assert!(store.read(&Read::Log { after: Position(154), types: vec![], limit: 0 }).is_ok(), "the others are whole");
}

#[test]
fn a_missing_event_is_told_as_damage() {
    let path = filled("missing", 300);
    Connection::open(&path).unwrap().execute("DELETE FROM events WHERE position = 200", []).unwrap();
    assert!(at_the_door(&path).contains("the event at position 200 is missing"));
    let mut store = unchecked(&path);
    let read = store.read(&Read::Log { after: Position(190), types: vec![], limit: 0 });
    assert_eq!(read, Err(StoreError::Damaged("the event at position 200 is missing".to_owned())));
}

#[test]
fn a_damaged_last_event_is_told_at_the_door() {
    let path = filled("damaged-end", 300);
    Connection::open(&path).unwrap().execute("UPDATE events SET time = 0 WHERE position = 300", []).unwrap();
    assert!(refusal(&path).contains("the event at position 300 does not match its checksum"));
}

/// The bytes of the file are changed below SQLite, as rot would.
#[test]
fn rot_in_the_file_is_told() {
    let path = filled("rot", 300);
    let mut bytes = fs::read(&path).unwrap();
    let payload = b"payload 150\"";
    let at = bytes.windows(payload.len()).position(|window| window == payload).unwrap();
    bytes[at + 8] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(at_the_door(&path).contains("the event at position 150 does not match its checksum"));
    let mut store = unchecked(&path);
    let found = store.look_up(&LookUp { ids: vec![event(150).id.clone()], ..LookUp::default() });
    assert!(matches!(found, Err(StoreError::Damaged(why)) if why.contains("position 150")));
}

/// What is read is bounded, not the time, since a slow machine must not fail the test.
#[test]
fn opening_and_recovering_a_long_log_does_not_read_it() {
    let path = filled("long", 200_000);
    let size = fs::metadata(&path).unwrap().len();
    let before = bytes_read();
    let mut store = SqliteStore::open(&path).unwrap();
    let recovered = store.recover().unwrap();
    assert_eq!(recovered.position, Position(200_000));
    assert_eq!(SqliteReader::open_read_only(&path).unwrap().current_term(), Ok(recovered.term));
    let taken = vec![Taken { event_type: EventType::of("Opened"), since: Position::ZERO }];
    let service = ServiceName::of("accounts");
    let page = store.read(&Read::Undone { service, after: Position(199_990), types: taken, limit: 100 }).unwrap();
    let Page::Undone { events, .. } = page else { panic!("{page:?}") };
    assert_eq!(events.len(), 3);
    let read = bytes_read() - before;
    assert!(read < size / 20, "{read} bytes of {size} were read");
}

/// What this thread has read from files so far, by the kernel's own count (none where the kernel does not tell).
fn bytes_read() -> u64 {
    let counts = fs::read_to_string("/proc/thread-self/io").unwrap_or_default();
    counts.lines().find_map(|line| line.strip_prefix("rchar: ")).and_then(|count| count.parse().ok()).unwrap_or(0)
}
