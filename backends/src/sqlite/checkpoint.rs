//! Checkpoints: the write-ahead log is brought into the file once it is long enough.
//!
//! SQLite would do it by itself after a commit, and ignore whatever goes wrong. But a sync that fails there is the last
//! that is ever heard of it: the operating system takes the log's unsynced end, the padding behind the last commit, for
//! written. The next commit would be chained behind it, its own sync would succeed, and a power cut would take both. So
//! the store does it, and after a failure nothing is appended before a recovery has begun the log anew.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use dacapo_core::store::StoreError;
use rusqlite::{Connection, hooks::Wal};

use super::{error, mark::Mark};

/// How long the write-ahead log has become, and when that is too long.
#[derive(Debug)]
pub(super) struct LogLength {
    pages: Arc<AtomicU32>,
    checkpoint_pages: u32,
    /// None where commits are not synced, so that nobody knows what of the log is on the disk.
    mark: Option<Mark>,
}

impl LogLength {
    /// Has this connection tell how long the log is, and leave checkpoints to its holder.
    pub(super) fn watch(
        connection: &mut Connection,
        checkpoint_pages: u32,
        mark: Option<Mark>,
    ) -> Result<Self, StoreError> {
        let pages = Arc::new(AtomicU32::new(0));
        let told = Arc::clone(&pages);
        // This takes the place of SQLite's own hook, the automatic checkpoint.
        connection
            .wal_hook(Some(move |_: &mut Wal, pages| {
                told.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
                Ok(())
            }))
            .map_err(error::map)?;
        Ok(Self { pages, checkpoint_pages, mark })
    }

    /// All of the log is in the file, and the next commit begins it anew.
    pub(super) fn emptied(&self) -> Result<(), StoreError> {
        self.mark.as_ref().map_or(Ok(()), Mark::clear)
    }

    /// Pages in the log after the last commit.
    pub(super) fn pages(&self) -> u32 {
        self.pages.load(Ordering::Relaxed)
    }

    /// Brings as much of the log into the file as readers allow, if it is time. All of the log must be on the disk.
    pub(super) fn checkpoint_if_due(&self, connection: &Connection) -> Result<(), StoreError> {
        let pages = self.pages();
        if pages < self.checkpoint_pages {
            return Ok(());
        }
        let begun = self.mark.as_ref().map(|mark| mark.begin(u64::from(pages))).transpose()?;
        let (there, taken): (i64, i64) = connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)))
            .map_err(error::map)?;
        // Readers that are in the way are no failure: the log goes on growing, and the next commit tries again.
        match begun {
            Some(begun) if there == taken => begun.end(),
            _ => Ok(()),
        }
    }
}

/// Brings the whole log into the file, syncs both, and empties the log.
pub(super) fn all(connection: &Connection) -> Result<(), StoreError> {
    let busy: i64 =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(error::map)?;
    if busy == 0 {
        return Ok(());
    }
    Err(StoreError::Io("another process has been reading an old state of the file for too long; end it".to_owned()))
}
