//! Small checked values: the names and numbers that everything else is written in.
//!
//! A name can only be made through [`new`](Key::new) or by decoding, both of which check it, so that past this
//! module nobody has to ask again whether a key is empty or a type carries a line feed.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{limits, text::Text};

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("{what} is empty; give at least one character")]
    Empty {
        /// Which kind of name.
        what: &'static str,
    },
    /// It is longer than the limit.
    #[error("{what} has {bytes} bytes, the limit is {bytes_max}; shorten it")]
    TooLong {
        /// Which kind of name.
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
    /// It contains a control character.
    #[error("{what} contains the control character {character:?}; remove it")]
    Control {
        /// Which kind of name.
        what: &'static str,
        /// The first such character.
        character: char,
    },
}

fn check(what: &'static str, text: &str, bytes_max: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > bytes_max {
        return Err(NameError::TooLong { what, bytes: text.len(), bytes_max });
    }
    // Nearly all names are plain ASCII, which is told in one pass over the bytes.
    if text.bytes().all(|byte| (b' '..0x7F).contains(&byte)) {
        return Ok(());
    }
    match text.chars().find(|character| character.is_control()) {
        Some(character) => Err(NameError::Control { what, character }),
        None => Ok(()),
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $what:literal, $bytes_max:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Text);

        impl $name {
            /// The most bytes that it may have.
            pub const BYTES_MAX: usize = $bytes_max;

            /// Checks the text: 1 to [`Self::BYTES_MAX`] bytes, no control character.
            pub fn new(text: impl AsRef<str> + Into<Arc<str>>) -> Result<Self, NameError> {
                check($what, text.as_ref(), Self::BYTES_MAX)?;
                Ok(Self(Text::from(text.into())))
            }

            /// For a text that is known to be right, such as a literal.
            ///
            /// # Panics
            /// When it is not.
            #[track_caller]
            pub fn of(text: impl AsRef<str> + Into<Arc<str>>) -> Self {
                match Self::new(text) {
                    Ok(name) => name,
                    Err(error) => panic!("{error}"),
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether it begins with `$`, which only the bus itself may write.
            pub fn is_reserved(&self) -> bool {
                self.0.starts_with('$')
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
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for Arc<str> {
            fn from(name: $name) -> Arc<str> {
                name.0.into()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a string")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

names! {
    /// The identity of an event; entering the log at most once, for ever.
    EventId = "an event id", limits::NAME_BYTES_MAX;
    /// What kind of fact an event is, such as `ConfirmedDebit`.
    EventType = "an event type", limits::NAME_BYTES_MAX;
    /// The consistency key: events that change the same thing share it (`acc-3`).
    Key = "a key", limits::NAME_BYTES_MAX;
    /// Shared by all that came of one request.
    CorrelationId = "a correlation id", limits::NAME_BYTES_MAX;
    /// Who published an event: a service, or a customer that is none.
    Source = "a source", limits::NAME_BYTES_MAX;
    /// A named consumer; its instances share its work.
    ServiceName = "a service name", limits::SERVICE_NAME_BYTES_MAX;
    /// One process of a service.
    InstanceName = "an instance name", limits::SERVICE_NAME_BYTES_MAX;
    /// What a bearer token is called; its secret is another thing.
    TokenName = "a token's name", limits::SERVICE_NAME_BYTES_MAX;
    /// A host in a run: the bus, an instance, a customer.
    NodeName = "a node name", limits::NAME_BYTES_MAX;
}

impl From<ServiceName> for Source {
    fn from(service: ServiceName) -> Self {
        Self(service.0)
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Before the first.
            pub const ZERO: Self = Self(0);

            /// The one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

numbers! {
    /// An event's place in the whole log: 1, 2, 3, … without gaps; 0 is before the first.
    Position;
    /// An event's number within its key: 1, 2, 3, … without gaps; 0 means that the key has no event.
    Version;
    /// The store's fencing number of the one bus that may write.
    Term;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_where_they_enter() {
        assert_eq!(Key::new(""), Err(NameError::Empty { what: "a key" }));
        assert!(matches!(Key::new("x".repeat(257)), Err(NameError::TooLong { bytes: 257, .. })));
        assert_eq!(Key::new("a\nb"), Err(NameError::Control { what: "a key", character: '\n' }));
        assert!(serde_json::from_str::<Key>("\"\"").is_err());
        assert_eq!(Key::of("acc-3").as_str(), "acc-3");
        assert!(Key::of("$service/x").is_reserved());
    }
}
