//! Whether an event is wanted.

use std::borrow::Cow;

use dacapo_core::{Event, EventId};

use super::{Bound, Comparison, Fared, Field, Filter, Value, What};

impl Filter {
    /// Whether the event is wanted. How services fared with it is asked for only where it matters.
    pub fn matches(&self, event: &Event, fared: &Fared) -> bool {
        self.terms.iter().all(|term| term.what.holds(event, fared) != term.negated)
    }
}

impl What {
    fn holds(&self, event: &Event, fared: &Fared) -> bool {
        match self {
            Self::Field(field, patterns) => {
                let text = match field {
                    Field::Key => event.key.as_str(),
                    Field::Type => event.event_type.as_str(),
                    Field::Correlation => event.correlation.as_str(),
                    Field::Causation => event.causation.as_ref().map_or("", EventId::as_str),
                    Field::Source => event.source.as_str(),
                    Field::Id => event.id.as_str(),
                };
                patterns.iter().any(|pattern| glob(pattern, text))
            }
            Self::Service(patterns) => {
                fared.services.iter().any(|name| patterns.iter().any(|pattern| glob(pattern, name)))
            }
            Self::Status(statuses) => statuses.iter().any(|status| fared.statuses.contains(status)),
            Self::After(Bound::Position(position)) => event.position > *position,
            Self::Before(Bound::Position(position)) => event.position < *position,
            Self::After(Bound::Time(time)) => event.time >= *time,
            Self::Before(Bound::Time(time)) => event.time < *time,
            // Resolved before any event is looked at.
            Self::After(Bound::Since(_)) | Self::Before(Bound::Since(_)) => false,
            Self::Payload { path, comparison, value } => {
                let payload: serde_json::Value = event.data.to().unwrap_or_default();
                path.split('.')
                    .try_fold(&payload, |at, name| at.get(name))
                    .is_some_and(|at| compares(at, *comparison, value))
            }
            Self::Text(text) => event.data.as_str().contains(text.as_str()),
        }
    }
}

/// A field that is not of the value's kind compares with it in no way but being different.
fn compares(found: &serde_json::Value, comparison: Comparison, value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            let Some(found) = found.as_f64() else { return comparison == Comparison::Different };
            match comparison {
                Comparison::Equal => found.total_cmp(number).is_eq(),
                Comparison::Different => found.total_cmp(number).is_ne(),
                Comparison::Greater => found > *number,
                Comparison::AtLeast => found >= *number,
                Comparison::Less => found < *number,
                Comparison::AtMost => found <= *number,
            }
        }
        Value::Text(pattern) => {
            let text = match found {
                serde_json::Value::String(text) => Cow::Borrowed(text.as_str()),
                other => Cow::Owned(other.to_string()),
            };
            glob(pattern, &text) == (comparison == Comparison::Equal)
        }
    }
}

/// Whether the text is as the pattern says; `*` stands for any characters, or none.
pub fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(tail)
}
