//! What the store does with its files beside SQLite, on the same disk and under the same troubles.

use std::{
    fmt,
    io::{self, ErrorKind},
    path::Path,
    sync::Arc,
};

use dacapo_backends::sqlite::{Files, Held, Pace};

use super::{
    ffi::Shared,
    model::{Handle, How, Model, Refused},
};

/// A way to the files that does not lead through SQLite.
pub(super) struct Beside(pub(super) Arc<Shared>);

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Beside")
    }
}

impl Files for Beside {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.read_at(path, 0, usize::MAX)
    }

    fn read_at(&self, path: &Path, at: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
        let name = name(path)?;
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        match with(&mut self.0.model(), &name, How::default(), |model, handle| {
            let mut content = vec![0; model.file_size(handle)?.saturating_sub(at).min(length)];
            model.read(handle, &mut content, at)?;
            Ok(content)
        }) {
            Ok(content) => Ok(Some(content)),
            Err(Refused::Missing) => Ok(None),
            Err(refused) => Err(told(refused)),
        }
    }

    fn overwrite(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let name = name(path)?;
        // The first sync of a file that is opened as a journal is the directory's too.
        let how = How { create: true, is_journal: true, is_log: name.ends_with("-wal") };
        with(&mut self.0.model(), &name, how, |model, handle| {
            model.write(handle, content, 0)?;
            model.sync(handle)
        })
        .map_err(told)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let name = name(path)?;
        let how = How { is_log: name.ends_with("-wal"), ..How::default() };
        with(&mut self.0.model(), &name, how, Model::sync).map_err(told)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let name = name(path)?;
        let mut model = self.0.model();
        match model.delete(&name, true) {
            Err(Refused::Missing) => model.sync_directory(),
            done => done,
        }
        .map_err(told)
    }

    fn exists(&self, path: &Path) -> bool {
        name(path).is_ok_and(|name| self.0.model().has(&name))
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        let name = name(path)?;
        let size = with(&mut self.0.model(), &name, How::default(), Model::file_size);
        size.map(|bytes| bytes as u64).map_err(told)
    }

    fn link(&self, path: &Path, other: &Path) -> io::Result<()> {
        let (name, other) = (name(path)?, name(other)?);
        self.0.model().link(&name, &other).map_err(told)
    }

    /// There is no rate to keep here: time passes between calls.
    fn pace(&self, _: &Path, _: Option<u64>) -> Option<Pace> {
        self.0.meanwhile().take()
    }

    /// There is one process at a time.
    fn hold_alone(&self, _: &Path) -> io::Result<Option<Held>> {
        Ok(Some(Box::new(())))
    }

    fn hold_together(&self, _: &Path) -> io::Result<Held> {
        Ok(Box::new(()))
    }
}

fn with<T>(
    model: &mut Model,
    name: &str,
    how: How,
    work: impl FnOnce(&mut Model, Handle) -> Result<T, Refused>,
) -> Result<T, Refused> {
    let handle = model.open(name, how)?;
    let done = work(model, handle);
    model.close(handle);
    done
}

fn name(path: &Path) -> io::Result<String> {
    let name = path.to_str().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "the name is no UTF-8"))?;
    Ok(name.to_owned())
}

fn told(refused: Refused) -> io::Error {
    let kind = match refused {
        Refused::Full => ErrorKind::StorageFull,
        Refused::Taken => ErrorKind::AlreadyExists,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, format!("the disk refused ({refused:?})"))
}
