//! A store as a Dacapo of a former schema left it, for those who test that such files are brought forward.
//!
//! The tables are made by the steps of then, and get as much of each row as there was a column for. No bus ever does this:
//! a schema only goes forward.

use std::path::Path;

use dacapo_core::store::StoreError;
use rusqlite::OpenFlags;

use super::{Options, error, open, schema};

/// The schema of this build.
pub const SCHEMA: i32 = schema::VERSION;

/// Writes what is in a store, which is on the same file system, into a new file of a former schema.
///
/// # Errors
/// [`StoreError`] if one cannot be read or the other not be written.
pub fn write_as_of(version: i32, store: &Path, to: &Path, options: &Options) -> Result<(), StoreError> {
    let connection = open::connect(to, options, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    open::configure(&connection, options.writer_cache_kib, options)?;
    open::set_up_writer(&connection, options)?;
    schema::migrate_to(&connection, version)?;
    let store = store.to_str().ok_or_else(|| StoreError::NotAStore(format!("{} is no UTF-8", store.display())))?;
    connection.execute("ATTACH ?1 AS later", [store]).map_err(error::map)?;
    let mut tables = vec!["meta", "names", "keys", "correlations", "events", "completions", "services", "lanes"];
    if version >= schema::CHAIN {
        tables.push("chain");
    }
    for table in tables {
        let columns: Vec<String> = connection
            .prepare("SELECT name FROM pragma_table_info(?1, 'main')")
            .and_then(|mut statement| statement.query_map([table], |row| row.get(0)).and_then(Iterator::collect))
            .map_err(error::map)?;
        let columns = columns.join(", ");
        // The steps make rows of their own.
        let copy = format!(
            "DELETE FROM main.{table}; INSERT INTO main.{table} ({columns}) SELECT {columns} FROM later.{table};"
        );
        connection.execute_batch(&copy).map_err(error::map)?;
    }
    connection.execute_batch("DETACH later").map_err(error::map)
}
