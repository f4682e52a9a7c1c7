//! From CloudEvents to events that are to be published.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use dacapo_core::{
    attributes::Attributes,
    event::{Data, Expectation, NewEvent},
    names::{NameError, Version},
};
use serde_json::value::RawValue;

use super::{BATCH, STRUCTURED, binary, essence, is_json};
use crate::server::http::wall_time;

/// Why a CloudEvent cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::server::http) enum Unfit {
    /// It is no CloudEvent.
    #[error("this is no CloudEvent: {0}")]
    NoCloudEvent(String),
    /// It is one, but not for this bus.
    #[error("this CloudEvent cannot be published: {0}")]
    Attribute(String),
    /// Its data cannot be kept.
    #[error("the data is neither JSON nor text: {0}")]
    Data(String),
}

/// How a request speaks CloudEvents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server::http) enum Incoming {
    /// Attributes as headers, data as the body.
    Binary,
    /// One event as JSON.
    Structured,
    /// Several.
    Batch,
}

impl Incoming {
    /// The mode of a request; none if it speaks the bus's own JSON.
    pub(in crate::server::http) fn of(headers: &HeaderMap) -> Result<Option<Self>, Unfit> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = essence(content_type);
        if essence == STRUCTURED {
            return Ok(Some(Self::Structured));
        }
        if essence == BATCH {
            return Ok(Some(Self::Batch));
        }
        if essence.starts_with("application/cloudevents") {
            return Err(Unfit::NoCloudEvent(format!("{essence} is not spoken here; send {STRUCTURED} or {BATCH}")));
        }
        Ok(headers.contains_key("ce-specversion").then_some(Self::Binary))
    }

    /// The events of a request.
    pub(in crate::server::http) fn read(self, headers: &HeaderMap, body: &[u8]) -> Result<Vec<NewEvent>, Unfit> {
        let no_json = |error: serde_json::Error| Unfit::NoCloudEvent(format!("the body cannot be read: {error}"));
        match self {
            Self::Binary => Ok(vec![binary::of_binary(headers, body)?.event()?]),
            Self::Structured => Ok(vec![of_json(serde_json::from_slice(body).map_err(no_json)?)?]),
            Self::Batch => {
                let batch: Vec<BTreeMap<String, Box<RawValue>>> = serde_json::from_slice(body).map_err(no_json)?;
                batch.into_iter().map(of_json).collect()
            }
        }
    }
}

/// One event in structured mode.
pub(super) fn of_text(text: &str) -> Result<NewEvent, Unfit> {
    of_json(serde_json::from_str(text).map_err(|error| Unfit::NoCloudEvent(error.to_string()))?)
}

fn of_json(mut members: BTreeMap<String, Box<RawValue>>) -> Result<NewEvent, Unfit> {
    if members.contains_key("data_base64") {
        return Err(Unfit::Data("send data as JSON, or keep it elsewhere and its address here".to_owned()));
    }
    let data = members.remove("data");
    let mut texts = BTreeMap::new();
    for (name, value) in members {
        match value.get().as_bytes() {
            b"null" => {}
            [b'"', ..] => {
                let text = serde_json::from_str(value.get()).map_err(|error| Unfit::NoCloudEvent(error.to_string()))?;
                texts.insert(name, text);
            }
            // Numbers and truth values are attributes as well, and have a canonical text.
            [b'{' | b'[', ..] => {
                return Err(Unfit::NoCloudEvent(format!("the attribute {name} is an object or an array")));
            }
            _ => drop(texts.insert(name, value.get().to_owned())),
        }
    }
    let data = data.map(|raw| Data::from_text(raw.get())).transpose();
    let data = data.map_err(|error| Unfit::NoCloudEvent(error.to_string()))?.unwrap_or_default();
    CloudEvent { texts, data }.event()
}

/// A CloudEvent: its attributes as texts, its data as JSON.
#[derive(Debug)]
pub(super) struct CloudEvent {
    pub(super) texts: BTreeMap<String, String>,
    pub(super) data: Data,
}

impl CloudEvent {
    fn event(mut self) -> Result<NewEvent, Unfit> {
        match self.texts.remove("specversion").as_deref() {
            Some("1.0") => {}
            Some(other) => {
                return Err(Unfit::NoCloudEvent(format!("specversion {other} is not spoken here; send 1.0")));
            }
            None => return Err(Unfit::NoCloudEvent("specversion is missing; send 1.0".to_owned())),
        }
        let source = self.demand("source")?;
        let subject = self.texts.remove("subject");
        let key = self.texts.remove("partitionkey").or_else(|| subject.clone()).unwrap_or_else(|| source.clone());
        let expectation = match self.texts.remove("expectedversion").as_deref() {
            None | Some("any") => Expectation::Any,
            Some(version) => Expectation::Version(Version(version.parse().map_err(|_| {
                Unfit::Attribute(format!("expectedversion {version:?} is neither \"any\" nor a version"))
            })?)),
        };
        let event = NewEvent {
            id: name(self.demand("id")?)?,
            event_type: name(self.demand("type")?)?,
            key: name(key.clone())?,
            expectation,
            correlation: self.texts.remove("correlationid").map(name).transpose()?,
            causation: self.texts.remove("causationid").map(name).transpose()?,
            source: Some(name(source)?),
            data: self.data,
            attributes: Attributes::default(),
        };
        // Of whoever passes on what a bus gave him.
        for own in ["keyversion", "sequence", "recordedtime"] {
            self.texts.remove(own);
        }
        if let Some(time) = self.texts.get("time")
            && wall_time::parse(time).is_none()
        {
            return Err(Unfit::NoCloudEvent(format!("time {time:?} is no time as in RFC 3339")));
        }
        if let Some(subject) = subject.filter(|subject| *subject != key) {
            self.texts.insert("subject".to_owned(), subject);
        }
        let attributes = self.texts.iter().try_fold(Attributes::default(), |attributes, (name, value)| {
            attributes.with(name, value).map_err(|error| Unfit::Attribute(error.to_string()))
        })?;
        Ok(NewEvent { attributes, ..event })
    }

    fn demand(&mut self, name: &str) -> Result<String, Unfit> {
        self.texts
            .remove(name)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Unfit::NoCloudEvent(format!("{name} is missing or empty")))
    }
}

fn name<T: TryFrom<String, Error = NameError>>(text: String) -> Result<T, Unfit> {
    T::try_from(text).map_err(|error| Unfit::Attribute(error.to_string()))
}

/// Data that came as a body of this type.
pub(super) fn data_of(content_type: &str, body: &[u8]) -> Result<Data, Unfit> {
    if body.is_empty() {
        return Ok(Data::null());
    }
    let text = std::str::from_utf8(body)
        .map_err(|_| Unfit::Data(format!("{content_type} that is no UTF-8; keep it elsewhere and its address here")))?;
    if content_type.is_empty() || is_json(content_type) {
        return Data::from_text(text.trim())
            .map_err(|error| Unfit::NoCloudEvent(format!("the body is said to be JSON and is not: {error}")));
    }
    Ok(Data::of(text))
}
