//! A recorded run: a directory with a manifest, a trace and an ordinary store.
//!
//! | file | what it holds |
//! |---|---|
//! | `run.json` | the [`Manifest`]: what was run, how it ended, its faults, how to see it again |
//! | `trace.jsonl` | every record, a line each, as [`dacapo_core::trace::encode`] writes them |
//! | `log.db` | the log at the end of the run, as a store |
//!
//! Whoever carries out runs writes such directories ([`write()`]); nothing here knows who that is.

mod beside;
mod conflicts;
mod deliveries;
mod knew;
mod messages;
mod moment;
mod owners;
mod rows;
mod write;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use dacapo_core::{
    store::StoreError,
    trace::{self, Record},
};
use serde::{Deserialize, Serialize};

pub(crate) use beside::telling;
pub use beside::{Beside, Side, divergence};
pub use conflicts::conflicts;
pub use deliveries::{Delivery, deliveries};
pub use knew::{Knew, Known};
pub use messages::{Fate, Message, messages};
pub use moment::Moment;
pub use owners::{Owner, owners};
pub use rows::{Life, Open, Row, RowKind, Rows, lanes};
pub use write::write;

/// The version of the manifest's JSON form.
pub const VERSION: u32 = 1;
/// The manifest's file.
pub const MANIFEST: &str = "run.json";
/// The trace's file.
pub const TRACE: &str = "trace.jsonl";
/// The store's file.
pub const LOG: &str = "log.db";

/// What was run, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u32,
    /// In a few words, such as `seed 6`.
    pub name: String,
    /// What the plan was drawn from.
    pub seed: u64,
    /// What was simulated.
    pub scenario: String,
    /// With which profile.
    pub profile: String,
    /// By which engine.
    pub engine: String,
    /// The planted bug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bug: Option<String>,
    /// The chained hash of the trace.
    pub fingerprint: String,
    /// Of which code.
    pub provenance: String,
    /// How long it took in the simulated world.
    pub simulated_us: u64,
    /// The property that broke; none if all held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violation: Option<Violation>,
    /// Where it was lost; none if nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blamed: Option<Blamed>,
    /// The plan's faults.
    pub faults: Vec<Fault>,
    /// What customers were to do.
    pub operations: Vec<Operation>,
    /// The properties, each with how often it was in a position to fail.
    pub properties: Vec<(String, u64)>,
    /// Commands that can be pasted as they are, each with what it does.
    pub commands: Vec<(String, String)>,
    /// The command that repeats the run; `--without-fault N` may follow.
    pub replay: String,
    /// Runs beside this one: what each is, and the name of its directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<(String, String)>,
    /// Why the store does not hold the whole log, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_note: Option<String>,
}

/// A broken property.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Its name.
    pub property: String,
    /// Its sentence.
    pub sentence: String,
    /// Who did what.
    pub message: String,
    /// Where it was seen; 0: at the end of the run.
    pub step: u64,
    /// The steps that belong to it.
    pub steps: Vec<u64>,
}

/// A fault of the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Its number in the plan.
    pub id: u32,
    /// Its family.
    pub family: String,
    /// In words.
    pub text: String,
    /// The nodes that it strikes; none: all, or none in particular.
    pub hosts: Vec<String>,
    /// Whether the property holds without it; none if that was not tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed: Option<bool>,
    /// Ways on which nothing passes while it lasts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<Way>,
    /// What is wrong with the clocks of its hosts, in a word or two, such as `+1.5 s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
}

/// One way between two sets of nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Who speaks.
    pub from: Vec<String>,
    /// Who would hear it.
    pub to: Vec<String>,
}

/// Where a run was lost: the step from which on most of its possible futures fail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blamed {
    /// The step.
    pub step: u64,
    /// How sure that is, and how likely failure was before and after, in words.
    pub text: String,
}

/// What a customer was to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its number in the plan.
    pub id: u64,
    /// When, at the earliest.
    pub at_us: u64,
    /// Who.
    pub customer: String,
    /// In words.
    pub text: String,
}

/// Why a directory cannot be read, or written, as a run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The file system refuses.
    #[error("cannot {doing} {}: {source}; give the directory of a recorded run", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of it is of another shape.
    #[error("{} is no part of a recorded run: {why}; record the run again", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Its store.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// A recorded run in memory.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its directory's name.
    pub id: String,
    /// Where it is.
    pub path: PathBuf,
    /// What was run.
    pub manifest: Manifest,
    /// Every record, in order.
    pub records: Arc<[Record]>,
}

impl Run {
    /// Whether a directory holds a run.
    pub fn is_at(path: &Path) -> bool {
        path.join(MANIFEST).is_file()
    }

    /// Reads a run.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let manifest = manifest(path)?;
        let file = path.join(TRACE);
        let text = read(&file)?;
        let records: Result<Vec<Record>, _> = text.lines().map(trace::decode).collect();
        let records = records.map_err(|error| RunError::Malformed { path: file, why: error.to_string() })?;
        Ok(Self { id: id_of(path), path: path.to_owned(), manifest, records: records.into() })
    }

    /// The record of a step.
    pub fn at(&self, step: u64) -> Option<&Record> {
        let index = usize::try_from(step.checked_sub(1)?).ok()?;
        self.records.get(index).filter(|record| record.step == step)
    }

    /// Where its log is.
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// The step that the run is about: the violation's, or the last.
    pub fn point(&self) -> u64 {
        let last = self.records.last().map_or(0, |record| record.step);
        self.manifest
            .violation
            .as_ref()
            .map_or(last, |violation| if violation.step == 0 { last } else { violation.step })
    }
}

/// A run's manifest alone.
pub fn manifest(path: &Path) -> Result<Manifest, RunError> {
    let file = path.join(MANIFEST);
    let malformed = |why: String| RunError::Malformed { path: file.clone(), why };
    let manifest: Manifest = serde_json::from_str(&read(&file)?).map_err(|error| malformed(error.to_string()))?;
    if manifest.version != VERSION {
        return Err(malformed(format!("it is of version {}, this program reads version {VERSION}", manifest.version)));
    }
    Ok(manifest)
}

/// The runs below a directory, by name.
pub fn list(path: &Path) -> Result<Vec<(String, Manifest)>, RunError> {
    let io = |source| RunError::Io { doing: "read", path: path.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if Run::is_at(&path) {
            found.push((id_of(&path), manifest(&path)?));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// The name of its directory, by which addresses name it.
pub fn id_of(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole.file_name().map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn read(path: &Path) -> Result<String, RunError> {
    fs::read_to_string(path).map_err(|source| RunError::Io { doing: "read", path: path.to_owned(), source })
}
