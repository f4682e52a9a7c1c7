//! A simulated disk, with the real SQLite on it.
//!
//! The store of a run is the one of production; below it is a VFS whose files are sectors in memory, with everything
//! between a write and the platter in the simulator's hands. Nothing here knows what the files mean.
//!
//! | module | what lives there |
//! |---|---|
//! | `content` | one file's bytes: what is seen, and what is durable |
//! | `directory` | names, and which of them are durable |
//! | `locks` | who holds what |
//! | `trouble` | what is wrong with the disk at the moment |
//! | `model` | the machine: all of it together |
//! | `ffi` | the VFS: the only unsafe code |
//! | `files` | what the store does beside SQLite |
//! | `expected` | what must be in a store |
//! | `older` | stores of former schemas |
//! | `restored` | a backup in the hands of whoever restores it |
//! | [`crash`] | crash runs of the store |
//!
//! SQLite has one generator of random numbers for the whole process. What it draws ends up in the salts of write-ahead
//! logs, and nothing depends on a salt but whether two frames belong together. So runs in several threads share the
//! generator and are the same all the same; where one run at a time has the process, its bytes are too, since each
//! begins by seeding the generator.

mod content;
pub mod crash;
mod directory;
pub(crate) mod expected;
mod ffi;
mod files;
mod locks;
mod model;
pub(crate) mod older;
pub(crate) mod restored;
mod trouble;

use std::sync::{MutexGuard, OnceLock};

use dacapo_backends::{
    SqliteStore,
    sqlite::{Options, Pace, former},
};
use dacapo_core::store::StoreError;
use rusqlite::{Connection, OpenFlags};

use self::{ffi::Vfs, model::Model};
pub(crate) use self::{
    model::Omissions,
    trouble::{Cut, Met, Trouble},
};
use crate::engine::chance::Chance;

/// The name of the store's file.
const FILE: &str = "store.db";
/// The file that a backup beside it has.
pub(crate) const BACKUP: &str = "store.db-backup";
/// The files that are the store.
const OF_STORE: &[&str] = &[FILE, "store.db-wal", "store.db-mark"];
/// What a backup that was not finished may be called.
pub(crate) const UNFINISHED: &[&str] = &["store.db-backup.partial", "store.db-backup.partial-journal"];

/// A disk, which outlives the processes that use it.
pub(crate) struct Disk {
    vfs: Vfs,
}

impl Disk {
    /// An empty disk.
    pub(crate) fn new(chance: &Chance, omissions: Omissions) -> Self {
        let vfs = Vfs::register(Model::new(chance.clone(), omissions));
        ffi::seed_generator(chance.number("generator", &0));
        Self { vfs }
    }

    /// A disk with a store on it that nobody has written to yet.
    pub(crate) fn with_store(chance: &Chance, omissions: Omissions) -> Self {
        /// The same for every run: making the tables costs as much as a few hundred events.
        static TEMPLATE: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
        let template = TEMPLATE.get_or_init(|| {
            let disk = Self::new(&Chance::new(0, None), Omissions::default());
            drop(disk.open(&Options::default()).expect("a healthy disk takes a store"));
            disk.model().files()
        });
        let disk = Self::new(chance, omissions);
        disk.model().load(template);
        disk
    }

    /// A disk with a store of a former schema on it, which holds [`older::content`].
    pub(crate) fn with_older_store(chance: &Chance, omissions: Omissions, schema: i32) -> Self {
        let disk = Self::new(chance, omissions);
        disk.model().load(older::files(schema));
        disk
    }

    /// Has the store's file say that a later build wrote it.
    fn make_newer(&self) -> Result<(), String> {
        let newer = || -> rusqlite::Result<()> {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags_and_vfs(FILE, flags, self.vfs.told().name.as_str())?;
            connection.pragma_update(None, "user_version", former::SCHEMA + 1)
        };
        newer().map_err(|error| error.to_string())
    }

    /// The bytes of the files that are the store.
    pub(crate) fn store_files(&self) -> Vec<Option<Vec<u8>>> {
        OF_STORE.iter().map(|name| self.file(name)).collect()
    }

    /// A disk with this file as its store, and nothing else.
    fn restored(store: &[u8]) -> Self {
        let disk = Self::new(&Chance::new(0, None), Omissions::default());
        disk.model().load(&[(FILE.to_owned(), store.to_vec())]);
        disk
    }

    /// The machine.
    fn model(&self) -> MutexGuard<'_, Model> {
        self.vfs.model()
    }

    /// Opens the store on it, as a process would.
    pub(crate) fn open(&self, options: &Options) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with(FILE, self.told(options))
    }

    /// These settings, and that the store is on this disk.
    pub(crate) fn told(&self, options: &Options) -> Options {
        Options { vfs: Some(self.vfs.told()), ..options.clone() }
    }

    /// A file as processes see it.
    pub(crate) fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.model().file(name).map(<[u8]>::to_vec)
    }

    /// Removes a file, if there is one.
    pub(crate) fn remove(&self, name: &str) {
        // Whoever cannot remove it is dead.
        let _ = self.model().delete(name, true);
    }

    /// Others do this while the next backup is made, every so many steps of SQLite's machine.
    pub(crate) fn meanwhile(&self, steps: i32, others: impl FnMut() + Send + 'static) {
        self.vfs.set_meanwhile(Pace { steps, between: Box::new(others) });
    }

    /// What goes wrong from now on.
    pub(crate) fn set_trouble(&self, trouble: Trouble, now_us: u64) {
        self.model().set_trouble(trouble, now_us);
    }

    /// What the next calls are part of; draws depend on it.
    pub(crate) fn begin(&self, context: u64) {
        self.model().begin(context);
    }

    /// What calls have met since it was last asked.
    pub(crate) fn take_met(&self) -> Met {
        self.model().take_met()
    }

    /// No death in the midst of a call until the trouble is set again.
    pub(crate) fn disarm(&self) {
        self.model().disarm();
    }

    /// Whether the process died in the midst of a call.
    pub(crate) fn is_frozen(&self) -> bool {
        self.model().is_frozen()
    }

    /// The bytes of all files.
    pub(crate) fn size(&self) -> u64 {
        self.model().size()
    }

    /// The process is gone; what it had written is in the system's hands.
    pub(crate) fn kill(&self) {
        self.model().end_life();
    }

    /// The power is gone, and with it whatever was not synced and had no luck.
    pub(crate) fn cut(&self, cut: Cut) {
        self.model().cut(cut);
    }

    /// A bit rots; in which file and where.
    pub(crate) fn rot(&self, identity: u64) -> Option<(String, usize)> {
        self.model().rot(identity)
    }
}
