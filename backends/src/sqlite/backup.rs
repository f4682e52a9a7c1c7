//! A copy of a store that is in use: of one moment, written as slowly as is asked for, checked before it bears its name.
//!
//! `VACUUM INTO` copies from one read transaction, so that what is committed meanwhile is not in the copy, nothing of it is
//! half in it, and whoever writes is never held up. It also leaves out what is free in the file: a copy is a compacted store.
//! While it runs the write-ahead log cannot be emptied, and grows by what is committed.
//!
//! The copy is made under another name, opened and checked whole like a store that somebody restores, compared with the store
//! that it came from, and synced. Only then does it get its name, and never one that another file has.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use dacapo_core::{
    Position,
    hooks::Clock as _,
    store::{BackedUp, Reader as _, StoreError},
};
use rusqlite::Connection;

use super::{Db, Options, Snapshot, SqliteReader, error, files, open};
use crate::clock::SystemClock;

/// Steps of SQLite's machine between two looks at the clock: some tens of microseconds.
const STEPS: i32 = 10_000;

/// A backup never sleeps for longer at once, so that it ends soon when it has fallen behind its rate.
const SLEEP_MS_MAX: u64 = 200;

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
    if options.vfs.is_some() {
        return Err(StoreError::NotAStore("a store on a simulated disk is copied by its simulator".to_owned()));
    }
    if to.exists() {
        return Err(taken(to));
    }
    let partial = Partial::beside(to)?;
    let before = from.snapshot(counts)?;
    copy(&mut from.connection, &partial.path, bytes_per_second)?;
    let after = from.snapshot(counts)?;
    let mut copied = SqliteReader::open_read_only(&partial.path)?;
    copied.check()?;
    let copy_counts = copied.db.lock().snapshot(counts)?;
    between(before, copy_counts, after)?;
    same_end(from, &mut copied, copy_counts.end)?;
    drop(copied);
    let file = File::open(&partial.path).map_err(|error| io(to, &error))?;
    file.sync_all().map_err(|error| io(to, &error))?;
    let bytes = file.metadata().map_err(|error| io(to, &error))?.len();
    partial.name(to)?;
    let Counts { end, completions, keys, services, lanes } = copy_counts;
    Ok(BackedUp { path: to.to_owned(), position: end, completions, keys, services, lanes, bytes })
}

/// A name beside the store, which belongs to it like that of its log: whoever asks for a backup over the wire has it sent,
/// and it goes.
pub(super) fn name_beside(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push("-backup");
    let path = PathBuf::from(name);
    // Left by a process that died while it was sent.
    let _ = fs::remove_file(&path);
    path
}

/// Copies at most so many bytes a second; nobody who commits waits for it in either case, but they share a disk.
fn copy(from: &mut Connection, to: &Path, bytes_per_second: Option<u64>) -> Result<(), StoreError> {
    let shown = to.to_str().ok_or_else(|| {
        StoreError::NotAStore(format!("{} is no UTF-8; give the backup a name that is", to.display()))
    })?;
    if let Some(rate) = bytes_per_second {
        let (clock, written) = (SystemClock::new(), to.to_owned());
        #[expect(
            clippy::disallowed_methods,
            reason = "SQLite asks on the thread that copies, which nothing else needs"
        )]
        let throttle = move || {
            let bytes = fs::metadata(&written).map_or(0, |file| file.len());
            let due_ms = bytes.saturating_mul(1_000) / rate.max(1);
            let ahead_ms = due_ms.saturating_sub(clock.now().monotonic.0 / 1_000);
            if ahead_ms > 0 {
                std::thread::sleep(std::time::Duration::from_millis(ahead_ms.min(SLEEP_MS_MAX)));
            }
            false // Go on.
        };
        from.progress_handler(STEPS, Some(throttle)).map_err(error::map)?;
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
}

impl Partial {
    fn beside(to: &Path) -> Result<Self, StoreError> {
        let directory = files::directory_of(to);
        if !directory.is_dir() {
            return Err(StoreError::NotAStore(format!("there is no directory {}; make it first", directory.display())));
        }
        let mut name = to.as_os_str().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let path = PathBuf::from(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io(&path, &error)),
            // Left by a process of this number that is gone.
            _ => Ok(Self { path }),
        }
    }

    /// Gives it its name, if no file has it: a link fails where a renaming would overwrite.
    fn name(self, to: &Path) -> Result<(), StoreError> {
        match fs::hard_link(&self.path, to) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(taken(to)),
            Err(error) => return Err(io(to, &error)),
        }
        drop(self);
        open::sync_directory(to)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It is the copy's second name by now, or nobody wants it.
        let _ = fs::remove_file(&self.path);
    }
}

fn taken(to: &Path) -> StoreError {
    StoreError::NotAStore(format!("{} is there already; a backup overwrites nothing: give another name", to.display()))
}

fn io(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Io(format!("the backup {} cannot be written: {error}", path.display()))
}
