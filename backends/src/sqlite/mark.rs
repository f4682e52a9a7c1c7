//! The mark: how much of the write-ahead log a checkpoint has begun to bring into the file.
//!
//! SQLite takes a log for as long as its checksums hold, so that a commit which a power cut tore does not count. If a bit
//! rots in the midst of the log, it ends there as well. Whoever opens the store then sees the log's old pages over the
//! file's newer ones: a mixture that never was, with rows gone that were completed. So a checkpoint first writes down,
//! durably, of which log it takes how many frames; an opening that finds that log shorter refuses it. Beyond the mark rot
//! cannot be told from a torn commit; what is lost there is lost as a whole, and what is left was true once.
//!
//! A mark that is itself torn or rotten says nothing: then the log is believed as SQLite believes it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use dacapo_core::store::StoreError;

use super::{
    files::Files,
    log::{self, Log, Salt},
    spare::{beside, checksum, told},
};

/// What a mark begins with.
const MAGIC: &[u8; 8] = b"dacapo-m";

/// Magic, salt, frames, whether they are all in the file, checksum.
const LENGTH: usize = 40;

/// The mark of a store.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    files: Arc<dyn Files>,
    log: PathBuf,
    path: PathBuf,
}

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Taken {
    /// Which log.
    salt: Salt,
    /// So many of its frames may be in the file.
    frames: u64,
    /// All of them are, and SQLite may begin the log anew.
    all: bool,
}

impl Mark {
    pub(super) fn of(store: &Path, files: Arc<dyn Files>) -> Self {
        Self { files, log: beside(store, "-wal"), path: beside(store, "-mark") }
    }

    /// Before a checkpoint, of a log with so many frames. The last one may fill up a sector behind a commit, and SQLite
    /// has not synced that.
    pub(super) fn begin(&self, frames: u64) -> Result<(), StoreError> {
        self.files.sync(&self.log).map_err(|error| told(&self.log, &error))?;
        self.put(frames, false)
    }

    /// After a checkpoint that has brought so many frames into the file, and there are no more.
    pub(super) fn end(&self, frames: u64) -> Result<(), StoreError> {
        self.put(frames, true)
    }

    /// Nothing is expected of the log any more.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        self.write(&[0; LENGTH])
    }

    /// Refuses a log that has less in it than was taken from it.
    pub(super) fn check(&self, content: &[u8]) -> Result<(), StoreError> {
        let mark = self.files.read(&self.path).map_err(|error| told(&self.path, &error))?;
        let Some(taken) = mark.as_deref().and_then(Taken::decode) else { return Ok(()) };
        let frames = match Log::read(content) {
            Some(log) if log.salt == taken.salt => log.frames,
            // It was begun anew, for all of the former one is in the file.
            Some(_) => return Ok(()),
            // Closed in order, or torn when it was begun anew.
            None if content.is_empty() || taken.all => return Ok(()),
            None => 0,
        };
        if frames >= taken.frames {
            return Ok(());
        }
        Err(StoreError::Damaged(format!(
            "{} is readable up to its frame {frames}, and {} were on the disk, some of which are in the file already; \
             see to the disk, and restore the newest backup",
            self.log.display(),
            taken.frames
        )))
    }

    fn put(&self, frames: u64, all: bool) -> Result<(), StoreError> {
        let header = self.files.read_beginning(&self.log, log::HEADER).map_err(|error| told(&self.log, &error))?;
        // None: another process has begun the log anew this very moment, and nothing can be said of it.
        match header.as_deref().and_then(Log::salt_of) {
            Some(salt) => self.write(&Taken { salt, frames, all }.encode()),
            None => self.clear(),
        }
    }

    fn write(&self, content: &[u8; LENGTH]) -> Result<(), StoreError> {
        self.files.overwrite(&self.path, content).map_err(|error| told(&self.path, &error))
    }
}

impl Taken {
    fn encode(self) -> [u8; LENGTH] {
        let mut content = [0; LENGTH];
        content[..8].copy_from_slice(MAGIC);
        content[8..16].copy_from_slice(&self.salt.0);
        content[16..24].copy_from_slice(&self.frames.to_le_bytes());
        content[24..32].copy_from_slice(&u64::from(self.all).to_le_bytes());
        let sum = checksum(&content[..32]);
        content[32..].copy_from_slice(&sum.to_le_bytes());
        content
    }

    fn decode(content: &[u8]) -> Option<Self> {
        let (fields, _) = content.as_chunks::<8>();
        let [magic, salt, frames, all, sum, ..] = *fields else { return None };
        let is_whole = magic == *MAGIC && u64::from_le_bytes(sum) == checksum(content.get(..32)?);
        is_whole.then(|| Self {
            salt: Salt(salt),
            frames: u64::from_le_bytes(frames),
            all: u64::from_le_bytes(all) != 0,
        })
    }
}
