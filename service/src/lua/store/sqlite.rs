//! A state store in a SQLite file of its own: the default.
//!
//! The file belongs to one instance. It is a cache of the log: whoever deletes it loses nothing but the time of a rebuild,
//! so it is not synced at each change (`synchronous=NORMAL` with a write-ahead log keeps transactions whole).

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use dacapo_core::{Key, Position, Version};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::Value;

use super::{
    Change, Opened, Snapshot, StoreError,
    writer::{Keeper, Writer},
};

/// Of the tables below; another one is made anew.
const SCHEMA: i64 = 1;

/// How long a file is waited for that another process has open: one that is ending.
const BUSY: Duration = Duration::from_secs(1);

const TABLES: &str = "
    CREATE TABLE about (one INTEGER PRIMARY KEY CHECK (one = 1), code INTEGER NOT NULL, position INTEGER NOT NULL);
    CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE gathered (key TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE versions (key TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE live (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
";

/// Opens the file, or makes a new one. What another code has made is thrown away.
pub(super) fn open(path: &Path, code: u32) -> Result<Opened, StoreError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    // Two processes on one file would each keep half of the state.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let schema: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let made_by: Option<u32> = match schema {
        SCHEMA => connection.query_row("SELECT code FROM about", [], |row| row.get(0)).optional()?,
        _ => None,
    };
    let snapshot = if made_by == Some(code) {
        load(&connection)?
    } else {
        let transaction = connection.transaction()?;
        for table in ["about", "state", "gathered", "versions", "live"] {
            transaction.execute_batch(&format!("DROP TABLE IF EXISTS {table}"))?;
        }
        transaction.execute_batch(TABLES)?;
        transaction.execute("INSERT INTO about VALUES (1, ?1, 0)", [code])?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
        transaction.commit()?;
        Snapshot::default()
    };
    Ok(Opened { snapshot, store: Arc::new(Writer::start(File(connection))?) })
}

fn load(connection: &Connection) -> Result<Snapshot, StoreError> {
    let mut snapshot = Snapshot {
        position: Position(connection.query_row("SELECT position FROM about", [], |row| row.get::<_, i64>(0))? as u64),
        ..Snapshot::default()
    };
    let mut values = connection.prepare("SELECT key, value FROM state")?;
    for row in values.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))? {
        let (key, text) = row?;
        snapshot.values.insert(key, Arc::new(serde_json::from_str(&text)?));
    }
    let mut gathered = connection.prepare("SELECT key FROM gathered")?;
    snapshot.foreign = gathered.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut versions = connection.prepare("SELECT key, version FROM versions")?;
    for row in versions.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))? {
        let (key, version) = row?;
        snapshot.versions.insert(Key::new(key)?, Version(version as u64));
    }
    let mut live = connection.prepare("SELECT key, value FROM live")?;
    for row in live.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)))? {
        let (key, text) = row?;
        let value: Option<Value> = text.map(|text| serde_json::from_str(&text)).transpose()?;
        snapshot.live.insert(key, value.map(Arc::new).into());
    }
    Ok(snapshot)
}

struct File(Connection);

impl Keeper for File {
    fn keep(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        // The last of a key's values is the one that counts.
        let (mut values, mut versions) = (BTreeMap::new(), BTreeMap::new());
        let transaction = self.0.transaction()?;
        for change in changes {
            values.extend(change.values.iter().map(|(key, value)| (key, value)));
            versions.extend(change.version.iter().map(|(key, version)| (key, version)));
            for key in &change.foreign {
                transaction.prepare_cached("INSERT OR IGNORE INTO gathered VALUES (?1)")?.execute([key])?;
            }
            for (key, kept) in &change.live {
                match kept {
                    Some(live) => {
                        let text = live.value().map(|value| value.to_string());
                        let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO live VALUES (?1, ?2)")?;
                        insert.execute(params![key, text])?;
                    }
                    None => drop(transaction.prepare_cached("DELETE FROM live WHERE key = ?1")?.execute([key])?),
                }
            }
        }
        for (key, value) in values {
            match value {
                Some(value) => {
                    let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO state VALUES (?1, ?2)")?;
                    insert.execute(params![key, value.to_string()])?;
                }
                None => drop(transaction.prepare_cached("DELETE FROM state WHERE key = ?1")?.execute([key])?),
            }
        }
        for (key, version) in versions {
            let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO versions VALUES (?1, ?2)")?;
            insert.execute(params![key.as_str(), version.0 as i64])?;
        }
        if let Some(last) = changes.last() {
            transaction.execute("UPDATE about SET position = ?1", [last.position.0 as i64])?;
        }
        transaction.commit()?;
        Ok(())
    }
}
