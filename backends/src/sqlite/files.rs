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
};

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

    /// Holds a file, which is made if there is none, for itself alone; nothing if somebody else holds it.
    fn hold_alone(&self, path: &Path) -> io::Result<Option<Held>>;

    /// Holds a file together with others, once nobody holds it alone.
    fn hold_together(&self, path: &Path) -> io::Result<Held>;
}

/// A hold on a file, until this is dropped or the process dies.
pub type Held = Box<dyn fmt::Debug + Send + Sync>;

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
