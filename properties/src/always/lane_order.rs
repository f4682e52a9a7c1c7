//! Promise 5: within a lane, one after the other.
//!
//! Completions are held against the log: whatever the service takes of the key before the completed version must have
//! ended. Deliveries are held against the deliveries before: an earlier event that has not ended must be open with the
//! very same owner, and only where the limits allow a lane several open deliveries. Nothing of a lane is delivered
//! after its parking or failure; a delivery may have been decided while the bus gathered that very commit, so this
//! counts from the next commit on. What a restart goes by (`cursors`) may pass over nothing either.

use std::collections::BTreeMap;

use dacapo_core::{
    Key, Limits, ServiceName, Timestamp, Version,
    digest::StableHasher,
    store::{Commit, Completion, Ended, LaneChange},
    trace::{Frame, Record, What},
    wire::{Deliver, FromBus},
};
use std::hash::Hash as _;

use crate::{
    cursors::Cursors,
    kinds::Kinds,
    known::Known,
    log::{Entry, Log, ServiceLog},
    observer::Observer,
    property::{Moment, Promise, Verdict},
    sometimes,
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "lane_order",
    sentence: "a lane's events are completed in version order, none passed over but by a skip, and nothing of a parked \
               lane is delivered",
    source: "ARCHITECTURE.md, promise 5",
};

#[derive(Debug, Clone, Default)]
struct Lane {
    /// Every event that the service takes up to this version has ended.
    through: Version,
    /// Valid for the types as of this change.
    types_changed: Option<Moment>,
    /// The last durable failure, and which commit it was: what was delivered before has to be delivered again, in
    /// order.
    failed: Option<(Moment, u64)>,
    parked: bool,
}

/// Judges [`PROMISE`].
#[derive(Debug, Clone)]
pub struct LaneOrder {
    /// Whether a lane may have several deliveries open.
    windowed: bool,
    cursors: Cursors,
    lanes: BTreeMap<ServiceName, BTreeMap<Key, Lane>>,
    redeliveries: u64,
    parked: u64,
    retried: u64,
    skipped: u64,
    checks: u64,
}

impl Observer for LaneOrder {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::COMMIT_DURABLE.and(Kinds::DELIVER)
    }

    fn observe(&mut self, known: &Known, record: &Record) -> Verdict {
        match &record.what {
            What::CommitDurable { commit } => self.committed(known.log(), record, commit),
            What::FrameSent { connection, frame: Frame::FromBus(frame) } => match &**frame {
                FromBus::Deliver(deliver) => self.delivered(known, record, *connection, deliver),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn memory(&self, known: &Known, _now: Timestamp, to: &mut StableHasher) {
        for (name, lanes) in &self.lanes {
            let service = known.log().service(name);
            for (key, lane) in lanes {
                let Lane { through: _, types_changed, failed, parked } = lane; // `through` is found again from the log.
                let effective = failed.map(|(_, commit)| known.log().commits() > commit);
                (name, key, types_changed.is_some(), effective, parked).hash(to);
                let delivered = service.into_iter().flat_map(|service| &service.delivered);
                for (position, delivery) in delivered {
                    let before = failed.is_some_and(|(failed, _)| failed > delivery.sent);
                    let since = types_changed.is_some_and(|changed| changed > delivery.sent);
                    (position, before, since).hash(to);
                }
            }
        }
    }

    fn checks(&self) -> u64 {
        self.checks + self.cursors.moved()
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![
            (sometimes::REDELIVERY, self.redeliveries),
            (sometimes::LANE_PARKED, self.parked),
            (sometimes::LANE_RETRIED, self.retried),
            (sometimes::EVENT_SKIPPED, self.skipped),
        ]
    }
}

impl LaneOrder {
    /// For a bus with these limits.
    pub fn new(limits: &Limits) -> Self {
        Self {
            windowed: limits.lane_open_max > 1,
            cursors: Cursors::default(),
            lanes: BTreeMap::new(),
            redeliveries: 0,
            parked: 0,
            retried: 0,
            skipped: 0,
            checks: 0,
        }
    }

    fn committed(&mut self, log: &Log, record: &Record, commit: &Commit) -> Verdict {
        for completion in &commit.completions {
            self.completed(log, record, completion)?;
        }
        for change in &commit.lanes {
            self.changed(change, (Moment::from(record), log.commits()));
        }
        if let Some((passed, moments)) = self.cursors.commit(log, commit) {
            return PROMISE.broken(record, format!("{}: {passed}", record.node), &moments);
        }
        Ok(())
    }

    fn completed(&mut self, log: &Log, record: &Record, completion: &Completion) -> Verdict {
        self.checks += 1;
        self.skipped += u64::from(completion.ended == Ended::Skipped);
        let Some(service) = log.service(&completion.service) else { return Ok(()) };
        let lane = lane_of(&mut self.lanes, service, &completion.service, &completion.key);
        let Some(passed) = first_undone(lane, log, service, &completion.key, completion.version) else {
            return Ok(());
        };
        // What was delivered before the types changed could not wait for what was added by it.
        let delivered = service.done(completion.position).and_then(|done| done.delivery.as_ref());
        if delivered.is_some_and(|delivery| service.types_changed().is_some_and(|changed| delivery.sent < changed)) {
            return Ok(());
        }
        let open = service.delivery(passed.event.position);
        let who = completion.instance.as_ref().map_or("an administrator", |instance| instance.as_str());
        let message = format!(
            "{who} ended version {} of {} for {} (position {}), but version {} (position {}) before it has not \
             ended{}",
            completion.version,
            completion.key,
            completion.service,
            completion.position,
            passed.event.version,
            passed.event.position,
            open.map_or_else(|| ", nor was it ever delivered".to_owned(), |open| format!("; it was {open}"))
        );
        let mut earlier = vec![passed.durable];
        earlier.extend(open.map(|open| open.sent));
        PROMISE.broken(record, message, &earlier)
    }

    fn changed(&mut self, change: &LaneChange, now: (Moment, u64)) {
        match change {
            LaneChange::Put(put) => {
                let lane = self.lanes.entry(put.service.clone()).or_default().entry(put.key.clone()).or_default();
                if put.failures > 0 {
                    lane.failed = Some(now);
                }
                self.parked += u64::from(put.parked.is_some() && !lane.parked);
                self.retried += u64::from(put.parked.is_none() && lane.parked);
                lane.parked = put.parked.is_some();
            }
            LaneChange::Remove { service, key } => {
                if let Some(lane) = self.lanes.get_mut(service).and_then(|lanes| lanes.get_mut(key)) {
                    self.retried += u64::from(lane.parked);
                    lane.parked = false;
                }
            }
        }
    }

    fn delivered(&mut self, known: &Known, record: &Record, connection: u64, deliver: &Deliver) -> Verdict {
        let Some(owner) = known.connections().introduced(&record.node, connection) else { return Ok(()) };
        let Some(service) = known.log().service(&owner.service) else { return Ok(()) };
        self.checks += 1;
        self.redeliveries += u64::from(deliver.token.attempt > 1);
        let event = &deliver.event;
        if let Some(behind) = service.behind(&event.key)
            && let Some(reason) = &behind.record.parked
            && (known.log().commits() > behind.commit || deliver.token.term > known.log().term())
        {
            let message = format!(
                "{} delivered version {} of {} (position {}) to {} although the lane of {} is parked ({}; {reason})",
                record.node, event.version, event.key, event.position, owner.instance, owner.service, behind.durable
            );
            return PROMISE.broken(record, message, &[behind.durable]);
        }
        let lane = lane_of(&mut self.lanes, service, &owner.service, &event.key);
        let failed = lane.failed.filter(|(_, commit)| known.log().commits() > *commit).map(|(failed, _)| failed);
        let windowed = self.windowed;
        first_undone(lane, known.log(), service, &event.key, event.version);
        for entry in taken_between(known.log(), service, &event.key, lane.through, event.version) {
            if service.done(entry.event.position).is_some() {
                continue;
            }
            let open = service.delivery(entry.event.position);
            let same = |token: dacapo_core::wire::Token| {
                (token.term, token.session, token.epoch)
                    == (deliver.token.term, deliver.token.session, deliver.token.epoch)
            };
            let (state, earlier) = match open {
                None => ("was never delivered".to_owned(), None),
                Some(open) if !same(open.token) => (format!("was {open}"), Some(open.sent)),
                Some(open) if failed.is_some_and(|failed| failed > open.sent) => {
                    (format!("failed after it was {open}"), failed)
                }
                Some(_) if windowed => continue,
                Some(open) => (format!("is still open: it was {open}"), Some(open.sent)),
            };
            let message = format!(
                "{} delivered version {} of {} (position {}) to {} with epoch {}, but version {} (position {}) before \
                 it has not ended for {} and {state}",
                record.node,
                event.version,
                event.key,
                event.position,
                owner.instance,
                deliver.token.epoch,
                entry.event.version,
                entry.event.position,
                owner.service
            );
            let earlier: Vec<Moment> = std::iter::once(entry.durable).chain(earlier).collect();
            return PROMISE.broken(record, message, &earlier);
        }
        Ok(())
    }
}

fn lane_of<'a>(
    lanes: &'a mut BTreeMap<ServiceName, BTreeMap<Key, Lane>>,
    service: &ServiceLog,
    name: &ServiceName,
    key: &Key,
) -> &'a mut Lane {
    let lane = lanes.entry(name.clone()).or_default().entry(key.clone()).or_default();
    if lane.types_changed != service.types_changed() {
        lane.types_changed = service.types_changed();
        lane.through = Version::ZERO;
    }
    lane
}

/// The events of a key between two versions, both exclusive, that the service takes.
fn taken_between<'a>(
    log: &'a Log,
    service: &'a ServiceLog,
    key: &Key,
    after: Version,
    before: Version,
) -> impl Iterator<Item = &'a Entry> {
    let positions = log.positions_of(key);
    let end = positions.len().min(before.0.saturating_sub(1) as usize);
    let start = end.min(after.0 as usize);
    positions[start..end].iter().filter_map(|position| log.at(*position)).filter(|entry| service.takes(&entry.event))
}

/// The first event before this version that the service takes and has not ended. Moves the lane up to it, so that no
/// version is looked at again once it has ended.
fn first_undone<'a>(
    lane: &mut Lane,
    log: &'a Log,
    service: &'a ServiceLog,
    key: &Key,
    before: Version,
) -> Option<&'a Entry> {
    let undone = taken_between(log, service, key, lane.through, before)
        .find(|entry| service.done(entry.event.position).is_none());
    let through = undone.map_or(before.0, |entry| entry.event.version.0).saturating_sub(1);
    lane.through = lane.through.max(Version(through));
    undone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, completion, event, parked, skipped};

    fn strict() -> LaneOrder {
        LaneOrder::new(&Limits { lane_open_max: 1, ..Limits::default() })
    }

    fn windowed() -> LaneOrder {
        LaneOrder::new(&Limits { lane_open_max: 4, ..Limits::default() })
    }

    /// Three events of one key, of which `accounts` takes all; two instances.
    fn three_events() -> Run {
        let mut run = Run::new();
        run.register("accounts", &["Debit"]);
        run.commit_events([event("a", "acc-1", 1, 1), event("b", "acc-1", 2, 2), event("c", "acc-1", 3, 3)]);
        run.hello(7, "accounts", "accounts-1", 1);
        run.hello(8, "accounts", "accounts-2", 1);
        run
    }

    #[test]
    fn deliveries_and_completions_in_order_hold() {
        let mut run = three_events();
        run.deliver(7, 1, 1, 1);
        run.deliver(7, 2, 1, 1);
        run.commit_completion(completion("accounts", 1, "acc-1", 1), []);
        run.commit_completion(completion("accounts", 2, "acc-1", 2), []);
        run.deliver(8, 3, 2, 1);
        run.holds(windowed());
        run.fails(strict(), "position 1) before it has not ended for accounts and is still open: it was delivered");
    }

    #[test]
    fn a_later_completion_before_an_earlier_is_seen() {
        let mut run = three_events();
        run.deliver(7, 1, 1, 1);
        run.deliver(7, 2, 1, 1);
        run.commit_completion(completion("accounts", 2, "acc-1", 2), []);
        run.fails(
            windowed(),
            "accounts-1 ended version 2 of acc-1 for accounts (position 2), but version 1 (position 1) before it has \
             not ended; it was delivered to accounts-1",
        );
    }

    #[test]
    fn a_later_event_for_another_owner_is_seen() {
        let mut run = three_events();
        run.deliver(7, 1, 1, 1);
        run.deliver(8, 2, 2, 1);
        run.fails(strict(), "delivered version 2 of acc-1 (position 2) to accounts-2 with epoch 2");
    }

    #[test]
    fn a_redelivery_that_begins_in_the_middle_is_seen() {
        let mut run = three_events();
        run.deliver(7, 1, 1, 1);
        run.deliver(7, 2, 1, 1);
        run.disconnected(7);
        run.deliver(8, 2, 2, 2);
        run.fails(windowed(), "version 1 (position 1) before it has not ended for accounts and was delivered");
    }

    #[test]
    fn a_delivery_past_a_failed_event_is_seen() {
        let mut run = three_events();
        run.deliver(7, 1, 1, 1);
        run.nack(7, 1, 1, 1);
        run.lane_behind("accounts", "acc-1", 1, 1);
        let mut gathered = run.clone();
        gathered.deliver(7, 2, 1, 1);
        gathered.holds(windowed());
        run.frontier("accounts", 0);
        run.deliver(7, 2, 1, 1);
        run.fails(windowed(), "has not ended for accounts and failed after it was delivered to accounts-1");
    }

    #[test]
    fn a_delivery_of_a_parked_lane_is_seen_and_a_skip_lets_it_pass() {
        let mut run = three_events();
        run.deliver(7, 1, 1, 1);
        run.commit_lane(parked("accounts", "acc-1", 1, "it failed 8 times"));
        let mut skips = run.clone();
        run.frontier("accounts", 0);
        run.deliver(7, 2, 1, 1);
        run.fails(strict(), "although the lane of accounts is parked (step");

        skips.commit_completion(skipped("accounts", 1, "acc-1", 1), []);
        skips.lane_behind("accounts", "acc-1", 2, 0);
        skips.deliver(7, 2, 1, 1);
        let met = skips.holds(strict());
        assert_eq!(met, [("redelivery", 0), ("lane parked", 1), ("lane retried", 1), ("event skipped", 1)]);
    }

    #[test]
    fn types_that_are_not_taken_and_events_before_the_registration_are_passed_over() {
        let mut run = Run::new();
        let mut credit = event("b", "acc-1", 2, 2);
        credit.event_type = dacapo_core::EventType::of("Credit");
        run.commit_events([event("a", "acc-1", 1, 1), credit, event("c", "acc-1", 3, 3)]);
        run.register_since("accounts", &["Debit"], 1);
        run.hello(7, "accounts", "accounts-1", 1);
        run.deliver(7, 3, 1, 1);
        run.commit_completion(completion("accounts", 3, "acc-1", 3), []);
        run.holds(strict());
    }

    #[test]
    fn a_frontier_passes_what_has_ended_or_is_behind() {
        let mut run = three_events();
        run.deliver(7, 1, 1, 1);
        run.commit_completion(completion("accounts", 1, "acc-1", 1), []);
        run.frontier("accounts", 1);
        run.lane_behind("accounts", "acc-1", 2, 0);
        run.frontier("accounts", 3);
        run.holds(strict());
    }

    #[test]
    fn a_cursor_that_runs_ahead_is_seen() {
        let mut run = three_events();
        run.frontier("accounts", 1);
        run.fails(strict(), "the frontier of accounts moved to position 1, over version 1 of acc-1 (position 1)");
        let mut lane = three_events();
        lane.lane_behind("accounts", "acc-1", 2, 0);
        lane.fails(strict(), "the lane acc-1 of accounts goes on at version 2, over version 1 of acc-1 (position 1)");
    }
}
