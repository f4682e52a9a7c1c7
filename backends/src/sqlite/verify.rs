//! Checking a whole file: every page, every index against its table, every row against its seal, every head against the
//! log. It costs as much as reading all of it, so opening does it for small files only.

use dacapo_core::{Key, Position, store::StoreError};

use super::{Db, Snapshot, error, head::LAG, recover, seal};

impl Db {
    /// Checks everything; what is found first is told.
    pub(super) fn verify(&mut self) -> Result<(), StoreError> {
        let found: String =
            self.connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(error::map)?;
        if found != "ok" {
            return Err(StoreError::Damaged(found));
        }
        self.names.clear();
        self.snapshot(|snapshot| {
            snapshot.current_term()?;
            snapshot.verify_events()?;
            snapshot.verify_keys()?;
            snapshot.verify_correlations()?;
            snapshot.verify_names()?;
            snapshot.verify_completions()?;
            recover::services(snapshot.connection)?;
            recover::lanes(snapshot.connection).map(drop)
        })
    }

    /// The size of the file, in KiB.
    pub(super) fn size_kib(&self) -> Result<u64, StoreError> {
        let pragma = |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let pages = pragma("page_count").map_err(error::map)?;
        let bytes = pragma("page_size").map_err(error::map)?;
        Ok((pages * bytes / 1_024) as u64)
    }
}

impl Snapshot<'_> {
    fn verify_events(&mut self) -> Result<(), StoreError> {
        let mut position = Position::ZERO;
        while position < self.end()? {
            position = position.next();
            self.event(position)?;
        }
        Ok(())
    }

    /// Every key's row says what the log said a few events ago, and its head is where the log has it.
    fn verify_keys(&mut self) -> Result<(), StoreError> {
        let mut statement = self
            .connection
            .prepare(
                "SELECT keys.key, keys.version, count(events.position), max(events.version), max(events.position)
                 FROM keys LEFT JOIN events ON events.key = keys.id GROUP BY keys.id",
            )
            .map_err(error::map)?;
        let mut rows = statement.query([]).map_err(error::map)?;
        while let Some(row) = rows.next().map_err(error::map)? {
            let (key, told, count): (String, i64, i64) =
                (row.get(0).map_err(error::map)?, row.get(1).map_err(error::map)?, row.get(2).map_err(error::map)?);
            let (last, end): (Option<i64>, Option<i64>) =
                (row.get(3).map_err(error::map)?, row.get(4).map_err(error::map)?);
            if last != Some(count) || told > count || count - told >= LAG as i64 {
                return Err(StoreError::Damaged(format!("the head of key {key} is not where the log has it")));
            }
            let key =
                Key::new(key).map_err(|error| StoreError::Damaged(format!("a key cannot be decoded ({error})")))?;
            match self.stored_head(&key)? {
                Some((head, _)) if head.version.0 as i64 == count && Some(head.position.0 as i64) == end => {}
                _ => return Err(StoreError::Damaged(format!("the head of key {key} cannot be found by its name"))),
            }
        }
        Ok(())
    }

    /// As many bear the id of the event that began them as were counted.
    fn verify_correlations(&mut self) -> Result<(), StoreError> {
        let (counted, there): (i64, i64) = self
            .connection
            .query_row(
                "SELECT begun, (SELECT count(*) FROM events WHERE correlation = -position) FROM meta",
                [],
                |row| row.try_into(),
            )
            .map_err(error::map)?;
        if counted == there {
            return Ok(());
        }
        Err(StoreError::Damaged(format!(
            "{there} correlations bear the id of their first event, and {counted} were counted"
        )))
    }

    fn verify_names(&mut self) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare("SELECT id, name, checksum FROM names").map_err(error::map)?;
        let mut rows = statement.query([]).map_err(error::map)?;
        while let Some(row) = rows.next().map_err(error::map)? {
            let read = || -> rusqlite::Result<(i64, String, Option<i64>)> { row.try_into() };
            let (id, name, stored) = read().map_err(error::map)?;
            seal::name(id, &name).check(stored, || format!("the name number {id}"))?;
        }
        Ok(())
    }

    fn verify_completions(&mut self) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare("SELECT DISTINCT position FROM completions").map_err(error::map)?;
        let positions: Vec<i64> =
            statement.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(error::map)?;
        let end = self.end()?;
        for position in positions {
            let position = Position(position as u64);
            if position > end {
                return Err(StoreError::Damaged(format!(
                    "position {position} is completed, and the log ends at {end}"
                )));
            }
            self.completions(&[position])?;
        }
        Ok(())
    }
}
