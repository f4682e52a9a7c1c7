//! A script's text and that of the modules beside it, read once: every instance of a process starts from the same.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use dacapo_core::digest::digest_of;

/// Files that a script's folder may hold: a service is a handful of them.
const MODULES_MAX: usize = 256;
/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a script cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// A file cannot be read.
    #[error("cannot read {path}: {error}; check the path")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is too large, or there are too many of them.
    #[error("{path} {what}; move what is no part of the service elsewhere")]
    TooLarge {
        /// Which file or folder.
        path: PathBuf,
        /// How much it has, and what it may have.
        what: String,
    },
    /// It does not compile, or fails while it registers what it does.
    #[error("{0}; mend the script and start again")]
    Broken(String),
    /// It never said who it is.
    #[error(
        "{0} never calls bus:register(name): without it the bus does not know which service this is; call it once, \
             at the top"
    )]
    Nameless(String),
    /// It does nothing.
    #[error(
        "{0} registers no listener, no rebuild handler, no route and no timer, so there is nothing that it could do; \
             add one"
    )]
    Idle(String),
}

/// A script and the modules that it may `require`.
#[derive(Debug, Clone)]
pub struct Script {
    /// As messages call it: `accounts.lua`.
    file: Arc<str>,
    text: Arc<str>,
    /// By the name that `require` takes: `money`, `lib.money`.
    modules: Arc<BTreeMap<String, String>>,
}

impl Script {
    /// A script of this text, without modules.
    pub fn of(file: &str, text: &str) -> Self {
        Self { file: file.into(), text: text.into(), modules: Arc::default() }
    }

    /// The same with a module.
    #[must_use]
    pub fn with_module(mut self, name: &str, text: &str) -> Self {
        Arc::make_mut(&mut self.modules).insert(name.to_owned(), text.to_owned());
        self
    }

    /// Reads the file, and every other `.lua` in its folder and below: those are its modules.
    pub fn read(path: &Path) -> Result<Self, ScriptError> {
        let file =
            path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        let text = read(path)?;
        let mut modules = BTreeMap::new();
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        gather(&folder, "", &mut modules)?;
        Ok(Self { file: file.into(), text: text.into(), modules: Arc::new(modules) })
    }

    /// As messages call it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What it says.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A module's text.
    pub(super) fn module(&self, name: &str) -> Option<&str> {
        self.modules.get(name).map(String::as_str)
    }

    /// The names that `require` takes.
    pub(super) fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// The version of its code: states folded by different texts are not compared.
    pub fn code(&self) -> u32 {
        let digest = digest_of(0, &(&*self.text, &*self.modules));
        (digest ^ (digest >> 32)) as u32
    }
}

fn read(path: &Path) -> Result<String, ScriptError> {
    let unreadable = |error| ScriptError::Unreadable { path: path.to_owned(), error };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        let what = format!("has {bytes} bytes, the limit is {FILE_BYTES_MAX}");
        return Err(ScriptError::TooLarge { path: path.to_owned(), what });
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// Links are not followed, so that the walk ends.
fn gather(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) -> Result<(), ScriptError> {
    let unreadable = |error| ScriptError::Unreadable { path: folder.to_owned(), error };
    let mut entries = fs::read_dir(folder).map_err(unreadable)?.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type().map_err(unreadable)?);
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()).filter(|name| !name.starts_with('.')) else {
            continue;
        };
        let name = format!("{prefix}{name}");
        if kind.is_dir() {
            gather(&path, &format!("{name}."), found)?;
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "lua") {
            found.insert(name, read(&path)?);
        }
        if found.len() > MODULES_MAX {
            let what = format!("holds more than {MODULES_MAX} scripts");
            return Err(ScriptError::TooLarge { path: folder.to_owned(), what });
        }
    }
    Ok(())
}
