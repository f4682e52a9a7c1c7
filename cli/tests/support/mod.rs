//! What the suites of the binary share: running it, and a directory of one's own.

#![allow(dead_code, reason = "each suite uses its own part of this")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// A directory that goes with its test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A fresh one, named after the test.
    pub(crate) fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dacapo-{test}-{}", std::process::id()));
        // Left behind by a process of the same number, if at all.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the directory for temporary files can be written to");
        Self(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary, in a directory, without colours and without stdin.
pub(crate) fn dacapo(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dacapo"));
    command.current_dir(directory).env("NO_COLOR", "1").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(directory: &Path, arguments: &[&str]) -> Output {
    dacapo(directory).args(arguments).output().expect("the binary can be started")
}

/// Its exit code.
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("it ended by a signal: {output:?}"))
}

/// What it said on stdout.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("it speaks UTF-8")
}

/// What it said on stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("it speaks UTF-8")
}
