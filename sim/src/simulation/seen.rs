//! What the closures of a test see of a run: events that became durable, and answers that customers got.
//!
//! Everything else in the trace (frames, deliveries, commits on their way) is for those who implement
//! [`Property`](dacapo_properties::Property) themselves.

use std::collections::BTreeMap;

use dacapo_core::{
    Event, Key, NodeName, ServiceName,
    trace::{Record, What},
};
use serde::de::DeserializeOwned;

/// The steps of a key that a violation names: enough to see what met.
const STEPS_KEPT: usize = 4;

/// From here on operations are the test's own look at the end. A workload has fewer.
pub(super) const INSPECTIONS_FROM: u64 = 1_000_000;

/// Something that a test may judge.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// An event is in the log for good. They come in the order of the log, those of the bus itself included.
    Event(&'a Event),
    /// A customer has its answer. One whose outcome is unknown (a time-out, a 5xx) is asked again and not seen here.
    Answer(&'a Answer),
}

/// What a customer asked and was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The operation's id in the plan; `op-<id>` was its idempotency key.
    pub operation: u64,
    /// The customer's host, such as `customer-2`.
    pub customer: NodeName,
    /// The service that was asked.
    pub service: ServiceName,
    /// `GET`, `POST`, …
    pub method: String,
    /// The path, with its query.
    pub path: String,
    /// What was sent: JSON, or empty.
    pub sent: String,
    /// How often it was sent.
    pub attempts: u32,
    /// The HTTP status.
    pub status: u16,
    /// What came back: JSON.
    pub body: String,
    /// Whether it was asked by [`inspect`](super::Simulation::inspect), when all was healed and done.
    pub at_the_end: bool,
}

impl Answer {
    /// Whether the status is a 2xx.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as a `T`; the error is a sentence that an invariant may hand on with `?`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_str(&self.body)
            .map_err(|error| format!("{} {} was answered with {}: {error}", self.method, self.path, self.body))
    }
}

/// Makes [`Seen`] out of records, and remembers which steps belong together.
#[derive(Debug, Default)]
pub(super) struct Eye {
    asked: BTreeMap<u64, (Answer, u64)>,
    steps: BTreeMap<Key, Vec<u64>>,
}

impl Eye {
    /// Shows what the record holds, each with the earlier steps that belong to it, until `judge` objects.
    pub(super) fn look(
        &mut self,
        record: &Record,
        mut judge: impl FnMut(Seen<'_>) -> Result<(), String>,
    ) -> Result<(), (String, Vec<u64>)> {
        match &record.what {
            What::CommitDurable { commit } => commit.events.iter().try_for_each(|event| {
                let steps = self.steps.entry(event.key.clone()).or_default();
                judge(Seen::Event(event)).map_err(|message| (message, steps.clone()))?;
                if steps.last() != Some(&record.step) {
                    steps.push(record.step);
                }
                if steps.len() > STEPS_KEPT {
                    steps.remove(0);
                }
                Ok(())
            }),
            What::OperationSent { operation, service, method, path, body, .. } => {
                let asked = || Answer {
                    operation: *operation,
                    customer: record.node.clone(),
                    service: service.clone(),
                    method: method.clone(),
                    path: path.clone(),
                    sent: body.clone(),
                    attempts: 0,
                    status: 0,
                    body: String::new(),
                    at_the_end: *operation >= INSPECTIONS_FROM,
                };
                let (answer, _) = self.asked.entry(*operation).or_insert_with(|| (asked(), record.step));
                answer.attempts += 1;
                Ok(())
            }
            What::OperationAnswered { operation, status, body, .. } => {
                let Some((answer, sent)) = self.asked.get_mut(operation) else { return Ok(()) };
                answer.status = *status;
                answer.body.clone_from(body);
                judge(Seen::Answer(answer)).map_err(|message| (message, vec![*sent]))
            }
            _ => Ok(()),
        }
    }
}
