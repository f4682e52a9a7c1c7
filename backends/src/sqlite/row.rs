//! Events, heads and names, from rows. Whatever has another shape than it was written in is damaged.

use std::{cmp::Ordering, collections::BTreeMap, fmt::Display, ops::ControlFlow, sync::Arc};

use dacapo_core::{
    Attributes, CorrelationId, Data, Event, EventId, EventType, Key, Position, Source, Version, WallTime, digest,
    store::{KeyHead, StoreError},
};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Snapshot, error, seal};

/// Names remembered per connection; beyond it they are read again.
const NAMES_MAX: usize = 4_096;

/// The numbered names that a connection has seen. They never change, so what was committed once stays right.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_id: BTreeMap<i64, Arc<str>>,
    by_name: BTreeMap<Arc<str>, i64>,
}

impl Names {
    /// Forgets all: after a transaction that was rolled back, for its new names are in no file.
    pub(super) fn clear(&mut self) {
        self.by_id.clear();
        self.by_name.clear();
    }

    /// The name of a number.
    pub(super) fn name(&mut self, connection: &Connection, id: i64) -> Result<Arc<str>, StoreError> {
        if let Some(name) = self.by_id.get(&id) {
            return Ok(Arc::clone(name));
        }
        let row: Option<(String, Option<i64>)> = connection
            .prepare_cached("SELECT name, checksum FROM names WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional())
            .map_err(error::map)?;
        match row {
            Some((name, stored)) => {
                seal::name(id, &name).check(stored, || format!("the name number {id}"))?;
                Ok(self.remember(id, name.into()))
            }
            None => Err(StoreError::Damaged(format!("the name number {id} is missing"))),
        }
    }

    /// The number of a name; none if nothing in the store bears it.
    pub(super) fn find(&mut self, connection: &Connection, name: &str) -> Result<Option<i64>, StoreError> {
        if let Some(id) = self.by_name.get(name) {
            return Ok(Some(*id));
        }
        let row: Option<(i64, Option<i64>)> = connection
            .prepare_cached("SELECT id, checksum FROM names WHERE name = ?1")
            .and_then(|mut statement| statement.query_row([name], |row| Ok((row.get(0)?, row.get(1)?))).optional())
            .map_err(error::map)?;
        let Some((id, stored)) = row else { return Ok(None) };
        seal::name(id, name).check(stored, || format!("the name number {id}"))?;
        self.remember(id, name.into());
        Ok(Some(id))
    }

    /// The number of a name, a new one if it has none. Only within a transaction that writes.
    pub(super) fn intern(&mut self, connection: &Connection, name: &str) -> Result<i64, StoreError> {
        if let Some(id) = self.find(connection, name)? {
            return Ok(id);
        }
        let id: i64 = connection
            .prepare_cached("SELECT coalesce(max(id), 0) + 1 FROM names")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(error::map)?;
        connection
            .prepare_cached("INSERT INTO names (id, name, checksum) VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute((id, name, seal::name(id, name).close())))
            .map_err(error::map)?;
        self.remember(id, name.into());
        Ok(id)
    }

    fn remember(&mut self, id: i64, name: Arc<str>) -> Arc<str> {
        if self.by_id.len() >= NAMES_MAX {
            self.clear();
        }
        self.by_name.insert(Arc::clone(&name), id);
        self.by_id.insert(id, Arc::clone(&name));
        name
    }
}

/// Events between two positions, in order.
const EVENTS: &str = "
    SELECT position, events.id, type, keys.key, events.version,
        CASE
            WHEN events.correlation = -position THEN events.id
            WHEN events.correlation < 0
                THEN (SELECT begun.id FROM events AS begun WHERE begun.position = -events.correlation)
            ELSE (SELECT correlation FROM correlations WHERE correlations.id = events.correlation)
        END,
        causation, source, time, data, events.checksum, attributes
    FROM events CROSS JOIN keys ON keys.id = events.key
    WHERE position BETWEEN ?1 AND ?2
    ORDER BY position";

/// Positions so far apart are read in one walk.
const NEAR: u64 = 4;

fn damaged(position: Position, why: &dyn Display) -> StoreError {
    StoreError::Damaged(format!("the event at position {position} {why}"))
}

impl Snapshot<'_> {
    /// Where the log ends.
    pub(super) fn end(&self) -> Result<Position, StoreError> {
        end(self.connection)
    }

    /// The event at a position where one must be.
    pub(super) fn event(&mut self, position: Position) -> Result<Arc<Event>, StoreError> {
        let mut found = None;
        self.events(&[position], |event| {
            found = Some(event);
            ControlFlow::Continue(())
        })?;
        found.ok_or_else(|| damaged(position, &"is missing"))
    }

    /// The events at these positions, where some must be. Each is handed over, until the taker has enough.
    ///
    /// What ascends and stands close together is read in one walk: to begin one costs as much as to pass over a few rows.
    pub(super) fn events(
        &mut self,
        positions: &[Position],
        mut take: impl FnMut(Arc<Event>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let connection = self.connection;
        for near in
            positions.chunk_by(|one, next| next.0.checked_sub(one.0).is_some_and(|gap| (1..=NEAR).contains(&gap)))
        {
            let (Some(first), Some(last)) = (near.first(), near.last()) else { continue };
            let mut statement = connection.prepare_cached(EVENTS).map_err(error::map)?;
            let mut rows = statement.query([first.0 as i64, last.0 as i64]).map_err(error::map)?;
            for position in near {
                let row = loop {
                    let row = rows.next().map_err(error::map)?.ok_or_else(|| damaged(*position, &"is missing"))?;
                    let at: i64 = row.get(0).map_err(error::map)?;
                    match (at as u64).cmp(&position.0) {
                        Ordering::Less => {}
                        Ordering::Equal => break row,
                        Ordering::Greater => return Err(damaged(*position, &"is missing")),
                    }
                };
                let row = EventRow::read(row)
                    .map_err(|error| damaged(*position, &format_args!("has another shape ({error})")))?;
                if take(self.decoded(*position, row)?).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn decoded(&mut self, position: Position, row: EventRow) -> Result<Arc<Event>, StoreError> {
        let event_type = self.names.name(self.connection, row.event_type)?;
        let source = self.names.name(self.connection, row.source)?;
        let checksum = row.checksum;
        let event = row
            .into_event(position, &event_type, &source)
            .map_err(|error| damaged(position, &format_args!("cannot be decoded ({error})")))?;
        if digest::checksum(&event) as i64 != checksum {
            return Err(damaged(position, &"does not match its checksum"));
        }
        Ok(Arc::new(event))
    }

    /// A key's head; version 0 if the key has no event.
    pub(super) fn head(&mut self, key: &Key) -> Result<KeyHead, StoreError> {
        let Some((head, id)) = self.stored_head(key)? else {
            return Ok(KeyHead::default());
        };
        let mut by_type = Vec::with_capacity(head.by_type.len());
        for (number, version) in head.by_type {
            let name = self.names.name(self.connection, number)?;
            let name = EventType::new(name)
                .map_err(|error| StoreError::Damaged(format!("the head of key {key} cannot be decoded ({error})")))?;
            by_type.push((name, version));
        }
        by_type.sort_unstable();
        Ok(KeyHead { version: head.version, id: Some(id), by_type: Arc::new(by_type) })
    }
}

/// Where the log ends: one step to the last leaf, however long it is.
pub(super) fn end(connection: &Connection) -> Result<Position, StoreError> {
    connection
        .prepare_cached("SELECT coalesce(max(position), 0) FROM events")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map(|end: i64| Position(end as u64))
        .map_err(error::map)
}

/// A row of `events` with its key, before its numbers are names.
struct EventRow {
    id: String,
    event_type: i64,
    key: String,
    version: i64,
    correlation: String,
    causation: Option<String>,
    source: i64,
    time: i64,
    data: String,
    checksum: i64,
    /// As JSON; none if there are none.
    attributes: Option<String>,
}

impl EventRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(1)?,
            event_type: row.get(2)?,
            key: row.get(3)?,
            version: row.get(4)?,
            correlation: row.get(5)?,
            causation: row.get(6)?,
            source: row.get(7)?,
            time: row.get(8)?,
            data: row.get(9)?,
            checksum: row.get(10)?,
            attributes: row.get(11)?,
        })
    }

    fn into_event(self, position: Position, event_type: &Arc<str>, source: &Arc<str>) -> Result<Event, String> {
        fn told(error: impl Display) -> String {
            error.to_string()
        }
        Ok(Event {
            position,
            id: EventId::new(self.id).map_err(told)?,
            event_type: EventType::new(Arc::clone(event_type)).map_err(told)?,
            key: Key::new(self.key).map_err(told)?,
            version: Version(self.version as u64),
            correlation: CorrelationId::new(self.correlation).map_err(told)?,
            causation: self.causation.map(EventId::new).transpose().map_err(told)?,
            time: WallTime(self.time as u64),
            source: Source::new(Arc::clone(source)).map_err(told)?,
            data: Data::from_text(self.data).map_err(told)?,
            attributes: match self.attributes {
                Some(text) => serde_json::from_str(&text).map_err(told)?,
                None => Attributes::default(),
            },
        })
    }
}
