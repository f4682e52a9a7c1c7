//! Opening: which files are taken for stores, and with what settings.
//!
//! Only what can be seen cheaply is checked here: the header, the marks of the file, the last event; of a small file,
//! everything. The rest is checked where it is read.

use std::{fs::File, io::Read as _, path::Path};

use dacapo_core::{Position, store::StoreError};
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use super::{
    Db, Options, Synchronous, checkpoint, error,
    files::{self, directory_of},
    schema::{self, APPLICATION_ID, VERSION},
    spare::Spare,
};

/// What every SQLite file begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Statements that a connection keeps compiled: all that this store ever uses.
const STATEMENTS_MAX: usize = 128;

/// Opens the connection that writes, making a new store where there is none.
pub(super) fn writer(path: &Path, options: &Options, spare: &Spare) -> Result<Connection, StoreError> {
    open_writer(path, options, spare).map_err(|error| told_of(path, error))
}

/// Opens another connection to a store that this process has open.
pub(super) fn reader(path: &Path, options: &Options) -> Result<Connection, StoreError> {
    open_reader(path, options).map_err(|error| told_of(path, error))
}

/// Opens a store of which nothing is known yet, without writing to it.
pub(super) fn existing_reader(path: &Path, options: &Options) -> Result<Connection, StoreError> {
    open_existing_reader(path, options).map_err(|error| told_of(path, error))
}

fn open_writer(path: &Path, options: &Options, spare: &Spare) -> Result<Connection, StoreError> {
    let on_files = options.vfs.is_none();
    if on_files {
        refuse_other_files(path)?;
        let directory = directory_of(path);
        if !directory.is_dir() {
            return not_a_store(format!(
                "{} cannot be opened: there is no directory {}; make it, or give another path",
                path.display(),
                directory.display()
            ));
        }
    }
    let alone = spare.make()?;
    if options.alone && alone.is_none() {
        return not_a_store(format!(
            "{} is open in another process, such as a running bus; ask that one, or end it first",
            path.display()
        ));
    }
    let connection = connect(path, options, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    configure(&connection, options.writer_cache_kib, options)?;
    let marks = marks(&connection, path)?;
    if let Marks::Store { version } = marks {
        refuse_newer(path, version)?;
    }
    set_up_writer(&connection, options)?;
    if let Some(alone) = alone {
        checkpoint::all(&connection)?;
        alone.end()?;
    }
    schema::migrate(&connection)?;
    if matches!(marks, Marks::Fresh) && on_files {
        sync_directory(path)?;
    }
    check_last_event(connection, options)
}

fn open_reader(path: &Path, options: &Options) -> Result<Connection, StoreError> {
    let connection = connect(path, options, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    configure(&connection, options.reader_cache_kib, options)?;
    Ok(connection)
}

fn open_existing_reader(path: &Path, options: &Options) -> Result<Connection, StoreError> {
    let shown = path.display();
    if !options.files().exists(path) {
        return not_a_store(format!("{shown} does not exist; give the path of a store"));
    }
    // Through SQLite alone: this process may have the store open, and a file that is opened and closed in any other way
    // takes the locks of the whole process with it. What is no store is nobody's, and may be looked at.
    let opened = open_reader(path, options).and_then(|connection| Ok((marks(&connection, path)?, connection)));
    let (marks, connection) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            if options.vfs.is_none() {
                refuse_other_files(path)?;
            }
            return Err(error);
        }
    };
    match marks {
        Marks::Fresh => not_a_store(format!("{shown} is empty; give the path of a store that a bus has written to")),
        Marks::Store { version } if version < VERSION => not_a_store(format!(
            "{shown} was written by an older Dacapo (schema {version}, this one reads {VERSION}); \
             let `dacapo serve` open it once, which brings it up to date"
        )),
        Marks::Store { version } => {
            refuse_newer(path, version)?;
            check_last_event(connection, &Options { check_kib_max: 0, ..options.clone() })
        }
    }
}

/// Opens a store in memory.
pub(super) fn in_memory() -> Result<Connection, StoreError> {
    let options = Options::default();
    let connection = Connection::open_in_memory().map_err(error::map)?;
    configure(&connection, options.writer_cache_kib, &options)?;
    schema::migrate(&connection)?;
    Ok(connection)
}

/// Makes the directory entries of the file and of its write-ahead log durable. SQLite does it too where it thinks of
/// it; an entry that is lost takes everything with it.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    files::sync_directory(path).map_err(|error| {
        StoreError::Io(format!("the directory {} cannot be synced: {error}", directory_of(path).display()))
    })
}

/// Looks at the first bytes, before SQLite touches anything.
fn refuse_other_files(path: &Path) -> Result<(), StoreError> {
    let shown = path.display();
    if path.is_dir() {
        return not_a_store(format!("{shown} is a directory; give the path of a file in it"));
    }
    let mut header = Vec::new();
    match File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut header)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => not_a_store(format!("{shown} cannot be read: {error}; check its permissions")),
        Ok(_) if header.is_empty() || header == MAGIC => Ok(()),
        Ok(_) => not_a_store(format!(
            "{shown} is not a Dacapo store: it is no SQLite file; \
             give the path of a store, or of a file that does not exist yet"
        )),
    }
}

pub(super) fn connect(path: &Path, options: &Options, flags: OpenFlags) -> Result<Connection, StoreError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    match &options.vfs {
        None => Connection::open_with_flags(path, flags),
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.name.as_str()),
    }
    .map_err(|error| StoreError::NotAStore(format!("{} cannot be opened: {error}; check the path", path.display())))
}

/// What every connection is set to.
pub(super) fn configure(connection: &Connection, cache_kib: u32, options: &Options) -> Result<(), StoreError> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.busy_timeout(options.busy_timeout).map_err(error::map)?;
    // A statement is planned once, for all values: otherwise SQLite plans it anew whenever a bound value changes.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(error::map)?;
    connection.pragma_update(None, "cache_size", -i64::from(cache_kib)).map_err(error::map)?;
    connection.pragma_update(None, "temp_store", "memory").map_err(error::map)
}

/// What the connection that writes is set to besides.
pub(super) fn set_up_writer(connection: &Connection, options: &Options) -> Result<(), StoreError> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(error::map)?;
    if mode != "wal" {
        return Err(StoreError::Io(format!("the file system does not allow a write-ahead log (it allows {mode})")));
    }
    let synchronous = match options.synchronous {
        Synchronous::Extra => "extra",
        Synchronous::Full => "full",
        Synchronous::Off => "off",
    };
    connection.pragma_update(None, "synchronous", synchronous).map_err(error::map)?;
    // A write-ahead log that a slow reader once made large does not stay large.
    connection.pragma_update(None, "journal_size_limit", 64 << 20).map_err(error::map)
}

/// What the marks in a file say that it is.
enum Marks {
    /// SQLite's, and nothing is in it: a store that was never finished, or about to be made.
    Fresh,
    /// A store.
    Store { version: i32 },
}

fn marks(connection: &Connection, path: &Path) -> Result<Marks, StoreError> {
    let shown = path.display();
    let read = || -> rusqlite::Result<(i32, i32, i64)> {
        let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((application, version, tables))
    };
    match read() {
        Ok((0, 0, 0)) => Ok(Marks::Fresh),
        Ok((APPLICATION_ID, version, _)) => Ok(Marks::Store { version }),
        Ok(_) => not_a_store(format!(
            "{shown} is not a Dacapo store: it is the SQLite file of another application; \
             give the path of a store, or of a file that does not exist yet"
        )),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => not_a_store(format!(
            "{shown} is not a Dacapo store: {error}; give the path of a store, or of a file that does not exist yet"
        )),
        Err(error) => Err(error::map(error)),
    }
}

fn refuse_newer(path: &Path, version: i32) -> Result<(), StoreError> {
    if version <= VERSION {
        return Ok(());
    }
    not_a_store(format!(
        "{} was written by a newer Dacapo (schema {version}, this one knows up to {VERSION}); \
         open it with that version, or a later one",
        path.display()
    ))
}

/// The end of the log is what a power cut or a cut-off copy damages first.
fn check_last_event(connection: Connection, options: &Options) -> Result<Connection, StoreError> {
    let mut db = Db::new(connection);
    if options.check_kib_max > 0 && db.size_kib()? <= options.check_kib_max {
        db.verify()?;
    }
    db.snapshot(|snapshot| {
        snapshot.current_term()?;
        let end = snapshot.end()?;
        if end > Position::ZERO {
            snapshot.event(end)?;
        }
        Ok(())
    })?;
    Ok(db.connection)
}

/// Names the file, where a person has to find it.
fn told_of(path: &Path, error: StoreError) -> StoreError {
    let shown = path.display();
    match error {
        StoreError::Damaged(why) => StoreError::Damaged(format!("{shown}: {why}")),
        StoreError::Io(why) => StoreError::Io(format!("{shown}: {why}")),
        StoreError::Full(why) => StoreError::Full(format!("{shown}: {why}")),
        other => other,
    }
}

fn not_a_store<T>(sentence: String) -> Result<T, StoreError> {
    Err(StoreError::NotAStore(sentence))
}
