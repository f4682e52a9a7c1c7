//! The embedded store: one SQLite file in WAL mode with `synchronous=EXTRA`, written by one bus, readable by others.
//!
//! The log and the bus's own state live in the same file, so that a commit is one transaction. Every row carries a
//! checksum, since SQLite does not check its pages; what is damaged is told when it is read, never handed on. A row that
//! cannot be found, because an index is damaged, is noticed when a small file is opened, or by [`SqliteStore::check`].
//!
//! | module | what lives there |
//! |---|---|
//! | `backup` | a copy of a store that is in use |
//! | [`former`] | files of former schemas, for tests of what becomes of them |
//! | `schema` | the tables, and how an older file becomes a newer one |
//! | `open` | connections: settings, and refusing files that are no store |
//! | `checkpoint` | when the write-ahead log is brought into the file |
//! | `spare`, `mark` | opening after a death without believing a log that the disk does not have, or has no more |
//! | `log` | SQLite's write-ahead log, read without SQLite; `files`: the file system beside SQLite |
//! | `recover` | handing out a term |
//! | `commit` | applying a commit as one transaction |
//! | `look_up`, `read`, `query` | answering; `scan`: the walks over the log that they need |
//! | `ids` | which ids are certainly new |
//! | `row` | events and names, from rows; `head`: a key's row and what came since |
//! | `chain` | tamper evidence: each event's hash over itself and the one before |
//! | `seal` | checksums of the other rows |
//! | `standing` | what stands beside the log, for those who look on |
//! | `verify` | checking a whole file |
//!
//! What this module refuses to do: keep events, or anything that changes without it, in memory to answer from (the log is
//! the truth; that an id is new is all that it knows by heart), retry a commit whose outcome is unknown, or go on after one without recovering.

mod backup;
mod chain;
mod checkpoint;
mod commit;
mod correlation;
mod error;
mod files;
pub mod former;
mod head;
mod ids;
mod log;
mod look_up;
mod mark;
#[cfg(test)]
mod older;
mod open;
mod query;
mod read;
mod recover;
mod row;
mod scan;
mod schema;
mod seal;
mod spare;
mod standing;
#[cfg(test)]
mod tests;
mod verify;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dacapo_core::{
    Position, Term,
    store::{
        Answer, BackedUp, Commit, Completion, Found, Glance, LookUp, Page, Query, Read, Reader, Recovered, Store,
        StoreError,
    },
};
use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use chain::{Altered, ChainHead, ChainHeadError, ChainReport, follow as chained};
use checkpoint::LogLength;
use files::SystemFiles;
pub use files::{Files, Held, Pace, Vfs};
use head::Heads;
use ids::Ids;
use row::Names;
use spare::Spare;
pub use standing::Standing;

/// How far a commit has come when it returns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// It survives a power cut, and so do directory entries.
    #[default]
    Extra,
    /// It survives a power cut once the directory entries are on the disk.
    Full,
    /// It survives a crash of the process, not one of the machine: for tests, and imports that can begin again.
    Off,
}

/// How a file is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// What a commit waits for.
    pub synchronous: Synchronous,
    /// The page cache of the connection that writes, in KiB.
    pub writer_cache_kib: u32,
    /// The page cache of each connection that only reads, in KiB.
    pub reader_cache_kib: u32,
    /// What remembers which ids are certainly new, in KiB.
    pub ids_kib: u32,
    /// How long to wait for a lock that another process holds.
    pub busy_timeout: Duration,
    /// The write-ahead log is brought into the file once it has so many pages. More pages make appends
    /// cheaper and recovery slower.
    pub checkpoint_pages: u32,
    /// A file of at most so many KiB is checked whole when it is opened; 0: none is. Beyond it opening costs the same
    /// however long the log is, and [`SqliteStore::check`] is there for whoever has the time.
    pub check_kib_max: u64,
    /// Open it only if no other process has it open.
    pub alone: bool,
    /// Another file system; none: the operating system's.
    pub vfs: Option<Vfs>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Extra,
            // A balance of an index numbers its pages anew through a number far behind the end, and the commit after it looks through
            // all that is cached for it: a larger cache made appends slower, the system's behind it is quick.
            writer_cache_kib: 8 << 10,
            reader_cache_kib: 8 << 10,
            // Of 10 million ids one new one in twenty is looked up all the same.
            ids_kib: 8 << 10,
            busy_timeout: Duration::from_secs(5),
            checkpoint_pages: 4_096,
            // About a tenth of a second.
            check_kib_max: 8 << 10,
            alone: false,
            vfs: None,
        }
    }
}

impl Options {
    /// The file system that the store is on.
    fn files(&self) -> Arc<dyn Files> {
        self.vfs.as_ref().map_or_else(|| Arc::new(SystemFiles) as Arc<dyn Files>, |vfs| Arc::clone(&vfs.files))
    }
}

/// A connection, with what it has learned.
#[derive(Debug)]
struct Db {
    connection: Connection,
    names: Names,
    /// Of the connection that writes.
    heads: Heads,
    /// Why commits are refused until the next recovery: nobody knows what became of an earlier one.
    unknown_ground: Option<String>,
    /// Of the connection that writes to a file.
    log: Option<LogLength>,
    /// The same one's.
    ids: Option<Arc<Ids>>,
    /// The same one's, of the store's spare. After the connection, so that it is dropped later.
    _hold: Option<Held>,
}

impl Db {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            names: Names::default(),
            heads: Heads::default(),
            unknown_ground: None,
            log: None,
            ids: None,
            _hold: None,
        }
    }

    /// Answers from one state of the log, whatever is committed meanwhile.
    fn snapshot<T>(
        &mut self,
        answer: impl FnOnce(&mut Snapshot<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred).map_err(error::map)?;
        let answer = answer(&mut Snapshot { connection: &transaction, names: &mut self.names })?;
        transaction.commit().map_err(error::map)?;
        Ok(answer)
    }
}

/// One state of the log, to read from.
struct Snapshot<'a> {
    connection: &'a Connection,
    names: &'a mut Names,
}

/// A connection that several handles may share.
#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<Db>>);

impl Shared {
    fn new(connection: Connection) -> Self {
        Self(Arc::new(Mutex::new(Db::new(connection))))
    }

    /// A panic of another holder has rolled its transaction back on its way.
    fn lock(&self) -> MutexGuard<'_, Db> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The version of the SQLite that is compiled in, for those who describe this build.
pub fn version() -> &'static str {
    rusqlite::version()
}

/// Where a store lives.
#[derive(Debug, Clone)]
enum Place {
    Memory,
    File { path: PathBuf, options: Options },
}

/// A store in a SQLite file, or in memory. Clones are handles on the same connection, so that a store in memory can
/// outlive the bus that wrote to it.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    db: Shared,
    /// None in memory.
    ids: Option<Arc<Ids>>,
    place: Place,
}

impl SqliteStore {
    /// Opens the store in this file, or makes a new one if there is no such file or it is empty.
    ///
    /// # Errors
    /// [`StoreError::NotAStore`] for any other file and for one of a newer version, [`StoreError::Damaged`] for a
    /// store that can be seen to be damaged without reading all of it. The sentence says what to do.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, Options::default())
    }

    /// The same with other settings.
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        let path = path.as_ref().to_path_buf();
        let spare = Spare::of(&path, options.files());
        let mut connection = open::writer(&path, &options, &spare)?;
        let mark = (options.synchronous != Synchronous::Off).then(|| spare.mark().clone());
        let log = LogLength::watch(&mut connection, options.checkpoint_pages, mark)?;
        let ids = Arc::new(Ids::new(options.ids_kib));
        let db = Db { log: Some(log), ids: Some(Arc::clone(&ids)), _hold: Some(spare.hold()?), ..Db::new(connection) };
        Ok(Self { db: Shared(Arc::new(Mutex::new(db))), ids: Some(ids), place: Place::File { path, options } })
    }

    /// Checks the whole file: its pages, every index against its table, every row against its checksum, every head
    /// against the log. It costs as much as reading all of it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with what was found first.
    pub fn check(&self) -> Result<(), StoreError> {
        self.db.lock().verify()
    }

    /// A store in memory. Its readers share its one connection and wait for it.
    pub fn open_in_memory() -> Result<Self, StoreError> {
        Ok(Self { db: Shared::new(open::in_memory()?), ids: None, place: Place::Memory })
    }
}

impl Store for SqliteStore {
    fn recover(&mut self) -> Result<Recovered, StoreError> {
        let recovered = self.db.lock().recover()?;
        if let Place::File { path, options: Options { vfs: None, .. } } = &self.place {
            open::sync_directory(path)?;
        }
        Ok(recovered)
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.db.lock().commit(commit)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        let db = match &self.place {
            Place::Memory => self.db.clone(),
            Place::File { path, options } => Shared::new(open::reader(path, options)?),
        };
        Ok(Box::new(SqliteReader { db, ids: self.ids.clone(), place: self.place.clone() }))
    }

    fn glance(&self) -> Option<Arc<dyn Glance>> {
        self.ids.clone().map(|ids| ids as Arc<dyn Glance>)
    }
}

/// Reads a store on a connection of its own, in the bus's process or in another one.
#[derive(Debug)]
pub struct SqliteReader {
    db: Shared,
    /// Of the store in this process that it belongs to.
    ids: Option<Arc<Ids>>,
    place: Place,
}

impl SqliteReader {
    /// Opens the store in this file without ever writing to it, also while a bus writes, be it in this very process.
    ///
    /// # Errors
    /// As [`SqliteStore::open`], and [`StoreError::NotAStore`] for a file that does not exist.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_read_only_with(path, &Options::default())
    }

    /// The same with other settings.
    pub fn open_read_only_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, StoreError> {
        let (path, options) = (path.as_ref().to_path_buf(), options.clone());
        let db = Shared::new(open::existing_reader(&path, &options)?);
        Ok(Self { db, ids: None, place: Place::File { path, options } })
    }

    /// Checks the whole file, as [`SqliteStore::check`] does.
    pub fn check(&mut self) -> Result<(), StoreError> {
        self.db.lock().verify()
    }
}

/// Both ends read alike.
macro_rules! reads {
    ($($handle:ty),*) => {$(
        impl Reader for $handle {
            fn look_up(&mut self, look_up: &LookUp) -> Result<Found, StoreError> {
                if let Some(found) = self.ids.as_ref().and_then(|ids| ids.look_up(look_up)) {
                    return Ok(found);
                }
                self.db.lock().snapshot(|snapshot| snapshot.look_up(look_up))
            }

            fn read(&mut self, read: &Read) -> Result<Page, StoreError> {
                self.db.lock().snapshot(|snapshot| snapshot.read(read))
            }

            fn query(&mut self, query: &Query) -> Result<Answer, StoreError> {
                self.db.lock().snapshot(|snapshot| snapshot.query(query))
            }

            fn completions(&mut self, positions: &[Position]) -> Result<Vec<Completion>, StoreError> {
                self.db.lock().snapshot(|snapshot| snapshot.completions(positions))
            }

            fn current_term(&mut self) -> Result<Term, StoreError> {
                self.db.lock().snapshot(|snapshot| snapshot.current_term())
            }

            fn warm_up(&mut self, go_on: &dyn Fn() -> bool) -> Result<(), StoreError> {
                let Some(mut reading) = self.ids.as_ref().and_then(|ids| ids.reading()) else { return Ok(()) };
                while go_on() && self.db.lock().snapshot(|snapshot| reading.go_on(snapshot))? {}
                Ok(())
            }

            fn back_up(&mut self, to: Option<&Path>, bytes_per_second: Option<u64>) -> Result<BackedUp, StoreError> {
                let Place::File { path, options } = &self.place else {
                    return Err(StoreError::NotAStore(
                        "a store in memory cannot be backed up; give the bus a file".to_owned(),
                    ));
                };
                let to = to.map_or_else(|| backup::name_beside(path, options), Path::to_path_buf);
                backup::back_up(&mut self.db.lock(), &to, options, bytes_per_second)
            }
        }
    )*};
}

reads!(SqliteStore, SqliteReader);
