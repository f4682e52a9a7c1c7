//! The bug base: every failure that was ever found here, on disk, so that none is found twice or forgotten.
//!
//! A directory of JSON files, one a bug: what broke, the plan as it was found, the smallest plan that breaks the same,
//! and where both come from. Two findings are one bug if they break the same property by the same plan, as found or as
//! shrunk; the second is counted. A bug is never deleted here: when it is mended, it is promoted to a regression.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use dacapo_core::digest::digest_of;
use serde::{Deserialize, Serialize};

use crate::{
    engine::Engine,
    plan::{Plan, PlanError},
    shrink::Minimality,
};

/// The version of a bug's JSON form.
pub const VERSION: u32 = 1;

/// How a bug's id begins, so that nobody takes it for a seed.
const ID_PREFIX: &str = "bug-";

/// Where a finding comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The commit of the code, or `unknown`.
    pub commit: String,
    /// Whether the code was as committed; none if nobody knows.
    pub clean: Option<bool>,
    /// The program's version.
    pub version: String,
    /// The command that found it.
    pub command: String,
}

/// The smallest plan that breaks the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Small {
    /// Whether it could be smaller.
    pub minimality: Minimality,
    /// The plan.
    pub plan: Plan,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The property that broke.
    pub property: String,
    /// Its sentence.
    pub sentence: String,
    /// Who did what.
    pub message: String,
    /// What carried the plan out.
    pub engine: Engine,
    /// The plan as it was found.
    pub plan: Plan,
    /// The smallest plan, if it was shrunk.
    pub small: Option<Small>,
    /// Where it comes from.
    pub provenance: Provenance,
    /// When, as people write it.
    pub date: String,
}

/// A bug of the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownBug {
    /// [`VERSION`].
    pub version: u32,
    /// Its name: a short hash of the property and the smallest plan when it was found first.
    pub id: String,
    /// The property that broke.
    pub property: String,
    /// Its sentence.
    pub sentence: String,
    /// Who did what.
    pub message: String,
    /// The scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// What carried the plan out.
    pub engine: Engine,
    /// How often it was found.
    pub count: u64,
    /// When it was found first.
    pub first_seen: String,
    /// When it was found last.
    pub last_seen: String,
    /// Where the first finding comes from.
    pub provenance: Provenance,
    /// The smallest plan that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub small: Option<Small>,
    /// The plan as it was found.
    pub plan: Plan,
}

impl KnownBug {
    /// The smallest plan that is known.
    pub fn smallest(&self) -> &Plan {
        self.small.as_ref().map_or(&self.plan, |small| &small.plan)
    }

    fn is(&self, finding: &Finding) -> bool {
        let own = [Some(&self.plan), self.small.as_ref().map(|small| &small.plan)];
        let found = [Some(&finding.plan), finding.small.as_ref().map(|small| &small.plan)];
        self.property == finding.property
            && self.engine == finding.engine
            && own.iter().flatten().any(|own| found.iter().flatten().any(|found| own == found))
    }

    /// Its name as a file.
    fn file_name(&self) -> String {
        format!("{}-{}.json", self.property, self.id)
    }
}

/// What became of a finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Added {
    /// The bug.
    pub bug: KnownBug,
    /// Its file.
    pub path: PathBuf,
    /// It was not known before.
    pub is_new: bool,
}

/// Why the bug base cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BugBaseError {
    /// The file system refuses.
    #[error("cannot {doing} {}: {source}; choose a directory that you may write to with --bugs", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No bug's JSON.
    #[error("{} is no bug of a bug base: {reason}; take it out of the directory", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Of another version.
    #[error(
        "{} is of version {found}, this program reads version {VERSION}; use the program that wrote it, or take the file \
         out of the directory",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// There is no such bug.
    #[error("there is no bug {id:?} in {}; `dacapo bugs list` names those that are there", base.display())]
    Unknown {
        /// What was asked for.
        id: String,
        /// The base.
        base: PathBuf,
    },
    /// Several bugs begin like this.
    #[error("{id:?} may be {}; write more of it", candidates.join(" or "))]
    Ambiguous {
        /// What was asked for.
        id: String,
        /// What it may be.
        candidates: Vec<String>,
    },
    /// Its plan cannot be read.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// A bug base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BugBase {
    directory: PathBuf,
}

/// What is in a bug base.
#[derive(Debug, Default)]
pub struct Contents {
    /// The bugs, the first found first.
    pub bugs: Vec<KnownBug>,
    /// Files that are none.
    pub unreadable: Vec<BugBaseError>,
}

impl BugBase {
    /// The base in this directory, which need not exist yet.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Where a bug's file is.
    pub fn path(&self, bug: &KnownBug) -> PathBuf {
        self.directory.join(bug.file_name())
    }

    /// Everything that is there.
    pub fn contents(&self) -> Result<Contents, BugBaseError> {
        let mut contents = Contents::default();
        let io = |source| BugBaseError::Io { doing: "read", path: self.directory.clone(), source };
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            // Nothing has failed here yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(contents),
            Err(error) => return Err(io(error)),
        };
        let mut paths =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(io)?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        for path in paths {
            match read(&path) {
                Ok(bug) => contents.bugs.push(bug),
                Err(error) => contents.unreadable.push(error),
            }
        }
        contents.bugs.sort_by(|one, other| (&one.first_seen, &one.id).cmp(&(&other.first_seen, &other.id)));
        Ok(contents)
    }

    /// The bug of this id; its beginning is enough if no other begins like that.
    pub fn get(&self, id: &str) -> Result<KnownBug, BugBaseError> {
        let bugs = self.contents()?.bugs;
        let mut found: Vec<KnownBug> =
            bugs.into_iter().filter(|bug| bug.id.starts_with(id) && id.len() > ID_PREFIX.len()).collect();
        match (found.pop(), found.is_empty()) {
            (Some(bug), true) => Ok(bug),
            (None, _) => Err(BugBaseError::Unknown { id: id.to_owned(), base: self.directory.clone() }),
            (Some(last), false) => {
                let candidates = found.into_iter().chain([last]).map(|bug| bug.id).collect();
                Err(BugBaseError::Ambiguous { id: id.to_owned(), candidates })
            }
        }
    }

    /// Whether this failure is in the base, and is shrunk.
    pub fn is_known(&self, property: &str, engine: Engine, plan: &Plan) -> Result<bool, BugBaseError> {
        let is = |bug: &KnownBug| {
            bug.property == property
                && bug.engine == engine
                && bug.small.as_ref().is_some_and(|small| bug.plan == *plan || small.plan == *plan)
        };
        Ok(self.contents()?.bugs.iter().any(is))
    }

    /// Adds a finding, or counts it if it is known. What a second finding knows better (a smaller plan) is kept.
    pub fn add(&self, finding: Finding) -> Result<Added, BugBaseError> {
        let known = self.contents()?.bugs.into_iter().find(|bug| bug.is(&finding));
        let is_new = known.is_none();
        let bug = match known {
            Some(mut bug) => {
                bug.count += 1;
                bug.last_seen = finding.date;
                bug.small = smaller(bug.small, finding.small);
                bug
            }
            None => of(finding),
        };
        let path = self.path(&bug);
        self.write(&path, &bug)?;
        Ok(Added { bug, path, is_new })
    }

    /// Keeps a smaller plan of a bug.
    pub fn keep_small(&self, mut bug: KnownBug, small: Small) -> Result<PathBuf, BugBaseError> {
        bug.small = smaller(bug.small, Some(small));
        let path = self.path(&bug);
        self.write(&path, &bug)?;
        Ok(path)
    }

    fn write(&self, path: &Path, bug: &KnownBug) -> Result<(), BugBaseError> {
        let io = |source| BugBaseError::Io { doing: "write", path: path.to_owned(), source };
        let text = serde_json::to_string_pretty(bug).unwrap_or_else(|error| panic!("bugs are plain data: {error}"));
        fs::create_dir_all(&self.directory).map_err(io)?;
        // Whole or not at all, so that an interrupted campaign leaves no half bug.
        let unfinished = path.with_extension("json.unfinished");
        fs::write(&unfinished, text + "\n").and_then(|()| fs::rename(&unfinished, path)).map_err(io)
    }
}

/// The smaller of two plans; of equally small ones, the one that is known to be minimal.
fn smaller(one: Option<Small>, other: Option<Small>) -> Option<Small> {
    let size = |small: &Small| {
        let items = small.plan.operations.len() + small.plan.faults.len();
        (items, small.minimality != Minimality::Minimal)
    };
    match (one, other) {
        (Some(one), Some(other)) => Some(if size(&other) < size(&one) { other } else { one }),
        (one, other) => one.or(other),
    }
}

fn of(finding: Finding) -> KnownBug {
    let smallest = finding.small.as_ref().map_or(&finding.plan, |small| &small.plan);
    let hash = digest_of(digest_of(0, &finding.property), &smallest.to_json());
    KnownBug {
        version: VERSION,
        id: format!("{ID_PREFIX}{:08x}", hash >> 32),
        scenario: finding.plan.scenario.clone(),
        seed: finding.plan.seed,
        property: finding.property,
        sentence: finding.sentence,
        message: finding.message,
        engine: finding.engine,
        count: 1,
        first_seen: finding.date.clone(),
        last_seen: finding.date,
        provenance: finding.provenance,
        small: finding.small,
        plan: finding.plan,
    }
}

/// Reads a bug's file.
pub fn read(path: &Path) -> Result<KnownBug, BugBaseError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let io = |source| BugBaseError::Io { doing: "read", path: path.to_owned(), source };
    let malformed = |reason: String| BugBaseError::Malformed { path: path.to_owned(), reason };
    let text = fs::read_to_string(path).map_err(io)?;
    let Versioned { version } = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    if version != VERSION {
        return Err(BugBaseError::Version { path: path.to_owned(), found: version });
    }
    serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))
}

/// Whether a text may be the id of a bug.
pub fn is_id(text: &str) -> bool {
    text.strip_prefix(ID_PREFIX).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
