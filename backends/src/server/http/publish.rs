//! `POST /v1/events`: publishing without a WebSocket.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use dacapo_core::{
    digest::digest_of,
    event::{Guard, NewEvent, Receipt, Refusal},
    wire::Publish,
};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{HttpError, Permit, body, json, parse};
use crate::server::shared::{Published, Shared};

const HELP: &str = "send one event, an array of events, or {\"events\": […], \"guards\": […]}; \
                    an event has id, type, key, source, and may have expectation, correlation, causation, data";

/// The fields of an event that is published. The wire ignores others, so that it can grow; here a misspelt
/// `expectation` would publish over someone else's change.
const EVENT_FIELDS: &[&str] = &["id", "type", "key", "expectation", "correlation", "causation", "source", "data"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    events: Vec<Strict>,
    #[serde(default)]
    guards: Vec<Guard>,
}

/// An event without unknown fields.
#[derive(Debug)]
struct Strict(NewEvent);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let text = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
        let event: NewEvent = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        let fields: BTreeMap<String, IgnoredAny> = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        match fields.into_keys().find(|field| !EVENT_FIELDS.contains(&&**field)) {
            Some(unknown) => Err(D::Error::custom(format!("an event has no field {unknown:?}"))),
            None => Ok(Self(event)),
        }
    }
}

fn decode(text: &[u8]) -> Result<Batch, HttpError> {
    #[derive(Deserialize)]
    struct Shape {
        events: Option<IgnoredAny>,
    }
    if text.trim_ascii_start().starts_with(b"[") {
        return Ok(Batch { events: parse(text, HELP)?, guards: Vec::new() });
    }
    match parse::<Shape>(text, HELP)? {
        Shape { events: Some(_) } => parse(text, HELP),
        Shape { events: None } => Ok(Batch { events: vec![parse(text, HELP)?], guards: Vec::new() }),
    }
}

/// One receipt for each event. All events of a batch bear the same status, and so does the answer.
pub(super) async fn publish(
    State(shared): State<Arc<Shared>>,
    Extension(permit): Extension<Permit>,
    request: Request,
) -> Result<Response, HttpError> {
    #[derive(Serialize)]
    struct Body<'a> {
        receipts: &'a [Receipt],
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        help: Option<&'static str>,
    }
    let text = body(&shared, request).await?;
    let batch = decode(&text)?;
    drop(text);
    let events: Vec<NewEvent> = batch.events.into_iter().map(|Strict(event)| event).collect();
    // Not a running number: what a simulator draws for this request must not depend on the others.
    let request = digest_of(0, &events.first().map(|event| &event.id));
    let receipts = match shared.publish(permit, Publish { request, events, guards: batch.guards }).await? {
        Published::Receipts(receipts) => receipts.receipts,
        Published::Error(error) => return Err(error.into()),
    };
    let (status, error, help) = verdict(&receipts);
    let mut response = json(status, &Body { receipts: &receipts, error, help });
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

fn verdict(receipts: &[Receipt]) -> (StatusCode, Option<&'static str>, Option<&'static str>) {
    let first_failed =
        receipts.iter().find(|receipt| !matches!(receipt, Receipt::Accepted { .. } | Receipt::Duplicate { .. }));
    match first_failed {
        None => (StatusCode::OK, None, None),
        Some(Receipt::Inconsistent { .. }) => (
            StatusCode::CONFLICT,
            Some("an expectation or a guard did not hold; nothing was accepted"),
            Some("read the key up to its head, decide again, and publish with the new version"),
        ),
        Some(Receipt::Refused { reason: Refusal::Forbidden, .. }) => (
            StatusCode::FORBIDDEN,
            Some("the token does not allow these events; nothing was accepted"),
            Some("use a token with that right, or have an administrator make one"),
        ),
        Some(Receipt::Throttled) => (
            StatusCode::TOO_MANY_REQUESTS,
            Some("the bus is full; nothing was accepted"),
            Some("send the same events again after a pause"),
        ),
        Some(_) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            Some("the events can never be accepted as they are"),
            Some("the receipts say which rule they break"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_an_array_and_a_batch_are_understood() {
        let event = r#"{"id":"e-1","type":"Opened","key":"acc-1","source":"me","data":{"a":1}}"#;
        assert_eq!(decode(event.as_bytes()).expect("one").events.len(), 1);
        assert_eq!(decode(format!(" [{event},{event}]").as_bytes()).expect("an array").events.len(), 2);
        let batch = format!(r#"{{"events":[{event}],"guards":[{{"key":"acc-2","version":4}}]}}"#);
        assert_eq!(decode(batch.as_bytes()).expect("a batch").guards.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |text: &str| decode(text.as_bytes()).expect_err("is wrong").message().to_owned();
        assert!(message("{\n  \"events\": [}").contains("line 2 column"), "{}", message("{\n  \"events\": [}"));
        assert!(message("").contains("EOF"), "{}", message(""));
        assert!(message("7").contains("invalid type"), "{}", message("7"));
        assert!(message(r#"{"id":"e-1","type":"T"}"#).contains("missing field `key`"));
        let misspelt = r#"{"id":"e-1","type":"T","key":"k","expection":3}"#;
        assert!(message(misspelt).contains("expection"), "{}", message(misspelt));
        let negative = r#"{"id":"e-1","type":"T","key":"k","expectation":-3}"#;
        assert!(message(negative).contains("any"), "{}", message(negative));
    }
}
