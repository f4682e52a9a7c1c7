//! From events in the log to CloudEvents.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use dacapo_core::event::Event;
use serde_json::value::RawValue;

use crate::server::http::wall_time;

/// All attributes of an event, by name.
pub(super) fn attributes(event: &Event) -> BTreeMap<&str, String> {
    let recorded = wall_time::show(event.time);
    let mut all = BTreeMap::from([
        ("specversion", "1.0".to_owned()),
        ("id", event.id.as_str().to_owned()),
        ("source", uri_reference(event.source.as_str())),
        ("type", event.event_type.as_str().to_owned()),
        ("subject", event.key.as_str().to_owned()),
        ("partitionkey", event.key.as_str().to_owned()),
        ("keyversion", event.version.to_string()),
        // Twenty digits, so that texts sort like numbers.
        ("sequence", format!("{:020}", event.position.0)),
        ("correlationid", event.correlation.as_str().to_owned()),
        ("time", recorded.clone()),
        ("recordedtime", recorded),
        ("datacontenttype", "application/json".to_owned()),
    ]);
    if let Some(causation) = &event.causation {
        all.insert("causationid", causation.as_str().to_owned());
    }
    all.extend(event.attributes.iter().map(|(name, value)| (name, value.to_owned())));
    all
}

/// An event in structured mode. The data is the text that it came as.
pub fn structured(event: &Event) -> String {
    let mut members: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    for (name, value) in attributes(event) {
        members.extend(serde_json::value::to_raw_value(&value).map(|value| (name, value)));
    }
    members.extend(RawValue::from_string(event.data.as_str().to_owned()).map(|data| ("data", data)));
    serde_json::to_string(&members).unwrap_or_else(|error| unreachable!("texts and JSON are always JSON: {error}"))
}

/// Several events in structured mode.
pub(in crate::server::http) fn batch(events: &[Arc<Event>]) -> String {
    let events: Vec<String> = events.iter().map(|event| structured(event)).collect();
    format!("[{}]", events.join(","))
}

/// A source is any text here, and a reference there: what no reference may hold is percent-encoded.
fn uri_reference(source: &str) -> String {
    let mut reference = String::with_capacity(source.len());
    for byte in source.bytes() {
        match byte {
            b'<' | b'>' | b'"' | b'{' | b'}' | b'|' | b'\\' | b'^' | b'`' => drop(write!(reference, "%{byte:02X}")),
            0x21..=0x7e => reference.push(char::from(byte)),
            // Writing to a text cannot fail.
            byte => drop(write!(reference, "%{byte:02X}")),
        }
    }
    reference
}
