//! What a token allows. What it does not name, it does not allow.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Glob;
use crate::names::{EventType, Key, NameError, ServiceName};

/// Publishing these types on these keys: `Deposited@acc-*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishRight {
    /// Of types.
    pub types: Glob,
    /// Of keys.
    pub keys: Glob,
}

/// Why a text is no right to publish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RightError {
    /// There is no `@` in it.
    #[error("{text:?} does not say on which keys; write TYPES@KEYS, such as 'Deposited@acc-*' or '*@*'")]
    NoKeys {
        /// What was given.
        text: String,
    },
    /// One of the patterns is none.
    #[error("{0}")]
    Pattern(#[from] NameError),
}

impl FromStr for PublishRight {
    type Err = RightError;

    fn from_str(text: &str) -> Result<Self, RightError> {
        let (types, keys) = text.split_once('@').ok_or_else(|| RightError::NoKeys { text: text.to_owned() })?;
        Ok(Self { types: Glob::new(types)?, keys: Glob::new(keys)? })
    }
}

impl fmt::Display for PublishRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.types, self.keys)
    }
}

/// What a token allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rights {
    /// Publishing, also as what a handling produced. An event must be allowed by one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<PublishRight>,
    /// Being an instance of these services: taking their deliveries, completing them, and reading.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Glob>,
    /// Reading the log, keys, services and lanes, and the metrics.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read: bool,
    /// Retrying and skipping lanes, changing types, making and revoking tokens; and reading.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub administer: bool,
}

impl Rights {
    /// Everything.
    pub fn all() -> Self {
        Self {
            publish: vec![PublishRight { types: Glob::all(), keys: Glob::all() }],
            services: vec![Glob::all()],
            read: true,
            administer: true,
        }
    }

    /// Whether it allows nothing at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an event of this type may be published on this key.
    pub fn may_publish(&self, event_type: &EventType, key: &Key) -> bool {
        let allows =
            |right: &PublishRight| right.types.matches(event_type.as_str()) && right.keys.matches(key.as_str());
        self.publish.iter().any(allows)
    }

    /// Whether one may be an instance of this service.
    pub fn may_be(&self, service: &ServiceName) -> bool {
        self.services.iter().any(|glob| glob.matches(service.as_str()))
    }

    /// Whether the log may be read. An instance needs it to make its state, an administrator to know what he does.
    pub fn may_read(&self) -> bool {
        self.read || self.administer || !self.services.is_empty()
    }
}

/// As the options of `dacapo token new` that give them.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = self.publish.iter().map(|right| format!("publish {right}")).collect();
        words.extend(self.services.iter().map(|service| format!("service {service}")));
        words.extend(self.read.then(|| "read".to_owned()));
        words.extend(self.administer.then(|| "administer".to_owned()));
        if words.is_empty() { f.write_str("nothing") } else { f.write_str(&words.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_name_types_and_keys_together() {
        let rights = Rights {
            publish: vec!["Deposited@acc-*".parse().expect("is a right"), "User*@user-*".parse().expect("is a right")],
            ..Rights::default()
        };
        let may =
            |event_type: &'static str, key: &'static str| rights.may_publish(&EventType::of(event_type), &Key::of(key));
        assert!(may("Deposited", "acc-1") && may("UserAdded", "user-1"));
        assert!(!may("Deposited", "user-1") && !may("UserAdded", "acc-1") && !may("Withdrawn", "acc-1"));
        assert!(!rights.may_read() && !rights.may_be(&ServiceName::of("accounts")));
        assert_eq!(rights.to_string(), "publish Deposited@acc-*, publish User*@user-*");
    }

    #[test]
    fn what_is_no_right_says_how_one_looks() {
        let error = "Deposited".parse::<PublishRight>().expect_err("names no keys");
        assert!(error.to_string().contains("TYPES@KEYS"), "{error}");
        assert!("@acc".parse::<PublishRight>().is_err());
        assert!(serde_json::from_str::<Rights>(r#"{"adminster":true}"#).is_err(), "a misspelt right is no right");
    }

    #[test]
    fn nothing_is_allowed_that_is_not_named() {
        let none = Rights::default();
        assert!(none.is_empty() && !none.may_read() && !none.administer);
        assert!(!none.may_publish(&EventType::of("T"), &Key::of("k")));
        let service = Rights { services: vec![Glob::new("acc*").expect("is a pattern")], ..Rights::default() };
        assert!(service.may_be(&ServiceName::of("accounts")) && !service.may_be(&ServiceName::of("users")));
        assert!(service.may_read(), "an instance reads what its state is made of");
        assert!(!service.may_publish(&EventType::of("T"), &Key::of("k")), "what it produces needs a right of its own");
    }
}
