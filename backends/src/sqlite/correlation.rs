//! The numbers of correlations.
//!
//! Most correlations bear the id of the event that began them. The index of ids finds such a one already, so that it needs
//! no row of its own: its number is the position of that event, negative. Every other name has a row in `correlations`,
//! whose number is positive. A name has one number for ever: if it has a row when an event of that id comes, it keeps it,
//! and what an event's id has become the name of gets no row any more.

use dacapo_core::{CorrelationId, Event, store::StoreError};
use rusqlite::{Connection, OptionalExtension};

use super::error;

/// The number of an event's correlation while the event is appended, a new one if this is its first event. Adds to
/// `begun` if the event begins one that bears its id.
pub(super) fn of(connection: &Connection, event: &Event, begun: &mut i64) -> Result<i64, StoreError> {
    let Event { id, correlation, position, .. } = event;
    if correlation.as_str() == id.as_str() {
        let number = named(connection, correlation)?;
        return Ok(number.unwrap_or_else(|| {
            *begun += 1;
            -(position.0 as i64)
        }));
    }
    if let Some(number) = find(connection, correlation)? {
        return Ok(number);
    }
    connection
        .prepare_cached("INSERT INTO correlations (correlation) VALUES (?1)")
        .and_then(|mut statement| statement.insert([correlation.as_str()]))
        .map_err(error::map)
}

/// The number of a correlation; none if it has no event.
pub(super) fn find(connection: &Connection, correlation: &CorrelationId) -> Result<Option<i64>, StoreError> {
    if let Some(number) = named(connection, correlation)? {
        return Ok(Some(number));
    }
    connection
        .prepare_cached("SELECT correlation FROM events WHERE id = ?1 AND correlation = -position")
        .and_then(|mut statement| statement.query_row([correlation.as_str()], |row| row.get(0)).optional())
        .map_err(error::map)
}

/// The number of a correlation that has a row.
fn named(connection: &Connection, correlation: &CorrelationId) -> Result<Option<i64>, StoreError> {
    connection
        .prepare_cached("SELECT id FROM correlations WHERE correlation = ?1")
        .and_then(|mut statement| statement.query_row([correlation.as_str()], |row| row.get(0)).optional())
        .map_err(error::map)
}

/// So many more bear the id of the event that began them.
pub(super) fn count(connection: &Connection, begun: i64) -> Result<(), StoreError> {
    if begun == 0 {
        return Ok(());
    }
    connection
        .prepare_cached("UPDATE meta SET begun = begun + ?1")
        .and_then(|mut statement| statement.execute([begun]))
        .map(drop)
        .map_err(error::map)
}
