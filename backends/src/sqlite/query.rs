//! Questions from outside: the condition that leaves least leads, the others are looked at on the way.

use dacapo_core::{
    EventId, Position,
    store::{Answer, Query, StoreError},
};
use rusqlite::OptionalExtension;

use super::{
    Snapshot, correlation, error,
    scan::{Order, Scan, TAKEN, int},
};
use crate::page::{Room, page_limit};

impl Snapshot<'_> {
    pub(super) fn query(&mut self, query: &Query) -> Result<Answer, StoreError> {
        let read_at = self.end()?;
        // One more than fits tells whether there is a next page.
        let positions = self.asked_for(query, page_limit(query.limit) + 1)?;
        let events = self.fill(&mut Room::new(query.limit), &positions)?;
        let next = events.last().map(|event| event.position).filter(|_| events.len() < positions.len());
        Ok(Answer { events, next, read_at })
    }

    fn asked_for(&mut self, query: &Query, limit: usize) -> Result<Vec<Position>, StoreError> {
        let Some(lead) = self.lead(query)? else {
            return Ok(Vec::new());
        };
        let Some(scan) = self.narrowed(lead, query)? else {
            return Ok(Vec::new());
        };
        if query.types.is_empty() {
            return self.positions(&scan, limit);
        }
        let types = self.types(&query.types)?;
        if scan.is_led_by_log() {
            self.positions_of(&scan, &types, limit)
        } else {
            self.positions(&scan.and(TAKEN, types.json()), limit)
        }
    }

    /// The walk that passes over least; none if what it would walk over is not in the store.
    fn lead(&mut self, query: &Query) -> Result<Option<Scan>, StoreError> {
        let order = if query.newest_first { Order::Newest } else { Order::Oldest };
        Ok(if let Some(id) = &query.id {
            Some(Scan::id(id.as_str(), order))
        } else if let Some(key) = &query.key {
            self.key_number(key)?.map(|number| Scan::key(number, order))
        } else if let Some(causation) = &query.causation {
            self.correlation_of(causation)?.map(|number| Scan::correlation(number, order))
        } else if let Some(correlation) = &query.correlation {
            correlation::find(self.connection, correlation)?.map(|number| Scan::correlation(number, order))
        } else {
            Some(Scan::log(order))
        })
    }

    /// The number of an event's correlation; none if there is no such event.
    fn correlation_of(&self, id: &EventId) -> Result<Option<i64>, StoreError> {
        self.connection
            .prepare_cached("SELECT correlation FROM events WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([id.as_str()], |row| row.get(0)).optional())
            .map_err(error::map)
    }

    /// The walk with every condition but the types; none if one of them can never hold.
    fn narrowed(&mut self, mut scan: Scan, query: &Query) -> Result<Option<Scan>, StoreError> {
        if let Some(cursor) = query.cursor {
            scan = self.behind(scan, cursor, query)?;
        }
        if let (Some(key), Some(_)) = (&query.key, &query.id) {
            let Some(number) = self.key_number(key)? else { return Ok(None) };
            scan = scan.and("events.key = ?", number);
        }
        if let Some(correlation) = &query.correlation {
            let Some(number) = correlation::find(self.connection, correlation)? else { return Ok(None) };
            scan = scan.and("events.correlation = ?", number);
        }
        if let Some(causation) = &query.causation {
            scan = scan.and("causation = ?", causation.as_str().to_owned());
        }
        if let Some(source) = &query.source {
            let Some(number) = self.names.find(self.connection, source.as_str())? else { return Ok(None) };
            scan = scan.and("source = ?", number);
        }
        if let Some(from) = query.from {
            scan = scan.and("time >= ?", int(from.0));
        }
        if let Some(until) = query.until {
            scan = scan.and("time < ?", int(until.0));
        }
        Ok(Some(scan))
    }

    /// The walk from a cursor on. One that is led by a key goes by version, so that it needs the cursor's version to
    /// begin there instead of passing over the key's events before it.
    fn behind(&self, scan: Scan, cursor: Position, query: &Query) -> Result<Scan, StoreError> {
        let at_key: Option<i64> = match &query.key {
            Some(key) if query.id.is_none() => self
                .connection
                .prepare_cached(
                    "SELECT version FROM events
                     WHERE position = ?1 AND key = (SELECT id FROM keys WHERE keys.key = ?2)",
                )
                .and_then(|mut statement| {
                    statement.query_row((int(cursor.0), key.as_str()), |row| row.get(0)).optional()
                })
                .map_err(error::map)?,
            _ => None,
        };
        Ok(match (at_key, query.newest_first) {
            (Some(version), false) => scan.and("events.version > ?", version),
            (Some(version), true) => scan.and("events.version < ?", version),
            (None, false) => scan.and("events.position > ?", int(cursor.0)),
            (None, true) => scan.and("events.position < ?", int(cursor.0)),
        })
    }
}
