//! `POST /v1/events`: publishing without a WebSocket.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use dacapo_core::{
    attributes::{Attributes, TRACEPARENT, is_traceparent},
    digest::digest_of,
    event::{Guard, NewEvent, Receipt, Refusal},
    wire::Publish,
};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{
    HttpError, Permit, body,
    cloudevents::Incoming,
    error::{PROBLEM, Problem},
    json, parse,
};
use crate::server::shared::{Published, Shared};

const HELP: &str = "send one event, an array of events, or {\"events\": […], \"guards\": […]}; \
                    an event has id, type, key, source, and may have expectation, correlation, causation, data";

/// The fields of an event that is published. The wire ignores others, so that it can grow; here a misspelt
/// `expectation` would publish over someone else's change.
const EVENT_FIELDS: &[&str] =
    &["id", "type", "key", "expectation", "correlation", "causation", "source", "data", "attributes"];

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

fn read(
    incoming: Option<Incoming>,
    headers: &HeaderMap,
    text: &[u8],
) -> Result<(Vec<NewEvent>, Vec<Guard>), HttpError> {
    if let Some(mode) = incoming {
        return Ok((mode.read(headers, text)?, Vec::new()));
    }
    let batch = decode(text)?;
    Ok((batch.events.into_iter().map(|Strict(event)| event).collect(), batch.guards))
}

/// What `POST /v1/events` makes of a request with these headers and this body, without a bus: the events, or why there are
/// none.
pub fn understood(headers: &[(&str, &str)], body: &[u8]) -> Result<Vec<NewEvent>, String> {
    let named =
        |(name, value): &(&str, &str)| Some((HeaderName::try_from(*name).ok()?, HeaderValue::try_from(*value).ok()?));
    let headers = headers.iter().filter_map(named).collect();
    let incoming = Incoming::of(&headers).map_err(|error| error.to_string())?;
    let (mut events, _) = read(incoming, &headers, body).map_err(|error| error.message().to_owned())?;
    in_trace_of(&headers, &mut events);
    Ok(events)
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
        #[serde(flatten)]
        problem: Option<Problem>,
    }
    let headers = request.headers().clone();
    let incoming = Incoming::of(&headers)?;
    let text = body(&shared, request).await?;
    let (mut events, guards) = read(incoming, &headers, &text)?;
    drop(text);
    in_trace_of(&headers, &mut events);
    // Not a running number: what a simulator draws for this request must not depend on the others.
    let request = digest_of(0, &events.first().map(|event| &event.id));
    let receipts = match shared.publish(permit, Publish { request, events, guards }).await? {
        Published::Receipts(receipts) => receipts.receipts,
        Published::Error(error) => return Err(error.into()),
    };
    let (status, problem) = verdict(&receipts);
    let failed = problem.is_some();
    let mut response = json(status, &Body { receipts: &receipts, problem });
    if failed {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

/// Events that name no trace belong to that of the request, if its header is one.
fn in_trace_of(headers: &HeaderMap, events: &mut [NewEvent]) {
    let trace = headers.get(TRACEPARENT).and_then(|trace| trace.to_str().ok()).filter(|trace| is_traceparent(trace));
    let Some(trace) = trace.and_then(|trace| Attributes::default().with(TRACEPARENT, trace).ok()) else { return };
    for event in events {
        event.attributes = std::mem::take(&mut event.attributes).caused_by(&trace);
    }
}

fn verdict(receipts: &[Receipt]) -> (StatusCode, Option<Problem>) {
    let first_failed =
        receipts.iter().find(|receipt| !matches!(receipt, Receipt::Accepted { .. } | Receipt::Duplicate { .. }));
    let (status, kind, title, detail, help) = match first_failed {
        None => return (StatusCode::OK, None),
        Some(Receipt::Inconsistent { .. }) => (
            StatusCode::CONFLICT,
            "inconsistent",
            "Inconsistent",
            "an expectation or a guard did not hold; nothing was accepted",
            "read the key up to its head, decide again, and publish with the new version",
        ),
        Some(Receipt::Refused { reason: Refusal::Forbidden, .. }) => (
            StatusCode::FORBIDDEN,
            "forbidden",
            "Forbidden",
            "the token does not allow these events; nothing was accepted",
            "use a token with that right, or have an administrator make one",
        ),
        Some(Receipt::Throttled) => (
            StatusCode::TOO_MANY_REQUESTS,
            "throttled",
            "Throttled",
            "the bus is full, or its disk; nothing was accepted",
            "send the same events again after a pause",
        ),
        Some(_) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "refused",
            "Refused",
            "the events can never be accepted as they are",
            "the receipts say which rule they break",
        ),
    };
    (status, Some(Problem::new(kind, title, status, detail, help)))
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
