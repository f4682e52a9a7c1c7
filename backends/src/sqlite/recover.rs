//! Recovering: what was read back is durable before anybody hears of it.

use dacapo_core::{
    Key, Position, ServiceName, Term, Version,
    store::{LaneRecord, Recovered, ServiceRecord, StoreError, service_key},
};
use rusqlite::{Connection, Row, Transaction, TransactionBehavior};

use super::{Db, Snapshot, checkpoint, error, row, seal};

impl Db {
    /// Checkpoints, then hands out a term. The log is not read: the cost does not grow with it.
    ///
    /// The checkpoint comes first because of a commit whose outcome nobody knew: its pages may be in the operating
    /// system's cache, marked as written after a failed sync. Copied into the file they are written again, and that
    /// sync counts.
    pub(super) fn recover(&mut self) -> Result<Recovered, StoreError> {
        self.names.clear();
        self.heads.clear();
        checkpoint::all(&self.connection)?;
        if let Some(log) = &self.log {
            log.emptied()?;
        }
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).map_err(error::map)?;
        let snapshot = Snapshot { connection: &transaction, names: &mut self.names };
        let term = snapshot.current_term()?.0 as i64 + 1;
        transaction
            .execute("UPDATE meta SET term = ?1, checksum = ?2", (term, seal::term(term).close()))
            .map_err(error::map)?;
        let services = services(&transaction)?;
        let mut snapshot = Snapshot { connection: &transaction, names: &mut self.names };
        let mut service_heads = Vec::new();
        for service in &services {
            let key = service_key(&service.name);
            let head = snapshot.head(&key)?;
            if head.version > Version::ZERO {
                service_heads.push((key, head));
            }
        }
        let position = row::end(&transaction)?;
        if let Some(ids) = &self.ids {
            ids.recovered(&Snapshot { connection: &transaction, names: &mut self.names }, position)?;
        }
        let lanes = lanes(&transaction)?;
        transaction.commit().map_err(error::map)?;
        self.unknown_ground = None;
        Ok(Recovered { term: Term(term as u64), position, services, service_heads, lanes })
    }
}

pub(super) fn services(connection: &Connection) -> Result<Vec<ServiceRecord>, StoreError> {
    let decode = |row: &Row<'_>| -> rusqlite::Result<Result<ServiceRecord, String>> {
        let (name, types, frontier): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let stored: (Option<i64>, Option<i64>) = (row.get(3)?, row.get(4)?);
        let sealed = seal::service(&name, &types)
            .check(stored.0, || format!("the service {name}"))
            .and_then(|()| seal::frontier(&name, frontier).check(stored.1, || format!("the frontier of {name}")));
        if let Err(error) = sealed {
            return Ok(Err(error.to_string()));
        }
        Ok(ServiceName::new(name).map_err(|error| error.to_string()).and_then(|name| {
            let types = serde_json::from_str(&types).map_err(|error| error.to_string())?;
            Ok(ServiceRecord { name, types, frontier: Position(frontier as u64) })
        }))
    };
    all(connection, "SELECT name, types, frontier, checksum, frontier_checksum FROM services ORDER BY name", decode)
}

pub(super) fn lanes(connection: &Connection) -> Result<Vec<LaneRecord>, StoreError> {
    let decode = |row: &Row<'_>| -> rusqlite::Result<Result<LaneRecord, String>> {
        let (service, key): (String, String) = (row.get(0)?, row.get(1)?);
        let (next_version, failures, parked): (i64, u32, Option<String>) = (row.get(2)?, row.get(3)?, row.get(4)?);
        let sealed = seal::lane(&service, &key, next_version, failures, parked.as_deref())
            .check(row.get(5)?, || format!("the lane {key} of {service}"));
        if let Err(error) = sealed {
            return Ok(Err(error.to_string()));
        }
        Ok(ServiceName::new(service).and_then(|service| Key::new(key).map(|key| (service, key))).map_or_else(
            |error| Err(error.to_string()),
            |(service, key)| {
                Ok(LaneRecord { service, key, next_version: Version(next_version as u64), failures, parked })
            },
        ))
    };
    all(
        connection,
        "SELECT service, key, next_version, failures, parked, checksum FROM lanes ORDER BY service, key",
        decode,
    )
}

/// All rows of a table of the bus's own state.
fn all<T>(
    connection: &Connection,
    sql: &str,
    decode: impl FnMut(&Row<'_>) -> rusqlite::Result<Result<T, String>>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(error::map)?;
    let rows = statement.query_map([], decode).map_err(error::map)?;
    rows.map(|row| {
        row.map_err(error::map)?
            .map_err(|why| StoreError::Damaged(format!("a service or lane cannot be decoded ({why})")))
    })
    .collect()
}
