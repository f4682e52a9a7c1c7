//! `.dacapo/` in the working directory: what outlives a run.
//!
//! * `seeds.jsonl`: a line for each seed, written before its run starts, so that a run that takes the machine down with it
//!   can be repeated. Older lines go when the file grows beyond [`SEEDS_BYTES_MAX`].
//! * `bugs/`: the bug base, unless `--bugs` says otherwise.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::Path,
};

use anyhow::Context as _;
use serde::Serialize;

/// About ten thousand seeds; the file is a flight recorder, not an archive.
const SEEDS_BYTES_MAX: u64 = 1 << 20;

/// The directory.
pub(crate) struct Home {
    seeds: File,
}

impl Home {
    /// Opens it, and creates it if need be.
    pub(crate) fn open() -> anyhow::Result<Self> {
        Self::open_at(Path::new(".dacapo"))
    }

    fn open_at(path: &Path) -> anyhow::Result<Self> {
        let help = || format!("cannot write below {}; run this in a directory that you may write to", path.display());
        fs::create_dir_all(path).with_context(help)?;
        let seeds_path = path.join("seeds.jsonl");
        if fs::metadata(&seeds_path).is_ok_and(|metadata| metadata.len() > SEEDS_BYTES_MAX) {
            fs::rename(&seeds_path, path.join("seeds.old.jsonl")).with_context(help)?;
        }
        let seeds = OpenOptions::new().create(true).append(true).open(&seeds_path).with_context(help)?;
        Ok(Self { seeds })
    }

    /// Writes down that a run is about to start. It has left this process when this returns.
    pub(crate) fn write_down<T: Serialize>(&mut self, run: &T) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(run)?;
        line.push(b'\n');
        self.seeds.write_all(&line).context("cannot write the seed down in .dacapo/seeds.jsonl; free some space")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_written_down_and_the_file_stays_small() {
        let path = std::env::temp_dir().join(format!("dacapo-home-{}", std::process::id()));
        let mut home = Home::open_at(&path).expect("opens");
        home.write_down(&serde_json::json!({"seed": 7})).expect("writes");
        let seeds = path.join("seeds.jsonl");
        assert_eq!(fs::read_to_string(&seeds).expect("reads"), "{\"seed\":7}\n");
        fs::write(&seeds, vec![b'x'; SEEDS_BYTES_MAX as usize + 1]).expect("writes");
        Home::open_at(&path).expect("opens");
        assert_eq!(fs::metadata(&seeds).expect("is there").len(), 0);
        fs::remove_dir_all(&path).expect("can be removed");
    }
}
