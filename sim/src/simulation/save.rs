//! Where the plan of a failure is kept: beside what cargo builds, so that nobody commits it by accident.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::plan::Plan;

/// Cargo's target folder, found from where the test's program lies; `target` here, if it lies elsewhere.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    // Cargo marks the folder as one that backups may leave out.
    let marked = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    marked.map_or_else(|| PathBuf::from("target"), Path::to_owned)
}

/// The name of the file, from letters that every file system takes.
fn file_name(scenario: &str, property: &str, seed: u64) -> String {
    let name = format!("{scenario}-{property}-seed-{seed}");
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    format!("{}.json", name.chars().map(safe).collect::<String>())
}

/// Saves a plan.
pub(super) fn save(folder: Option<&Path>, plan: &Plan, property: &str) -> Result<PathBuf, String> {
    let folder = folder.map_or_else(|| target().join("dacapo"), Path::to_owned);
    let file = folder.join(file_name(&plan.scenario, property, plan.seed));
    let write = || -> io::Result<()> {
        fs::create_dir_all(&folder)?;
        fs::write(&file, plan.to_json())
    };
    write().map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_after_what_it_breaks() {
        assert_eq!(file_name("seats", "a_seat_is_sold_once", 7), "seats-a_seat_is_sold_once-seed-7.json");
        assert_eq!(file_name("my seats", "no/where", 7), "my-seats-no-where-seed-7.json");
    }

    #[test]
    fn a_test_under_cargo_finds_the_target_folder() {
        let target = target();
        let program = std::env::current_exe().expect("a program has a place");
        assert!(program.starts_with(&target), "{} lies in {}", program.display(), target.display());
    }
}
