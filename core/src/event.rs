//! Events, what publishers demand of them, and what the bus answers.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::{
    names::{CorrelationId, EventId, EventType, Key, Position, Source, Version},
    time::WallTime,
};

/// An event's payload: any JSON value, kept as the text it came as, so that nothing of it is lost or reformatted.
#[derive(Clone)]
pub struct Data(Arc<RawValue>);

impl Data {
    /// The payload `null`.
    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned().into())
    }

    /// Serializes a value.
    ///
    /// # Panics
    /// When the value cannot be JSON (a map with keys that are no strings).
    #[track_caller]
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        match serde_json::value::to_raw_value(value) {
            Ok(raw) => Self(raw.into()),
            Err(error) => panic!("the payload cannot be JSON: {error}"),
        }
    }

    /// Takes a JSON text as it is.
    pub fn from_text(text: impl Into<String>) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text.into()).map(|raw| Self(raw.into()))
    }

    /// Reads the payload as a `T`.
    pub fn to<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.0.get())
    }

    /// Whether it is nested deeper than this.
    pub fn is_deeper_than(&self, depth_max: usize) -> bool {
        let bytes = self.as_str().as_bytes();
        // Hardly any payload has so many brackets at all, and counting them is quick.
        if bytes.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() <= depth_max {
            return false;
        }
        let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
        for byte in bytes {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => in_text = !in_text,
                b'[' | b'{' if !in_text => depth += 1,
                b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > depth_max {
                return true;
            }
        }
        false
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Equal texts are equal at once; other texts are equal when they are the same JSON value.
impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.as_str(), other.as_str());
        a == b
            || match (serde_json::from_str::<serde_json::Value>(a), serde_json::from_str::<serde_json::Value>(b)) {
                (Ok(a), Ok(b)) => a == b,
                _ => false,
            }
    }
}

/// No JSON value differs from itself.
impl Eq for Data {}

impl Hash for Data {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (*self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|raw| Self(raw.into()))
    }
}

impl Default for Data {
    fn default() -> Self {
        Self::null()
    }
}

/// An immutable fact in the log.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the whole log.
    pub position: Position,
    /// Its identity.
    pub id: EventId,
    /// What kind of fact it is.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// What it is about.
    pub key: Key,
    /// Its number within its key.
    pub version: Version,
    /// Shared by all that came of one request.
    pub correlation: CorrelationId,
    /// The event that caused it; none for the first of a correlation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<EventId>,
    /// When the bus accepted it, by its wall clock.
    pub time: WallTime,
    /// Who published it.
    pub source: Source,
    /// What it says.
    pub data: Data,
}

/// What a publisher demands of a key's head. In JSON: `"any"`, or the number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Expectation {
    /// Take the next version, whatever the head is.
    #[default]
    Any,
    /// The head must be exactly this; 0 means that the key has no event.
    Version(Version),
}

impl Serialize for Expectation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("any"),
            Self::Version(version) => version.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Expectation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Expectation;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"any\", or the head's version as a whole number")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Expectation, E> {
                if text == "any" {
                    Ok(Expectation::Any)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }
            fn visit_u64<E: de::Error>(self, version: u64) -> Result<Expectation, E> {
                Ok(Expectation::Version(Version(version)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// An expectation on a key that is only read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Guard {
    /// The key that was read.
    pub key: Key,
    /// The head that it had.
    pub version: Version,
}

/// An event on its way to the bus.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct NewEvent {
    /// Chosen by the publisher; sending the same id again is answered with `duplicate`.
    pub id: EventId,
    /// What kind of fact it is.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// What it is about.
    pub key: Key,
    /// What is demanded of the key's head.
    #[serde(default)]
    pub expectation: Expectation,
    /// None takes that of the cause; without a cause it begins a new one, named after the id of the batch's first event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<CorrelationId>,
    /// Must name an earlier event of the same correlation. A completion's events get theirs from the bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<EventId>,
    /// Who publishes; an instance may leave it out, and may not claim another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What it says.
    #[serde(default)]
    pub data: Data,
}

/// The bus's answer for each published event. A batch is accepted whole or not at all, so all events of a batch
/// bear the same status.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Receipt {
    /// It is in the log, durably.
    Accepted {
        /// Where.
        position: Position,
        /// Its number within its key.
        version: Version,
        /// When, by the bus's wall clock.
        time: WallTime,
    },
    /// The same event was in the log already; here is where.
    Duplicate {
        /// Where it was accepted first.
        position: Position,
        /// Its number within its key.
        version: Version,
        /// When it was accepted, by the bus's wall clock.
        time: WallTime,
    },
    /// An expectation or a guard did not hold: the ground is stale.
    Inconsistent {
        /// The key whose head differs.
        key: Key,
        /// Its head now.
        head: Version,
        /// The event at the head; none if the key has no event.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<EventId>,
    },
    /// It can never be accepted as it is.
    Refused {
        /// Which rule it breaks.
        reason: Refusal,
        /// What failed and what to do, in a sentence.
        message: String,
    },
    /// The bus is full; wait for `resume` and send it again.
    Throttled,
}

/// Why an event or a message can never be accepted as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The batch has no event.
    EmptyBatch,
    /// The batch has more events or guards than the limit.
    BatchTooLarge,
    /// The payload has more bytes than the limit.
    DataTooLarge,
    /// The payload is nested deeper than the limit.
    DataTooDeep,
    /// The same id stands twice in the batch.
    IdTwiceInBatch,
    /// Some ids of the batch are in the log, and others are not.
    BatchPartlyKnown,
    /// The id is in the log with other content.
    IdHasOtherContent,
    /// Keys, types, sources and ids that begin with `$` belong to the bus.
    Reserved,
    /// The source is missing, or is not the service that speaks.
    Source,
    /// The causation names no event in the log.
    UnknownCause,
    /// The cause belongs to another correlation.
    CauseOfOtherCorrelation,
    /// A completion's events get their correlation and causation from the bus.
    CausationNotYours,
    /// The key has as many different types as the limit allows.
    TooManyTypes,
    /// The sender's token does not allow it.
    Forbidden,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_that_of_brackets_outside_of_texts() {
        let deep = |text: String, depth_max| Data::from_text(text).expect("is JSON").is_deeper_than(depth_max);
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!deep(nested(100), 100) && deep(nested(101), 100));
        assert!(deep(format!("{}1{}", "{\"a\":[".repeat(60), "]}".repeat(60)), 100));
        assert!(!deep(format!("[\"{}\"]", "[".repeat(500)), 100), "in a text they nest nothing");
        assert!(!deep(format!("[\"\\\"{}\"]", "[".repeat(500)), 100), "a quote that is escaped ends no text");
        assert!(!deep(format!("[{}1]", "[1],".repeat(500)), 100), "side by side is not deep");
    }
}
