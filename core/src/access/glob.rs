//! Patterns of names: `*` stands for any characters, none included; all else for itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::NameError;

/// A pattern of names, such as `acc-*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob(String);

impl Glob {
    /// Checks the pattern: as long as a name may be, and without control characters.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        crate::names::Key::new(text.as_str()).map(|_| Self(text))
    }

    /// For a text that is known to be right, such as a literal.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn of(text: &str) -> Self {
        match Self::new(text) {
            Ok(glob) => glob,
            Err(error) => panic!("{error}"),
        }
    }

    /// The pattern of everything.
    pub fn all() -> Self {
        Self("*".to_owned())
    }

    /// Whether the name is of this pattern. It costs at most the product of both lengths, which are bounded.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut of) = (0, 0);
        // Where to go on if what follows the last star does not fit: the star takes one character more.
        let mut again: Option<(usize, usize)> = None;
        while at < name.len() {
            if pattern.get(of) == Some(&b'*') {
                again = Some((of + 1, at));
                of += 1;
            } else if pattern.get(of) == Some(&name[at]) {
                of += 1;
                at += 1;
            } else if let Some((behind_star, taken)) = again {
                again = Some((behind_star, taken + 1));
                of = behind_star;
                at = taken + 1;
            } else {
                return false;
            }
        }
        pattern[of..].iter().all(|byte| *byte == b'*')
    }
}

impl TryFrom<String> for Glob {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> Self {
        glob.0
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, fits: &[&str], does_not: &[&str]) {
        let glob = Glob::new(pattern).expect("is a pattern");
        for name in fits {
            assert!(glob.matches(name), "{pattern} fits {name:?}");
        }
        for name in does_not {
            assert!(!glob.matches(name), "{pattern} does not fit {name:?}");
        }
    }

    #[test]
    fn a_star_stands_for_any_characters_and_all_else_for_itself() {
        check("*", &["a", "acc-1", "$x"], &[]);
        check("acc-*", &["acc-", "acc-1", "acc-*"], &["acc", "xacc-1", "Acc-1"]);
        check("*Debit", &["Debit", "ConfirmedDebit"], &["DebitConfirmed", "debit"]);
        check("a*b*c", &["abc", "a1b2c", "abbc", "abcbc"], &["ab", "ac", "abcd"]);
        check("a?c", &["a?c"], &["abc"]);
        check("exact", &["exact"], &["exactly", "exac", "an exact"]);
    }

    #[test]
    fn many_stars_cost_no_more_than_the_lengths_allow() {
        let pattern = "a*".repeat(127);
        assert!(!Glob::new(pattern).expect("is short enough").matches(&format!("{}b", "a".repeat(100))));
    }

    #[test]
    fn a_pattern_is_as_long_as_a_name_and_not_empty() {
        assert!(Glob::new("").is_err());
        assert!(Glob::new("x".repeat(300)).is_err());
        assert!(serde_json::from_str::<Glob>("\"a\\nb\"").is_err());
    }
}
