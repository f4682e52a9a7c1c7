//! Writing a run: the manifest, the trace, and its log as an ordinary store.

use std::{
    fs,
    io::{BufWriter, Write as _},
    path::Path,
    sync::Arc,
};

use dacapo_backends::{
    SqliteStore,
    sqlite::{Options, Synchronous},
};
use dacapo_core::{
    store::{Commit, Store as _, StoreError},
    trace::{self, Record, What},
};

use super::{LOG, MANIFEST, Manifest, Run, RunError, TRACE};

/// Writes a run into a directory, in place of one that is there.
pub fn write(path: &Path, manifest: &Manifest, records: Vec<Record>) -> Result<Run, RunError> {
    let io = |doing, source| RunError::Io { doing, path: path.to_owned(), source };
    if Run::is_at(path) {
        fs::remove_dir_all(path).map_err(|source| io("replace", source))?;
    }
    fs::create_dir_all(path).map_err(|source| io("make", source))?;
    let mut manifest = manifest.clone();
    manifest.log_note = store(&path.join(LOG), &records)?;
    let text = serde_json::to_string_pretty(&manifest)
        .map_err(|error| RunError::Malformed { path: path.join(MANIFEST), why: error.to_string() })?;
    let lines = || {
        let mut file = BufWriter::new(fs::File::create(path.join(TRACE))?);
        for record in &records {
            writeln!(file, "{}", trace::encode(record))?;
        }
        file.flush()?;
        // Last, since a directory with a manifest is taken for a run.
        fs::write(path.join(MANIFEST), text + "\n")
    };
    lines().map_err(|source| io("write", source))?;
    Ok(Run { id: super::id_of(path), path: path.to_owned(), manifest, records: records.into() })
}

/// The log that the run's commits make. A disk that lost something has two pasts; the store holds the first, up to where
/// the second begins, and it is said why.
fn store(path: &Path, records: &[Record]) -> Result<Option<String>, RunError> {
    let options = Options { synchronous: Synchronous::Off, ..Options::default() };
    let mut store = SqliteStore::open_with(path, options)?;
    let term = store.recover()?.term;
    for record in records {
        let (What::CommitDurable { commit } | What::Found { commit }) = &record.what else { continue };
        let commit = Commit { term, ..Commit::clone(&Arc::clone(commit)) };
        match store.commit(&commit) {
            Ok(()) => {}
            Err(StoreError::Violation(why)) => {
                return Ok(Some(format!(
                    "the store holds the log up to step {}; what became durable there does not follow from it ({why})",
                    record.step
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}
