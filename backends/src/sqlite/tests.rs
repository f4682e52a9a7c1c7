//! What takes a look inside: a full disk, unknown ground, readers in the way.

use std::{path::PathBuf, sync::Arc, time::Duration};

use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, Key, Position, Source, Term, Version, WallTime,
    store::{Commit, Query, Reader as _, Store as _, StoreError},
};
use rusqlite::Connection;

use super::{Options, SqliteStore};

fn commit(term: Term, position: u64, data: &str) -> Commit {
    let event = Event {
        position: Position(position),
        id: EventId::of(format!("event-{position}")),
        event_type: EventType::of(format!("Type{position}")),
        key: Key::of("acc-1"),
        version: Version(position),
        correlation: CorrelationId::of("c-1"),
        causation: None,
        time: WallTime(1),
        source: Source::of("customer"),
        data: Data::of(data),
        attributes: dacapo_core::Attributes::default(),
    };
    Commit { sequence: 1, term, events: vec![Arc::new(event)], ..Commit::default() }
}

fn length(store: &mut SqliteStore) -> usize {
    store.query(&Query::default()).unwrap().events.len()
}

/// A store in a file with one event, and a second connection to it.
struct Beside {
    store: SqliteStore,
    term: Term,
    other: Connection,
    directory: PathBuf,
}

impl Beside {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("dacapo-{}-{name}", std::process::id()));
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("bank.db");
        let options = Options { busy_timeout: Duration::from_millis(20), ..Options::default() };
        let mut store = SqliteStore::open_with(&path, options).unwrap();
        let term = store.recover().unwrap().term;
        store.commit(&commit(term, 1, "first")).unwrap();
        Self { store, term, other: Connection::open(path).unwrap(), directory }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

#[test]
fn a_full_disk_leaves_nothing_of_the_commit_and_the_store_goes_on() {
    let mut store = SqliteStore::open_in_memory().unwrap();
    let term = store.recover().unwrap().term;
    store.commit(&commit(term, 1, "small")).unwrap();
    let set_pages_max = |store: &SqliteStore, pages: i64| {
        store.db.lock().connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    };
    set_pages_max(&store, 1);
    let outcome = store.commit(&commit(term, 2, &"x".repeat(100_000)));
    assert!(matches!(outcome, Err(StoreError::Full(_))), "{outcome:?}");
    assert_eq!(length(&mut store), 1);
    set_pages_max(&store, 1_000_000);
    store.commit(&commit(term, 2, &"x".repeat(100_000))).expect("space came back");
    assert_eq!(length(&mut store), 2);
}

#[test]
fn after_a_commit_of_unknown_outcome_everything_is_refused_until_recovery() {
    let mut beside = Beside::new("unknown-ground");
    let Beside { store, term, other, .. } = &mut beside;
    let term = *term;
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let outcome = store.commit(&commit(term, 2, "second"));
    assert!(
        matches!(&outcome, Err(StoreError::Io(why)) if why.contains("another process holds a lock")),
        "{outcome:?}"
    );
    other.execute_batch("ROLLBACK").unwrap();
    let outcome = store.commit(&commit(term, 2, "second"));
    assert!(matches!(&outcome, Err(StoreError::Io(why)) if why.ends_with("recover first")), "{outcome:?}");
    let recovered = store.recover().unwrap();
    assert_eq!(recovered.position, Position(1));
    store.commit(&commit(recovered.term, 2, "second")).unwrap();
}

#[test]
fn recovery_waits_for_readers_of_an_old_state_and_says_so() {
    let mut beside = Beside::new("old-state");
    let Beside { store, term, other, .. } = &mut beside;
    other.execute_batch("BEGIN").unwrap();
    other.query_row("SELECT count(*) FROM events", [], |_| Ok(())).unwrap();
    store.commit(&commit(*term, 2, "second")).expect("readers do not hold commits up");
    let outcome = store.recover();
    assert!(matches!(&outcome, Err(StoreError::Io(why)) if why.contains("reading an old state")), "{outcome:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.recover().unwrap().position, Position(2));
}

#[test]
fn the_settings_are_the_promised_ones() {
    let beside = Beside::new("settings");
    let db = beside.store.db.lock();
    let setting = |name: &str| -> String {
        let value = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
        match db.connection.pragma_query_value(None, name, value).unwrap() {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => panic!("{name} is {other:?}"),
        }
    };
    assert_eq!(setting("journal_mode"), "wal");
    assert_eq!(setting("synchronous"), "3", "EXTRA");
    assert_eq!(setting("user_version"), super::schema::VERSION.to_string());
}

#[test]
fn the_view_shows_the_log_to_people() {
    let mut store = SqliteStore::open_in_memory().unwrap();
    let term = store.recover().unwrap().term;
    store.commit(&commit(term, 1, "hello")).unwrap();
    let db = store.db.lock();
    let row: (i64, String, String, String, String) =
        db.connection.query_row("SELECT position, type, key, time, data FROM log", [], |row| row.try_into()).unwrap();
    assert_eq!(row, (1, "Type1".into(), "acc-1".into(), "1970-01-01T00:00:00Z".into(), "\"hello\"".into()));
}

#[test]
fn a_schema_number_below_zero_is_damage_and_not_the_beginning_of_migrations() {
    let beside = Beside::new("schema-below-zero");
    beside.other.pragma_update(None, "user_version", -1).unwrap();
    let refusal = SqliteStore::open(beside.directory.join("bank.db")).unwrap_err();
    assert!(matches!(&refusal, StoreError::Damaged(why) if why.contains("number -1")), "{refusal}");
}

/// What a power cut leaves of a store that has gone through a checkpoint and two commits behind it.
struct Dead {
    directory: PathBuf,
    path: PathBuf,
    log: PathBuf,
}

impl Dead {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("dacapo-{}-{name}", std::process::id()));
        drop(std::fs::remove_dir_all(&directory));
        let living = directory.join("living");
        std::fs::create_dir_all(&living).unwrap();
        let options = Options { checkpoint_pages: 30, ..Options::default() };
        let mut store = SqliteStore::open_with(living.join("bank.db"), options).unwrap();
        let term = store.recover().unwrap().term;
        let log = |store: &SqliteStore| store.db.lock().log.as_ref().unwrap().pages();
        let mut position = 0;
        while log(&store) < 30 {
            position += 1;
            store.commit(&commit(term, position, "before the checkpoint")).unwrap();
        }
        for file in std::fs::read_dir(&living).unwrap() {
            let path = file.unwrap().path();
            // The index of the log lives in memory only.
            if !path.ends_with("bank.db-shm") {
                std::fs::copy(&path, directory.join(path.file_name().unwrap())).unwrap();
            }
        }
        Self { path: directory.join("bank.db"), log: directory.join("bank.db-wal"), directory }
    }

    /// Rot in a byte of the log.
    fn rot(&self, at: usize) {
        let mut content = std::fs::read(&self.log).unwrap();
        content[at] ^= 1;
        std::fs::write(&self.log, content).unwrap();
    }
}

impl Drop for Dead {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

#[test]
fn a_log_that_rotted_where_a_checkpoint_has_been_is_refused() {
    let dead = Dead::new("rotten-log");
    dead.rot(9_000);
    let refusal = SqliteStore::open(&dead.path).unwrap_err();
    assert!(matches!(&refusal, StoreError::Damaged(why) if why.contains("bank.db-wal is readable up to")), "{refusal}");
    assert!(SqliteStore::open(&dead.path).is_err(), "and so it stays");
}

#[test]
fn a_log_that_is_whole_is_taken_and_so_is_one_that_is_gone_after_its_checkpoint() {
    let dead = Dead::new("whole-log");
    let mut store = SqliteStore::open(&dead.path).unwrap();
    store.recover().unwrap();
    assert!(length(&mut store) > 3);
    drop(store);

    let dead = Dead::new("gone-log");
    std::fs::write(&dead.log, []).unwrap();
    let mut store = SqliteStore::open(&dead.path).unwrap();
    assert!(length(&mut store) > 3, "all of it is in the file");
}

#[test]
fn a_correlation_that_bears_the_id_of_its_first_event_is_found_like_any_other() {
    let directory = std::env::temp_dir().join(format!("dacapo-{}-begun", std::process::id()));
    drop(std::fs::remove_dir_all(&directory));
    std::fs::create_dir_all(&directory).unwrap();
    let mut store = SqliteStore::open(directory.join("bank.db")).unwrap();
    let term = store.recover().unwrap().term;
    // (id, correlation): begun by its id, joined in the same commit and in a later one; a name that is given; an id that
    // has been such a name before; an id that belongs elsewhere, and becomes a name later.
    let commits = [
        &[("a", "a"), ("b", "a"), ("c", "given")][..],
        &[("d", "a"), ("given", "given"), ("e", "e")],
        &[("f", "b"), ("g", "b"), ("h", "e")],
    ];
    let mut position = 0;
    let mut all = Vec::new();
    for events in commits {
        let mut whole = Commit { sequence: 1, term, ..Commit::default() };
        for (id, correlation) in events {
            position += 1;
            let template = commit(term, position, "x").events.remove(0);
            let (id, correlation) = (EventId::of(*id), CorrelationId::of(*correlation));
            whole.events.push(Arc::new(Event { id, correlation, ..(*template).clone() }));
        }
        store.commit(&whole).unwrap();
        all.extend(whole.events);
    }
    assert_eq!(store.query(&Query::default()).unwrap().events, all);
    for (correlation, ids) in
        [("a", &["a", "b", "d"][..]), ("given", &["c", "given"]), ("e", &["e", "h"]), ("b", &["f", "g"]), ("c", &[])]
    {
        let query = Query { correlation: Some(CorrelationId::of(correlation)), ..Query::default() };
        let found = store.query(&query).unwrap().events;
        let found: Vec<_> = found.iter().map(|event| event.id.as_str()).collect();
        assert_eq!(found, ids, "{correlation}");
    }
    store.check().unwrap();
    let mut reader = super::SqliteReader::open_read_only(directory.join("bank.db")).unwrap();
    assert_eq!(reader.standing().unwrap().correlations, 4);
    drop((store, reader));
    std::fs::remove_dir_all(directory).unwrap();
}
