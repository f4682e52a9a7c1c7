//! Promise 6: a lane has one owner at a time, and only the last delivery of an event can be completed.
//!
//! That a lane moved too early is judged with a margin: the records show when a frame left, not when its deadline
//! began to run, so an owner counts as late from half of its deadline on.

use std::{collections::BTreeMap, time::Duration};

use dacapo_core::{
    Key, NodeName, Position, ServiceName, Term, Timestamp,
    digest::StableHasher,
    store::{Commit, Completion, Ended},
    trace::{Frame, Record, What},
    wire::{Deliver, FromBus, ToBus, Token},
};
use std::hash::Hash as _;

use crate::{
    connections::{Delivery, Introduced},
    kinds::Kinds,
    known::Known,
    observer::Observer,
    property::{Moment, Promise, Verdict},
    sometimes,
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "one_owner_per_lane",
    sentence: "no two deliveries of a lane exist whose completion would both commit, and a lane with an open delivery \
               stays with its owner until that leaves or is late",
    source: "ARCHITECTURE.md, promise 6",
};

/// The last delivery of a lane.
#[derive(Debug, Clone)]
struct Owned {
    bus: NodeName,
    position: Position,
    delivery: Delivery,
    /// When the deadline was last renewed.
    renewed: Moment,
    /// It was given back, or taken back.
    closed: bool,
}

/// Judges [`PROMISE`].
#[derive(Debug, Clone, Default)]
pub struct OneOwnerPerLane {
    lanes: BTreeMap<ServiceName, BTreeMap<Key, Owned>>,
    /// The newest term that a bus recovered with, and when.
    term: (Term, Moment),
    fenced: u64,
    moved: u64,
    checks: u64,
}

impl Observer for OneOwnerPerLane {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::DELIVER
            .and(Kinds::FENCED)
            .and(Kinds::CONFLICT)
            .and(Kinds::NACK)
            .and(Kinds::EXTEND)
            .and(Kinds::RECOVERED)
            .and(Kinds::COMMIT_DURABLE)
    }

    fn observe(&mut self, known: &Known, record: &Record) -> Verdict {
        match &record.what {
            What::FrameSent { connection, frame: Frame::FromBus(frame) } => match &**frame {
                FromBus::Deliver(deliver) => self.delivered(known, record, *connection, deliver),
                FromBus::Fenced(fenced) => {
                    self.fenced += 1;
                    self.touch(known, record, *connection, (fenced.position, fenced.token), true);
                    Ok(())
                }
                FromBus::Conflict(conflict) => {
                    self.touch(known, record, *connection, (conflict.position, conflict.token), false);
                    Ok(())
                }
                _ => Ok(()),
            },
            What::FrameReceived { connection, frame: Frame::ToBus(frame) } => {
                match &**frame {
                    ToBus::Nack(nack) => self.touch(known, record, *connection, (nack.position, nack.token), true),
                    ToBus::Extend(extend) => {
                        self.touch(known, record, *connection, (extend.position, extend.token), false);
                    }
                    _ => {}
                }
                Ok(())
            }
            What::Recovered { recovered } => {
                if recovered.term > self.term.0 {
                    self.term = (recovered.term, Moment::from(record));
                }
                Ok(())
            }
            What::CommitDurable { commit } => self.committed(known, record, commit),
            _ => Ok(()),
        }
    }

    fn memory(&self, known: &Known, now: Timestamp, to: &mut StableHasher) {
        self.term.0.hash(to);
        for (service, lanes) in &self.lanes {
            for (key, Owned { bus, position, delivery, renewed, closed }) in lanes {
                (service, key, bus, position, closed).hash(to);
                delivery.memory(to);
                // What is over cannot become late.
                let done = known.log().service(service).is_some_and(|service| service.done(*position).is_some());
                (!closed && !done).then(|| now.since(renewed.at)).hash(to);
            }
        }
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![(sometimes::FENCED_COMPLETION, self.fenced), (sometimes::OWNER_MOVED, self.moved)]
    }
}

impl OneOwnerPerLane {
    fn delivered(&mut self, known: &Known, record: &Record, connection: u64, deliver: &Deliver) -> Verdict {
        let Some(owner) = known.connections().introduced(&record.node, connection) else { return Ok(()) };
        self.checks += 1;
        let now = Moment::from(record);
        let key = &deliver.event.key;
        let lane = self.lanes.get(&owner.service).and_then(|lanes| lanes.get(key));
        if let Some(lane) = lane {
            // What an older bus still says can no longer commit.
            if deliver.token.term < lane.delivery.token.term {
                return Ok(());
            }
            if deliver.token.term == lane.delivery.token.term {
                follows(known, record, owner, deliver, lane)?;
            }
            self.moved += u64::from(lane.delivery.instance != owner.instance);
        }
        let delivery = Delivery {
            token: deliver.token,
            instance: owner.instance.clone(),
            incarnation: owner.incarnation,
            connection,
            sent: now,
        };
        let owned =
            Owned { bus: record.node.clone(), position: deliver.event.position, delivery, renewed: now, closed: false };
        self.lanes.entry(owner.service.clone()).or_default().insert(key.clone(), owned);
        Ok(())
    }

    /// The owner or the bus said something about an open delivery; what is said of an earlier one means nothing.
    fn touch(
        &mut self,
        known: &Known,
        record: &Record,
        connection: u64,
        (position, token): (Position, Token),
        closes: bool,
    ) {
        let Some(owner) = known.connections().introduced(&record.node, connection) else { return };
        let Some(entry) = known.log().at(position) else { return };
        let lane = self.lanes.get_mut(&owner.service).and_then(|lanes| lanes.get_mut(&entry.event.key));
        let last = |lane: &&mut Owned| lane.delivery.connection == connection && lane.delivery.token == token;
        let Some(lane) = lane.filter(last) else { return };
        lane.closed |= closes;
        lane.renewed = Moment::from(record);
    }

    fn committed(&mut self, known: &Known, record: &Record, commit: &Commit) -> Verdict {
        let (term, since) = self.term;
        if commit.term < term {
            let message = format!(
                "{} committed under term {}, although a bus had recovered with term {term} ({since})",
                record.node, commit.term
            );
            return PROMISE.broken(record, message, &[since]);
        }
        let handled = commit.completions.iter().filter(|completion| completion.ended == Ended::Completed);
        for completion in handled {
            self.completed(known, record, commit.term, completion)?;
        }
        Ok(())
    }

    fn completed(&mut self, known: &Known, record: &Record, term: Term, completion: &Completion) -> Verdict {
        self.checks += 1;
        let done = known.log().service(&completion.service).and_then(|service| service.done(completion.position));
        // A completion that repeats one breaks `completes_once`.
        let Some(done) = done.filter(|done| done.durable.step == record.step) else { return Ok(()) };
        let told = || {
            let by = completion.instance.as_ref().map_or("nobody", |instance| instance.as_str());
            format!(
                "the completion of position {} ({} of {}) by {by} with epoch {} and attempt {} under term {term} became \
                 durable",
                completion.position, completion.version, completion.key, completion.epoch, completion.attempt
            )
        };
        let Some(last) = &done.delivery else {
            let message = format!("{}, but {} was never delivered it", told(), completion.service);
            return PROMISE.broken(record, message, &[]);
        };
        let right = last.token.term == term
            && last.token.epoch == completion.epoch
            && last.token.attempt == completion.attempt
            && completion.instance.as_ref() == Some(&last.instance);
        if right {
            return Ok(());
        }
        PROMISE.broken(record, format!("{}, but it was last {last}", told()), &[last.sent])
    }
}

/// Whether this delivery may follow the lane's last one of the same term.
fn follows(known: &Known, record: &Record, owner: &Introduced, deliver: &Deliver, last: &Owned) -> Verdict {
    let told = || {
        format!(
            "{} delivered version {} of {} (position {}) to {} (incarnation {}) of {} with epoch {}",
            record.node,
            deliver.event.version,
            deliver.event.key,
            deliver.event.position,
            owner.instance,
            owner.incarnation,
            owner.service,
            deliver.token.epoch
        )
    };
    let before = &last.delivery;
    if deliver.token.epoch < before.token.epoch {
        let message = format!("{}, but position {} of the lane was {before} already", told(), last.position);
        return PROMISE.broken(record, message, &[before.sent]);
    }
    let same = (&owner.instance, owner.incarnation) == (&before.instance, before.incarnation);
    if !same && deliver.token.epoch == before.token.epoch {
        let message = format!(
            "{}, but with that epoch position {} of the lane was {before}: two owners of one epoch",
            told(),
            last.position
        );
        return PROMISE.broken(record, message, &[before.sent]);
    }
    if owner.instance != before.instance && is_open(known, record, owner, last) {
        let message = format!(
            "{}, but position {} of the lane is open: it was {before}, who neither left nor is late",
            told(),
            last.position
        );
        return PROMISE.broken(record, message, &[before.sent]);
    }
    Ok(())
}

/// Whether the lane's last delivery is surely still its owner's.
fn is_open(known: &Known, record: &Record, owner: &Introduced, last: &Owned) -> bool {
    let ended =
        known.log().service(&owner.service).is_some_and(|service| service.done(last.position).is_some()) || last.closed;
    let connection = known.connections().get(&last.bus, last.delivery.connection);
    let Some((connection, welcome)) = connection.and_then(|open| open.welcome.as_ref().map(|welcome| (open, welcome)))
    else {
        return false;
    };
    let late = |since: Moment, deadline_ms: u64| record.at.since(since.at) * 2 >= Duration::from_millis(deadline_ms);
    !ended
        && connection.leaving.is_none()
        && !late(last.renewed, welcome.delivery_deadline_ms)
        && !late(connection.heard, welcome.heartbeat_deadline_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, completion, event};

    fn two_instances() -> Run {
        let mut run = Run::new();
        run.register("accounts", &["Debit"]);
        run.commit_events([event("a", "acc-1", 1, 1), event("b", "acc-1", 2, 2)]);
        run.hello(7, "accounts", "accounts-1", 1);
        run.hello(8, "accounts", "accounts-2", 1);
        run.deliver(7, 1, 1, 1);
        run
    }

    #[test]
    fn a_lane_whose_owner_left_moves_with_a_higher_epoch() {
        let mut run = two_instances();
        run.disconnected(7);
        run.deliver(8, 1, 2, 2);
        run.commit_completion(completion("accounts", 1, "acc-1", 1).by("accounts-2", 2, 2), []);
        assert_eq!(run.holds(OneOwnerPerLane::default()), [("fenced completion", 0), ("owner moved", 1)]);
    }

    #[test]
    fn a_lane_whose_owner_is_late_moves() {
        let mut run = two_instances();
        run.wait_ms(30_000);
        run.deliver(8, 1, 2, 2);
        run.holds(OneOwnerPerLane::default());
    }

    #[test]
    fn a_lane_that_is_taken_from_a_living_owner_is_seen() {
        let mut run = two_instances();
        run.deliver(8, 1, 2, 2);
        run.fails(OneOwnerPerLane::default(), "position 1 of the lane is open: it was delivered to accounts-1");
    }

    #[test]
    fn two_owners_of_one_epoch_are_seen() {
        let mut run = two_instances();
        run.disconnected(7);
        run.deliver(8, 1, 1, 2);
        run.fails(OneOwnerPerLane::default(), "two owners of one epoch");
    }

    #[test]
    fn an_epoch_that_goes_back_is_seen() {
        let mut run = two_instances();
        run.disconnected(7);
        run.deliver(8, 1, 3, 2);
        run.deliver(8, 1, 2, 3);
        run.fails(OneOwnerPerLane::default(), "with epoch 2, but position 1 of the lane was delivered to accounts-2");
    }

    #[test]
    fn the_completion_of_a_former_owner_is_seen() {
        let mut run = two_instances();
        run.disconnected(7);
        run.deliver(8, 1, 2, 2);
        run.commit_completion(completion("accounts", 1, "acc-1", 1).by("accounts-1", 1, 1), []);
        run.fails(
            OneOwnerPerLane::default(),
            "by accounts-1 with epoch 1 and attempt 1 under term 1 became durable, but it was last delivered to \
             accounts-2 (term 1, session 8, epoch 2, attempt 2;",
        );
    }

    #[test]
    fn a_commit_of_an_older_term_is_seen() {
        let mut run = two_instances();
        run.recovered(2, 2);
        run.commit_events([event("c", "acc-1", 3, 3)]);
        run.fails(OneOwnerPerLane::default(), "committed under term 1, although a bus had recovered with term 2");
    }

    #[test]
    fn a_late_nack_of_an_earlier_delivery_gives_nothing_back() {
        let mut run = two_instances();
        run.deliver(7, 1, 1, 2);
        run.nack(7, 1, 1, 1);
        run.fenced(7, 1, 1, 1);
        run.deliver(8, 1, 2, 3);
        run.fails(OneOwnerPerLane::default(), "position 1 of the lane is open: it was delivered to accounts-1");
    }
}
