//! Events and records as JSON Lines.

use std::sync::Arc;

use dacapo_core::{Event, trace};

use crate::run::Run;

/// An event a line, as the bus's HTTP answers them.
pub fn events(events: &[Arc<Event>]) -> String {
    let mut out = String::new();
    for event in events {
        out.push_str(&serde_json::to_string(&**event).unwrap_or_else(|error| panic!("events are plain data: {error}")));
        out.push('\n');
    }
    out
}

/// A record a line, as in the trace file.
pub fn records(run: &Run) -> String {
    let mut out = String::new();
    for record in run.records.iter() {
        out.push_str(&trace::encode(record));
        out.push('\n');
    }
    out
}
