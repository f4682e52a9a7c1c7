//! A copy of a store that is in use: of one moment, written as slowly as is asked for, checked before it bears its name.
//!
//! `VACUUM INTO` copies from one read transaction, so that what is committed meanwhile is not in the copy, nothing of it is
//! half in it, and whoever writes is never held up. It also leaves out what is free in the file: a copy is a compacted store.
//! While it runs the write-ahead log cannot be emptied, and grows by what is committed.
//!
//! The copy is made under another name, opened and checked whole like a store that somebody restores, compared with the store
//! that it came from, and synced. Only then does it get its name, and never one that another file has.
//!
//! All of that goes through the store's own file system, so that a simulated disk can fail at every step of it.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use dacapo_core::{
    Position,
    store::{BackedUp, Reader as _, StoreError},
};
use rusqlite::Connection;

use super::{
    Db, Options, Snapshot, SqliteReader, error,
    files::{self, Files, Pace},
    spare::{beside, told},
};

/// How much there is. None of it ever becomes less, but the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    end: Position,
    completions: u64,
    keys: u64,
    services: u64,
    lanes: u64,
}

/// Makes a backup of the store behind this connection.
pub(super) fn back_up(
    from: &mut Db,
    to: &Path,
    options: &Options,
    bytes_per_second: Option<u64>,
) -> Result<BackedUp, StoreError> {
    let files = options.files();
    if files.exists(to) {
        return Err(taken(to));
    }
    let partial = Partial::beside(to, options)?;
    let before = from.snapshot(counts)?;
    copy(&mut from.connection, &partial, bytes_per_second)?;
    let after = from.snapshot(counts)?;
    let mut copied = SqliteReader::open_read_only_with(&partial.path, options)?;
    copied.check()?;
    let copy_counts = copied.db.lock().snapshot(counts)?;
    between(before, copy_counts, after)?;
    same_end(from, &mut copied, copy_counts.end)?;
    drop(copied);
    files.sync(&partial.path).map_err(|error| told(to, &error))?;
    let bytes = files.size(&partial.path).map_err(|error| told(to, &error))?;
    partial.name(to)?;
    let Counts { end, completions, keys, services, lanes } = copy_counts;
    Ok(BackedUp { path: to.to_owned(), position: end, completions, keys, services, lanes, bytes })
}

/// A name beside the store, which belongs to it like that of its log: whoever asks for a backup over the wire has it sent,
/// and it goes.
pub(super) fn name_beside(store: &Path, options: &Options) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push("-backup");
    let path = PathBuf::from(name);
    // Left by a process that died while it was sent.
    let _ = options.files().remove(&path);
    path
}

/// Copies at most so many bytes a second; nobody who commits waits for it in either case, but they share a disk.
fn copy(from: &mut Connection, to: &Partial, bytes_per_second: Option<u64>) -> Result<(), StoreError> {
    let shown = to.path.to_str().ok_or_else(|| {
        StoreError::NotAStore(format!("{} is no UTF-8; give the backup a name that is", to.path.display()))
    })?;
    if let Some(Pace { steps, mut between }) = to.files.pace(&to.path, bytes_per_second) {
        let throttle = move || {
            between();
            false // Go on.
        };
        from.progress_handler(steps, Some(throttle)).map_err(error::map)?;
    }
    let copied = from.execute("VACUUM INTO ?1", [shown]).map_err(error::map);
    from.progress_handler(0, None::<fn() -> bool>).map_err(error::map)?;
    copied.map(drop)
}

/// What was counted in the copy lies between what was counted before and after it was made.
fn between(before: Counts, copied: Counts, after: Counts) -> Result<(), StoreError> {
    let fits = |least: u64, it: u64, most: u64| (least..=most).contains(&it);
    if fits(before.end.0, copied.end.0, after.end.0)
        && fits(before.completions, copied.completions, after.completions)
        && fits(before.keys, copied.keys, after.keys)
        && fits(before.services, copied.services, after.services)
    {
        return Ok(());
    }
    Err(StoreError::Damaged(format!(
        "the backup holds {copied:?}, and the store {before:?} before and {after:?} after it"
    )))
}

/// The last event of the copy is the one that the store has there.
fn same_end(from: &mut Db, copied: &mut SqliteReader, end: Position) -> Result<(), StoreError> {
    if end == Position::ZERO {
        return Ok(());
    }
    let original = from.snapshot(|snapshot| snapshot.event(end))?;
    let copy = copied.db.lock().snapshot(|snapshot| snapshot.event(end))?;
    if original == copy && from.snapshot(|snapshot| snapshot.current_term())? >= copied.current_term()? {
        return Ok(());
    }
    Err(StoreError::Damaged(format!("the backup has another event at its end, position {end}, than the store")))
}

fn counts(snapshot: &mut Snapshot<'_>) -> Result<Counts, StoreError> {
    let count = |sql: &str| {
        let counted = snapshot.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        counted.map(|count| count as u64).map_err(error::map)
    };
    Ok(Counts {
        completions: count("SELECT count(*) FROM completions")?,
        keys: count("SELECT coalesce(max(id), 0) FROM keys")?,
        services: count("SELECT count(*) FROM services")?,
        lanes: count("SELECT count(*) FROM lanes")?,
        end: snapshot.end()?,
    })
}

/// A file that is not finished; gone unless it got its name.
struct Partial {
    path: PathBuf,
    files: Arc<dyn Files>,
}

impl Partial {
    fn beside(to: &Path, options: &Options) -> Result<Self, StoreError> {
        let mut name = to.as_os_str().to_owned();
        if options.vfs.is_none() {
            let directory = files::directory_of(to);
            if !directory.is_dir() {
                let shown = directory.display();
                return Err(StoreError::NotAStore(format!("there is no directory {shown}; make it first")));
            }
            name.push(format!(".{}", std::process::id()));
        }
        name.push(".partial");
        let partial = Self { path: PathBuf::from(name), files: options.files() };
        // Left by a process of this number that is gone.
        partial.remove().map_err(|error| told(&partial.path, &error))?;
        Ok(partial)
    }

    /// Removes it, and the journal that SQLite leaves beside it where it could not even roll back.
    fn remove(&self) -> io::Result<()> {
        self.files.remove(&beside(&self.path, "-journal"))?;
        self.files.remove(&self.path)
    }

    /// Gives it its name, if no file has it. Told only once that is durable; else the name is taken back.
    fn name(self, to: &Path) -> Result<(), StoreError> {
        match self.files.link(&self.path, to) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(taken(to)),
            Err(error) => return Err(told(to, &error)),
        }
        // Also makes the new name durable, which is in the same directory.
        self.remove().map_err(|error| {
            let _ = self.files.remove(to);
            told(to, &error)
        })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It is gone by now, or nobody wants it.
        let _ = self.remove();
    }
}

fn taken(to: &Path) -> StoreError {
    StoreError::NotAStore(format!("{} is there already; a backup overwrites nothing: give another name", to.display()))
}
