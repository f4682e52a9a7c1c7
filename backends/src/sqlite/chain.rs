//! Tamper evidence: each event carries a hash over itself and the hash of the one before.
//!
//! An event that was altered, removed, put in or moved, is found by walking the log: the hashes no longer follow from each
//! other. Whoever can write the file can also compute all hashes anew from where he altered it; against that, the *head* (the
//! last position and its hash) is written down elsewhere now and then, and compared later ([`SqliteReader::verify_chain`]
//! takes one). What it does not protect against: a bus that writes other events than it was sent, an end of the log that was
//! cut off behind the newest head anybody wrote down, and changes of what stands beside the log (completions, lanes).
//!
//! In a file from before there was a chain, the events up to then are covered as a whole: their hash was computed when the
//! file was brought up to date, and is compared as one.

use std::fmt;

use dacapo_core::{Event, Position, store::StoreError};
use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest as _, Sha256};

use super::{Db, Snapshot, SqliteReader, error, row::Names};

/// A hash of the chain.
pub(super) type Hash = [u8; 32];

/// Before the first event.
const BEGINNING: Hash = [0; 32];

/// A place of the chain: the hash covers everything up to the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// The last event that it covers.
    pub position: Position,
    /// The hash.
    pub hash: [u8; 32],
}

/// `position:hash`, the hash in hexadecimal digits.
impl fmt::Display for ChainHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.position)?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a text is no head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no head; give one as `dacapo verify` prints it: a position, a colon, and 64 hexadecimal digits")]
pub struct ChainHeadError {
    text: String,
}

impl std::str::FromStr for ChainHead {
    type Err = ChainHeadError;

    fn from_str(text: &str) -> Result<Self, ChainHeadError> {
        let parse = || {
            let (position, digits) = text.split_once(':')?;
            let mut hash = BEGINNING;
            if digits.len() != 2 * hash.len() || !digits.is_ascii() {
                return None;
            }
            for (at, byte) in hash.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
            }
            Some(Self { position: Position(position.parse().ok()?), hash })
        };
        parse().ok_or_else(|| ChainHeadError { text: text.to_owned() })
    }
}

/// What a walk along the chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainReport {
    /// Where the chain ends, as it follows from the events.
    pub head: ChainHead,
    /// Up to here, events are covered as a whole: they are older than the chain.
    pub covered_as_a_whole: Position,
    /// The first thing that is not as it was written.
    pub altered: Option<Altered>,
}

/// Something is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Altered {
    /// The first event that it is about.
    pub position: Position,
    /// What was found there.
    pub why: String,
}

/// The hash of an event that follows the one with this hash; the first one follows 32 bytes of zero.
pub fn follow(before: &[u8; 32], event: &Event) -> [u8; 32] {
    let mut hasher = Sha256::new_with_prefix(before);
    for number in [event.position.0, event.version.0, event.time.0] {
        hasher.update(number.to_le_bytes());
    }
    let causation = event.causation.as_ref().map_or("", |id| id.as_str());
    let texts = [
        event.id.as_str(),
        event.event_type.as_str(),
        event.key.as_str(),
        event.correlation.as_str(),
        causation,
        event.source.as_str(),
        event.data.as_str(),
    ];
    let attributes = event.attributes.iter().flat_map(|(name, value)| [name, value]);
    for text in texts.into_iter().chain(attributes) {
        // With its length, so that nothing can move from one field to the next.
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    hasher.finalize().into()
}

/// The hash that the next event follows, when the log ends here.
pub(super) fn end(connection: &Connection, end: Position) -> Result<Hash, StoreError> {
    stored(connection, end)?.ok_or_else(|| StoreError::Damaged(format!("the hash of the event at {end} is missing")))
}

/// The hash that is stored for a position; none for events that are older than the chain.
fn stored(connection: &Connection, position: Position) -> Result<Option<Hash>, StoreError> {
    let (began, hash) = beginning(connection)?;
    if position <= began {
        return Ok((position == began).then_some(hash));
    }
    connection
        .prepare_cached("SELECT chain FROM events WHERE position = ?1")
        .and_then(|mut statement| statement.query_row([position.0 as i64], |row| row.get(0)).optional())
        .map(Option::flatten)
        .map_err(error::map)
}

fn beginning(connection: &Connection) -> Result<(Position, Hash), StoreError> {
    connection
        .prepare_cached("SELECT position, hash FROM chain")
        .and_then(|mut statement| {
            statement.query_row([], |row| Ok((Position(row.get::<_, i64>(0)? as u64), row.get(1)?)))
        })
        .map_err(error::map)
}

/// Begins the chain of a store that has none: behind whatever it holds.
pub(super) fn begin(connection: &Connection) -> Result<(), StoreError> {
    let begun: i64 = connection.query_row("SELECT count(*) FROM chain", [], |row| row.get(0)).map_err(error::map)?;
    if begun > 0 {
        return Ok(());
    }
    let mut names = Names::default();
    let mut snapshot = Snapshot { connection, names: &mut names };
    let (end, mut hash) = (snapshot.end()?, BEGINNING);
    for position in 1..=end.0 {
        hash = follow(&hash, &*snapshot.event(Position(position))?);
    }
    connection.execute("INSERT INTO chain VALUES (1, ?1, ?2)", (end.0 as i64, hash)).map_err(error::map)?;
    Ok(())
}

impl SqliteReader {
    /// Walks the whole log, and compares each event with its hash, and with a head that was written down elsewhere. It costs as
    /// much as reading all of it.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it cannot be read. What is damaged or altered is in the report.
    pub fn verify_chain(&mut self, expected: Option<ChainHead>) -> Result<ChainReport, StoreError> {
        self.db.lock().verify_chain(expected)
    }
}

impl Db {
    fn verify_chain(&mut self, expected: Option<ChainHead>) -> Result<ChainReport, StoreError> {
        self.names.clear();
        self.snapshot(|snapshot| snapshot.walk_chain(expected))
    }
}

impl Snapshot<'_> {
    fn walk_chain(&mut self, expected: Option<ChainHead>) -> Result<ChainReport, StoreError> {
        let (covered_as_a_whole, _) = beginning(self.connection)?;
        let mut head = ChainHead { position: Position::ZERO, hash: BEGINNING };
        let end = self.end()?;
        let report = |head: ChainHead, found: Option<(Position, String)>| {
            let altered = found.map(|(position, why)| Altered { position, why });
            Ok(ChainReport { head, covered_as_a_whole, altered })
        };
        while head.position < end {
            let position = head.position.next();
            let event = match self.event(position) {
                Ok(event) => event,
                Err(StoreError::Damaged(why)) => return report(head, Some((position, why))),
                Err(error) => return Err(error),
            };
            let hash = follow(&head.hash, &event);
            match stored(self.connection, position)? {
                Some(stored) if stored != hash => {
                    let why = if position == covered_as_a_whole && position > Position(1) {
                        format!("one of the events from 1 to {position} is not what it was when the chain began")
                    } else {
                        "it does not follow from the events before it: it was altered, or something was removed or put in there"
                            .to_owned()
                    };
                    return report(head, Some((position, why)));
                }
                None if position > covered_as_a_whole => {
                    return report(head, Some((position, "its hash is missing".to_owned())));
                }
                _ => {}
            }
            head = ChainHead { position, hash };
            if let Some(expected) = expected.filter(|expected| expected.position == position)
                && expected.hash != hash
            {
                let why = format!(
                    "the chain up to here has another hash than was expected: it was computed anew from an altered event at or before {position}"
                );
                return report(head, Some((position, why)));
            }
        }
        match expected.filter(|expected| expected.position > end) {
            Some(expected) => {
                let why =
                    format!("the log ends at {end}, and was at {} when the head was written down", expected.position);
                report(head, Some((end.next(), why)))
            }
            None => report(head, None),
        }
    }
}
