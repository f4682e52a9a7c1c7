//! Where an instance keeps its state between two lives: a cache of the log, with the position that it reflects.
//!
//! The machine never waits for it. It hands over what has changed; whoever writes it down does so in order, each change
//! whole, and a life that begins takes what there is and follows the log from there. What was lost, all of it if need be, is
//! made again from the log.

mod redis;
mod sqlite;
mod writer;

use std::{collections::BTreeMap, fmt, io, path::PathBuf, str::FromStr, sync::Arc};

use dacapo_core::{Key, NameError, Position, Version};
use serde_json::Value;

/// What a listener has made of a key, where no rebuild handler does.
#[derive(Debug, Clone, PartialEq)]
pub enum Live {
    /// It has this value.
    Set(Arc<Value>),
    /// It is not there.
    Deleted,
}

impl Live {
    /// The value, if it has one.
    pub fn value(&self) -> Option<Arc<Value>> {
        match self {
            Self::Set(value) => Some(Arc::clone(value)),
            Self::Deleted => None,
        }
    }
}

impl From<Option<Arc<Value>>> for Live {
    fn from(value: Option<Arc<Value>>) -> Self {
        value.map_or(Self::Deleted, Self::Set)
    }
}

/// What one event, or one listener, changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// The state reflects the log up to here.
    pub position: Position,
    /// The event's key and version.
    pub version: Option<(Key, Version)>,
    /// Values that were written, or deleted.
    pub values: Vec<(String, Option<Arc<Value>>)>,
    /// Keys that an event of another key has written for the first time.
    pub foreign: Vec<String>,
    /// What no rebuild handler rebuilds; none: a rebuild handler has written it after all.
    pub live: Vec<(String, Option<Live>)>,
}

/// Everything that was kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// It reflects the log up to here.
    pub position: Position,
    /// The values.
    pub values: BTreeMap<String, Arc<Value>>,
    /// Those of them that an event of another key has written.
    pub foreign: std::collections::BTreeSet<String>,
    /// The latest version of each key.
    pub versions: BTreeMap<Key, Version>,
    /// What no rebuild handler rebuilds.
    pub live: BTreeMap<String, Live>,
}

impl Snapshot {
    /// Takes in a change.
    pub fn take(&mut self, change: Change) {
        self.position = change.position;
        self.versions.extend(change.version);
        self.foreign.extend(change.foreign);
        for (key, value) in change.values {
            match value {
                Some(value) => drop(self.values.insert(key, value)),
                None => drop(self.values.remove(&key)),
            }
        }
        for (key, kept) in change.live {
            match kept {
                Some(value) => drop(self.live.insert(key, value)),
                None => drop(self.live.remove(&key)),
            }
        }
    }
}

/// Takes what has changed, without making anybody wait.
pub trait StateStore: Send + Sync {
    /// The next change.
    fn save(&self, change: Change);
}

/// Where a state is kept, as the command line says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateAt {
    /// Nowhere: each life begins from the log.
    Memory,
    /// In a file of its own.
    Sqlite(PathBuf),
    /// In a Redis server.
    Redis(String),
}

/// A store that was opened: what it has kept, and where changes go.
pub struct Opened {
    /// What it has kept.
    pub snapshot: Snapshot,
    /// Where changes go.
    pub store: Arc<dyn StateStore>,
}

/// Why a state store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file.
    #[error(
        "the state's file cannot be used: {0}; end whoever has it open, or delete it: it is made again from the log"
    )]
    Sqlite(#[from] rusqlite::Error),
    /// The server.
    #[error("the Redis server cannot be used: {0}; check its address, or use another --state")]
    Redis(#[from] ::redis::RedisError),
    /// What is in it.
    #[error("the state store holds what is no JSON: {0}; delete it: it is made again from the log")]
    Json(#[from] serde_json::Error),
    /// What is in it.
    #[error("the state store holds what is no key: {0}; delete it: it is made again from the log")]
    Name(#[from] NameError),
    /// The thread.
    #[error("the state store's thread cannot be started: {0}; end other processes")]
    Thread(#[from] io::Error),
}

impl StateAt {
    /// Opens it for an instance of a service, whose code has this version; none for memory.
    pub fn open(&self, service: &str, instance: &str, code: u32) -> Result<Option<Opened>, StoreError> {
        match self {
            Self::Memory => Ok(None),
            Self::Sqlite(path) => sqlite::open(path, code).map(Some),
            Self::Redis(url) => redis::open(url, service, instance, code).map(Some),
        }
    }
}

impl FromStr for StateAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("redis" | "rediss", _)) => Ok(Self::Redis(text.to_owned())),
            _ => Err(format!("{text:?} is no place for a state; give memory, sqlite:FILE or redis://HOST")),
        }
    }
}

impl fmt::Display for StateAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Redis(url) => f.write_str(url),
        }
    }
}
