//! Which runs a check makes: seeds, or a plan from a file; and what the environment says instead.

use std::path::PathBuf;

use super::error::SetupError;
use crate::{campaign::default_seeds, seed};

/// The runs of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// A plan is drawn from each of these.
    Seeds(Vec<u64>),
    /// This plan.
    Plan(PathBuf),
}

/// So many seeds, the same ones in every clone.
pub fn seeds(count: usize) -> Which {
    Which::Seeds(default_seeds(count))
}

/// This seed alone.
pub fn seed(seed: u64) -> Which {
    Which::Seeds(vec![seed])
}

/// The plan in this file, such as one that a failed check has saved. A relative path begins where `cargo test` runs: in
/// the package.
pub fn plan(file: impl Into<PathBuf>) -> Which {
    Which::Plan(file.into())
}

/// What the environment wants instead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Environment {
    /// `DACAPO_SEED`: this seed alone.
    seed: Option<u64>,
    /// `DACAPO_SEEDS`: so many.
    count: Option<usize>,
}

impl Environment {
    pub(super) fn read() -> Result<Self, SetupError> {
        Self::from(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    pub(super) fn from(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SetupError> {
        let given = |name: &'static str| variable(name).filter(|value| !value.is_empty()).map(|value| (name, value));
        let wrong = |name, reason: String| SetupError::Environment { name, reason };
        let seed =
            given("DACAPO_SEED").map(|(name, value)| seed::parse(&value).map_err(|no| wrong(name, no.to_string())));
        let count = given("DACAPO_SEEDS").map(|(name, value)| match value.parse::<usize>() {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(wrong(name, format!("{value:?} is no number of seeds; give a whole number from 1"))),
        });
        Ok(Self { seed: seed.transpose()?, count: count.transpose()? })
    }

    /// The runs to make, and whether they are enough for a situation that was never met to mean something: a person who
    /// asks for one seed wants to see that seed. A plan that the test names stays.
    pub(super) fn choose(self, written: Which) -> (Which, bool) {
        match (written, self.seed, self.count) {
            (Which::Plan(file), _, _) => (Which::Plan(file), false),
            (Which::Seeds(_), Some(one), _) => (seed(one), false),
            (Which::Seeds(written), None, Some(count)) => (seeds(count), count >= written.len()),
            (Which::Seeds(written), None, None) => (Which::Seeds(written), true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(seed: &str, seeds: &str) -> Result<Environment, SetupError> {
        Environment::from(|name| Some(if name == "DACAPO_SEED" { seed } else { seeds }.to_owned()))
    }

    #[test]
    fn the_environment_says_which_seeds() {
        let choose = |one, many, written| environment(one, many).expect("it is right").choose(written);
        assert_eq!(choose("", "", seeds(3)), (Which::Seeds(vec![1, 2, 3]), true));
        assert_eq!(choose("0x10", "", seeds(3)), (Which::Seeds(vec![16]), false));
        assert_eq!(choose("", "2", seeds(3)), (Which::Seeds(vec![1, 2]), false));
        assert_eq!(choose("", "4", seeds(3)), (Which::Seeds(vec![1, 2, 3, 4]), true));
        assert_eq!(choose("9", "4", seeds(3)), (Which::Seeds(vec![9]), false), "the one seed wins");
        assert_eq!(choose("9", "4", plan("a.json")), (plan("a.json"), false), "a plan stays");
    }

    #[test]
    fn a_variable_that_makes_no_sense_is_named() {
        for (one, many, words) in [
            ("many", "", "DACAPO_SEED: \"many\" is no seed"),
            ("", "-1", "DACAPO_SEEDS: \"-1\" is no number of seeds; give a whole number from 1"),
            ("", "0", "DACAPO_SEEDS: \"0\" is no number of seeds"),
        ] {
            let error = environment(one, many).expect_err("it makes no sense").to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
