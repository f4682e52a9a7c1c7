//! Which ids are certainly new.
//!
//! Every publish asks whether its id is in the log, and hardly any is. A Bloom filter over all ids answers that without a
//! step into an index, and without a way to another thread and back: an id that it has not seen is in no event. One that it
//! may have seen is looked up.
//!
//! The connection that writes adds an event's id before the event is committed. Ids from before this process are read once,
//! beside everything else ([`IdReading`]); until that is done nothing is certain. A file that another process has written
//! to meanwhile begins anew with that.

use std::{
    hash::Hasher as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use dacapo_core::{
    EventId, Position,
    digest::StableHasher,
    store::{Commit, Found, Glance, LookUp, StoreError},
};

use super::{Snapshot, error};

/// 512 bits that an id sets and asks: one line of a processor's cache.
type Block = [AtomicU64; 8];

/// The bytes of a block.
const BLOCK: usize = size_of::<Block>();

/// Bits that an id sets in its block.
const BITS: u32 = 5;

/// Ids that a recovery reads itself, some ten milliseconds' worth; more are read beside everything else.
const AT_ONCE: u64 = 10_000;

/// Ids read at a time: a long read would keep the write-ahead log from beginning anew.
const PAGE: i64 = 10_000;

/// The ids in a file's log, and some that are not.
#[derive(Debug)]
pub(super) struct Ids {
    blocks: Box<[Block]>,
    /// The end of the log, as this process has written it.
    end: AtomicU64,
    known: Mutex<Known>,
}

/// How far the filter can be believed.
#[derive(Debug, Default)]
struct Known {
    /// Every id up to the end is in it.
    all: bool,
    /// How often reading has begun anew.
    beginnings: u64,
}

impl Ids {
    /// A filter of about so many KiB. With 8 MiB, of 10 million ids one new one in twenty is looked up all the same.
    pub(super) fn new(kib: u32) -> Self {
        let blocks = (kib as usize * 1_024 / BLOCK).max(1);
        let blocks = std::iter::repeat_with(Block::default).take(blocks).collect();
        Self { blocks, end: AtomicU64::new(0), known: Mutex::new(Known::default()) }
    }

    /// Before the events of a commit enter the log.
    pub(super) fn add_all(&self, commit: &Commit) {
        for event in &commit.events {
            self.add(&event.id);
        }
    }

    /// The commit is in the log.
    pub(super) fn committed(&self, commit: &Commit) {
        if let Some(last) = commit.events.last() {
            self.end.store(last.position.0, Ordering::Release);
        }
    }

    fn add(&self, id: &EventId) {
        let (block, bits) = self.place(id);
        for (word, bits) in block.iter().zip(bits) {
            if bits != 0 {
                word.fetch_or(bits, Ordering::AcqRel);
            }
        }
    }

    fn may_know(&self, id: &EventId) -> bool {
        let (block, bits) = self.place(id);
        block.iter().zip(bits).all(|(word, bits)| word.load(Ordering::Acquire) & bits == bits)
    }

    fn place(&self, id: &EventId) -> (&Block, [u64; 8]) {
        let mut hasher = StableHasher::new(0);
        hasher.write(id.as_str().as_bytes());
        let hash = hasher.finish();
        // The low bits choose the block, others nine bits each within it.
        let block = &self.blocks[hash as usize % self.blocks.len()];
        let mut bits = [0; 8];
        for at in (0..BITS).map(|bit| hash >> (64 - 9 * (bit + 1)) & 511) {
            bits[at as usize / 64] |= 1 << (at % 64);
        }
        (block, bits)
    }

    /// A recovery found the log to end here. What others wrote meanwhile is read, now if it is little.
    pub(super) fn recovered(&self, snapshot: &Snapshot<'_>, end: Position) -> Result<(), StoreError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = Position(if known.all { self.end.load(Ordering::Acquire) } else { 0 });
        known.all &= before == end;
        if !known.all && end.0.saturating_sub(before.0) <= AT_ONCE {
            // A commit whose outcome nobody knew is in it already, whether or not it is in the log.
            for id in snapshot.ids_behind(before.min(end))? {
                self.add(&id);
            }
            known.all = true;
        }
        if !known.all {
            known.beginnings += 1;
        }
        self.end.store(end.0, Ordering::Release);
        Ok(())
    }

    /// Reads the ids that are not known yet, if there are any.
    pub(super) fn reading(&self) -> Option<IdReading<'_>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        (!known.all && known.beginnings > 0).then(|| IdReading {
            ids: self,
            beginning: known.beginnings,
            last: String::new(),
        })
    }
}

impl Glance for Ids {
    fn look_up(&self, look_up: &LookUp) -> Option<Found> {
        let LookUp { ids, heads, completions } = look_up;
        if !heads.is_empty() || !completions.is_empty() {
            return None;
        }
        // First: what is committed from here on was decided by whoever asks.
        let end = self.end.load(Ordering::Acquire);
        if !self.known.lock().unwrap_or_else(PoisonError::into_inner).all || ids.iter().any(|id| self.may_know(id)) {
            return None;
        }
        Some(Found { read_at: Position(end), ..Found::default() })
    }
}

/// The ids of a file, on their way into the filter.
#[derive(Debug)]
pub(super) struct IdReading<'a> {
    ids: &'a Ids,
    beginning: u64,
    /// The last id that was read.
    last: String,
}

impl IdReading<'_> {
    /// Reads some of them; says whether there are more. Those that are committed meanwhile are added by who commits them.
    pub(super) fn go_on(&mut self, snapshot: &Snapshot<'_>) -> Result<bool, StoreError> {
        let page = snapshot.ids_by_name(&self.last)?;
        for id in &page {
            self.ids.add(&decoded(id)?);
        }
        if let Some(last) = page.into_iter().next_back() {
            self.last = last;
            return Ok(true);
        }
        let mut known = self.ids.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Else somebody else has written, after a part of it was read.
        known.all |= known.beginnings == self.beginning;
        Ok(false)
    }
}

impl Snapshot<'_> {
    fn ids_behind(&self, position: Position) -> Result<Vec<EventId>, StoreError> {
        let ids: Vec<String> = self
            .connection
            .prepare_cached("SELECT id FROM events WHERE position > ?1")
            .and_then(|mut statement| statement.query_map([position.0 as i64], |row| row.get(0))?.collect())
            .map_err(error::map)?;
        ids.iter().map(|id| decoded(id)).collect()
    }

    /// From the index alone.
    fn ids_by_name(&self, after: &str) -> Result<Vec<String>, StoreError> {
        self.connection
            .prepare_cached("SELECT id FROM events INDEXED BY events_id WHERE id > ?1 ORDER BY id LIMIT ?2")
            .and_then(|mut statement| statement.query_map((after, PAGE), |row| row.get(0))?.collect())
            .map_err(error::map)
    }
}

fn decoded(id: &str) -> Result<EventId, StoreError> {
    EventId::new(id).map_err(|error| StoreError::Damaged(format!("the id {id} cannot be decoded ({error})")))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use dacapo_core::{
        CorrelationId, Data, Event, EventType, Key, Source, Term, Version, WallTime,
        store::{Reader as _, Store as _},
    };

    use super::*;
    use crate::sqlite::{Options, SqliteStore, Synchronous};

    fn fresh(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("dacapo-ids-{}-{name}", std::process::id()));
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(&directory).unwrap();
        directory.join("bank.db")
    }

    fn open(path: &Path) -> (SqliteStore, Term, Position) {
        let options = Options { synchronous: Synchronous::Off, ..Options::default() };
        let mut store = SqliteStore::open_with(path, options).unwrap();
        let recovered = store.recover().unwrap();
        (store, recovered.term, recovered.position)
    }

    fn id(position: u64) -> EventId {
        EventId::of(format!("e-{position}"))
    }

    fn append(store: &mut SqliteStore, term: Term, from: u64, to: u64) {
        let event = |position| Event {
            position: Position(position),
            id: id(position),
            event_type: EventType::of("Paid"),
            key: Key::of("acc-1"),
            version: Version(position),
            correlation: CorrelationId::of("c-1"),
            causation: None,
            time: WallTime(position),
            source: Source::of("till"),
            data: Data::of(&position),
            attributes: dacapo_core::Attributes::default(),
        };
        let events = (from..=to).map(|position| event(position).into()).collect();
        store.commit(&Commit { sequence: 1, term, events, ..Commit::default() }).unwrap();
    }

    fn glance(store: &SqliteStore, position: u64) -> Option<Found> {
        store.glance().unwrap().look_up(&LookUp { ids: vec![id(position)], ..LookUp::default() })
    }

    #[test]
    fn an_id_that_is_new_is_told_without_reading_and_one_that_is_not_is_looked_up() {
        let (mut store, term, _) = open(&fresh("new"));
        append(&mut store, term, 1, 50);
        assert_eq!(glance(&store, 51).unwrap().read_at, Position(50));
        for position in 1..=50 {
            assert_eq!(glance(&store, position), None, "{position} is in the log");
            let look_up = LookUp { ids: vec![id(position), id(51)], ..LookUp::default() };
            assert_eq!(store.look_up(&look_up).unwrap().ids.len(), 1);
        }
    }

    #[test]
    fn what_asks_for_more_than_ids_is_looked_up() {
        let (store, ..) = open(&fresh("more"));
        let glance = store.glance().unwrap();
        assert_eq!(glance.look_up(&LookUp { heads: vec![Key::of("acc-1")], ..LookUp::default() }), None);
    }

    #[test]
    fn of_a_long_log_nothing_is_certain_until_its_ids_are_read_once() {
        let path = fresh("long");
        let long = AT_ONCE + 5;
        let (mut store, term, _) = open(&path);
        append(&mut store, term, 1, long);
        drop(store);
        let (mut store, term, end) = open(&path);
        assert_eq!(end, Position(long));
        assert_eq!(glance(&store, long + 1), None, "who knows");
        let mut reader = store.reader().unwrap();
        reader.warm_up(&|| false).unwrap();
        assert_eq!(glance(&store, long + 1), None, "it was given up");
        append(&mut store, term, long + 1, long + 1);
        reader.warm_up(&|| true).unwrap();
        assert!((1..=long + 1).all(|position| glance(&store, position).is_none()));
        assert_eq!(glance(&store, long + 2).unwrap().read_at, Position(long + 1));
    }

    #[test]
    fn what_another_process_wrote_meanwhile_is_known_after_the_next_recovery() {
        let path = fresh("meanwhile");
        let (mut one, term, _) = open(&path);
        append(&mut one, term, 1, 3);
        let (mut other, term, _) = open(&path);
        append(&mut other, term, 4, 6);
        assert_eq!(one.recover().unwrap().position, Position(6));
        assert!((1..=6).all(|position| glance(&one, position).is_none()));
        assert_eq!(glance(&one, 7).unwrap().read_at, Position(6));
    }

    #[test]
    fn a_filter_that_is_too_small_says_too_little_and_nothing_wrong() {
        let ids = Ids::new(0);
        ids.known.lock().unwrap().all = true;
        let mut surprised = 0;
        for position in 1..=2_000 {
            surprised += u32::from(!ids.may_know(&id(position)));
            ids.add(&id(position));
            assert!(ids.may_know(&id(position)));
        }
        assert!((10..500).contains(&surprised), "{surprised} of 2,000 in one block");
    }
}
