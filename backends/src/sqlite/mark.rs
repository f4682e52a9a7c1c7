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
    log::{self, Header, Log, Salt},
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
    pub(super) fn begin(&self, frames: u64) -> Result<Begun<'_>, StoreError> {
        self.files.sync(&self.log).map_err(|error| told(&self.log, &error))?;
        let taken = self.log_with(frames)?;
        match taken {
            Some(taken) => self.write(&taken.encode())?,
            None => self.clear()?,
        }
        Ok(Begun { mark: self, taken })
    }

    /// Nothing is expected of the log any more. A mark that says nothing is written again, for that may be in the system's
    /// cache alone, after a sync that failed.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        match self.files.read(&self.path) {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => self.write(&[0; LENGTH]),
        }
    }

    /// Refuses a log that has less in it than was taken from it.
    pub(super) fn check(&self, content: &[u8]) -> Result<(), StoreError> {
        let Some(taken) = self.taken()? else { return Ok(()) };
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

    /// The log as it is now, if it has so many frames. It has not where another process has begun it anew since they were
    /// counted, and then nothing can be said of it.
    ///
    /// A frame that only repeats the one before fills up a sector behind a commit, and nothing is lost with it. It is not
    /// counted: where readers kept the log from being begun anew, what is appended next shares a sector with its end, and a
    /// power cut may tear that.
    fn log_with(&self, frames: u64) -> Result<Option<Taken>, StoreError> {
        let Some(header) = Header::read(&self.log_at(0, log::HEADER)?) else { return Ok(None) };
        let frame = |number| self.log_at(header.start_of(number), header.frame_size());
        let last = frame(frames)?;
        if Salt::of_frame(&last) != Some(header.salt) {
            return Ok(None);
        }
        let mut counted = frames;
        while counted > 1 && log::repeats(&last, &frame(counted - 1)?) {
            counted -= 1;
        }
        Ok(Some(Taken { salt: header.salt, frames: counted, all: false }))
    }

    fn log_at(&self, at: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        let part = self.files.read_at(&self.log, at, length).map_err(|error| told(&self.log, &error))?;
        Ok(part.unwrap_or_default())
    }

    /// None where there is no mark, or it does not hold.
    fn taken(&self) -> Result<Option<Taken>, StoreError> {
        let mark = self.files.read(&self.path).map_err(|error| told(&self.path, &error))?;
        Ok(mark.as_deref().and_then(Taken::decode))
    }

    fn write(&self, content: &[u8; LENGTH]) -> Result<(), StoreError> {
        self.files.overwrite(&self.path, content).map_err(|error| told(&self.path, &error))
    }
}

/// A checkpoint is under way.
#[derive(Debug)]
#[must_use = "once all of the log is in the file, that is to be said"]
pub(super) struct Begun<'a> {
    mark: &'a Mark,
    /// None if nothing could be said.
    taken: Option<Taken>,
}

impl Begun<'_> {
    /// All of the frames are in the file. Of which log they are was read before: by now it may have been begun anew.
    pub(super) fn end(self) -> Result<(), StoreError> {
        let Some(taken) = self.taken else { return Ok(()) };
        self.mark.write(&Taken { all: true, ..taken }.encode())
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
