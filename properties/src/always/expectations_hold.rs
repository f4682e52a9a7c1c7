//! Promise 3: what a publisher demanded was true where its batch stands, and the whole batch stands there.
//!
//! A batch is what one `publish` or `complete` carried when it reached the bus. Each event in the log must be explained
//! by such a batch: all of its events side by side in one commit, as they were sent, on the heads that it demanded. A
//! batch that was answered in the negative explains nothing any more. System events have no batch. The guards of a
//! completion that produced nothing are not judged, since it has no place in the log.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    sync::Arc,
};

use dacapo_core::{
    Event, EventId, Expectation, Guard, NewEvent, NodeName, Position, Receipt, Timestamp,
    digest::StableHasher,
    hashed::Hashed,
    trace::{Frame, Record, What},
    wire::{FromBus, ToBus, Token},
};
use std::hash::Hash as _;

use crate::{
    kinds::Kinds,
    known::Known,
    log::Log,
    observer::Observer,
    property::{Moment, Promise, Verdict},
    sometimes,
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "expectations_hold",
    sentence: "the expectations and guards of a batch were true at its commit, and the batch is in the log whole or \
               not at all",
    source: "ARCHITECTURE.md, promise 3",
};

/// What a batch was sent with: the answer bears the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Asked {
    Publish(u64),
    Complete(Position),
}

#[derive(Debug, Clone)]
struct Batch {
    from: u64,
    asked: Asked,
    /// What was sent, as it came.
    frame: Hashed<ToBus>,
    received: Moment,
}

/// A question that waits for its answer.
#[derive(Debug, Clone)]
struct Open {
    /// The first id of its batch; none: no events.
    first: Option<EventId>,
    /// The delivery that it answers, if it is a completion.
    token: Option<Token>,
    step: u64,
}

/// Questions of one bus that wait for their answers, oldest first.
type Waiting = BTreeMap<(u64, Asked), VecDeque<Open>>;

/// Judges [`PROMISE`].
#[derive(Debug, Clone, Default)]
pub struct ExpectationsHold {
    /// Batches that may yet enter the log, by their first event's id.
    batches: BTreeMap<EventId, Vec<Batch>>,
    waiting: BTreeMap<NodeName, Waiting>,
    /// When a bus last recovered: what came before the one before can no longer enter.
    recovered: u64,
    inconsistent: u64,
    conflicts: u64,
    explicit: u64,
    guarded: u64,
    checks: u64,
}

impl Observer for ExpectationsHold {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::PUBLISH
            .and(Kinds::COMPLETE)
            .and(Kinds::RECEIPTS)
            .and(Kinds::COMPLETED)
            .and(Kinds::CONFLICT)
            .and(Kinds::FENCED)
            .and(Kinds::REJECTED)
            .and(Kinds::COMMIT_DURABLE)
            .and(Kinds::RECOVERED)
            .and(Kinds::DISCONNECTED)
    }

    fn observe(&mut self, known: &Known, record: &Record) -> Verdict {
        match &record.what {
            What::FrameReceived { connection, frame: Frame::ToBus(frame) } => {
                match &**frame {
                    ToBus::Publish(publish) => {
                        self.asked(record, *connection, Asked::Publish(publish.request), None, frame);
                    }
                    ToBus::Complete(complete) => {
                        let asked = Asked::Complete(complete.position);
                        self.asked(record, *connection, asked, Some(complete.token), frame);
                    }
                    _ => {}
                }
                Ok(())
            }
            What::FrameSent { connection, frame: Frame::FromBus(frame) } => {
                self.answered(record, *connection, frame);
                Ok(())
            }
            What::CommitDurable { commit } => self.committed(known.log(), record, &commit.events),
            What::Recovered { .. } => {
                let before = std::mem::replace(&mut self.recovered, record.step);
                self.waiting.remove(&record.node);
                self.batches.retain(|_, batches| {
                    batches.retain(|batch| batch.received.step >= before);
                    !batches.is_empty()
                });
                Ok(())
            }
            What::Disconnected { connection } => {
                if let Some(waiting) = self.waiting.get_mut(&record.node) {
                    let first = (*connection, Asked::Publish(0));
                    let gone: Vec<_> = waiting
                        .range(first..)
                        .take_while(|((from, _), _)| from == connection)
                        .map(|(asked, _)| *asked)
                        .collect();
                    for asked in &gone {
                        waiting.remove(asked);
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn memory(&self, _known: &Known, _now: Timestamp, to: &mut StableHasher) {
        for (first, batches) in &self.batches {
            for batch in batches {
                let (events, guards) = (batch.events(), batch.guards());
                (first, batch.from, batch.asked, events, guards, batch.received.step >= self.recovered).hash(to);
            }
        }
        for ((node, waiting), (asked, queue)) in
            self.waiting.iter().flat_map(|of| of.1.iter().map(move |asked| (of, asked)))
        {
            (node, waiting.len(), asked, queue.len()).hash(to);
            for Open { first, token, step } in queue {
                let batches = first.as_ref().and_then(|first| self.batches.get(first));
                let index = batches.and_then(|them| them.iter().position(|batch| batch.received.step == *step));
                (first, token, index).hash(to);
            }
        }
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![
            (sometimes::INCONSISTENT_RECEIPT, self.inconsistent),
            (sometimes::CONFLICT, self.conflicts),
            (sometimes::EXPLICIT_EXPECTATION, self.explicit),
            (sometimes::GUARD, self.guarded),
        ]
    }
}

impl ExpectationsHold {
    fn asked(&mut self, record: &Record, from: u64, asked: Asked, token: Option<Token>, frame: &Hashed<ToBus>) {
        let batch = Batch { from, asked, frame: frame.clone(), received: Moment::from(record) };
        let first = batch.events().first().map(|event| event.id.clone());
        if !self.waiting.contains_key(&record.node) {
            self.waiting.insert(record.node.clone(), Waiting::new());
        }
        if let Some(waiting) = self.waiting.get_mut(&record.node) {
            waiting.entry((from, asked)).or_default().push_back(Open {
                first: first.clone(),
                token,
                step: record.step,
            });
        }
        if let Some(first) = first {
            self.batches.entry(first).or_default().push(batch);
        }
    }

    fn answered(&mut self, record: &Record, connection: u64, frame: &FromBus) {
        let (asked, token, entered) = match frame {
            FromBus::Receipts(receipts) => {
                let mut entered = true;
                for receipt in &receipts.receipts {
                    self.inconsistent += u64::from(matches!(receipt, Receipt::Inconsistent { .. }));
                    entered &= matches!(receipt, Receipt::Accepted { .. });
                }
                (Asked::Publish(receipts.request), None, entered)
            }
            FromBus::Completed(completed) => (Asked::Complete(completed.position), None, !completed.already),
            FromBus::Conflict(conflict) => {
                self.conflicts += 1;
                (Asked::Complete(conflict.position), Some(conflict.token), false)
            }
            // It may also answer a nack, or nothing at all: of a completion it speaks only with that one's token.
            FromBus::Fenced(fenced) => (Asked::Complete(fenced.position), Some(fenced.token), false),
            FromBus::Rejected(rejected) => (Asked::Complete(rejected.position), Some(rejected.token), false),
            _ => return,
        };
        let Some(waiting) = self.waiting.get_mut(&record.node) else { return };
        let Some(queue) = waiting.get_mut(&(connection, asked)) else { return };
        let which = queue.iter().position(|open| token.is_none() || open.token == token);
        let answered = which.and_then(|which| queue.remove(which));
        if queue.is_empty() {
            waiting.remove(&(connection, asked));
        }
        let Some(Open { first: Some(first), step, .. }) = answered.filter(|_| !entered) else { return };
        if let Some(batches) = self.batches.get_mut(&first) {
            batches.retain(|batch| batch.received.step != step);
            if batches.is_empty() {
                self.batches.remove(&first);
            }
        }
    }

    fn committed(&mut self, log: &Log, record: &Record, events: &[Arc<Event>]) -> Verdict {
        let mut rest = events;
        while let Some(event) = rest.first() {
            let taken = if event.source.is_reserved() || event.event_type.is_reserved() {
                1
            } else {
                self.explained(log, record, rest)?
            };
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// How many of these events the batch of the first one explains.
    fn explained(&mut self, log: &Log, record: &Record, events: &[Arc<Event>]) -> Result<usize, Box<crate::Violation>> {
        self.checks += 1;
        let first = &events[0];
        let Some(batches) = self.batches.remove(&first.id) else {
            return self.unexplained(record, first).map(|()| 1);
        };
        let mut why = String::new();
        for batch in &batches {
            match batch.stands(log, events) {
                Ok(()) => {
                    let explicit = batch.events().iter().any(|event| event.expectation != Expectation::Any);
                    self.explicit += u64::from(explicit);
                    self.guarded += u64::from(!batch.guards().is_empty());
                    return Ok(batch.events().len());
                }
                Err(reason) => {
                    let _ = write!(why, "; {} says: {reason}", batch.describe());
                }
            }
        }
        let received: Vec<Moment> = batches.iter().map(|batch| batch.received).collect();
        let message = format!(
            "event {} ({} of {}) became durable at position {} as no batch that was sent allows{why}",
            first.id, first.event_type, first.key, first.position
        );
        PROMISE.broken(record, message, &received).map(|()| 1)
    }

    fn unexplained(&self, record: &Record, event: &Event) -> Verdict {
        let inside = self.batches.values().flatten().find(|batch| batch.events().iter().any(|new| new.id == event.id));
        let (reason, earlier) = match inside {
            Some(batch) => {
                (format!("it is in the middle of {}, which is not whole", batch.describe()), vec![batch.received])
            }
            None => ("no batch that may still enter the log holds it".to_owned(), vec![]),
        };
        let message = format!(
            "event {} ({} of {}) became durable at position {}, but {reason}",
            event.id, event.event_type, event.key, event.position
        );
        PROMISE.broken(record, message, &earlier)
    }
}

impl Batch {
    fn events(&self) -> &[NewEvent] {
        match &*self.frame {
            ToBus::Publish(publish) => &publish.events,
            ToBus::Complete(complete) => &complete.events,
            _ => &[],
        }
    }

    fn guards(&self) -> &[Guard] {
        match &*self.frame {
            ToBus::Publish(publish) => &publish.guards,
            ToBus::Complete(complete) => &complete.guards,
            _ => &[],
        }
    }

    fn describe(&self) -> String {
        let asked = match self.asked {
            Asked::Publish(request) => format!("publish {request}"),
            Asked::Complete(position) => format!("the completion of position {position}"),
        };
        format!("{asked} on connection {} ({})", self.from, self.received)
    }

    /// Whether the batch stands at the front of these events, by its own terms; or why not.
    fn stands(&self, log: &Log, events: &[Arc<Event>]) -> Result<(), String> {
        if events.len() < self.events().len() {
            return Err(format!("of its {} events only {} are in the commit", self.events().len(), events.len()));
        }
        for (new, event) in self.events().iter().zip(events) {
            if new.id != event.id {
                return Err(format!("event {} should follow in the same commit, not {}", new.id, event.id));
            }
            if new.event_type != event.event_type || new.key != event.key || new.data != event.data {
                return Err(format!("event {} was sent with another type, key or payload", new.id));
            }
            let head = event.version.0.saturating_sub(1);
            if let Expectation::Version(version) = new.expectation
                && version.0 != head
            {
                return Err(format!(
                    "event {} expects the head of {} to be version {version}, but it was version {head}",
                    new.id, new.key
                ));
            }
        }
        let before = Position(events[0].position.0.saturating_sub(1));
        for guard in self.guards() {
            let head = log.head_at(&guard.key, before);
            if head != guard.version {
                return Err(format!(
                    "a guard demands that the head of {} is version {}, but it was version {head}",
                    guard.key, guard.version
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, accepted, completion, event, guard, inconsistent, new_event, new_event_at};

    #[test]
    fn a_batch_on_the_heads_that_it_demands_holds() {
        let mut run = Run::new();
        run.publish(1, 1, [new_event("a", "acc-1")]);
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.publish_guarded(1, 2, [new_event_at("b", "acc-2", 0), new_event_at("c", "acc-2", 1)], [guard("acc-1", 1)]);
        run.commit_events([event("b", "acc-2", 2, 1), event("c", "acc-2", 3, 2)]);
        let met = run.holds(ExpectationsHold::default());
        assert!(met.contains(&("explicit expectation", 1)) && met.contains(&("guard", 1)), "{met:?}");
    }

    #[test]
    fn a_stale_expectation_that_is_accepted_is_seen() {
        let mut run = Run::new();
        run.publish(1, 1, [new_event("a", "acc-1")]);
        run.publish(2, 8, [new_event_at("b", "acc-1", 0)]);
        run.commit_events([event("a", "acc-1", 1, 1), event("b", "acc-1", 2, 2)]);
        run.fails(
            ExpectationsHold::default(),
            "publish 8 on connection 2 (step 2, 0.002s) says: event b expects the head of acc-1 to be version 0, \
             but it was version 1",
        );
    }

    #[test]
    fn a_guard_that_was_false_is_seen() {
        let mut run = Run::new();
        run.publish(1, 1, [new_event("a", "acc-1")]);
        run.publish_guarded(1, 2, [new_event("b", "acc-2")], [guard("acc-1", 0)]);
        run.commit_events([event("a", "acc-1", 1, 1), event("b", "acc-2", 2, 1)]);
        run.fails(ExpectationsHold::default(), "demands that the head of acc-1 is version 0, but it was version 1");
    }

    #[test]
    fn half_a_batch_is_seen() {
        let mut run = Run::new();
        run.publish(1, 1, [new_event("a", "acc-1"), new_event("b", "acc-1")]);
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.fails(ExpectationsHold::default(), "of its 2 events only 1 are in the commit");
        let mut other_half = Run::new();
        other_half.publish(1, 1, [new_event("a", "acc-1"), new_event("b", "acc-1")]);
        other_half.commit_events([event("b", "acc-1", 1, 1)]);
        other_half.fails(ExpectationsHold::default(), "it is in the middle of publish 1");
    }

    #[test]
    fn a_batch_that_was_answered_in_the_negative_may_not_enter() {
        let mut run = Run::new();
        run.publish(1, 1, [new_event("a", "acc-1")]);
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.receipts(1, 1, [accepted(1, 1)]);
        run.publish(2, 8, [new_event_at("b", "acc-1", 0)]);
        run.receipts(2, 8, [inconsistent("acc-1", 1, Some("a"))]);
        run.commit_events([event("b", "acc-1", 2, 2)]);
        run.fails(ExpectationsHold::default(), "no batch that may still enter the log holds it");
    }

    #[test]
    fn a_completion_on_stale_ground_is_seen() {
        let mut run = Run::new();
        run.publish(1, 1, [new_event("a", "acc-1")]);
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.hello(7, "accounts", "accounts-1", 1);
        run.deliver(7, 1, 1, 1);
        run.complete(7, 1, 1, 1, [new_event_at("b", "acc-1", 0)]);
        run.commit_completion(completion("accounts", 1, "acc-1", 1).producing([2]), [event("b", "acc-1", 2, 2)]);
        run.fails(ExpectationsHold::default(), "the completion of position 1 on connection 7");
    }

    #[test]
    fn a_late_nack_of_an_earlier_delivery_says_nothing_about_the_completion() {
        let mut run = Run::new();
        run.publish(1, 1, [new_event("a", "acc-1")]);
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.hello(7, "accounts", "accounts-1", 1);
        run.deliver(7, 1, 1, 2);
        run.complete(7, 1, 1, 2, [new_event("b", "acc-2")]);
        run.nack(7, 1, 1, 1);
        run.fenced(7, 1, 1, 1);
        let mut entered = run.clone();
        entered.commit_completion(completion("accounts", 1, "acc-1", 1).producing([2]), [event("b", "acc-2", 2, 1)]);
        entered.holds(ExpectationsHold::default());
        run.fenced(7, 1, 1, 2);
        run.commit_events([event("b", "acc-2", 2, 1)]);
        run.fails(ExpectationsHold::default(), "no batch that may still enter the log holds it");
    }
}
