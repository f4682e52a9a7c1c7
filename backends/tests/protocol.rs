//! The protocol document is true: each of its frames is one, and each kind of frame has an example.

use std::collections::BTreeSet;

use dacapo_core::{
    event::Event,
    limits::{self, Limits},
    wire::{FromBus, ToBus},
};

const DOCUMENT: &str = include_str!("../../docs/PROTOCOL.md");

/// The bodies of the code blocks that are opened by this line.
fn blocks(opening: &str) -> Vec<&'static str> {
    let opening = format!("```{opening}\n");
    DOCUMENT.split(&*opening).skip(1).map(|rest| rest.split("```").next().expect("is closed").trim()).collect()
}

#[test]
fn every_frame_of_the_document_is_decoded_and_every_kind_has_an_example() {
    let mut kinds = BTreeSet::new();
    for text in blocks("json to-bus") {
        let frames = ToBus::decode(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        kinds.extend(frames.iter().map(ToBus::kind));
    }
    assert_eq!(kinds, ToBus::KINDS.iter().copied().collect(), "kinds to the bus");

    let mut kinds = BTreeSet::new();
    for text in blocks("json from-bus") {
        let frames = FromBus::decode(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        kinds.extend(frames.iter().map(FromBus::kind));
        let same: serde_json::Value = serde_json::from_str(&frames[0].encode()).expect("is JSON");
        let shown: serde_json::Value = serde_json::from_str(text).expect("is JSON");
        assert_eq!(same, shown, "the document shows what the bus sends");
    }
    assert_eq!(kinds, FromBus::KINDS.iter().copied().collect(), "kinds from the bus");
}

#[test]
fn every_event_of_the_document_is_one() {
    let events = blocks("json");
    assert!(!events.is_empty());
    for text in events {
        serde_json::from_str::<Event>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
}

#[test]
fn the_limits_of_the_document_are_those_of_the_code() {
    let limits = Limits::default();
    assert_eq!(limits::FRAME_BYTES_MAX, 4_194_304);
    assert_eq!((limits::DATA_BYTES_MAX, limits::BATCH_EVENTS_MAX, limits::BATCH_GUARDS_MAX), (1 << 20, 1_024, 1_024));
    assert_eq!((limits::NAME_BYTES_MAX, limits::SERVICE_NAME_BYTES_MAX), (256, 64));
    assert_eq!((limits::TYPES_PER_KEY_MAX, limits::TYPES_PER_SERVICE_MAX, limits::PAGE_EVENTS_MAX), (64, 256, 1_000));
    assert_eq!((limits.connections_max, limits.services_max, limits.instances_per_service_max), (16_384, 1_024, 256));
    assert_eq!((limits.credit_max, limits.lane_open_max, limits.failures_max), (1_024, 16, 8));
    assert_eq!((limits.publishes_waiting_max, limits.publishes_waiting_bytes_max), (8_192, 64 << 20));
    assert_eq!((limits.reads_per_connection_max, limits.streams_per_connection_max), (256, 16));
    assert_eq!(limits.send_queue_bytes_max, 16 << 20);
    let seconds = [limits.heartbeat_deadline, limits.grace, limits.delivery_deadline, limits.backoff_max];
    assert_eq!(seconds.map(|duration| duration.as_millis()), [5_000, 2_000, 30_000, 30_000]);
    let server = dacapo_backends::server::ServerConfig::default();
    assert_eq!((server.malformed_messages_max, server.request_deadline.as_secs()), (16, 10));
}
