//! How the bank's properties read the log: as plain JSON, with none of the services' types. Of a payload they take the
//! fields that they judge by, as they stand there, and read what is in them only when they need it: every event passes
//! several properties in every run.

use dacapo_core::{
    Event, Key, ServiceName,
    store::{Commit, LaneChange},
    trace::{Record, What},
};
use dacapo_properties::{Property, Verdict, Violation};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The events of a commit, if the record is one that became durable.
pub(crate) fn durable(record: &Record) -> Option<&Commit> {
    match &record.what {
        What::CommitDurable { commit } => Some(commit),
        _ => None,
    }
}

/// The fields of payloads that properties judge by.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Payload<'a> {
    #[serde(borrow)]
    pub(super) from: Option<&'a RawValue>,
    pub(super) pence: Option<&'a RawValue>,
    pub(super) reason: Option<&'a RawValue>,
    pub(super) request: Option<&'a RawValue>,
    pub(super) to: Option<&'a RawValue>,
    pub(super) transaction: Option<&'a RawValue>,
    pub(super) user: Option<&'a RawValue>,
    pub(super) why: Option<&'a RawValue>,
}

/// The payload's fields; none of them if it is no object.
pub(super) fn payload(event: &Event) -> Payload<'_> {
    event.data.to().unwrap_or_default()
}

/// A text of a payload; none if it is no text.
pub(super) fn text_of(field: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(field?.get()).ok()
}

/// A text of a payload, or the empty one.
pub(super) fn text(field: Option<&RawValue>) -> String {
    text_of(field).unwrap_or_default()
}

/// The whole number of pence of a payload, with its sign; none if it is no whole number.
pub(super) fn pence(data: &Payload<'_>) -> Option<i128> {
    let pence = data.pence?.get();
    pence.parse::<i64>().map(i128::from).ok().or_else(|| pence.parse::<u64>().map(i128::from).ok())
}

/// What stands behind the prefix of a key.
pub(super) fn id_of<'a>(key: &'a Key, prefix: &str) -> Option<&'a str> {
    key.as_str().strip_prefix(prefix)
}

/// The operation whose request this event answers, by its idempotency key.
pub(super) fn operation_of(data: &Payload<'_>) -> Option<u64> {
    text_of(data.request)?.strip_prefix("op-")?.parse().ok()
}

/// How an event is called in a message.
pub(crate) fn named(event: &Event) -> String {
    format!("{} on {}@{} at position {}", event.event_type, event.key, event.version, event.position)
}

/// A promise was broken at this step.
pub(super) fn broken(property: &dyn Property, step: u64, message: String, mut steps: Vec<u64>) -> Verdict {
    steps.sort_unstable();
    steps.dedup();
    steps.retain(|other| *other != step);
    Err(Box::new(Violation { property: property.name(), sentence: property.sentence(), step, message, steps }))
}

/// The lanes of the accounts service that are parked: what is in them waits for people, by design.
#[derive(Debug, Default)]
pub(super) struct ParkedLanes(std::collections::BTreeSet<Key>);

impl ParkedLanes {
    pub(super) fn observe(&mut self, commit: &Commit) {
        let is_accounts = |service: &ServiceName| service.as_str() == "accounts";
        for change in &commit.lanes {
            match change {
                LaneChange::Put(lane) if is_accounts(&lane.service) && lane.parked.is_some() => {
                    self.0.insert(lane.key.clone());
                }
                LaneChange::Put(lane) if is_accounts(&lane.service) => drop(self.0.remove(&lane.key)),
                LaneChange::Remove { service, key } if is_accounts(service) => drop(self.0.remove(key)),
                _ => {}
            }
        }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.0.contains(key)
    }
}
