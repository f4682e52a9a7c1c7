//! What customers call their things. They choose the names themselves, so that a request can be repeated.
//!
//! A name becomes a segment of a path and the end of a key; only letters, digits, `-`, `_` and `.` are taken, so that
//! neither needs escaping.

use std::fmt;

use dacapo_core::Key;
use serde::{Deserialize, Serialize};

/// The most bytes that a name may have: enough for a UUID with a prefix, short enough for a line.
pub const ID_BYTES_MAX: usize = 64;

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing, or too much.
    #[error("{what} has {bytes} bytes; give 1 to {ID_BYTES_MAX}")]
    Length {
        /// Whose name.
        what: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// It would need escaping.
    #[error("{what} contains {character:?}; use letters, digits, \"-\", \"_\" and \".\" only")]
    Character {
        /// Whose name.
        what: &'static str,
        /// The first that is not taken.
        character: char,
    },
}

fn check(what: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() || text.len() > ID_BYTES_MAX {
        return Err(IdError::Length { what, bytes: text.len() });
    }
    let taken = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    match text.chars().find(|character| !taken(character)) {
        Some(character) => Err(IdError::Character { what, character }),
        None => Ok(()),
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the text.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                check($what, &text)?;
                Ok(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    )*};
}

ids! {
    /// A user's name.
    UserId = "a user's id";
    /// An account's name.
    AccountId = "an account's id";
    /// A transaction's name.
    TransactionId = "a transaction's id";
}

impl UserId {
    /// The key of what happens to the user.
    pub fn key(&self) -> Key {
        Key::of(format!("user-{self}"))
    }
}

impl AccountId {
    /// The key of what happens to the account.
    pub fn key(&self) -> Key {
        Key::of(format!("acc-{self}"))
    }

    /// The key of the wish for the account. It is a key of its own, so that asking twice is a conflict of the users
    /// service alone and never of the account's money.
    pub fn creation_key(&self) -> Key {
        Key::of(format!("creation-{self}"))
    }
}

impl TransactionId {
    /// The key of what happens to the transaction.
    pub fn key(&self) -> Key {
        Key::of(format!("trans-{self}"))
    }

    /// The transaction whose key this is.
    pub fn of_key(key: &Key) -> Option<Self> {
        Self::new(key.as_str().strip_prefix("trans-")?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_needs_no_escaping_anywhere() {
        assert_eq!(AccountId::new("").unwrap_err(), IdError::Length { what: "an account's id", bytes: 0 });
        assert!(matches!(UserId::new("x".repeat(65)), Err(IdError::Length { bytes: 65, .. })));
        for (text, character) in [("a/b", '/'), ("a b", ' '), ("ä", 'ä'), ("a\n", '\n'), ("$a", '$')] {
            assert_eq!(TransactionId::new(text), Err(IdError::Character { what: "a transaction's id", character }));
        }
        assert!(serde_json::from_str::<UserId>("\"a?b\"").is_err());
    }

    #[test]
    fn the_keys_say_what_they_are_about() {
        let account = AccountId::new("alice-1").unwrap();
        assert_eq!((account.key(), account.creation_key()), (Key::of("acc-alice-1"), Key::of("creation-alice-1")));
        assert_eq!(UserId::new("alice").unwrap().key(), Key::of("user-alice"));
        let transaction = TransactionId::new("t7").unwrap();
        assert_eq!(TransactionId::of_key(&transaction.key()), Some(transaction));
        assert_eq!(TransactionId::of_key(&Key::of("acc-alice-1")), None);
    }
}
