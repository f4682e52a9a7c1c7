//! What the bus reads. Each page costs what it holds, and what it had to pass over on the way, not what the log holds.

use std::{ops::ControlFlow, sync::Arc};

use dacapo_core::{
    Event, Key, Position, ServiceName, Version,
    store::{Page, Read, StoreError, Taken, Undone},
};
use rusqlite::{OptionalExtension, types::Value};

use super::{
    Snapshot, error,
    head::KeyRow,
    scan::{Order, Scan, TAKEN, Types, int},
};
use crate::page::{Room, page_limit};

/// Holds for events that the service has not ended.
pub(super) const NOT_ENDED: &str =
    "NOT EXISTS (SELECT 1 FROM completions WHERE completions.position = events.position AND completions.service = ?)";

/// The number of no name.
const NOBODY: i64 = 0;

/// Whether an index led to events of the right key.
fn check_key<'a>(key: &Key, events: impl IntoIterator<Item = &'a Arc<Event>>) -> Result<(), StoreError> {
    match events.into_iter().find(|event| event.key != *key) {
        Some(event) => Err(StoreError::Damaged(format!("the index of keys leads from {key} to {}", event.key))),
        None => Ok(()),
    }
}

impl Snapshot<'_> {
    pub(super) fn read(&mut self, read: &Read) -> Result<Page, StoreError> {
        match read {
            Read::Undone { service, after, types, limit } => {
                let scan = Scan::log(Order::Oldest)
                    .and(NOT_ENDED, self.number_of(service)?)
                    .and("events.position > ?", int(after.0));
                let taken = self.taken(types)?;
                let positions = self.positions_of(&scan, &taken, page_limit(*limit))?;
                let end = self.end()?;
                self.undone(&positions, types, end, *limit)
            }
            Read::Lane { service, key, after, through, types, limit } => {
                let end = self.end()?.min(*through);
                let positions = match self.key_number(key)? {
                    None => Vec::new(),
                    Some(number) => {
                        let scan = Scan::key(number, Order::Oldest)
                            .and("events.version > ?", int(after.0))
                            .and("events.position <= ?", int(through.0))
                            .and(TAKEN, self.taken(types)?.json())
                            .and(NOT_ENDED, self.number_of(service)?);
                        self.positions(&scan, page_limit(*limit))?
                    }
                };
                let page = self.undone(&positions, types, end, *limit)?;
                if let Page::Undone { events, .. } = &page {
                    check_key(key, events.iter().map(|undone| &undone.event))?;
                }
                Ok(page)
            }
            Read::Key { key, after, types, limit } => {
                let mut room = Room::new(*limit);
                let mut events = Vec::new();
                if let Some(number) = self.key_number(key)? {
                    let mut scan = Scan::key(number, Order::Oldest).and("events.version > ?", int(after.0));
                    if !types.is_empty() {
                        scan = scan.and(TAKEN, self.types(types)?.json());
                    }
                    events = self.fill(&mut room, &self.positions(&scan, page_limit(*limit))?)?;
                    check_key(key, &events)?;
                }
                let head = self.head(key)?.version;
                Ok(Page::Key { events, head, read_at: self.end()?, more: room.is_full() })
            }
            Read::Log { after, types, limit } => {
                let end = self.end()?;
                let mut room = Room::new(*limit);
                let events = if types.is_empty() {
                    // Not a walk over what is there, but over what must be: a gap is damage.
                    let positions: Vec<_> =
                        (after.0..end.0).take(page_limit(*limit)).map(|before| Position(before).next()).collect();
                    self.fill(&mut room, &positions)?
                } else {
                    let scan = Scan::log(Order::Oldest).and("events.position > ?", int(after.0));
                    let types = self.types(types)?;
                    let positions = self.positions_of(&scan, &types, page_limit(*limit))?;
                    self.fill(&mut room, &positions)?
                };
                let last = events.last().map(|event| event.position).filter(|_| room.is_full());
                Ok(Page::Log { through: last.unwrap_or(end), events, more: room.is_full() })
            }
            Read::Keys { after, limit } => {
                let limit = page_limit(*limit);
                let heads = self.keys(after.as_ref().map_or("", Key::as_str), limit)?;
                Ok(Page::Keys { more: heads.len() == limit, heads, read_at: self.end()? })
            }
        }
    }

    /// The events at these positions, as far as there is room.
    pub(super) fn fill(&mut self, room: &mut Room, positions: &[Position]) -> Result<Vec<Arc<Event>>, StoreError> {
        let mut events = Vec::new();
        if !room.is_full() {
            self.events(positions, |event| {
                room.take(&event);
                events.push(event);
                if room.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        }
        Ok(events)
    }

    fn undone(
        &mut self,
        positions: &[Position],
        types: &[Taken],
        end: Position,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let mut room = Room::new(limit);
        let numbers = self.taken(types)?;
        let mut events = Vec::new();
        for event in self.fill(&mut room, positions)? {
            events.push(Undone { previous: self.previous(event.position, &numbers)?, event });
        }
        let last = events.last().map(|undone| undone.event.position).filter(|_| room.is_full());
        Ok(Page::Undone { through: last.unwrap_or(end), events, more: room.is_full() })
    }

    /// The last version of these types before the event at a position, on its key.
    fn previous(&self, position: Position, types: &Types) -> Result<Version, StoreError> {
        let version: Option<i64> = self
            .connection
            .prepare_cached(
                "SELECT earlier.version
                 FROM events AS event JOIN events AS earlier INDEXED BY events_key
                     ON earlier.key = event.key AND earlier.version < event.version
                 WHERE event.position = ?1 AND (?2 ->> CAST(earlier.type AS TEXT)) IS NOT NULL
                 ORDER BY earlier.version DESC LIMIT 1",
            )
            .and_then(|mut statement| statement.query_row((int(position.0), types.json()), |row| row.get(0)).optional())
            .map_err(error::map)?;
        Ok(version.map(|version| Version(version as u64)).unwrap_or_default())
    }

    fn keys(&self, after: &str, limit: usize) -> Result<Vec<(Key, Version)>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT id, version, head, by_type, checksum, key,
                     (SELECT max(events.version) FROM events WHERE events.key = keys.id)
                 FROM keys WHERE key > ?1 ORDER BY key LIMIT ?2",
            )
            .map_err(error::map)?;
        let mut rows = statement.query((after, int(limit as u64))).map_err(error::map)?;
        let mut heads = Vec::new();
        while let Some(row) = rows.next().map_err(error::map)? {
            let last: Option<i64> = row.get(6).map_err(error::map)?;
            let row = KeyRow::read(row).map_err(error::map)?;
            row.check()?;
            let key =
                Key::new(row.key).map_err(|error| StoreError::Damaged(format!("a key cannot be decoded ({error})")))?;
            heads.push((key, Version(last.unwrap_or_default().max(row.version) as u64)));
        }
        Ok(heads)
    }

    /// The number of a key; none if it has no event.
    pub(super) fn key_number(&self, key: &Key) -> Result<Option<i64>, StoreError> {
        self.connection
            .prepare_cached("SELECT id FROM keys WHERE key = ?1")
            .and_then(|mut statement| statement.query_row([key.as_str()], |row| row.get(0)).optional())
            .map_err(error::map)
    }

    fn number_of(&mut self, service: &ServiceName) -> Result<Value, StoreError> {
        let number = self.names.find(self.connection, service.as_str())?;
        Ok(Value::Integer(number.unwrap_or(NOBODY)))
    }
}
