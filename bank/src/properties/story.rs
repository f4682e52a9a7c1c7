//! Runs made by hand, for the tests of properties: a story is told in records.

use std::{collections::BTreeMap, sync::Arc};

use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, Key, NodeName, Position, ServiceName, Source, Timestamp, Version,
    WallTime,
    store::{Commit, LaneChange, LaneRecord},
    trace::{Record, What},
};
use dacapo_properties::{Kinds, Property, Violation};
use serde_json::Value;

/// Records, one after the other. Each method adds one; the first has step 1.
#[derive(Default)]
pub(super) struct Story {
    records: Vec<Record>,
    heads: BTreeMap<String, u64>,
    position: u64,
    attempts: BTreeMap<u64, u32>,
}

impl Story {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn tell(mut self, what: What) -> Self {
        let step = self.records.len() as u64 + 1;
        self.records.push(Record { step, at: Timestamp(step), node: NodeName::of("test"), what });
        self
    }

    /// These events (type, key, payload) became durable in one commit, under one correlation.
    pub(super) fn commit<const N: usize>(self, events: [(&str, &str, Value); N]) -> Self {
        self.commit_of("c", events)
    }

    /// The same under this correlation.
    pub(super) fn commit_of<const N: usize>(mut self, correlation: &str, events: [(&str, &str, Value); N]) -> Self {
        let mut commit = Commit::default();
        for (event_type, key, data) in events {
            self.position += 1;
            let head = self.heads.entry(key.to_owned()).or_default();
            *head += 1;
            commit.events.push(Arc::new(Event {
                position: Position(self.position),
                id: EventId::of(format!("e{}", self.position)),
                event_type: EventType::of(event_type),
                key: Key::of(key),
                version: Version(*head),
                correlation: CorrelationId::of(correlation),
                causation: None,
                time: WallTime::default(),
                source: Source::of("test"),
                data: Data::of(&data),
                attributes: dacapo_core::Attributes::default(),
            }));
        }
        self.tell(What::CommitDurable { commit: Arc::new(commit) })
    }

    /// The accounts service's lane of this key was parked.
    pub(super) fn parked(self, key: &str) -> Self {
        let lane = LaneRecord {
            service: ServiceName::of("accounts"),
            key: Key::of(key),
            next_version: Version(1),
            failures: 8,
            parked: Some("failed too often".into()),
        };
        let commit = Commit { lanes: vec![LaneChange::Put(lane)], ..Commit::default() };
        self.tell(What::CommitDurable { commit: Arc::new(commit) })
    }

    /// A customer asked; the next attempt at this operation.
    pub(super) fn sent(mut self, operation: u64, method: &str, path: &str, body: &Value) -> Self {
        let attempt = self.attempts.entry(operation).or_default();
        *attempt += 1;
        let what = What::OperationSent {
            operation,
            attempt: *attempt,
            service: ServiceName::of("any"),
            method: method.to_owned(),
            path: path.to_owned(),
            body: if body.is_null() { String::new() } else { body.to_string() },
        };
        self.tell(what)
    }

    /// The latest attempt was answered.
    pub(super) fn answered(self, operation: u64, status: u16, body: &Value) -> Self {
        let attempt = self.attempts[&operation];
        self.tell(What::OperationAnswered { operation, attempt, status, body: body.to_string() })
    }

    /// All faults have ended.
    pub(super) fn healed(self) -> Self {
        self.tell(What::Healed { bound_us: 1 })
    }

    /// Shows it all to a property, to its end.
    pub(super) fn judge(self, property: &mut dyn Property) -> Result<(), Box<Violation>> {
        for record in &self.records {
            if property.looks_at().holds(Kinds::of(&record.what)) {
                property.observe(record)?;
            }
        }
        property.finish()
    }
}
