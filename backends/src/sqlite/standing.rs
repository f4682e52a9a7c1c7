//! What stands beside the log, for whoever looks at a store from outside: services, lanes behind, how much there is.
//!
//! Nothing here walks the log: each answer costs a few steps in an index, however long it is. Nothing here writes.

use dacapo_core::{
    EventType, Position, Term,
    store::{LaneRecord, ServiceRecord, StoreError},
};

use super::{Snapshot, SqliteReader, error, recover};

/// What stands beside the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The newest term.
    pub term: Term,
    /// Where the log ends.
    pub end: Position,
    /// How many keys have ever had an event.
    pub keys: u64,
    /// How many correlations there are.
    pub correlations: u64,
    /// Every type that an event has, sorted.
    pub types: Vec<EventType>,
    /// The services, by name.
    pub services: Vec<ServiceRecord>,
    /// The list of lanes behind, by service and key.
    pub lanes: Vec<LaneRecord>,
}

impl SqliteReader {
    /// What stands beside the log, of one moment.
    pub fn standing(&mut self) -> Result<Standing, StoreError> {
        self.db.lock().snapshot(standing)
    }
}

fn standing(snapshot: &mut Snapshot<'_>) -> Result<Standing, StoreError> {
    Ok(Standing {
        term: snapshot.current_term()?,
        end: snapshot.end()?,
        keys: snapshot.numbered("SELECT coalesce(max(id), 0) FROM keys")?,
        correlations: snapshot.numbered("SELECT begun + (SELECT coalesce(max(id), 0) FROM correlations) FROM meta")?,
        types: snapshot.all_types()?,
        services: recover::services(snapshot.connection)?,
        lanes: recover::lanes(snapshot.connection)?,
    })
}

impl Snapshot<'_> {
    /// Keys, and the correlations that have rows, are numbered 1, 2, 3, …, and none ever goes.
    fn numbered(&self, sql: &str) -> Result<u64, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)))
            .map(|number| number as u64)
            .map_err(error::map)
    }

    /// From one type to the next in their index, passing over all events between.
    fn all_types(&mut self) -> Result<Vec<EventType>, StoreError> {
        let mut types = Vec::new();
        let mut last = i64::MIN;
        loop {
            let next: Option<i64> = self
                .connection
                .prepare_cached("SELECT min(type) FROM events INDEXED BY events_type WHERE type > ?1")
                .and_then(|mut statement| statement.query_row([last], |row| row.get(0)))
                .map_err(error::map)?;
            let Some(number) = next else { break };
            let name = self.names.name(self.connection, number)?;
            types.push(
                EventType::new(name).map_err(|why| {
                    StoreError::Damaged(format!("the type number {number} cannot be decoded ({why})"))
                })?,
            );
            last = number;
        }
        types.sort_unstable();
        Ok(types)
    }
}
