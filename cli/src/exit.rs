//! The exit codes, in one place: scripts branch on them, so they are as much an interface as the flags.

use std::{fmt, process::ExitCode};

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything that was asked for was done, and every property held.
    Passed = 0,
    /// A property is violated.
    Violated = 1,
    /// The command line, or a file that it names, cannot be used.
    Usage = 2,
    /// A mark was never reached, or time ran out: nothing is proved.
    Inconclusive = 3,
    /// The same plan ran differently.
    NotDeterministic = 4,
    /// Two runs differ.
    Differ = 5,
    /// Dacapo itself could not go on: a port, a disk, a bug of the harness.
    Failed = 70,
    /// Ctrl-C.
    Interrupted = 130,
}

/// The table in `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
    0  passed
    1  a property is violated
    2  usage: the command line, or a file that it names, cannot be used
    3  inconclusive: a mark was never reached, or time ran out
    4  not deterministic: the same plan ran differently
    5  runs differ
   70  Dacapo itself could not go on: a port, a disk, the harness
  130  interrupted";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// The code for an error: a [`Usage`] anywhere in its chain is the caller's to mend, all else is ours.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if error.chain().any(<dyn std::error::Error>::is::<Usage>) { Self::Usage } else { Self::Failed }
    }
}

/// An error that the caller can mend: the sentence says how.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    /// An error with this sentence.
    pub(crate) fn error(sentence: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self(sentence.into()))
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_code() {
        for code in [
            Exit::Passed,
            Exit::Violated,
            Exit::Usage,
            Exit::Inconclusive,
            Exit::NotDeterministic,
            Exit::Failed,
            Exit::Interrupted,
        ] {
            let number = format!("{:>5}  ", code as u8);
            assert!(HELP.contains(&number), "{code:?} is missing from the table");
        }
    }

    #[test]
    fn a_mistake_of_the_caller_is_told_from_one_of_ours() {
        assert_eq!(Exit::of(&Usage::error("give a seed")), Exit::Usage);
        assert_eq!(Exit::of(&Usage::error("give a seed").context("reading the plan")), Exit::Usage);
        assert_eq!(Exit::of(&anyhow::anyhow!("the port is taken")), Exit::Failed);
    }
}
