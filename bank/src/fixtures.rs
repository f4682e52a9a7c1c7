//! What the bank's tests share: events made by hand.

use dacapo_core::{CorrelationId, Data, Event, EventId, EventType, Key, Position, Source, Version, WallTime};
use serde_json::Value;

/// An event at this version of its key.
pub(crate) fn event(version: u64, key: &str, event_type: &str, data: &Value) -> Event {
    Event {
        position: Position(version),
        id: EventId::of(format!("{key}@{version}")),
        event_type: EventType::of(event_type),
        key: Key::of(key),
        version: Version(version),
        correlation: CorrelationId::of("c"),
        causation: None,
        time: WallTime::default(),
        source: Source::of("test"),
        data: Data::of(data),
        attributes: dacapo_core::Attributes::default(),
    }
}

/// The state after these events of one key.
pub(crate) fn fold<S: Default>(apply: impl Fn(&mut S, &Event), key: &str, events: &[(&str, Value)]) -> S {
    let mut state = S::default();
    for (version, (event_type, data)) in (1..).zip(events) {
        apply(&mut state, &event(version, key, event_type, data));
    }
    state
}
