//! Promise 14: nobody waits for another lane.
//!
//! A bus that merely hesitates breaks no order and loses nothing, so no other promise sees it. How long is too long is
//! not told by a clock, since the bus may be paused, its store slow and its links far apart. It is told by the bus's own
//! commits. An event reaches its lane when the bus hears that its commit is durable, and is sent at once; at most it is
//! held back behind the commit that gathered meanwhile. So when the bus hands on the third commit after that, the
//! delivery must have left: within two commits what the bus has decided is said, and in one more, what it knew before
//! the records could show it (such as a connection that it has just given up).
//!
//! What may rightly delay a delivery is left out, by what the records show:
//!
//! * the lane is not free: an earlier event of it is not done, or it is on the list of lanes behind;
//! * no credit: more events of the service are not done than the smallest credit of its instances;
//! * the lane's owner may be away: not all of the service's instances are connected and ready, or one is being replaced;
//! * the service catches up from the log: it began its life, its types changed, or its window was full. It has caught up
//!   for certain when the last event of the whole log was delivered to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::Hash as _,
};

use dacapo_core::{
    Key, Limits, NodeName, Position, ServiceName, Timestamp,
    digest::StableHasher,
    store::{Commit, LaneChange},
    trace::{Frame, Record, What},
    wire::{Deliver, FromBus},
};

use crate::{
    known::Known,
    log::{Log, ServiceLog},
    members::Members,
    observer::Observer,
    property::{Moment, Promise, Verdict},
    sometimes,
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "lanes_are_independent",
    sentence: "an event whose lane is free is delivered to a ready instance with credit before the bus has handed on \
               three more commits, whatever other lanes do",
    source: "ARCHITECTURE.md, promise 14",
};

/// So many commits later a delivery must have left.
const COMMITS_MAX: u64 = 3;

/// An event that was never delivered, the only one of its lane.
#[derive(Debug, Clone)]
struct Waiting {
    durable: Moment,
    /// The last commit that was handed on by then.
    since: u64,
}

/// A service, by log and frames.
#[derive(Debug, Clone, Default)]
struct Service {
    /// What it has not done.
    open: BTreeMap<Position, Key>,
    /// How many of these each lane has.
    lanes: BTreeMap<Key, usize>,
    /// Lanes that wait after failures, or are parked.
    failed: BTreeSet<Key>,
    /// It has caught up with the log, and its window was never full since.
    live: bool,
    /// The last commit that was handed on when nothing began to keep it from getting what is its.
    settled: Option<u64>,
    waiting: BTreeMap<Position, Waiting>,
}

/// Judges [`PROMISE`].
#[derive(Debug, Clone)]
pub struct LanesAreIndependent {
    pending_max: usize,
    members: Members,
    services: BTreeMap<ServiceName, Service>,
    /// The last commit that the bus handed on.
    submitted: u64,
    /// The bus has said that it ends.
    ends: bool,
    beside_failed: u64,
    checks: u64,
}

impl Observer for LanesAreIndependent {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn observe(&mut self, known: &Known, record: &Record) -> Verdict {
        match &record.what {
            What::CommitSubmitted { sequence, .. } => {
                self.submitted = *sequence;
                return self.look_for_overdue(known.log(), record);
            }
            What::CommitDurable { commit } => self.committed(known.log(), commit, Moment::from(record)),
            What::Recovered { .. } => self.begin_life(&record.node),
            // It ends, and says so; what it owes is owed by the next life.
            What::Draining {} => {
                self.ends = true;
                self.end_life();
            }
            What::FrameSent { connection, frame: Frame::FromBus(frame) }
                if let FromBus::Deliver(deliver) = &**frame =>
            {
                self.delivered(known.log(), *connection, deliver);
            }
            _ => {
                if let Some(service) = self.members.observe(record) {
                    self.unsettle(&service);
                    self.settle(&service);
                }
            }
        }
        Ok(())
    }

    fn memory(&self, _known: &Known, _now: Timestamp, to: &mut StableHasher) {
        self.members.memory(to);
        self.ends.hash(to);
        for (name, service) in &self.services {
            let settled = service.settled.map(|settled| self.submitted - settled);
            (name, &service.open, &service.failed, service.live, settled).hash(to);
            for (position, waiting) in &service.waiting {
                (position, self.submitted - waiting.since).hash(to);
            }
        }
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![(sometimes::DELIVERED_BESIDE_A_FAILED_LANE, self.beside_failed)]
    }
}

impl LanesAreIndependent {
    /// For a bus with these limits.
    pub fn new(limits: &Limits) -> Self {
        Self {
            pending_max: limits.service_pending_max,
            members: Members::default(),
            services: BTreeMap::new(),
            submitted: 0,
            ends: false,
            beside_failed: 0,
            checks: 0,
        }
    }

    /// A bus begins: it knows nobody, and reads the log from each service's frontier.
    fn begin_life(&mut self, bus: &NodeName) {
        self.members = Members::of(bus);
        self.submitted = 0;
        self.ends = false;
        self.end_life();
    }

    /// A bus delivers nothing more until another one begins.
    fn end_life(&mut self) {
        for service in self.services.values_mut() {
            service.live = false;
            service.settled = None;
            service.waiting.clear();
        }
    }

    fn unsettle(&mut self, name: &ServiceName) {
        if let Some(service) = self.services.get_mut(name) {
            service.settled = None;
        }
    }

    /// Looks again whether anything keeps a service from getting what is its.
    fn settle(&mut self, name: &ServiceName) {
        if let Some(service) = self.services.get_mut(name) {
            service.settle(self.members.settled_credit(name), self.submitted);
        }
    }

    fn committed(&mut self, log: &Log, commit: &Commit, now: Moment) {
        for record in &commit.services {
            self.services.insert(record.name.clone(), Service::of(log, &record.name));
        }
        for completion in &commit.completions {
            if let Some(service) = self.services.get_mut(&completion.service) {
                service.end(completion.position);
            }
        }
        for change in &commit.lanes {
            let (name, key, failed) = match change {
                LaneChange::Put(lane) => (&lane.service, &lane.key, lane.failures > 0 || lane.parked.is_some()),
                LaneChange::Remove { service, key } => (service, key, false),
            };
            if let Some(service) = self.services.get_mut(name) {
                let _ = if failed { service.failed.insert(key.clone()) } else { service.failed.remove(key) };
            }
        }
        let (pending_max, submitted) = (self.pending_max, self.submitted);
        for (name, service) in &mut self.services {
            let Some(known) = log.service(name) else { continue };
            for event in &commit.events {
                if self.members.left(name, event) {
                    service.settled = None;
                }
            }
            // One that was just registered has been counted whole.
            if !commit.services.iter().any(|record| record.name == *name) {
                service.arrive(known, commit, now, submitted);
            }
            service.live &= service.open.len() < pending_max;
            service.settle(self.members.settled_credit(name), submitted);
        }
    }

    fn delivered(&mut self, log: &Log, connection: u64, deliver: &Deliver) {
        let Some(name) = self.members.service_of(connection).cloned() else { return };
        let Some(service) = self.services.get_mut(&name) else { return };
        let event = &deliver.event;
        if service.waiting.remove(&event.position).is_some() && service.settled.is_some() {
            self.checks += 1;
            self.beside_failed += u64::from(!service.failed.is_empty());
        }
        // A lane that is read from the log may run ahead of its service.
        let by_its_service =
            deliver.token.attempt == 1 && log.service(&name).is_some_and(|it| it.behind(&event.key).is_none());
        // What was decided before a bus began to end may still be handed over.
        if by_its_service && !self.ends && event.position == log.end() && service.open.len() < self.pending_max {
            service.live = true;
        }
        self.settle(&name);
    }

    fn look_for_overdue(&mut self, log: &Log, record: &Record) -> Verdict {
        for (name, service) in &self.services {
            let Some(settled) = service.settled else { continue };
            // The first has waited the longest.
            let Some((position, waiting)) = service.waiting.first_key_value() else { continue };
            if self.submitted < waiting.since.max(settled) + COMMITS_MAX {
                continue;
            }
            let instances: Vec<&str> = self.members.names(name).map(dacapo_core::InstanceName::as_str).collect();
            let failed: Vec<&str> = service.failed.iter().map(Key::as_str).collect();
            let others = match failed.len() {
                0 => String::new(),
                _ => format!("; meanwhile the lanes {} wait after failures", failed.join(", ")),
            };
            let event = log.at(*position).map_or_else(String::new, |entry| {
                format!(
                    "event {} ({}, version {} of {})",
                    entry.event.id, entry.event.event_type, entry.event.version, entry.event.key
                )
            });
            let message = format!(
                "{} hands on commit {}, and has not delivered {event} to {name}: it is durable since {}, the only one \
                 of its lane, and {} are ready with credit for all {} that {name} has not done{others}",
                record.node,
                self.submitted,
                waiting.durable,
                instances.join(", "),
                service.open.len(),
            );
            return PROMISE.broken(record, message, &[waiting.durable]);
        }
        Ok(())
    }
}

impl Service {
    /// A service that was registered, or whose types changed.
    fn of(log: &Log, name: &ServiceName) -> Self {
        let mut service = Self::default();
        let Some(known) = log.service(name) else { return service };
        for entry in log.entries() {
            let event = &entry.event;
            if known.takes(event) && known.done(event.position).is_none() {
                service.begin(event.position, event.key.clone());
            }
        }
        service
    }

    /// With the least credit of its instances, if they are settled.
    fn settle(&mut self, credit: Option<u32>, submitted: u64) {
        let settled = self.live && self.open.len() <= credit.unwrap_or_default() as usize;
        self.settled = if settled { self.settled.or(Some(submitted)) } else { None };
    }

    /// The events of a commit.
    fn arrive(&mut self, known: &ServiceLog, commit: &Commit, now: Moment, submitted: u64) {
        for event in commit.events.iter().filter(|event| known.takes(event) && known.done(event.position).is_none()) {
            let free = !self.lanes.contains_key(&event.key) && known.behind(&event.key).is_none();
            self.begin(event.position, event.key.clone());
            if free && self.live && !event.key.is_reserved() {
                self.waiting.insert(event.position, Waiting { durable: now, since: submitted });
            }
        }
    }

    fn begin(&mut self, position: Position, key: Key) {
        if self.open.insert(position, key.clone()).is_none() {
            *self.lanes.entry(key).or_default() += 1;
        }
    }

    fn end(&mut self, position: Position) {
        self.waiting.remove(&position);
        let Some(key) = self.open.remove(&position) else { return };
        if let Some(left) = self.lanes.get_mut(&key) {
            *left -= 1;
            if *left == 0 {
                self.lanes.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, completion, event};

    fn observer() -> LanesAreIndependent {
        LanesAreIndependent::new(&Limits::default())
    }

    /// A service that has caught up, with one ready instance; the first event is done.
    fn caught_up(credit: u32) -> Run {
        let mut run = Run::new();
        run.recovered(1, 0);
        run.submit();
        run.register("accounts", &["Debit"]);
        run.hello_with_credit(7, "accounts", "accounts-1", 1, credit);
        run.ready(7);
        run.submit();
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.deliver(7, 1, 1, 1);
        run.submit();
        run.commit_completion(completion("accounts", 1, "acc-1", 1), []);
        run
    }

    /// Other commits go on.
    fn others(run: &mut Run, count: usize) {
        for _ in 0..count {
            run.submit();
            run.frontier("users", 0);
        }
    }

    #[test]
    fn a_delivery_within_two_commits_is_prompt() {
        let mut run = caught_up(16);
        run.submit();
        run.commit_events([event("b", "acc-2", 2, 1)]);
        others(&mut run, 2);
        run.deliver(7, 2, 2, 1);
        others(&mut run, 5);
        assert_eq!(run.holds(observer()), [("delivered beside a failed lane", 0)]);
    }

    #[test]
    fn a_free_lane_that_waits_for_another_is_seen() {
        let mut run = caught_up(16);
        run.submit();
        run.commit_events([event("b", "acc-2", 2, 1)]);
        run.deliver(7, 2, 2, 1);
        run.nack(7, 2, 2, 1);
        run.submit();
        run.lane_behind("accounts", "acc-2", 1, 1);
        run.submit();
        run.commit_events([event("c", "acc-3", 3, 1)]);
        others(&mut run, 3);
        run.fails(observer(), "has not delivered event c (Debit, version 1 of acc-3) to accounts");
        run.fails(observer(), "meanwhile the lanes acc-2 wait after failures");
    }

    #[test]
    fn a_delivery_beside_a_failed_lane_is_counted() {
        let mut run = caught_up(16);
        run.submit();
        run.lane_behind("accounts", "acc-2", 1, 1);
        run.submit();
        run.commit_events([event("b", "acc-3", 2, 1)]);
        run.deliver(7, 2, 2, 1);
        assert_eq!(run.holds(observer()), [("delivered beside a failed lane", 1)]);
    }

    #[test]
    fn who_has_no_credit_or_is_away_waits_rightly() {
        let mut full = caught_up(1);
        full.submit();
        full.commit_events([event("b", "acc-2", 2, 1), event("c", "acc-3", 3, 1)]);
        full.deliver(7, 2, 2, 1);
        others(&mut full, 9);
        full.passes(observer());

        let mut away = caught_up(16);
        away.disconnected(7);
        away.submit();
        away.commit_events([event("b", "acc-2", 2, 1)]);
        others(&mut away, 9);
        away.passes(observer());

        let mut joined = caught_up(16);
        joined.hello(8, "accounts", "accounts-2", 1);
        joined.submit();
        joined.commit_events([event("b", "acc-2", 2, 1)]);
        others(&mut joined, 9);
        joined.clone().passes(observer());
        joined.ready(8);
        others(&mut joined, 3);
        joined.fails(observer(), "accounts-1, accounts-2 are ready");
    }

    #[test]
    fn the_second_event_of_a_lane_waits_for_the_first() {
        let mut run = caught_up(16);
        run.submit();
        run.commit_events([event("b", "acc-2", 2, 1), event("c", "acc-2", 3, 2)]);
        run.deliver(7, 2, 2, 1);
        others(&mut run, 9);
        run.passes(observer());
    }

    #[test]
    fn a_bus_that_ends_owes_nothing_until_another_one_begins() {
        let owed = |drains: bool| {
            let mut run = caught_up(16);
            run.submit();
            run.commit_events([event("b", "acc-2", 2, 1)]);
            run.deliver(7, 2, 2, 1);
            if drains {
                run.node("bus", What::Draining {});
            }
            run.submit();
            run.commit_events([event("c", "acc-3", 3, 1)]);
            others(&mut run, 5);
            run
        };
        owed(false).fails(observer(), "has not delivered event c");
        assert_eq!(owed(true).holds(observer()), [("delivered beside a failed lane", 0)]);
    }

    #[test]
    fn a_service_that_may_be_behind_is_not_judged() {
        let mut run = caught_up(16);
        run.recovered(2, 1);
        run.hello(8, "accounts", "accounts-1", 1);
        run.ready(8);
        run.submit();
        run.commit_events([event("b", "acc-2", 2, 1)]);
        others(&mut run, 9);
        run.passes(observer());
    }
}
