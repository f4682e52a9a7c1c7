//! The bus that is loaded: one that runs already, or a child process on a store of its own.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, anyhow};

use super::arguments::BenchArguments;

/// The bus that is loaded.
pub(super) enum Target {
    Running(String),
    Started(Started),
}

/// A bus of our own, which ends with this, and its store with it.
pub(super) struct Started {
    address: String,
    bus: Child,
    directory: PathBuf,
}

impl Target {
    pub(super) fn of(arguments: &BenchArguments) -> anyhow::Result<Self> {
        if let Some(address) = &arguments.bus {
            return Ok(Self::Running(address.clone()));
        }
        let parent = arguments.directory.clone().unwrap_or_else(std::env::temp_dir);
        let directory = parent.join(format!("dacapo-bench-{}", std::process::id()));
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}; choose another --directory", directory.display()))?;
        Started::start(directory).map(Self::Started)
    }

    pub(super) fn address(&self) -> &str {
        match self {
            Self::Running(address) => address,
            Self::Started(started) => &started.address,
        }
    }

    /// Where the store lies, if that is known.
    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Running(_) => None,
            Self::Started(started) => Some(&started.directory),
        }
    }
}

impl Started {
    fn start(directory: PathBuf) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut bus = Command::new(program)
            .args(["--json", "serve", "--listen", "127.0.0.1:0", "--db"])
            .arg(directory.join("bench.db"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start a bus")?;
        let address = bus.stdout.take().map(BufReader::new).and_then(|stdout| {
            let line = stdout.lines().next()?.ok()?;
            let told: serde_json::Value = serde_json::from_str(&line).ok()?;
            Some(told.get("bus")?.as_str()?.trim_start_matches("http://").to_owned())
        });
        let started = Self { address: address.clone().unwrap_or_default(), bus, directory };
        // Dropped on the way out: the child is ended and its directory removed.
        address.map(|_| started).ok_or_else(|| anyhow!("the bus that was started did not say where it listens"))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // There is nothing to keep: neither failure has anything to tell that matters.
        let _ = self.bus.kill();
        let _ = self.bus.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
