//! Questions from outside: the condition that leaves least leads, the others are looked at on the way.

use dacapo_core::{
    Position,
    store::{Answer, Query, StoreError},
};
use rusqlite::types::Value;

use super::{
    Snapshot,
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
        let led_by_log =
            query.id.is_none() && query.key.is_none() && query.correlation.is_none() && query.causation.is_none();
        let Some(mut scan) = self.narrowed(lead, query)? else {
            return Ok(Vec::new());
        };
        if query.types.is_empty() {
            return self.positions(&scan, limit);
        }
        let types = self.types(&query.types)?;
        if led_by_log {
            return self.positions_of(&scan, &types, limit);
        }
        scan = scan.and(TAKEN, types.json());
        self.positions(&scan, limit)
    }

    /// The walk that passes over least; none if what it would walk over is not in the store.
    fn lead(&mut self, query: &Query) -> Result<Option<Scan>, StoreError> {
        let order = if query.newest_first { Order::Newest } else { Order::Oldest };
        Ok(if let Some(id) = &query.id {
            Some(Scan::id(id.as_str(), order))
        } else if let Some(key) = &query.key {
            self.key_number(key)?.map(|number| Scan::key(number, order))
        } else if let Some(causation) = &query.causation {
            Some(Scan::causation(causation.as_str(), order))
        } else if let Some(correlation) = &query.correlation {
            Some(Scan::correlation(correlation.as_str(), order))
        } else {
            Some(Scan::log(order))
        })
    }

    /// The walk with every condition but the types; none if one of them can never hold.
    fn narrowed(&mut self, mut scan: Scan, query: &Query) -> Result<Option<Scan>, StoreError> {
        if let Some(Position(cursor)) = query.cursor {
            scan =
                scan.and(if query.newest_first { "events.position < ?" } else { "events.position > ?" }, int(cursor));
        }
        if let (Some(key), Some(_)) = (&query.key, &query.id) {
            let Some(number) = self.key_number(key)? else { return Ok(None) };
            scan = scan.and("events.key = ?", number);
        }
        if let Some(correlation) = &query.correlation {
            scan = scan.and("correlation = ?", correlation.as_str().to_owned());
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
            scan = scan.and("time < ?", Value::Integer(int(until.0)));
        }
        Ok(Some(scan))
    }
}
