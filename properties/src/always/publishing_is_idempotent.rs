//! Promise 4: sending an event again changes nothing, and is answered with the same place.

use std::collections::BTreeMap;

use dacapo_core::{
    EventId, Position, Receipt, Timestamp, Version,
    digest::StableHasher,
    trace::{Frame, Record, What},
    wire::FromBus,
};
use std::hash::Hash as _;

use crate::{
    connections::Asked,
    kinds::Kinds,
    known::Known,
    observer::Observer,
    property::{Moment, Promise, Verdict},
    sometimes,
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "publishing_is_idempotent",
    sentence: "an event id enters the log at most once, however often it is sent, and every answer names the same place",
    source: "ARCHITECTURE.md, promise 4",
};

/// Judges [`PROMISE`].
#[derive(Debug, Clone, Default)]
pub struct PublishingIsIdempotent {
    /// When each position was answered with `accepted`; every later answer must be `duplicate`.
    accepted: BTreeMap<Position, Moment>,
    duplicates: u64,
    checks: u64,
}

impl Observer for PublishingIsIdempotent {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::COMMIT_DURABLE.and(Kinds::RECEIPTS).and(Kinds::COMPLETED)
    }

    fn observe(&mut self, known: &Known, record: &Record) -> Verdict {
        match &record.what {
            What::CommitDurable { commit } => {
                commit.events.iter().try_for_each(|event| self.enters_once(known, record, &event.id, event.position))
            }
            What::FrameSent { frame: Frame::FromBus(frame), .. } => match &**frame {
                FromBus::Receipts(receipts) => {
                    let Some(asked) = known.connections().answered() else { return Ok(()) };
                    let answers = asked.ids.iter().zip(&receipts.receipts);
                    answers.clone().try_for_each(|(id, receipt)| self.answer(known, record, id, receipt))?;
                    self.known_before(known, record, asked, &receipts.receipts)
                }
                FromBus::Completed(completed) => completed
                    .produced
                    .iter()
                    .try_for_each(|one| self.same_place(known, record, &one.id, one.position, one.version)),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn memory(&self, _known: &Known, _now: Timestamp, to: &mut StableHasher) {
        self.accepted.keys().for_each(|position| position.hash(to));
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![(sometimes::DUPLICATE_RECEIPT, self.duplicates)]
    }
}

impl PublishingIsIdempotent {
    fn enters_once(&mut self, known: &Known, record: &Record, id: &EventId, position: Position) -> Verdict {
        self.checks += 1;
        match known.log().position_of(id) {
            Some(first) if first != position => {
                let entered = known.log().at(first).map(|entry| entry.durable).unwrap_or_default();
                let message = format!(
                    "event {id} entered the log at position {position}, and had entered it at position {first} ({entered})"
                );
                PROMISE.broken(record, message, &[entered])
            }
            _ => Ok(()),
        }
    }

    fn answer(&mut self, known: &Known, record: &Record, id: &EventId, receipt: &Receipt) -> Verdict {
        match receipt {
            Receipt::Accepted { position, version, .. } => {
                if let Some(before) = self.accepted.insert(*position, Moment::from(record)) {
                    let message = format!(
                        "{} answered event {id} with `accepted` a second time; the first was at {before}, \
                         so this is a duplicate",
                        record.node
                    );
                    return PROMISE.broken(record, message, &[before]);
                }
                self.same_place(known, record, id, *position, *version)
            }
            Receipt::Duplicate { position, version, .. } => {
                self.duplicates += 1;
                self.same_place(known, record, id, *position, *version)
            }
            Receipt::Inconsistent { .. } | Receipt::Refused { .. } | Receipt::Throttled => Ok(()),
        }
    }

    /// A batch that was in the log, durably, before it was sent again is a duplicate, whatever its expectations say
    /// by now.
    fn known_before(&mut self, known: &Known, record: &Record, asked: &Asked, receipts: &[Receipt]) -> Verdict {
        if !receipts.iter().any(|receipt| matches!(receipt, Receipt::Inconsistent { .. })) {
            return Ok(());
        }
        self.checks += 1;
        let log = known.log();
        let entered = |id| log.position_of(id).and_then(|position| log.at(position)).map(|entry| entry.durable);
        let entered: Option<Vec<Moment>> = asked.ids.iter().map(entered).collect();
        match entered {
            Some(entered) if entered.iter().all(|durable| durable.step < asked.at.step) => {
                let message = format!(
                    "{} answered the publish of {} with `inconsistent`, which was in the log before it was sent again \
                     ({}): it is a duplicate",
                    record.node, asked.ids[0], asked.at
                );
                PROMISE.broken(record, message, &entered)
            }
            _ => Ok(()),
        }
    }

    fn same_place(
        &mut self,
        known: &Known,
        record: &Record,
        id: &EventId,
        position: Position,
        version: Version,
    ) -> Verdict {
        self.checks += 1;
        let first = known.log().position_of(id).and_then(|first| known.log().at(first));
        match first {
            Some(entry) if entry.event.position != position || entry.event.version != version => {
                let message = format!(
                    "{} told position {position}, version {version} for event {id}, which stands at position {}, \
                     version {} ({})",
                    record.node, entry.event.position, entry.event.version, entry.durable
                );
                PROMISE.broken(record, message, &[entry.durable])
            }
            // An answer about an event that is not in the log breaks `shown_is_durable`.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, accepted, duplicate, event, new_event};

    #[test]
    fn a_repeated_publish_that_finds_its_event_holds() {
        let mut run = Run::new();
        run.publish(1, 1, [new_event("a", "acc-1")]);
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.receipts(1, 1, [accepted(1, 1)]);
        run.publish(2, 9, [new_event("a", "acc-1")]);
        run.receipts(2, 9, [duplicate(1, 1)]);
        let met = run.holds(PublishingIsIdempotent::default());
        assert_eq!(met, [("duplicate receipt", 1)]);
    }

    #[test]
    fn an_id_that_enters_twice_is_seen() {
        let mut run = Run::new();
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.commit_events([event("a", "acc-1", 2, 2)]);
        run.fails(
            PublishingIsIdempotent::default(),
            "event a entered the log at position 2, and had entered it at position 1 (step 1,",
        );
    }

    #[test]
    fn two_answers_that_name_different_places_are_seen() {
        let mut run = Run::new();
        run.commit_events([event("a", "acc-1", 1, 1), event("b", "acc-1", 2, 2)]);
        run.publish(2, 9, [new_event("a", "acc-1")]);
        run.receipts(2, 9, [duplicate(2, 2)]);
        run.fails(
            PublishingIsIdempotent::default(),
            "bus told position 2, version 2 for event a, which stands at position 1, version 1",
        );
    }

    #[test]
    fn accepting_the_same_event_twice_is_seen() {
        let mut run = Run::new();
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.publish(1, 1, [new_event("a", "acc-1")]);
        run.receipts(1, 1, [accepted(1, 1)]);
        run.publish(1, 2, [new_event("a", "acc-1")]);
        run.receipts(1, 2, [accepted(1, 1)]);
        run.fails(PublishingIsIdempotent::default(), "answered event a with `accepted` a second time");
    }
}
