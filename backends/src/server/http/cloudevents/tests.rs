//! The scenarios of the public conformance features for the HTTP binding, as tests; then what is ours.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use dacapo_core::{
    event::{Event, Expectation, NewEvent},
    names::{CorrelationId, EventId, EventType, Key, Position, Source, Version},
    time::WallTime,
};
use serde_json::{Value, json};

use super::{Incoming, Unfit, structured, to_binary};

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (HeaderName::try_from(*name).expect("is a name"), HeaderValue::try_from(*value).expect("is a value"))
        })
        .collect()
}

fn read(pairs: &[(&str, &str)], body: &str) -> Result<Vec<NewEvent>, Unfit> {
    let headers = headers(pairs);
    Incoming::of(&headers)?.expect("speaks CloudEvents").read(&headers, body.as_bytes())
}

/// As the bus accepts it.
fn accepted(event: &NewEvent) -> Event {
    Event {
        position: Position(17),
        id: event.id.clone(),
        event_type: event.event_type.clone(),
        key: event.key.clone(),
        version: Version(4),
        correlation: event.correlation.clone().unwrap_or_else(|| CorrelationId::of(event.id.as_str().to_owned())),
        causation: event.causation.clone(),
        time: WallTime(1_772_323_200_250_000),
        source: event.source.clone().expect("was given"),
        data: event.data.clone(),
        attributes: event.attributes.clone(),
    }
}

fn as_json(event: &NewEvent) -> Value {
    serde_json::from_str(&structured(&accepted(event))).expect("is JSON")
}

fn is_the_example(event: &NewEvent, content_type: &str) {
    let out = as_json(event);
    for (name, value) in [
        ("id", "1234-1234-1234"),
        ("specversion", "1.0"),
        ("type", "com.example.someevent"),
        ("source", "/mycontext/subcontext"),
        ("time", "2018-04-05T03:56:24Z"),
        ("datacontenttype", content_type),
    ] {
        assert_eq!(out[name], value, "{name}");
    }
    assert_eq!(out["data"], json!({"message": "Hello World!"}));
}

#[test]
fn binary_content_mode() {
    for content_type in ["application/json", "application/json; charset=utf-8"] {
        let request = [
            ("ce-specversion", "1.0"),
            ("ce-type", "com.example.someevent"),
            ("ce-time", "2018-04-05T03:56:24Z"),
            ("ce-id", "1234-1234-1234"),
            ("ce-source", "/mycontext/subcontext"),
            ("content-type", content_type),
        ];
        let events = read(&request, "{\n    \"message\": \"Hello World!\"\n}").expect("is a CloudEvent");
        is_the_example(&events[0], content_type);
    }
}

const EXAMPLE: &str = r#"{"specversion": "1.0", "type": "com.example.someevent", "time": "2018-04-05T03:56:24Z",
    "id": "1234-1234-1234", "source": "/mycontext/subcontext", "datacontenttype": "application/json",
    "data": {"message": "Hello World!"}}"#;

#[test]
fn structured_content_mode() {
    for content_type in ["application/cloudevents+json", "application/cloudevents+json; charset=utf-8"] {
        let events = read(&[("content-type", content_type)], EXAMPLE).expect("is a CloudEvent");
        is_the_example(&events[0], "application/json");
    }
}

#[test]
fn batched_content_mode() {
    let batch = format!("[{EXAMPLE}, {EXAMPLE}]");
    let events = read(&[("content-type", "application/cloudevents-batch+json")], &batch).expect("are CloudEvents");
    assert_eq!(events.len(), 2);
    is_the_example(&events[1], "application/json");
    assert!(read(&[("content-type", "application/cloudevents-batch+json")], "[]").expect("is a batch").is_empty());
}

#[test]
fn what_the_bus_has_fields_for_goes_there_and_the_rest_is_kept() {
    let event = json!({
        "specversion": "1.0", "id": "e-1", "source": "accounts", "type": "Paid", "subject": "acc-3",
        "expectedversion": 4, "correlationid": "order-9", "causationid": "e-0", "traceparent": "00-a-b-01",
        "keyversion": "9", "sequence": "00000000000000000099", "comexampleothervalue": 5, "data": [1, 2],
    });
    let events = read(&[("content-type", "application/cloudevents+json")], &event.to_string()).expect("is one");
    let event = &events[0];
    assert_eq!((event.key.clone(), event.expectation), (Key::of("acc-3"), Expectation::Version(Version(4))));
    assert_eq!(event.correlation, Some(CorrelationId::of("order-9")));
    assert_eq!(event.causation, Some(EventId::of("e-0")));
    assert_eq!(event.attributes.get("traceparent"), Some("00-a-b-01"));
    let out = as_json(event);
    assert_eq!(out["keyversion"], "4", "the bus's own");
    assert_eq!(out["sequence"], "00000000000000000017");
    assert_eq!(out["partitionkey"], "acc-3");
    assert_eq!(out["comexampleothervalue"], "5");
    assert_eq!(out["recordedtime"], "2026-03-01T00:00:00.250000Z");
    assert_eq!(out["time"], out["recordedtime"], "nobody said when it happened");
}

#[test]
fn the_key_is_the_partition_key_else_the_subject_else_the_source() {
    let key = |more: Value| {
        let mut event = json!({"specversion": "1.0", "id": "e", "source": "shop", "type": "T"});
        event.as_object_mut().expect("is one").extend(more.as_object().expect("is one").clone());
        let events = read(&[("content-type", "application/cloudevents+json")], &event.to_string()).expect("is one");
        (events[0].key.to_string(), as_json(&events[0])["subject"].clone())
    };
    assert_eq!(key(json!({})), ("shop".to_owned(), json!("shop")));
    assert_eq!(key(json!({"subject": "s"})), ("s".to_owned(), json!("s")));
    assert_eq!(key(json!({"subject": "s", "partitionkey": "p"})), ("p".to_owned(), json!("s")));
}

#[test]
fn binary_mode_there_and_back_is_the_same_event() {
    let request = [
        ("ce-specversion", "1.0"),
        ("ce-type", "Paid"),
        ("ce-id", "Euro%20%E2%82%AC%20%22%25"),
        ("ce-source", "shop"),
        ("ce-subject", "acc-3"),
        ("content-type", "text/plain"),
    ];
    let event = read(&request, "thank you, \"friend\"").expect("is a CloudEvent").remove(0);
    assert_eq!(event.id, EventId::of("Euro € \"%"));
    let (out, body) = to_binary(&accepted(&event));
    assert_eq!(out["ce-id"], "Euro%20%E2%82%AC%20%22%25");
    assert_eq!(out["content-type"], "text/plain");
    assert_eq!(String::from_utf8(body.clone()).expect("is text"), "thank you, \"friend\"");
    let again = Incoming::Binary.read(&out, &body).expect("is a CloudEvent").remove(0);
    assert_eq!((again.id, again.event_type, again.key), (event.id, EventType::of("Paid"), Key::of("acc-3")));
    assert_eq!((again.data, again.source), (event.data, Some(Source::of("shop"))));
}

#[test]
fn what_is_no_cloudevent_is_refused_and_named() {
    let refused = |event: Value| {
        read(&[("content-type", "application/cloudevents+json")], &event.to_string()).expect_err("is none").to_string()
    };
    let base = json!({"specversion": "1.0", "id": "e", "source": "s", "type": "T"});
    let with = |name: &str, value: Value| {
        let mut event = base.clone();
        event[name] = value;
        refused(event)
    };
    assert!(refused(json!({"id": "e"})).contains("specversion is missing"));
    assert!(with("specversion", json!("0.3")).contains("specversion 0.3"));
    assert!(with("id", json!("")).contains("id is missing or empty"));
    assert!(with("time", json!("yesterday")).contains("RFC 3339"));
    assert!(with("data_base64", json!("AAEC")).contains("neither JSON nor text"));
    assert!(with("MyExtension", json!("x")).contains("MyExtension"));
    assert!(with("expectedversion", json!("-1")).contains("expectedversion"));
    assert!(with("nested", json!({})).contains("nested is an object"));
    let binary = [("ce-specversion", "1.0"), ("ce-id", "e"), ("ce-source", "s"), ("ce-type", "T")];
    assert!(read(&binary, "{").expect_err("is no JSON").to_string().contains("said to be JSON"));
    let avro = read(&[("content-type", "application/cloudevents+avro")], "").expect_err("is not spoken");
    assert!(avro.to_string().contains("application/cloudevents+avro"));
}
