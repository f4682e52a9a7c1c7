//! The spare: a copy of the write-ahead log that an opening makes before it trusts it.
//!
//! A process whose sync failed may die before it recovers. Its successor then reads from the system's cache what the disk
//! does not have, and cannot tell; if it copied that into the file and the power went, the file would hold what the log
//! does not, and no longer fit it. What is written anew and synced is on the disk for certain. So:
//!
//! 1. the log is written anew, beside itself, and once that is synced, a second file says that the spare is whole;
//! 2. the log goes into the file, and is emptied; both are synced;
//! 3. the second file is removed, and only then is anything appended to the log.
//!
//! An opening that finds a whole spare puts it in the log's place and goes on with 2. Whoever has the store open holds the
//! spare together with all others, and whoever fills it holds it alone: so a spare is never older than what a living bus
//! has written. A bus that opens a store beside another one needs none, since SQLite's index of the log is alive and knows
//! what failed. All this costs an opening after a death one write of the log and a few syncs; after an orderly end there
//! is no log.

use std::{
    hash::Hasher as _,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use dacapo_core::{digest::StableHasher, store::StoreError};

use super::{
    files::{Files, Held},
    mark::Mark,
};

/// What a spare begins with.
const MAGIC: &[u8; 8] = b"dacapo-s";

/// Magic, length and checksum.
const HEADER: usize = 24;

/// The spare of a store.
#[derive(Debug)]
pub(super) struct Spare {
    files: Arc<dyn Files>,
    log: PathBuf,
    copy: PathBuf,
    /// It is there if the copy is whole, and on the disk.
    seal: PathBuf,
    mark: Mark,
}

impl Spare {
    pub(super) fn of(store: &Path, files: Arc<dyn Files>) -> Self {
        let mark = Mark::of(store, Arc::clone(&files));
        Self {
            files,
            log: beside(store, "-wal"),
            copy: beside(store, "-spare"),
            seal: beside(store, "-spare-whole"),
            mark,
        }
    }

    /// Before SQLite opens the store: makes sure that its log is on the disk as it is in the system's cache.
    /// Nothing, and no need, where others have the store open.
    pub(super) fn make(&self) -> Result<Option<Alone<'_>>, StoreError> {
        let held = self.files.hold_alone(&self.copy).map_err(|error| told(&self.copy, &error))?;
        let Some(held) = held else { return Ok(None) };
        if self.read(&self.seal)?.is_some() {
            let copy = self.read(&self.copy)?.unwrap_or_default();
            // It was on the disk before its seal was.
            let log = content(&copy).ok_or_else(|| rotten(&self.copy))?;
            // The seal may be in the cache alone.
            self.overwrite(&self.seal, &[])?;
            self.overwrite(&self.log, log)?;
        } else {
            let log = self.read(&self.log)?.unwrap_or_default();
            self.mark.check(&log)?;
            if !log.is_empty() {
                self.overwrite(&self.copy, &sealed(&log))?;
                self.overwrite(&self.seal, &[])?;
            }
        }
        Ok(Some(Alone { spare: self, _held: held }))
    }

    /// What checkpoints leave for the next opening.
    pub(super) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// For as long as the store is open.
    pub(super) fn hold(&self) -> Result<Held, StoreError> {
        self.files.hold_together(&self.copy).map_err(|error| told(&self.copy, &error))
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        self.files.read(path).map_err(|error| told(path, &error))
    }

    fn overwrite(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        self.files.overwrite(path, content).map_err(|error| told(path, &error))
    }
}

/// Nobody else has the store open, and nobody can open it.
#[derive(Debug)]
pub(super) struct Alone<'a> {
    spare: &'a Spare,
    _held: Held,
}

impl Alone<'_> {
    /// All of the log is in the file, and the log is empty; so that it stays so, that is synced before the spare goes,
    /// and so is that nothing is expected of the log any more.
    pub(super) fn end(self) -> Result<(), StoreError> {
        let Spare { files, log, seal, mark, .. } = self.spare;
        self.spare.overwrite(log, &[])?;
        mark.clear()?;
        files.remove(seal).map_err(|error| told(seal, &error))
    }
}

/// A file of the store beside it.
pub(super) fn beside(store: &Path, ending: &str) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

pub(super) fn told(path: &Path, error: &io::Error) -> StoreError {
    let told = format!("{}: {error}; see to the disk and start again", path.display());
    if error.kind() == ErrorKind::StorageFull { StoreError::Full(told) } else { StoreError::Io(told) }
}

fn rotten(copy: &Path) -> StoreError {
    StoreError::Damaged(format!(
        "{} was whole and is not any more; see to the disk, and restore the newest backup",
        copy.display()
    ))
}

fn sealed(content: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEADER + content.len());
    sealed.extend_from_slice(MAGIC);
    sealed.extend_from_slice(&(content.len() as u64).to_le_bytes());
    sealed.extend_from_slice(&checksum(content).to_le_bytes());
    sealed.extend_from_slice(content);
    sealed
}

/// What a spare holds; none if it was not finished.
fn content(spare: &[u8]) -> Option<&[u8]> {
    let (header, rest) = spare.split_at_checked(HEADER)?;
    let number = |at: usize| header.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let length = number(8)?;
    let content = rest.get(..usize::try_from(length).ok()?)?;
    (header.starts_with(MAGIC) && number(16)? == checksum(content)).then_some(content)
}

pub(super) fn checksum(content: &[u8]) -> u64 {
    let mut hasher = StableHasher::new(content.len() as u64);
    hasher.write(content);
    hasher.finish()
}
