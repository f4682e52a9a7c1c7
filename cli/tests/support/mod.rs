//! What the suites of the binary share: running it, and a directory of one's own.

#![allow(dead_code, reason = "each suite uses its own part of this")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

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

/// A verb that runs, with its JSON Lines; it ends with its test.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a verb in a directory.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = dacapo(directory);
        command.args(arguments).arg("--json").env("RUST_LOG", "error").stdout(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("is piped"));
        Self { child, lines }
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("can be read");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Asks it to end, as Ctrl-C and service managers do; its exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("can be asked");
        self.wait()
    }

    /// Waits until it has ended by itself; its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("ends").code()
    }

    /// As a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("runs");
        self.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // If the test failed half-way; else it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
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
