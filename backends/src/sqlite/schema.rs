//! The tables, and the steps by which an older file becomes a newer one.
//!
//! What an append costs is the number of pages that it changes, since each goes to the disk twice. Names that many events
//! share, keys and correlations are therefore written once and numbered, in the order in which they come: an index
//! over numbers grows where the recent ones are, one over texts everywhere. A key's row is its head of a few events ago
//! as well, so that a head is a few steps. What each index is for stands beside it. A source or a time range alone has none: such a query
//! walks the log.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use dacapo_core::store::StoreError;

use super::{chain, error};

/// `DCAP` in the file's header: what makes a SQLite file a store of ours.
pub(super) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"DCAP");

/// The steps, in order; `user_version` counts those that a file has taken. A step never changes once released.
const MIGRATIONS: &[&str] = &[
    "
    -- One row: the newest term that was handed out.
    CREATE TABLE meta (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        term INTEGER NOT NULL
    ) STRICT;
    INSERT INTO meta VALUES (1, 0);

    -- Types, sources, services and instances, numbered.
    CREATE TABLE names (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    ) STRICT;

    -- Keys, numbered, each with its head: version and position of its last event, and the last version of each type as
    -- 'type:version type:version …'.
    CREATE TABLE keys (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        version INTEGER NOT NULL,
        head INTEGER NOT NULL,
        by_type TEXT NOT NULL
    ) STRICT;

    CREATE TABLE correlations (
        id INTEGER PRIMARY KEY,
        correlation TEXT NOT NULL UNIQUE
    ) STRICT;

    CREATE TABLE events (
        position INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        type INTEGER NOT NULL,
        key INTEGER NOT NULL,
        version INTEGER NOT NULL,
        correlation INTEGER NOT NULL,
        causation TEXT,
        source INTEGER NOT NULL,
        time INTEGER NOT NULL,
        data TEXT NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT;
    -- An id enters once, for ever; also answers look-ups of ids.
    CREATE UNIQUE INDEX events_id ON events (id);
    -- A version enters once; also reads a key in order.
    CREATE UNIQUE INDEX events_key ON events (key, version);
    -- Reads what a service takes without walking over everything else; the position is in it by itself.
    CREATE INDEX events_type ON events (type);
    -- Also finds what an event caused: cause and effect share their correlation.
    CREATE INDEX events_correlation ON events (correlation);

    -- By position first: completions follow the log, so that they all grow at the same end. The key and the version
    -- are the event's.
    CREATE TABLE completions (
        position INTEGER NOT NULL,
        service INTEGER NOT NULL,
        skipped INTEGER NOT NULL,
        instance INTEGER,
        epoch INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        time INTEGER NOT NULL,
        produced TEXT NOT NULL,
        PRIMARY KEY (position, service)
    ) STRICT, WITHOUT ROWID;

    -- Types as JSON: few, and always read whole.
    CREATE TABLE services (
        name TEXT PRIMARY KEY,
        types TEXT NOT NULL,
        frontier INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- The list of lanes behind.
    CREATE TABLE lanes (
        service TEXT NOT NULL,
        key TEXT NOT NULL,
        next_version INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        parked TEXT,
        PRIMARY KEY (service, key)
    ) STRICT, WITHOUT ROWID;

    -- The log for people with a SQLite shell.
    CREATE VIEW log AS
        SELECT position, events.id, types.name AS type, keys.key, events.version,
            correlations.correlation, causation,
            sources.name AS source, strftime('%FT%TZ', time / 1000000, 'unixepoch') AS time, data
        FROM events
        JOIN keys ON keys.id = events.key
        JOIN correlations ON correlations.id = events.correlation
        JOIN names AS types ON types.id = events.type
        JOIN names AS sources ON sources.id = events.source;
    ",
    "
    -- What a row's fields hash to, so that rot is refused. None in rows that were written before.
    ALTER TABLE meta ADD COLUMN checksum INTEGER;
    ALTER TABLE names ADD COLUMN checksum INTEGER;
    ALTER TABLE keys ADD COLUMN checksum INTEGER;
    ALTER TABLE completions ADD COLUMN checksum INTEGER;
    ALTER TABLE services ADD COLUMN checksum INTEGER;
    ALTER TABLE services ADD COLUMN frontier_checksum INTEGER;
    ALTER TABLE lanes ADD COLUMN checksum INTEGER;
    ",
    "
    -- SHA-256 over the event and the hash of the one before. None in rows that were written before; one row says where
    -- the chain begins, and with which hash over all that was there.
    ALTER TABLE events ADD COLUMN chain BLOB;
    CREATE TABLE chain (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        position INTEGER NOT NULL,
        hash BLOB NOT NULL
    ) STRICT;
    ",
    "
    -- What else a publisher says of an event (traceparent and the like), as JSON; none for most.
    ALTER TABLE events ADD COLUMN attributes TEXT;
    ",
    "
    -- A correlation that bears the id of the event which began it has no row in `correlations`, whose index costs an append
    -- a page: its number is that event's position, negative. So many there are.
    ALTER TABLE meta ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
    DROP VIEW log;
    CREATE VIEW log AS
        SELECT events.position, events.id, types.name AS type, keys.key, events.version,
            coalesce(correlations.correlation, begun.id) AS correlation, events.causation,
            sources.name AS source, strftime('%FT%TZ', events.time / 1000000, 'unixepoch') AS time, events.data
        FROM events
        JOIN keys ON keys.id = events.key
        LEFT JOIN correlations ON correlations.id = events.correlation
        LEFT JOIN events AS begun ON begun.position = -events.correlation
        JOIN names AS types ON types.id = events.type
        JOIN names AS sources ON sources.id = events.source;
    ",
    "
    -- From here on a key's row may be a few events behind its head.
    ",
];

/// The step with which an event has all that the chain is computed from, and with which it begins where there is none yet;
/// its row is computed, not written in SQL.
pub(super) const CHAIN: i32 = 3;

/// The schema of this build.
pub(super) const VERSION: i32 = MIGRATIONS.len() as i32;

/// Takes the steps that the file has not taken, each in a transaction of its own. Another process may be doing the
/// same: the version is read again inside.
pub(super) fn migrate(connection: &Connection) -> Result<(), StoreError> {
    migrate_to(connection, VERSION)
}

/// The same up to an older schema, for tests of the steps that follow it.
pub(super) fn migrate_to(connection: &Connection, last: i32) -> Result<(), StoreError> {
    while version(connection)? < last {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(error::map)?;
        let taken = version(&transaction)?;
        let Ok(number) = usize::try_from(taken) else {
            return Err(StoreError::Damaged(format!("its schema says that it is number {taken}")));
        };
        // Else another process has taken the last one meanwhile.
        if let Some(step) = MIGRATIONS.get(number) {
            transaction.execute_batch(step).map_err(error::map)?;
            if taken == CHAIN {
                chain::begin(&transaction)?;
            }
            transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(error::map)?;
            transaction.pragma_update(None, "user_version", taken + 1).map_err(error::map)?;
        }
        transaction.commit().map_err(error::map)?;
    }
    Ok(())
}

/// How many steps the file has taken.
pub(super) fn version(connection: &Connection) -> Result<i32, StoreError> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(error::map)
}
