//! Tamper evidence: what was altered in a store's file is found, and where.

use std::{fs, path::PathBuf};

use dacapo_backends::{
    SqliteReader, SqliteStore,
    sqlite::{Altered, ChainHead, ChainReport},
};
use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, Key, Position, Source, Version, WallTime, digest,
    store::{Commit, Store as _},
};
use rusqlite::Connection;

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Scratch {
    fn new(test: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("dacapo-chain-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("can be made");
        Self(directory)
    }

    fn path(&self) -> PathBuf {
        self.0.join("bank.db")
    }

    /// Does this to the file, as somebody with a SQLite shell.
    fn tamper(&self, sql: &str) {
        Connection::open(self.path()).expect("opens").execute_batch(sql).expect("is SQL");
    }

    fn verify(&self, expected: Option<ChainHead>) -> ChainReport {
        SqliteReader::open_read_only(self.path())
            .and_then(|mut reader| reader.verify_chain(expected))
            .expect("can be read")
    }

    fn altered(&self, expected: Option<ChainHead>) -> u64 {
        let Altered { position, why } = self.verify(expected).altered.expect("something was altered");
        assert!(!why.is_empty());
        position.0
    }
}

fn event(position: u64, pence: u64) -> Event {
    let key = Key::of(format!("acc-{}", position % 2));
    Event {
        position: Position(position),
        id: EventId::of(format!("e-{position}")),
        event_type: EventType::of("Deposited"),
        key,
        version: Version(position.div_ceil(2)),
        correlation: CorrelationId::of("c"),
        causation: None,
        time: WallTime(position),
        source: Source::of("teller"),
        data: Data::of(&serde_json::json!({ "pence": pence })),
        attributes: dacapo_core::Attributes::default(),
    }
}

/// A store with so many events, behind those that it has.
fn fill(scratch: &Scratch, from: u64, to: u64) {
    let mut store = SqliteStore::open(scratch.path()).expect("opens");
    let term = store.recover().expect("recovers").term;
    for (sequence, first) in (from..=to).step_by(3).enumerate() {
        let events = (first..=to.min(first + 2)).map(|position| event(position, position).into()).collect();
        store.commit(&Commit { sequence: sequence as u64 + 1, term, events, ..Commit::default() }).expect("commits");
    }
}

/// An alteration by somebody who knows about checksums.
fn with_checksum(position: u64, pence: u64) -> String {
    let altered = event(position, pence);
    let (data, checksum) = (altered.data.as_str(), digest::checksum(&altered) as i64);
    format!("UPDATE events SET data = '{data}', checksum = {checksum} WHERE position = {position};")
}

#[test]
fn an_untouched_log_has_the_same_head_for_everyone_and_goes_on_with_it() {
    let (one, other) = (Scratch::new("one"), Scratch::new("other"));
    fill(&one, 1, 20);
    fill(&other, 1, 7);
    fill(&other, 8, 20);
    let head = one.verify(None);
    assert_eq!(head, other.verify(None), "it depends on the events alone, not on commits or lives of the bus");
    assert_eq!((head.head.position, head.altered, head.covered_as_a_whole), (Position(20), None, Position::ZERO));
    fill(&one, 21, 30);
    assert_eq!(one.verify(Some(head.head)).altered, None, "a head that was written down earlier still fits");
    let text = head.head.to_string();
    assert_eq!(text.parse(), Ok(head.head));
    assert!("20".parse::<ChainHead>().is_err() && "20:xy".parse::<ChainHead>().is_err());
}

#[test]
fn the_first_altered_event_is_found_though_its_checksum_fits() {
    let scratch = Scratch::new("altered");
    fill(&scratch, 1, 20);
    scratch.tamper(&format!("{}{}", with_checksum(15, 0), with_checksum(9, 1_000_000)));
    assert_eq!(scratch.altered(None), 9);
}

#[test]
fn what_was_taken_out_put_in_or_exchanged_is_found() {
    for (test, sql, at) in [
        ("hash", "UPDATE events SET chain = zeroblob(32) WHERE position = 12", 12),
        ("no-hash", "UPDATE events SET chain = NULL WHERE position = 12", 12),
        ("cut", "DELETE FROM events WHERE position = 12", 12),
        ("time", "UPDATE events SET time = 77 WHERE position = 12", 12),
        ("beginning", "UPDATE chain SET position = 5", 5),
    ] {
        let scratch = Scratch::new(test);
        fill(&scratch, 1, 20);
        scratch.tamper(sql);
        assert_eq!(scratch.altered(None), at, "{sql}");
    }
}

#[test]
fn a_chain_that_was_computed_anew_does_not_fit_the_head_that_somebody_wrote_down() {
    let scratch = Scratch::new("anew");
    fill(&scratch, 1, 20);
    let head = scratch.verify(None).head;
    // All from 9 on written anew, by somebody who has this very program.
    let forged = Scratch::new("forged");
    let mut store = SqliteStore::open(forged.path()).expect("opens");
    let term = store.recover().expect("recovers").term;
    let events =
        (1..=20).map(|position| event(position, if position == 9 { 1_000_000 } else { position }).into()).collect();
    store.commit(&Commit { sequence: 1, term, events, ..Commit::default() }).expect("commits");
    drop(store);
    assert_eq!(forged.verify(None).altered, None, "by itself it cannot be told from a true one");
    assert_eq!(forged.altered(Some(head)), 20);

    let short = Scratch::new("short");
    fill(&short, 1, 18);
    assert_eq!(short.altered(Some(head)), 19, "an end that was cut off is missed by the head");
}

#[test]
fn a_file_from_before_the_chain_is_brought_up_to_date_and_its_old_events_are_covered_as_a_whole() {
    let (old, new) = (Scratch::new("old"), Scratch::new("new"));
    fill(&old, 1, 20);
    fill(&new, 1, 30);
    // As the schema before had it.
    old.tamper(
        "DROP TABLE chain; ALTER TABLE meta DROP COLUMN begun; ALTER TABLE events DROP COLUMN chain; ALTER TABLE events DROP COLUMN attributes;
         PRAGMA user_version = 2;",
    );
    let refused = SqliteReader::open_read_only(old.path()).expect_err("readers do not migrate").to_string();
    assert!(refused.contains("older Dacapo") && refused.contains("dacapo serve"), "{refused}");
    fill(&old, 21, 30);
    let report = old.verify(None);
    assert_eq!((report.altered.clone(), report.covered_as_a_whole), (None, Position(20)));
    assert_eq!(report.head, new.verify(None).head, "as if it had had the chain from the beginning");

    old.tamper(&with_checksum(9, 1_000_000));
    let altered = old.verify(None).altered.expect("it is found");
    assert_eq!(altered.position, Position(20));
    assert!(altered.why.contains("from 1 to 20"), "{altered:?}");
}
