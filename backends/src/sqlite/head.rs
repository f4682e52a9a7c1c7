//! Heads: a key's row, and what came since.
//!
//! A row in `keys` is a key's head as of a few events ago. It is written when the key's first event comes and then once in
//! [`LAG`] events, for a row that changes with every event costs every event a page: the keys of a commit's events lie
//! anywhere. What came since is read from the log through the index of keys. The row keeps watch over that index: where
//! it leads to less than the row knows of, the store is damaged.
//!
//! The connection that writes remembers the heads of the keys that it wrote to last. Nobody else writes between two of its
//! commits, since the term is checked in each.

use std::collections::BTreeMap;

use dacapo_core::{
    EventId, Key, Position, Version,
    store::{Commit, StoreError},
};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Snapshot, error, seal};

/// Events of a key after which its row is written again. More make appends cheaper and look-ups dearer.
pub(super) const LAG: u64 = 8;

/// Heads that the connection that writes remembers, a few hundred bytes each.
const REMEMBERED_MAX: usize = 16_384;

/// A key's head, with names as numbers.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// The key's.
    pub(super) number: i64,
    /// The version that the key's row tells; none if it has no row yet.
    row: Option<Version>,
    pub(super) version: Version,
    /// Of the last event.
    pub(super) position: Position,
    /// The last version of each type.
    pub(super) by_type: Vec<(i64, Version)>,
}

impl Head {
    /// Of a key whose first event is about to come.
    fn new(number: i64) -> Self {
        Self { number, row: None, version: Version::ZERO, position: Position::ZERO, by_type: Vec::new() }
    }

    /// An event came.
    pub(super) fn advance(&mut self, position: Position, version: Version, event_type: i64) {
        (self.version, self.position) = (version, position);
        match self.by_type.iter_mut().find(|(known, _)| *known == event_type) {
            Some((_, last)) => *last = version,
            None => self.by_type.push((event_type, version)),
        }
    }

    /// Writes the key's row, if it is time.
    fn put(&mut self, connection: &Connection, key: &Key) -> Result<(), StoreError> {
        let is_new = match self.row {
            Some(row) if self.version.0 - row.0 < LAG => return Ok(()),
            row => row.is_none(),
        };
        self.row = Some(self.version);
        let (version, position, by_type) = (self.version.0 as i64, self.position.0 as i64, encode(&self.by_type));
        let checksum = seal::key(self.number, key.as_str(), version, position, &by_type).close();
        if is_new {
            connection
                .prepare_cached(
                    "INSERT INTO keys (id, version, head, by_type, checksum, key) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )
                .and_then(|mut statement| {
                    statement.execute((self.number, version, position, by_type, checksum, key.as_str()))
                })
        } else {
            connection
                .prepare_cached("UPDATE keys SET version = ?2, head = ?3, by_type = ?4, checksum = ?5 WHERE id = ?1")
                .and_then(|mut statement| statement.execute((self.number, version, position, by_type, checksum)))
        }
        .map(drop)
        .map_err(error::map)
    }
}

/// The heads that the connection that writes remembers. Whatever it forgets is read again.
#[derive(Debug, Default)]
pub(super) struct Heads {
    known: BTreeMap<Key, Head>,
    /// The number that the next new key takes; none if that is to be read. Keys are never removed.
    next: Option<i64>,
}

impl Heads {
    /// Forgets all: after a transaction that was rolled back, and when somebody else may have written.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A key's head, to append to.
    pub(super) fn of(&mut self, snapshot: &mut Snapshot<'_>, key: &Key) -> Result<&mut Head, StoreError> {
        if !self.known.contains_key(key) {
            let head = match snapshot.stored_head(key)? {
                Some((head, _)) => head,
                None => Head::new(self.take_number(snapshot.connection)?),
            };
            self.known.insert(key.clone(), head);
        }
        Ok(self.known.get_mut(key).expect("it was there, or has just been put there"))
    }

    fn take_number(&mut self, connection: &Connection) -> Result<i64, StoreError> {
        let number = match self.next {
            Some(number) => number,
            None => connection
                .prepare_cached("SELECT coalesce(max(id), 0) + 1 FROM keys")
                .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
                .map_err(error::map)?,
        };
        self.next = Some(number + 1);
        Ok(number)
    }

    /// Writes the rows that are due of the keys that a commit appended to.
    pub(super) fn put(&mut self, connection: &Connection, commit: &Commit) -> Result<(), StoreError> {
        for event in &commit.events {
            // Once for each key: after the last of its events.
            if let Some(head) = self.known.get_mut(&event.key)
                && head.position == event.position
            {
                head.put(connection, &event.key)?;
            }
        }
        if self.known.len() > REMEMBERED_MAX {
            self.known.clear();
        }
        Ok(())
    }
}

impl Snapshot<'_> {
    /// A key's head, and the id of the event there; none if the key has no event.
    pub(super) fn stored_head(&mut self, key: &Key) -> Result<Option<(Head, EventId)>, StoreError> {
        let row: Option<(KeyRow, Pointed)> = self
            .connection
            .prepare_cached(
                "SELECT keys.id, keys.version, head, by_type, keys.checksum, keys.key, events.id, events.version, events.key
                 FROM keys LEFT JOIN events ON events.position = head WHERE keys.key = ?1",
            )
            .and_then(|mut statement| {
                let read = |row: &Row<'_>| Ok((KeyRow::read(row)?, (row.get(6)?, row.get(7)?, row.get(8)?)));
                statement.query_row([key.as_str()], read).optional()
            })
            .map_err(error::map)?;
        let Some((row, pointed)) = row else {
            return Ok(None);
        };
        row.check()?;
        let KeyRow { number, version, position, by_type, .. } = row;
        let damaged = |why: &str| StoreError::Damaged(format!("the head of key {key} {why}"));
        let mut id = match pointed {
            (Some(id), Some(at), Some(of)) if at == version && of == number => {
                EventId::new(id).map_err(|error| damaged(&format!("cannot be decoded ({error})")))?
            }
            _ => return Err(damaged("points to another event")),
        };
        let by_type = decode(&by_type).ok_or_else(|| damaged("cannot be decoded"))?;
        let (version, position) = (Version(version as u64), Position(position as u64));
        let mut head = Head { number, row: Some(version), version, position, by_type };
        for position in self.since(number, version)? {
            let event = self.event(position)?;
            if event.key != *key || event.version != head.version.next() {
                return Err(damaged("is not where the index of keys leads to"));
            }
            let Some(event_type) = self.names.find(self.connection, event.event_type.as_str())? else {
                return Err(damaged("has a type without a number"));
            };
            head.advance(position, event.version, event_type);
            id = event.id.clone();
        }
        Ok(Some((head, id)))
    }

    /// A key's events behind a version, as the index of keys has them.
    fn since(&self, number: i64, version: Version) -> Result<Vec<Position>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT position FROM events INDEXED BY events_key WHERE key = ?1 AND version > ?2 ORDER BY version",
            )
            .and_then(|mut statement| {
                statement.query_map((number, version.0 as i64), |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()
            })
            .map(|positions| positions.into_iter().map(|position| Position(position as u64)).collect())
            .map_err(error::map)
    }
}

/// A row of `keys`.
pub(super) struct KeyRow {
    number: i64,
    pub(super) version: i64,
    position: i64,
    by_type: String,
    checksum: Option<i64>,
    pub(super) key: String,
}

/// Id, version and key of the event that a row points to.
type Pointed = (Option<String>, Option<i64>, Option<i64>);

impl KeyRow {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            version: row.get(1)?,
            position: row.get(2)?,
            by_type: row.get(3)?,
            checksum: row.get(4)?,
            key: row.get(5)?,
        })
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        seal::key(self.number, &self.key, self.version, self.position, &self.by_type)
            .check(self.checksum, || format!("the head of key {}", self.key))
    }
}

/// `type:version type:version …`
fn encode(by_type: &[(i64, Version)]) -> String {
    let parts: Vec<_> = by_type.iter().map(|(event_type, version)| format!("{event_type}:{version}")).collect();
    parts.join(" ")
}

/// The reverse of [`encode`].
fn decode(text: &str) -> Option<Vec<(i64, Version)>> {
    text.split_ascii_whitespace()
        .map(|part| {
            let (event_type, version) = part.split_once(':')?;
            Some((event_type.parse().ok()?, Version(version.parse().ok()?)))
        })
        .collect()
}
