//! What else a publisher says about an event: attributes in the sense of CloudEvents, such as `traceparent`.
//!
//! The bus keeps them with the event and hands them on. It decides nothing by them, and they are no part of what makes an
//! event the same as another of its id: a publisher that tries again may well do so in another trace.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::{ATTRIBUTE_BYTES_MAX, ATTRIBUTES_MAX};

/// The attribute that says which trace an event belongs to, as W3C Trace Context writes it.
pub const TRACEPARENT: &str = "traceparent";

/// Whether a text is a `traceparent` that says something: a version, a trace, a span and flags, in lower-case hexadecimal.
pub fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let nothing = |part: &str| part.bytes().all(|byte| byte == b'0');
    let parts: Vec<&str> = text.split('-').collect();
    match parts[..] {
        [version, trace, span, flags, ..] => {
            hex(version, 2)
                && version != "ff"
                && (version != "00" || parts.len() == 4)
                && hex(trace, 32)
                && !nothing(trace)
                && hex(span, 16)
                && !nothing(span)
                && hex(flags, 2)
        }
        _ => false,
    }
}

/// The longest name that CloudEvents recommends.
const NAME_BYTES_MAX: usize = 20;

/// Names that an event has fields for, or that frame it.
const TAKEN: [&str; 13] = [
    "causationid",
    "correlationid",
    "data",
    "data_base64",
    "expectedversion",
    "id",
    "keyversion",
    "partitionkey",
    "recordedtime",
    "sequence",
    "source",
    "specversion",
    "type",
];

/// Names that do not count: an event is shown as a CloudEvent with a time and a content type, and gets the trace of what
/// caused it, however many attributes its publisher gave it.
const UNCOUNTED: [&str; 3] = ["datacontenttype", "time", TRACEPARENT];

/// Texts by name; mostly there are none, and then they cost nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Attributes(Option<Arc<BTreeMap<String, String>>>);

/// Why attributes are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// The name is not one.
    #[error("the attribute {0:?} has no name of 1 to 20 lower-case letters and digits; rename it")]
    Name(String),
    /// The event has a field for it.
    #[error("the attribute {0:?} is a field of the event itself; put it there")]
    Taken(String),
    /// The value is too long, or has characters that no header can carry.
    #[error(
        "the attribute {0:?} has more than {ATTRIBUTE_BYTES_MAX} bytes, or control characters; put it into the data"
    )]
    Value(String),
    /// There are too many.
    #[error(
        "an event has at most {ATTRIBUTES_MAX} attributes besides {}; put the others into the data",
        UNCOUNTED.join(", ")
    )]
    TooMany,
}

impl Attributes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.as_ref()?.get(name).map(String::as_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|all| all.iter()).map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The same with one more.
    ///
    /// # Errors
    /// When the name or the value is not one, or there would be too many.
    pub fn with(mut self, name: &str, value: &str) -> Result<Self, AttributeError> {
        let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if TAKEN.contains(&name) {
            return Err(AttributeError::Taken(name.to_owned()));
        }
        if !letters || name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(AttributeError::Name(name.to_owned()));
        }
        if value.len() > ATTRIBUTE_BYTES_MAX || value.chars().any(char::is_control) {
            return Err(AttributeError::Value(name.to_owned()));
        }
        let all = Arc::make_mut(self.0.get_or_insert_default());
        all.insert(name.to_owned(), value.to_owned());
        if all.keys().filter(|name| !UNCOUNTED.contains(&name.as_str())).count() > ATTRIBUTES_MAX {
            return Err(AttributeError::TooMany);
        }
        Ok(self)
    }

    /// The same in the trace of what caused the event, unless it names one of its own.
    #[must_use]
    pub fn caused_by(self, cause: &Self) -> Self {
        match cause.get(TRACEPARENT) {
            Some(trace) if self.get(TRACEPARENT).is_none() => self.clone().with(TRACEPARENT, trace).unwrap_or(self),
            _ => self,
        }
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = BTreeMap::<String, String>::deserialize(deserializer)?;
        all.iter().try_fold(Self::default(), |attributes, (name, value)| {
            attributes.with(name, value).map_err(de::Error::custom)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_checked_and_come_back_as_they_were() {
        let text = r#"{"dataschema":"urn:x","traceparent":"00-1-2-01"}"#;
        let attributes: Attributes = serde_json::from_str(text).expect("both are attributes");
        assert_eq!(attributes.get("dataschema"), Some("urn:x"));
        assert_eq!(serde_json::to_string(&attributes).expect("is JSON"), text);
        assert_eq!(serde_json::from_str::<Attributes>("{}").expect("none"), Attributes::default());
        for wrong in [r#"{"Time":"1"}"#, r#"{"":"1"}"#, r#"{"id":"1"}"#, r#"{"a":"\u0007"}"#, r#"{"a":1}"#] {
            assert!(serde_json::from_str::<Attributes>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_traceparent_is_told_from_a_text() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(good));
        assert!(is_traceparent(&format!("01{}-later", &good[2..])), "a later version may say more");
        for wrong in [
            "",
            "00-1-2-01",
            &good.to_uppercase(),
            &format!("{good}-more"),
            &good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &format!("ff{}", &good[2..]),
        ] {
            assert!(!is_traceparent(wrong), "{wrong}");
        }
    }

    #[test]
    fn there_are_no_more_than_the_limit() {
        let fill = |count: usize| {
            (0..count).try_fold(Attributes::default(), |attributes, n| attributes.with(&format!("a{n}"), "1"))
        };
        assert!(fill(ATTRIBUTES_MAX).is_ok());
        assert_eq!(fill(ATTRIBUTES_MAX + 1), Err(AttributeError::TooMany));
        let shown = UNCOUNTED.iter().try_fold(fill(ATTRIBUTES_MAX).expect("fits"), |all, name| all.with(name, "1"));
        assert_eq!(shown.expect("what an event is shown with fits always").iter().count(), ATTRIBUTES_MAX + 3);
        let long = "x".repeat(ATTRIBUTE_BYTES_MAX + 1);
        assert_eq!(Attributes::default().with("a", &long), Err(AttributeError::Value("a".to_owned())));
    }

    #[test]
    fn a_trace_goes_on_in_what_was_caused_unless_that_names_another() {
        let cause = Attributes::default().with(TRACEPARENT, "t-1").expect("is one");
        assert_eq!(Attributes::default().caused_by(&cause).get(TRACEPARENT), Some("t-1"));
        let own = Attributes::default().with(TRACEPARENT, "t-2").expect("is one");
        assert_eq!(own.clone().caused_by(&cause), own);
        assert!(Attributes::default().caused_by(&Attributes::default()).is_empty());
    }
}
