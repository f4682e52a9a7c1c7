//! What the store does with files beside SQLite, and on which file system.
//!
//! SQLite reaches its files through a VFS, which cannot do everything that is needed here; so whoever brings a VFS brings
//! this as well, over the same files.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use dacapo_core::hooks::Clock as _;

use crate::clock::SystemClock;

/// Steps of SQLite's machine between two looks at the clock: some tens of microseconds.
const STEPS: i32 = 10_000;

/// A copy never sleeps for longer at once, so that it ends soon when it has fallen behind its rate.
const SLEEP_MS_MAX: u64 = 200;

/// A file system, in a few verbs. What was changed without an error is durable.
pub trait Files: fmt::Debug + Send + Sync {
    /// The content of a file; none if there is no such file.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// So many bytes of a file from there on, or fewer if it ends before; none if there is no such file.
    fn read_at(&self, path: &Path, at: u64, length: usize) -> io::Result<Option<Vec<u8>>>;

    /// Writes over the beginning of a file, which is made if there is none. What lies behind stays.
    fn overwrite(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// What others have written to a file is durable from now on.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// Removes a file; if there is none, makes sure that there will be none.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Whether there is such a file.
    fn exists(&self, path: &Path) -> bool;

    /// How many bytes a file has.
    fn size(&self, path: &Path) -> io::Result<u64>;

    /// Gives a file another name besides, unless some file has that one. Neither need be durable.
    fn link(&self, path: &Path, name: &Path) -> io::Result<()>;

    /// What is done between two pieces of this copy while it is written; nothing if it need not stop.
    fn pace(&self, copy: &Path, bytes_per_second: Option<u64>) -> Option<Pace>;

    /// Holds a file, which is made if there is none, for itself alone; nothing if somebody else holds it.
    fn hold_alone(&self, path: &Path) -> io::Result<Option<Held>>;

    /// Holds a file together with others, once nobody holds it alone.
    fn hold_together(&self, path: &Path) -> io::Result<Held>;
}

/// A hold on a file, until this is dropped or the process dies.
pub type Held = Box<dyn fmt::Debug + Send + Sync>;

/// What is done between two pieces of a copy.
pub struct Pace {
    /// How large a piece is, in steps of SQLite's machine.
    pub steps: i32,
    /// It may take its time.
    pub between: Box<dyn FnMut() + Send>,
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").field("steps", &self.steps).finish_non_exhaustive()
    }
}

/// A file system for SQLite that is not the operating system's.
#[derive(Debug, Clone)]
pub struct Vfs {
    /// The name of a registered SQLite VFS.
    pub name: String,
    /// The same files, for what SQLite has no part in.
    pub files: Arc<dyn Files>,
}

/// The operating system's files.
#[derive(Debug)]
pub(super) struct SystemFiles;

impl Files for SystemFiles {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_at(&self, path: &Path, at: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
        match File::open(path) {
            Ok(mut file) => {
                let mut content = Vec::with_capacity(length);
                file.seek(SeekFrom::Start(at))?;
                file.take(length as u64).read_to_end(&mut content)?;
                Ok(Some(content))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn overwrite(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = made(path)?;
        file.write_all(content)?;
        file.sync_all()?;
        sync_directory(path)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_data()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            // Whoever removed it before may not have lived to see it durable.
            _ => sync_directory(path),
        }
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        fs::metadata(path).map(|file| file.len())
    }

    fn link(&self, path: &Path, name: &Path) -> io::Result<()> {
        // Where a renaming would overwrite, this fails.
        fs::hard_link(path, name)
    }

    fn pace(&self, copy: &Path, bytes_per_second: Option<u64>) -> Option<Pace> {
        let rate = bytes_per_second?;
        let (clock, copy) = (SystemClock::new(), copy.to_owned());
        #[expect(
            clippy::disallowed_methods,
            reason = "SQLite asks on the thread that copies, which nothing else needs"
        )]
        let sleeps = move || {
            let bytes = fs::metadata(&copy).map_or(0, |file| file.len());
            let due_ms = bytes.saturating_mul(1_000) / rate.max(1);
            let ahead_ms = due_ms.saturating_sub(clock.now().monotonic.0 / 1_000);
            if ahead_ms > 0 {
                std::thread::sleep(Duration::from_millis(ahead_ms.min(SLEEP_MS_MAX)));
            }
        };
        Some(Pace { steps: STEPS, between: Box::new(sleeps) })
    }

    fn hold_alone(&self, path: &Path) -> io::Result<Option<Held>> {
        let file = made(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn hold_together(&self, path: &Path) -> io::Result<Held> {
        let file = made(path)?;
        file.lock_shared()?;
        Ok(Box::new(file))
    }
}

/// Opens a file to write to, and makes it if there is none.
fn made(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path)
}

/// Makes the directory entries beside a file durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path)).and_then(|directory| directory.sync_all())
}

pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
