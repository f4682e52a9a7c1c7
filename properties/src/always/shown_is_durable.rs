//! Promise 1: nothing is shown that a crash could take back.
//!
//! Every frame that the bus sends is held against the log of the step at which it was sent.

use std::sync::Arc;

use dacapo_core::{
    Event, EventId, Key, NodeName, Position, Receipt, Timestamp, Version, WallTime,
    digest::StableHasher,
    store::Recovered,
    trace::{Frame, Record, What},
    wire::{Completed, Deliver, Events, FromBus, Receipts},
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
    name: "shown_is_durable",
    sentence: "every event, receipt or answer that anyone was shown was durable before, and stays where it was told",
    source: "ARCHITECTURE.md, promise 1",
};

/// Judges [`PROMISE`].
#[derive(Debug, Clone, Default)]
pub struct ShownIsDurable {
    /// The last position that anyone was shown, and when.
    shown: (Position, Moment),
    recoveries: u64,
    with_lanes_behind: u64,
    checks: u64,
}

impl Observer for ShownIsDurable {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::RECOVERED
            .and(Kinds::WELCOME)
            .and(Kinds::RECEIPTS)
            .and(Kinds::DELIVER)
            .and(Kinds::COMPLETED)
            .and(Kinds::CONFLICT)
            .and(Kinds::EVENTS)
            .and(Kinds::REBUILT)
    }

    fn observe(&mut self, known: &Known, record: &Record) -> Verdict {
        match &record.what {
            What::FrameSent { connection, frame: Frame::FromBus(frame) } => {
                let mut sent = Sent { known, record, connection: *connection, last: Position::ZERO };
                sent.frame(frame)?;
                self.checks += 1;
                if sent.last > self.shown.0 {
                    self.shown = (sent.last, Moment::from(record));
                }
                Ok(())
            }
            What::Recovered { recovered } => self.recovered(known.log(), record, recovered),
            _ => Ok(()),
        }
    }

    fn memory(&self, _known: &Known, _now: Timestamp, to: &mut StableHasher) {
        self.shown.0.hash(to);
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![
            (sometimes::BUS_RECOVERED, self.recoveries),
            (sometimes::RECOVERED_WITH_LANES_BEHIND, self.with_lanes_behind),
        ]
    }
}

impl ShownIsDurable {
    fn recovered(&mut self, log: &Log, record: &Record, recovered: &Recovered) -> Verdict {
        self.checks += 1;
        self.recoveries += u64::from(log.end() > Position::ZERO);
        self.with_lanes_behind += u64::from(!recovered.lanes.is_empty());
        let (shown, when) = self.shown;
        if recovered.position < shown {
            let message = format!(
                "{} recovered a log that ends at position {}, but position {shown} had been shown ({when})",
                record.node, recovered.position
            );
            return PROMISE.broken(record, message, &[when]);
        }
        if recovered.position < log.end() {
            let when = log.last_commit().unwrap_or_default();
            let message = format!(
                "{} recovered a log that ends at position {}, but the store had made position {} durable ({when})",
                record.node,
                recovered.position,
                log.end()
            );
            return PROMISE.broken(record, message, &[when]);
        }
        Self::recovered_state(log, record, recovered)
    }

    /// What the bus keeps besides the log: services with their frontiers, and the lanes behind.
    fn recovered_state(log: &Log, record: &Record, recovered: &Recovered) -> Verdict {
        let when = log.last_commit().unwrap_or_default();
        for (name, service) in log.services().filter(|(_, service)| !service.types().is_empty()) {
            let found = recovered.services.iter().find(|found| found.name == *name);
            let is_the_same =
                found.is_some_and(|found| found.types == service.types() && found.frontier == service.frontier());
            if !is_the_same {
                let message = format!(
                    "{} recovered the service {name} as {found:?}, but the store had made durable that it takes {:?} \
                     with the frontier {} ({when})",
                    record.node,
                    service.types(),
                    service.frontier()
                );
                return PROMISE.broken(record, message, &[when]);
            }
            let lanes = recovered.lanes.iter().filter(|lane| lane.service == *name);
            if !lanes.eq(service.lanes_behind()) {
                let message = format!(
                    "{} recovered other lanes behind of {name} than the store had made durable ({when})",
                    record.node
                );
                return PROMISE.broken(record, message, &[when]);
            }
        }
        Ok(())
    }
}

/// A frame of the bus, held against the log.
struct Sent<'a> {
    known: &'a Known,
    record: &'a Record,
    connection: u64,
    /// The last position that it names.
    last: Position,
}

impl Sent<'_> {
    fn log(&self) -> &Log {
        self.known.log()
    }

    fn node(&self) -> &NodeName {
        &self.record.node
    }

    fn frame(&mut self, frame: &FromBus) -> Verdict {
        match frame {
            FromBus::Receipts(receipts) => self.receipts(receipts),
            FromBus::Completed(completed) => self.completed(completed),
            FromBus::Deliver(deliver) => self.deliver(deliver),
            FromBus::Events(events) => self.events(events),
            FromBus::Welcome(welcome) => self.end("a welcome", welcome.position),
            FromBus::Rebuilt(rebuilt) => self.end("a rebuilt", rebuilt.position),
            FromBus::Conflict(conflict) => {
                conflict.heads.iter().try_for_each(|head| self.head("a conflict", &head.key, head.version).map(drop))
            }
            FromBus::Fenced(_)
            | FromBus::Rejected(_)
            | FromBus::Resume(_)
            | FromBus::Pong(_)
            | FromBus::Error(_)
            | FromBus::Closing(_) => Ok(()),
        }
    }

    fn receipts(&mut self, receipts: &Receipts) -> Verdict {
        let known = self.known;
        let asked = known.connections().answered();
        for (index, receipt) in receipts.receipts.iter().enumerate() {
            let id = asked.and_then(|asked| asked.ids.get(index));
            match receipt {
                Receipt::Accepted { position, version, time } | Receipt::Duplicate { position, version, time } => {
                    self.place("a receipt", id, *position, *version, *time)?;
                }
                Receipt::Inconsistent { key, head, id } => self.inconsistent(key, *head, id.as_ref())?,
                Receipt::Refused { .. } | Receipt::Throttled => {}
            }
        }
        Ok(())
    }

    fn place(
        &mut self,
        what: &str,
        id: Option<&EventId>,
        position: Position,
        version: Version,
        time: WallTime,
    ) -> Verdict {
        let name = id.map_or("an event", EventId::as_str);
        let Some(entry) = self.log().at(position) else {
            return self.too_early(&format!("{what} for {name}"), position);
        };
        let event = &entry.event;
        if id.is_some_and(|id| *id != event.id) || event.version != version || event.time != time {
            let message = format!(
                "{} sent {what} for {name} with position {position}, version {version}, but there stands event {} \
                 with version {} ({})",
                self.node(),
                event.id,
                event.version,
                entry.durable
            );
            return PROMISE.broken(self.record, message, &[entry.durable]);
        }
        self.last = self.last.max(position);
        Ok(())
    }

    fn inconsistent(&mut self, key: &Key, head: Version, id: Option<&EventId>) -> Verdict {
        self.head("an inconsistent receipt", key, head)?;
        let there = self.log().version_of(key, head);
        if there.map(|entry| &entry.event.id) == id {
            return Ok(());
        }
        let message = format!(
            "{} sent an inconsistent receipt that names {} at version {head} of {key}, where {} stands",
            self.node(),
            id.map_or("no event", EventId::as_str),
            there.map_or("no event", |entry| entry.event.id.as_str())
        );
        PROMISE.broken(self.record, message, &there.map(|entry| entry.durable).into_iter().collect::<Vec<_>>())
    }

    /// A head that was told must have been reached.
    fn head(&mut self, what: &str, key: &Key, head: Version) -> Result<(), Box<crate::Violation>> {
        let durable = self.log().head(key);
        if head <= durable {
            if let Some(entry) = self.log().version_of(key, head) {
                let position = entry.event.position;
                self.last = self.last.max(position);
            }
            return Ok(());
        }
        let message = format!(
            "{} sent {what} that tells version {head} as the head of {key}, of which only version {durable} is durable",
            self.node()
        );
        PROMISE.broken(self.record, message, &[])
    }

    fn completed(&mut self, completed: &Completed) -> Verdict {
        for one in &completed.produced {
            self.place("a completed", Some(&one.id), one.position, one.version, one.time)?;
        }
        let known = self.known;
        let Some(who) = known.connections().introduced(self.node(), self.connection) else { return Ok(()) };
        let done = self.log().service(&who.service).and_then(|service| service.done(completed.position));
        let Some(done) = done else {
            let message = format!(
                "{} told {} that position {} is completed for {}, but no such completion is durable",
                self.node(),
                who.instance,
                completed.position,
                who.service
            );
            return PROMISE.broken(self.record, message, &[]);
        };
        let told = completed.produced.iter().map(|one| one.position);
        if told.clone().eq(done.produced.iter().copied()) {
            return Ok(());
        }
        let told: Vec<Position> = told.collect();
        let message = format!(
            "{} told {} that completing position {} produced the positions {}, but the log says {} ({})",
            self.node(),
            who.instance,
            completed.position,
            listed(&told),
            listed(&done.produced),
            done.durable
        );
        PROMISE.broken(self.record, message, &[done.durable])
    }

    fn deliver(&mut self, deliver: &Deliver) -> Verdict {
        self.event("a delivery", &deliver.event)?;
        let known = self.known;
        let Some(who) = known.connections().introduced(self.node(), self.connection) else { return Ok(()) };
        let Some(service) = self.log().service(&who.service) else { return Ok(()) };
        if service.types_changed().is_some() {
            // Computed from the types of then.
            return Ok(());
        }
        let earlier = &self.log().positions_of(&deliver.event.key)[..(deliver.event.version.0 - 1) as usize];
        let previous = earlier
            .iter()
            .rev()
            .filter_map(|position| self.log().at(*position))
            .find(|entry| service.since(&entry.event.event_type).is_some());
        let version = previous.map_or(Version::ZERO, |entry| entry.event.version);
        if version == deliver.previous {
            return Ok(());
        }
        let message = format!(
            "{} delivered version {} of {} to {} and named version {} as the one before it of the types of {}, but that \
             is version {version}",
            self.node(),
            deliver.event.version,
            deliver.event.key,
            who.instance,
            deliver.previous,
            who.service
        );
        PROMISE.broken(self.record, message, &previous.map(|entry| entry.durable).into_iter().collect::<Vec<_>>())
    }

    fn events(&mut self, events: &Events) -> Verdict {
        self.end("events", events.position)?;
        events.events.iter().try_for_each(|event| self.event("events", event))?;
        for head in &events.heads {
            let then = self.log().head_at(&head.key, events.position);
            if head.version != then {
                let message = format!(
                    "{} sent events that tell version {} as the head of {} at position {}, where it was version {then}",
                    self.node(),
                    head.version,
                    head.key,
                    events.position
                );
                return PROMISE.broken(self.record, message, &[]);
            }
        }
        Ok(())
    }

    fn event(&mut self, what: &str, event: &Arc<Event>) -> Verdict {
        let Some(entry) = self.log().at(event.position) else {
            return self.too_early(&format!("{what} with event {}", event.id), event.position);
        };
        if !Arc::ptr_eq(&entry.event, event) && entry.event != *event {
            let message = format!(
                "{} sent {what} with event {} at position {}, but what stands there ({}) is {:?}, and not {event:?}",
                self.node(),
                event.id,
                event.position,
                entry.durable,
                entry.event
            );
            return PROMISE.broken(self.record, message, &[entry.durable]);
        }
        self.last = self.last.max(event.position);
        Ok(())
    }

    fn end(&mut self, what: &str, position: Position) -> Verdict {
        if position > self.log().end() {
            return self.too_early(what, position);
        }
        self.last = self.last.max(position);
        Ok(())
    }

    fn too_early(&self, what: &str, position: Position) -> Verdict {
        let last = self.log().last_commit();
        let message = format!(
            "{} sent {what} on connection {} that names position {position}, but the log is durable only up to \
             position {}{}",
            self.node(),
            self.connection,
            self.log().end(),
            last.map(|last| format!(" ({last})")).unwrap_or_default()
        );
        PROMISE.broken(self.record, message, &last.into_iter().collect::<Vec<_>>())
    }
}

fn listed(positions: &[Position]) -> String {
    if positions.is_empty() {
        return "none".to_owned();
    }
    positions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, accepted, completion, event, inconsistent, new_event};

    fn one_published() -> Run {
        let mut run = Run::new();
        run.publish(1, 1, [new_event("a", "acc-1")]);
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run
    }

    #[test]
    fn a_receipt_after_its_commit_holds_over_a_restart() {
        let mut run = one_published();
        run.receipts(1, 1, [accepted(1, 1)]);
        run.recovered(2, 1);
        assert_eq!(run.holds(ShownIsDurable::default()), [("bus recovered", 1), ("recovered with lanes behind", 0)]);
    }

    #[test]
    fn a_receipt_before_its_commit_is_seen() {
        let mut run = Run::new();
        run.publish(1, 1, [new_event("a", "acc-1")]);
        run.receipts(1, 1, [accepted(1, 1)]);
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.fails(
            ShownIsDurable::default(),
            "bus sent a receipt for a on connection 1 that names position 1, but the log is durable only up to position 0",
        );
    }

    #[test]
    fn a_receipt_that_names_another_events_place_is_seen() {
        let mut run = one_published();
        run.commit_events([event("b", "acc-2", 2, 1)]);
        run.receipts(1, 1, [accepted(2, 1)]);
        run.fails(
            ShownIsDurable::default(),
            "sent a receipt for a with position 2, version 1, but there stands event b",
        );
    }

    #[test]
    fn a_log_that_is_shorter_after_a_restart_is_seen() {
        let mut run = one_published();
        run.receipts(1, 1, [accepted(1, 1)]);
        run.recovered(2, 0);
        run.fails(ShownIsDurable::default(), "ends at position 0, but position 1 had been shown (step 3,");
        let mut unseen = one_published();
        unseen.recovered(2, 0);
        unseen.fails(ShownIsDurable::default(), "but the store had made position 1 durable (step 2,");
    }

    #[test]
    fn a_head_that_is_not_durable_is_seen() {
        let mut run = one_published();
        run.publish(1, 2, [new_event("b", "acc-1")]);
        run.receipts(1, 2, [inconsistent("acc-1", 2, Some("c"))]);
        run.fails(ShownIsDurable::default(), "version 2 as the head of acc-1, of which only version 1 is durable");
        let mut wrong_id = one_published();
        wrong_id.receipts(1, 2, [inconsistent("acc-1", 1, Some("c"))]);
        wrong_id.fails(ShownIsDurable::default(), "names c at version 1 of acc-1, where a stands");
    }

    #[test]
    fn a_completed_without_a_completion_is_seen() {
        let mut run = one_published();
        run.hello(7, "accounts", "accounts-1", 1);
        run.deliver(7, 1, 1, 1);
        run.completed(7, 1, false);
        run.fails(ShownIsDurable::default(), "told accounts-1 that position 1 is completed for accounts");
        let mut right = one_published();
        right.register("accounts", &["Debit"]);
        right.hello(7, "accounts", "accounts-1", 1);
        right.deliver(7, 1, 1, 1);
        right.commit_completion(completion("accounts", 1, "acc-1", 1), []);
        right.completed(7, 1, false);
        right.holds(ShownIsDurable::default());
    }

    #[test]
    fn a_delivered_event_with_other_content_is_seen() {
        let mut run = one_published();
        run.hello(7, "accounts", "accounts-1", 1);
        let mut other = event("a", "acc-1", 1, 1);
        other.key = Key::of("acc-2");
        run.deliver_event(7, other, 1, 1, 0);
        run.fails(ShownIsDurable::default(), "sent a delivery with event a at position 1, but what stands there");
    }
}
