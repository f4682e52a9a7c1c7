//! Which code a run was made with, as far as can be told at run time.
//!
//! A seed repeats a run only on the code that it was found with, so a failure names the commit. It is asked of `git`
//! in the working directory; where there is none, that is said, and nothing fails.

use std::{fmt, process::Command};

use serde::Serialize;

/// Where a run comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Provenance {
    /// The commit's hash, or `unknown`.
    pub(crate) commit: String,
    /// Whether the work tree is as committed; none if nobody knows.
    pub(crate) clean: Option<bool>,
}

impl Provenance {
    /// Asks `git` about the working directory.
    pub(crate) fn here() -> Self {
        let commit = git(&["rev-parse", "HEAD"]).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let clean = git(&["status", "--porcelain"]).map(|text| text.trim().is_empty());
        match commit {
            Some(commit) => Self { commit, clean },
            None => Self { commit: "unknown".to_owned(), clean: None },
        }
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).stdin(std::process::Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.clean {
            Some(true) => ", clean",
            Some(false) => ", with changes that are not committed",
            None => "",
        };
        write!(f, "commit {}{state}", self.commit)
    }
}
