//! Promise 19: a bus that is asked to end leaves nothing half done, and its successor does nothing twice. What it had decided
//! to deliver before it was asked may still wait for a commit, and is sent afterwards.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::{
    NodeName, Position, ServiceName, Timestamp,
    digest::StableHasher,
    trace::{Frame, Record, What},
    wire::FromBus,
};

use crate::{
    kinds::Kinds,
    known::Known,
    observer::Observer,
    property::{Promise, Verdict},
    sometimes,
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "ending_is_orderly",
    sentence: "what was completed is delivered by nobody again, nor by the bus that follows one which was asked to end",
    source: "ARCHITECTURE.md, promise 19",
};

/// Judges [`PROMISE`].
#[derive(Debug, Clone, Default)]
pub struct EndingIsOrderly {
    /// Nodes that are about to end, with what was delivered and not completed when they were asked to.
    ending: BTreeMap<NodeName, BTreeSet<(ServiceName, Position)>>,
    answered_before_end: u64,
    checks: u64,
}

impl Observer for EndingIsOrderly {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::DRAINING.and(Kinds::STARTED).and(Kinds::STOPPED).and(Kinds::DELIVER)
    }

    fn observe(&mut self, known: &Known, record: &Record) -> Verdict {
        match &record.what {
            What::Draining {} => {
                let of = |(name, position): (&ServiceName, Position)| (name.clone(), position);
                let services = known.log().services();
                let open = services.flat_map(|(name, service)| service.delivered.keys().map(move |at| (name, *at)));
                let open = open.map(of).collect();
                self.ending.insert(record.node.clone(), open);
                Ok(())
            }
            What::Started { .. } | What::Stopped { .. } => {
                if let Some(open) = self.ending.remove(&record.node) {
                    let is_done = |(service, position): &(ServiceName, Position)| {
                        known.log().service(service).is_some_and(|service| service.done(*position).is_some())
                    };
                    self.answered_before_end += open.iter().filter(|open| is_done(open)).count() as u64;
                }
                Ok(())
            }
            What::FrameSent { connection, frame: Frame::FromBus(frame) } => match &**frame {
                FromBus::Deliver(deliver) => self.delivered(known, record, *connection, deliver.event.position),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn memory(&self, _known: &Known, _now: Timestamp, _to: &mut StableHasher) {} // No search asks a bus to end.

    fn checks(&self) -> u64 {
        self.checks
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![(sometimes::ANSWERED_BEFORE_THE_END, self.answered_before_end)]
    }
}

impl EndingIsOrderly {
    fn delivered(&mut self, known: &Known, record: &Record, connection: u64, position: Position) -> Verdict {
        self.checks += 1;
        let Some(owner) = known.connections().introduced(&record.node, connection) else { return Ok(()) };
        let done = known.log().service(&owner.service).and_then(|service| service.done(position));
        let Some(done) = done else { return Ok(()) };
        let message = format!(
            "{} delivered position {position} to {}, though {} had ended it ({})",
            record.node, owner.instance, owner.service, done.durable
        );
        PROMISE.broken(record, message, &[done.durable])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, completion, event};

    fn run(completes: bool) -> Run {
        let mut run = Run::new();
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.register("bank", &["Debit"]);
        run.hello(1, "bank", "bank-0", 1);
        if completes {
            run.commit_completion(completion("bank", 1, "acc-1", 1), []);
        }
        run.node("bus", What::Draining {});
        run.deliver(1, 1, 1, 1);
        run
    }

    #[test]
    fn a_delivery_of_what_is_open_holds() {
        run(false).holds(EndingIsOrderly::default());
    }

    #[test]
    fn a_delivery_of_what_was_completed_is_seen() {
        run(true).fails(EndingIsOrderly::default(), "had ended it");
    }
}
