//! Promise 7: a completion takes effect once, together with what it produced, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::{
    Event, EventId, Position, ServiceName, Source, Timestamp,
    digest::StableHasher,
    store::{Commit, Completion},
    trace::{Frame, Record, What},
    wire::{Complete, FromBus, ToBus},
};
use std::hash::Hash as _;

use crate::{
    kinds::Kinds,
    known::Known,
    observer::Observer,
    property::{Moment, Promise, Verdict},
    sometimes,
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "completes_once",
    sentence: "each event is completed at most once for a service, in one commit with what the handling produced; \
               nothing of a completion that was not accepted enters the log",
    source: "ARCHITECTURE.md, promise 7",
};

/// Judges [`PROMISE`].
#[derive(Debug, Clone, Default)]
pub struct CompletesOnce {
    /// Ids that were sent with completions that are not in the log: by which service, of which event, when last.
    sent: BTreeMap<EventId, (ServiceName, Position, Moment)>,
    /// The same, by what they complete.
    of: BTreeMap<(ServiceName, Position), BTreeSet<EventId>>,
    already: u64,
    checks: u64,
}

impl Observer for CompletesOnce {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::COMPLETE.and(Kinds::COMPLETED).and(Kinds::COMMIT_DURABLE)
    }

    fn observe(&mut self, known: &Known, record: &Record) -> Verdict {
        match &record.what {
            What::FrameReceived { connection, frame: Frame::ToBus(frame) } => {
                if let ToBus::Complete(complete) = &**frame {
                    self.sent(known, record, *connection, complete);
                }
                Ok(())
            }
            What::FrameSent { frame: Frame::FromBus(frame), .. } => {
                if let FromBus::Completed(completed) = &**frame {
                    self.already += u64::from(completed.already);
                }
                Ok(())
            }
            What::CommitDurable { commit } => self.committed(known, record, commit),
            _ => Ok(()),
        }
    }

    fn memory(&self, _known: &Known, _now: Timestamp, to: &mut StableHasher) {
        for (id, (service, position, _)) in &self.sent {
            (id, service, position).hash(to);
        }
        self.of.hash(to);
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![(sometimes::COMPLETED_ALREADY, self.already)]
    }
}

impl CompletesOnce {
    fn sent(&mut self, known: &Known, record: &Record, connection: u64, complete: &Complete) {
        let Some(owner) = known.connections().introduced(&record.node, connection) else { return };
        let done = known.log().service(&owner.service).is_some_and(|service| service.done(complete.position).is_some());
        if done || complete.events.is_empty() {
            return;
        }
        let ids = self.of.entry((owner.service.clone(), complete.position)).or_default();
        for event in complete.events.iter().filter(|event| known.log().position_of(&event.id).is_none()) {
            ids.insert(event.id.clone());
            self.sent.insert(event.id.clone(), (owner.service.clone(), complete.position, Moment::from(record)));
        }
    }

    fn committed(&mut self, known: &Known, record: &Record, commit: &Commit) -> Verdict {
        if let Some((again, first)) = known.log().repeated().first() {
            let message = format!(
                "position {} ({} of {}) was ended for {} a second time, by {} with attempt {}; the first was {}",
                again.position,
                again.version,
                again.key,
                again.service,
                again.instance.as_ref().map_or("an administrator", |instance| instance.as_str()),
                again.attempt,
                first.durable
            );
            return PROMISE.broken(record, message, &[first.durable]);
        }
        let entered = |position: &Position| commit.events.iter().find(|event| event.position == *position);
        for completion in &commit.completions {
            self.checks += 1;
            for position in &completion.produced {
                let Some(event) = entered(position) else {
                    return apart(record, completion, *position);
                };
                if event.source != Source::from(completion.service.clone()) {
                    let message = format!(
                        "{} completed position {} and produced event {}, whose source is {}",
                        completion.service, completion.position, event.id, event.source
                    );
                    return PROMISE.broken(record, message, &[]);
                }
            }
        }
        commit.events.iter().try_for_each(|event| self.entered(known, record, commit, event))?;
        for completion in &commit.completions {
            let ids = self.of.remove(&(completion.service.clone(), completion.position)).unwrap_or_default();
            for id in &ids {
                self.sent.remove(id);
            }
        }
        Ok(())
    }

    /// An event that was sent with a completion enters the log with that completion.
    fn entered(&mut self, known: &Known, record: &Record, commit: &Commit, event: &Event) -> Verdict {
        let Some((service, completes, received)) = self.sent.get(&event.id) else { return Ok(()) };
        self.checks += 1;
        let with = |completion: &Completion| {
            completion.service == *service
                && completion.position == *completes
                && completion.produced.contains(&event.position)
        };
        if commit.completions.iter().any(with) {
            return Ok(());
        }
        let done = known.log().service(service).and_then(|service| service.done(*completes));
        let message = format!(
            "event {} entered the log at position {} without the completion of position {completes} by {service} that \
             it was sent with ({received}){}",
            event.id,
            event.position,
            done.map(|done| format!("; that was durable at {}", done.durable)).unwrap_or_default()
        );
        let earlier: Vec<Moment> = std::iter::once(*received).chain(done.map(|done| done.durable)).collect();
        PROMISE.broken(record, message, &earlier)
    }
}

/// The completion is durable, what it produced is not.
fn apart(record: &Record, completion: &Completion, position: Position) -> Verdict {
    let message = format!(
        "the completion of position {} for {} became durable, but the event that it produced at position {position} \
         is not in the same commit",
        completion.position, completion.service
    );
    PROMISE.broken(record, message, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, caused, completion, event, new_event};

    /// `accounts-1` was delivered an event and has sent a completion that produces another.
    fn completing() -> Run {
        let mut run = Run::new();
        run.register("accounts", &["Debit"]);
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.hello(7, "accounts", "accounts-1", 1);
        run.deliver(7, 1, 1, 1);
        run.complete(7, 1, 1, 1, [new_event("b", "acc-2")]);
        run
    }

    #[test]
    fn a_completion_with_its_events_holds() {
        let mut run = completing();
        run.commit_completion(
            completion("accounts", 1, "acc-1", 1).producing([2]),
            [caused(event("b", "acc-2", 2, 1), "a")],
        );
        run.completed(7, 1, true);
        assert_eq!(run.holds(CompletesOnce::default()), [("completed already", 1)]);
    }

    #[test]
    fn a_second_completion_is_seen() {
        let mut run = completing();
        run.commit_completion(completion("accounts", 1, "acc-1", 1), []);
        run.commit_completion(completion("accounts", 1, "acc-1", 1).by("accounts-2", 2, 2), []);
        run.fails(CompletesOnce::default(), "was ended for accounts a second time, by accounts-2 with attempt 2");
    }

    #[test]
    fn a_completion_apart_from_its_events_is_seen() {
        let mut run = completing();
        run.commit_completion(completion("accounts", 1, "acc-1", 1).producing([2]), []);
        run.fails(CompletesOnce::default(), "produced at position 2 is not in the same commit");
        let mut early = completing();
        early.commit_events([caused(event("b", "acc-2", 2, 1), "a")]);
        early.fails(
            CompletesOnce::default(),
            "event b entered the log at position 2 without the completion of position 1 by accounts",
        );
    }

    #[test]
    fn what_a_fenced_instance_sent_may_not_enter() {
        let mut run = completing();
        run.fenced(7, 1, 1, 1);
        run.commit_events([caused(event("b", "acc-2", 2, 1), "a")]);
        run.fails(CompletesOnce::default(), "without the completion of position 1");
    }
}
