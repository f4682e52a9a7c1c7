//! Walks over the log that yield positions, led by an index that is named, never guessed: a walk's cost must not
//! depend on what SQLite's planner thinks of the file.

use dacapo_core::{
    EventType, Position,
    store::{StoreError, Taken},
};
use rusqlite::{params_from_iter, types::Value};

use super::{Snapshot, error};

/// Holds for events of the given types behind their `since`; its value is made by [`Types::json`].
pub(super) const TAKEN: &str = "events.position > (? ->> CAST(events.type AS TEXT))";

/// What leads a walk over the whole log: the table itself.
const LOG: &str = "NOT INDEXED";

/// A number of ours as SQLite has it; what exceeds its range means "as far as possible".
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Types by their numbers, each with the position behind which it counts. Types that no event ever had are left out.
pub(super) struct Types(Vec<(i64, Position)>);

impl Types {
    /// `{"<number>": <since>, …}`
    pub(super) fn json(&self) -> Value {
        let parts: Vec<_> = self.0.iter().map(|(number, since)| format!("\"{number}\":{}", int(since.0))).collect();
        Value::Text(format!("{{{}}}", parts.join(",")))
    }
}

/// In which order a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Oldest,
    Newest,
}

/// A walk: which index leads, and what must hold.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    lead: &'static str,
    sorted_by: &'static str,
    order: Order,
    conditions: Vec<&'static str>,
    values: Vec<Value>,
}

impl Scan {
    fn led_by(lead: &'static str, sorted_by: &'static str, order: Order) -> Self {
        Self { lead, sorted_by, order, conditions: vec!["true"], values: Vec::new() }
    }

    /// Over the whole log.
    pub(super) fn log(order: Order) -> Self {
        Self::led_by(LOG, "position", order)
    }

    /// Whether nothing narrower than the log leads, so that types may.
    pub(super) fn is_led_by_log(&self) -> bool {
        self.lead == LOG
    }

    /// Over one key, by version.
    pub(super) fn key(key: i64, order: Order) -> Self {
        Self::led_by("INDEXED BY events_key", "version", order).and("events.key = ?", key)
    }

    /// Over one correlation.
    pub(super) fn correlation(correlation: i64, order: Order) -> Self {
        Self::led_by("INDEXED BY events_correlation", "position", order).and("events.correlation = ?", correlation)
    }

    /// Over the one event of this id.
    pub(super) fn id(id: &str, order: Order) -> Self {
        Self::led_by("INDEXED BY events_id", "position", order).and("events.id = ?", id.to_owned())
    }

    /// Only where this holds too; it has one `?`.
    #[must_use]
    pub(super) fn and(mut self, condition: &'static str, value: impl Into<Value>) -> Self {
        self.conditions.push(condition);
        self.values.push(value.into());
        self
    }

    fn sql(&self) -> String {
        let Self { lead, sorted_by, order, conditions, .. } = self;
        let direction = if *order == Order::Newest { "DESC" } else { "ASC" };
        let conditions = conditions.join(" AND ");
        format!("SELECT position FROM events {lead} WHERE {conditions} ORDER BY {sorted_by} {direction} LIMIT ?")
    }

    fn values(&self, limit: usize) -> impl Iterator<Item = Value> {
        self.values.iter().cloned().chain([Value::Integer(int(limit as u64))])
    }
}

impl Snapshot<'_> {
    /// The numbers of types that count from the beginning.
    pub(super) fn types(&mut self, types: &[EventType]) -> Result<Types, StoreError> {
        self.numbers(types.iter().map(|event_type| (event_type, Position::ZERO)))
    }

    /// The numbers of types that a service takes.
    pub(super) fn taken(&mut self, types: &[Taken]) -> Result<Types, StoreError> {
        self.numbers(types.iter().map(|taken| (&taken.event_type, taken.since)))
    }

    fn numbers<'a>(&mut self, types: impl Iterator<Item = (&'a EventType, Position)>) -> Result<Types, StoreError> {
        let mut numbers = Vec::new();
        for (event_type, since) in types {
            if let Some(number) = self.names.find(self.connection, event_type.as_str())? {
                numbers.push((number, since));
            }
        }
        Ok(Types(numbers))
    }

    /// The first positions of a walk.
    pub(super) fn positions(&self, scan: &Scan, limit: usize) -> Result<Vec<Position>, StoreError> {
        self.connection
            .prepare_cached(&scan.sql())
            .and_then(|mut statement| {
                let rows = statement.query_map(params_from_iter(scan.values(limit)), |row| row.get::<_, i64>(0))?;
                rows.map(|row| row.map(|position| Position(position as u64))).collect()
            })
            .map_err(error::map)
    }

    /// The first positions of a walk over the whole log, of these types only: one walk for each type, none further
    /// than the others have come, merged.
    pub(super) fn positions_of(&self, scan: &Scan, types: &Types, limit: usize) -> Result<Vec<Position>, StoreError> {
        let mut merged: Vec<Position> = Vec::new();
        for (number, since) in &types.0 {
            let mut scan = Scan { lead: "INDEXED BY events_type", ..scan.clone() }
                .and("events.type = ?", *number)
                .and("events.position > ?", int(since.0));
            if let Some(last) = merged.last().filter(|_| merged.len() == limit) {
                let nearer = if scan.order == Order::Newest { "events.position > ?" } else { "events.position < ?" };
                scan = scan.and(nearer, int(last.0));
            }
            merged.extend(self.positions(&scan, limit)?);
            match scan.order {
                Order::Oldest => merged.sort_unstable(),
                Order::Newest => merged.sort_unstable_by(|a, b| b.cmp(a)),
            }
            merged.dedup();
            merged.truncate(limit);
        }
        Ok(merged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::{SqliteStore, read::NOT_ENDED};

    /// Each kind of walk, with the conditions that bound it.
    fn walks(order: Order) -> Vec<Scan> {
        let by_type = Scan { lead: "INDEXED BY events_type", ..Scan::log(order) }.and("events.type = ?", 1);
        vec![
            Scan::log(order).and("events.position > ?", 5),
            by_type.clone().and("events.position > ?", 5).and(NOT_ENDED, 1),
            by_type.and("events.position < ?", 5),
            Scan::key(1, order).and("events.version > ?", 5).and(TAKEN, Types(Vec::new()).json()).and(NOT_ENDED, 1),
            Scan::key(1, order).and("events.version < ?", 5),
            Scan::correlation(1, order).and("events.position > ?", 5),
            Scan::id("e", order),
        ]
    }

    #[test]
    fn every_walk_follows_an_index_in_its_order_and_sorts_nothing() {
        let store = SqliteStore::open_in_memory().unwrap();
        let db = store.db.lock();
        for order in [Order::Oldest, Order::Newest] {
            for walk in walks(order) {
                let sql = format!("EXPLAIN QUERY PLAN {}", walk.sql());
                let mut statement = db.connection.prepare(&sql).unwrap();
                let steps =
                    statement.query_map(params_from_iter(walk.values(9)), |row| row.get::<_, String>(3)).unwrap();
                let plan: Vec<_> = steps.map(Result::unwrap).collect();
                assert!(plan.iter().all(|step| !step.contains("TEMP B-TREE")), "{sql} sorts: {plan:?}");
                assert!(plan.iter().all(|step| !step.starts_with("SCAN events")), "{sql} scans: {plan:?}");
            }
        }
    }

    #[test]
    fn no_walk_is_planned_anew_for_other_values() {
        let store = SqliteStore::open_in_memory().unwrap();
        let db = store.db.lock();
        for walk in walks(Order::Oldest) {
            let mut statement = db.connection.prepare(&walk.sql()).unwrap();
            for limit in 1..4 {
                let other: Vec<_> = walk
                    .values(limit)
                    .map(|value| match value {
                        Value::Integer(number) => Value::Integer(number + limit as i64),
                        value => value,
                    })
                    .collect();
                statement.query_map(params_from_iter(other), |_| Ok(())).unwrap().for_each(drop);
            }
            assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0, "{}", walk.sql());
        }
    }
}
