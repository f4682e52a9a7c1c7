//! `dacapo bugs list`.

use std::{fs, io, path::Path};

use anyhow::Context as _;

use crate::{exit::Exit, terminal::Terminal};

/// Lists the failures in the base.
pub(crate) fn run(terminal: &Terminal, directory: &Path) -> anyhow::Result<Exit> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>(),
        // Nothing has failed here yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let mut names: Vec<String> = entries
        .with_context(|| format!("cannot read the bug base {}", directory.display()))?
        .iter()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".json"))
        .collect();
    names.sort();
    for name in &names {
        terminal.line(directory.join(name).display());
        terminal.object("bug", &serde_json::json!({ "file": name }));
    }
    Ok(Exit::Passed)
}
