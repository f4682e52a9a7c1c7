//! Deliveries: who gets what, in which order, and what happens when they fail.

use std::time::Duration;

use super::{
    Bus, Output,
    service::{Lane, Open, Service},
    timers::Timer,
};
use crate::{
    marks::bus as marks,
    names::{InstanceName, Key, Position, ServiceName},
    planted::Bug,
    store::{Completion, Ended, LaneChange},
    time::Timestamp,
    wire::{Deliver, Fenced, FromBus, Produced, Token},
};

/// Why an owner lost its open deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// The owner left or reconnected: not the event's fault, but counted, in case the event is what kills it.
    Disconnected,
    /// The lane failed; that is counted elsewhere.
    Failed,
}

/// How an event ended for a service.
#[derive(Debug)]
pub(super) struct Ending<'a> {
    pub(super) ended: Ended,
    /// Who handled it.
    pub(super) instance: Option<InstanceName>,
    pub(super) epoch: u64,
    pub(super) attempt: u32,
    pub(super) produced: &'a [Produced],
}

impl Ending<'_> {
    pub(super) fn skipped() -> Self {
        Self { ended: Ended::Skipped, instance: None, epoch: 0, attempt: 0, produced: &[] }
    }
}

impl Bus {
    pub(super) fn lane_mut(&mut self, name: &ServiceName, key: &Key) -> Option<&mut Lane> {
        self.services.get_mut(name)?.lanes.get_mut(key)
    }

    /// Lets a lane that could deliver stand in line: with its owner, or among the unowned.
    pub(super) fn enqueue(&mut self, name: &ServiceName, key: &Key) {
        let open_max = self.config.limits.lane_open_max;
        let Some(Service { lanes, instances, unowned, .. }) = self.services.get_mut(name) else { return };
        let Some(lane) = lanes.get_mut(key) else { return };
        self.dirty.insert(name.clone());
        if lane.queued || !(lane.wants_delivery(open_max) || (lane.spilled && lane.pending.is_empty())) {
            return;
        }
        if lane.stands() || lane.reading.is_some() {
            return;
        }
        let owner = lane.owner.as_ref().and_then(|owner| instances.get_mut(owner));
        if owner.is_none() {
            lane.owner = None;
        }
        lane.queued = true;
        match owner {
            Some(owner) => owner.queue.push_back(key.clone()),
            None => unowned.push_back(key.clone()),
        }
    }

    /// Delivers what can be delivered.
    pub(super) fn pump(&mut self, name: &ServiceName) {
        if self.draining {
            return;
        }
        if self.config.planted.is(Bug::BackoffBlocksOthers)
            && self.services.get(name).is_some_and(|service| service.lanes.values().any(|lane| lane.backoff.is_some()))
        {
            return;
        }
        let instances: Vec<InstanceName> = match self.services.get(name) {
            Some(service) => service.instances.keys().cloned().collect(),
            None => return,
        };
        for instance in instances {
            self.pump_instance(name, &instance);
        }
        while let Some(service) = self.services.get_mut(name) {
            let Some(instance) = service.next_instance() else { break };
            let Some(key) = service.unowned.pop_front() else { break };
            let Some(lane) = service.lanes.get_mut(&key) else { continue };
            lane.queued = false;
            if lane.owner.is_none() {
                service.epoch += 1;
                lane.epoch = service.epoch;
                lane.owner = Some(instance.clone());
                service.turn = Some(instance.clone());
            }
            self.enqueue(name, &key);
            self.pump_instance(name, &instance);
        }
    }

    fn pump_instance(&mut self, name: &ServiceName, instance: &InstanceName) {
        loop {
            let Some(service) = self.services.get_mut(name) else { return };
            let Some(state) = service.instances.get_mut(instance) else { return };
            if !state.takes_work() || state.open >= state.credit {
                return;
            }
            let Some(key) = state.queue.pop_front() else { return };
            let Some(lane) = service.lanes.get_mut(&key) else { continue };
            lane.queued = false;
            if lane.owner.as_ref() != Some(instance) {
                self.enqueue(name, &key);
                continue;
            }
            if lane.spilled && lane.pending.is_empty() {
                self.read_lane(name, &key);
            } else {
                self.deliver_lane(name, &key);
            }
        }
    }

    /// Delivers from the front of a lane to its owner, as far as credit and the lane's window reach.
    fn deliver_lane(&mut self, name: &ServiceName, key: &Key) {
        let open_max = self.config.limits.lane_open_max;
        let deadline = self.now.monotonic + self.config.limits.delivery_deadline;
        let (term, since) = (self.term, self.now.monotonic);
        let held_by = self.gather.barrier();
        loop {
            let Some(Service { lanes, instances, .. }) = self.services.get_mut(name) else { return };
            let Some(lane) = lanes.get_mut(key) else { return };
            let Some(owner) = lane.owner.as_ref().and_then(|owner| instances.get_mut(owner)) else { return };
            let Some(conn) = owner.conn else { return };
            if !lane.wants_delivery(open_max) {
                return;
            }
            if owner.open >= owner.credit {
                self.enqueue(name, key);
                return;
            }
            let index = lane.open.len();
            let pending = &mut lane.pending[index];
            pending.attempts += 1;
            lane.delivered = lane.delivered.max(pending.event.version);
            let token = Token { term, session: owner.session, epoch: lane.epoch, attempt: pending.attempts };
            let frame = Deliver { token, previous: pending.previous, event: std::sync::Arc::clone(&pending.event) };
            let again = pending.attempts > 1;
            lane.open.push_back(Open { token, held_by, since, judging: false, conflict: None });
            self.open_keys.insert((name.clone(), frame.event.position), key.clone());
            owner.open += 1;
            if index == 0 && !self.config.planted.is(Bug::NoDeadline) {
                self.arm_deadline(name, key, Some(deadline));
            }
            if again {
                self.mark(marks::REDELIVERED);
            }
            self.send(conn, frame);
        }
    }

    /// Whether this is a delivery that was taken back while it was held behind a commit: nobody may act on it.
    pub(super) fn is_void_delivery(&self, output: &Output) -> bool {
        let Output::Send { conn, frame: FromBus::Deliver(deliver) } = output else { return false };
        let lane =
            self.speaker(*conn).and_then(|(service, _)| self.services.get(&service)?.lanes.get(&deliver.event.key));
        let is_open = lane.is_some_and(|lane| {
            let mut open = lane.pending.iter().zip(&lane.open);
            open.any(|(pending, open)| pending.event.position == deliver.event.position && open.token == deliver.token)
        });
        !is_open
    }

    /// Sets the deadline of a lane's first open delivery.
    pub(super) fn arm_deadline(&mut self, name: &ServiceName, key: &Key, deadline: Option<Timestamp>) {
        let Some(lane) = self.services.get_mut(name).and_then(|service| service.lanes.get_mut(key)) else { return };
        let timer = Timer::Deadline(name.clone(), key.clone());
        if let Some(former) = std::mem::replace(&mut lane.deadline, deadline) {
            self.timers.cancel(former, &timer);
        }
        if let Some(deadline) = deadline {
            self.timers.arm(deadline, timer);
        }
    }

    /// The deadline of a lane's first open delivery has passed.
    pub(super) fn deadline_passed(&mut self, name: &ServiceName, key: &Key) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(lane) = service.lanes.get_mut(key) else { return };
        lane.deadline = None;
        let Some(first) = lane.open.front() else { return };
        let held = first.held_by.is_some_and(|sequence| sequence > self.knowledge.durable_sequence);
        if first.judging || held {
            let deadline = self.now.monotonic + self.config.limits.delivery_deadline;
            self.arm_deadline(name, key, Some(deadline));
            return;
        }
        let fenced: Vec<(Position, Token)> =
            lane.pending.iter().zip(&lane.open).map(|(pending, open)| (pending.event.position, open.token)).collect();
        let conn = lane.owner.as_ref().and_then(|owner| service.instances.get(owner)).and_then(|owner| owner.conn);
        let reason = "the delivery's deadline passed without an answer";
        let last = lane.pending.len() == 1 && !lane.spilled && !lane.listed;
        self.mark(marks::DEADLINE_PASSED);
        if last && self.config.planted.is(Bug::LastEventLost) {
            self.withdraw(name, key, Lost::Failed);
            self.forget_last(name, key);
            return;
        }
        self.fail_lane(name, key, reason);
        // A hung owner loses the lane.
        self.disown(name, key);
        if let Some(conn) = conn {
            for (position, token) in fenced {
                self.send(conn, Fenced { position, token, reason: reason.to_owned() });
            }
        }
    }

    /// The planted bug `last-event-lost`: nothing comes behind it that would show that it is missing.
    fn forget_last(&mut self, name: &ServiceName, key: &Key) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(last) = service.lanes.get_mut(key).and_then(|lane| lane.pending.pop_front()) else { return };
        service.pending -= 1;
        service.outstanding.remove(&last.event.position);
        self.drained(name, key);
    }

    /// Takes the open deliveries of a lane back. They will be delivered again from the first on, in order.
    pub(super) fn withdraw(&mut self, name: &ServiceName, key: &Key, lost: Lost) {
        let keeps_credit = lost == Lost::Failed && self.config.planted.is(Bug::CreditLostAfterNack);
        let unordered = self.config.planted.is(Bug::RedeliveryUnordered);
        let Some(Service { lanes, instances, .. }) = self.services.get_mut(name) else { return };
        let Some(lane) = lanes.get_mut(key) else { return };
        let open = std::mem::take(&mut lane.open);
        if open.is_empty() {
            return;
        }
        for pending in lane.pending.iter().take(open.len()) {
            self.open_keys.remove(&(name.clone(), pending.event.position));
        }
        // What was held back behind a commit was never sent, and is nobody's fault.
        let durable = self.knowledge.durable_sequence;
        let sent = open.front().is_some_and(|first| first.held_by.is_none_or(|sequence| sequence <= durable));
        if lost == Lost::Disconnected && sent {
            lane.disconnects += 1;
        }
        if let Some(owner) = lane.owner.as_ref().and_then(|owner| instances.get_mut(owner))
            && !keeps_credit
        {
            owner.open -= open.len() as u32;
        }
        if unordered && lane.pending.len() > 1 {
            lane.pending.swap(0, 1);
        }
        self.dirty.insert(name.clone()); // Credit came back: others may be delivered.
        let too_many = lane.disconnects >= self.config.limits.disconnects_max;
        self.arm_deadline(name, key, None);
        if too_many && lost == Lost::Disconnected && key.is_reserved() {
            self.skip_system_event(name, key);
        } else if too_many && lost == Lost::Disconnected {
            self.mark(marks::PARKED_BY_DISCONNECTS);
            self.park(name, key, "its instances went away too often with its first event open");
        }
    }

    /// The lane has no owner any more; what it has open was withdrawn before.
    pub(super) fn disown(&mut self, name: &ServiceName, key: &Key) {
        let Some(Service { lanes, instances, .. }) = self.services.get_mut(name) else { return };
        let Some(lane) = lanes.get_mut(key) else { return };
        debug_assert!(lane.open.is_empty(), "a lane with an open delivery does not move");
        if let Some(owner) = lane.owner.take().and_then(|owner| instances.get_mut(&owner))
            && lane.queued
        {
            // It must not wait for credit of an owner that it has lost.
            owner.queue.retain(|queued| queued != key);
            lane.queued = false;
        }
        self.enqueue(name, key);
    }

    /// The first event of a lane failed: a nack, a deadline, or a conflict without progress.
    pub(super) fn fail_lane(&mut self, name: &ServiceName, key: &Key, reason: &str) {
        self.withdraw(name, key, Lost::Failed);
        let now = self.now.monotonic;
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(lane) = service.lanes.get_mut(key) else { return };
        lane.failures += 1;
        let failures = lane.failures;
        let system = key.is_reserved();
        if failures >= self.config.limits.failures_max {
            if system {
                self.skip_system_event(name, key);
            } else {
                self.park(name, key, reason);
            }
            return;
        }
        let backoff = self.backoff(failures);
        let Some(lane) = self.lane_mut(name, key) else { return };
        lane.backoff = Some(now + backoff);
        self.timers.arm(now + backoff, Timer::Backoff(name.clone(), key.clone()));
        self.mark(marks::BACKED_OFF);
        self.spill(name, key);
    }

    fn backoff(&self, failures: u32) -> Duration {
        let limits = &self.config.limits;
        limits.backoff_first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(limits.backoff_max)
    }

    /// Lists a lane and lets go of its events in memory: they are in the log, and it may stand for long.
    fn spill(&mut self, name: &ServiceName, key: &Key) {
        self.list_lane(name, key);
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(lane) = service.lanes.get_mut(key) else { return };
        debug_assert!(lane.open.is_empty(), "open deliveries are withdrawn first");
        service.pending -= lane.pending.len();
        lane.next_version = lane.pending.front().map_or(lane.next_version, |first| first.event.version);
        lane.attempts =
            lane.pending.iter().map(|pending| pending.attempts).max().unwrap_or_default().max(lane.attempts);
        lane.pending.clear();
        lane.spilled = true;
        lane.reading = None;
    }

    /// The lane's back-off is over.
    pub(super) fn backoff_passed(&mut self, name: &ServiceName, key: &Key) {
        let Some(lane) = self.lane_mut(name, key) else { return };
        lane.backoff = None;
        self.enqueue(name, key);
    }

    /// Sets a lane aside until an administrator retries or skips.
    fn park(&mut self, name: &ServiceName, key: &Key, reason: &str) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(lane) = service.lanes.get_mut(key) else { return };
        let cause = lane.pending.front().map(|first| (first.event.id.clone(), first.event.correlation.clone()));
        let position = lane.pending.front().map(|first| first.event.position);
        let failures = lane.failures;
        if self.config.planted.is(Bug::ParkedLaneLeaks) {
            // The first event is set aside, and those behind it go on.
            lane.failures = 0;
            if let Some(first) = lane.pending.pop_front() {
                service.pending -= 1;
                service.outstanding.remove(&first.event.position);
            }
            self.list_lane(name, key);
            self.enqueue(name, key);
            return;
        }
        lane.parked = Some(reason.to_owned());
        self.cancel_backoff(name, key);
        self.spill(name, key);
        self.mark(marks::PARKED);
        let data = serde_json::json!({ "service": name, "key": key, "position": position, "failures": failures, "reason": reason });
        self.system_event(name, "$Parked", cause, &data);
    }

    pub(super) fn cancel_backoff(&mut self, name: &ServiceName, key: &Key) {
        let Some(lane) = self.services.get_mut(name).and_then(|service| service.lanes.get_mut(key)) else { return };
        if let Some(until) = lane.backoff.take() {
            self.timers.cancel(until, &Timer::Backoff(name.clone(), key.clone()));
        }
    }

    /// A system event that cannot be handled is passed over and counted: parking it would make another one.
    fn skip_system_event(&mut self, name: &ServiceName, key: &Key) {
        let Some(service) = self.services.get_mut(name) else { return };
        service.system_events_skipped += 1;
        let Some(first) = service.lanes.get(key).and_then(|lane| lane.pending.front()) else { return };
        let position = first.event.position;
        self.mark(marks::SYSTEM_EVENT_SKIPPED);
        self.ended(name, key, position, Ending::skipped());
    }

    /// The first event of a lane is done: completed or skipped.
    pub(super) fn ended(&mut self, name: &ServiceName, key: &Key, position: Position, ending: Ending<'_>) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(lane) = service.lanes.get_mut(key) else { return };
        let Some(first) = lane.pending.pop_front() else { return };
        assert_eq!(first.event.position, position, "a lane's events end in order");
        service.pending -= 1;
        service.outstanding.remove(&position);
        lane.next_version = first.event.version.next();
        lane.failures = 0;
        lane.disconnects = 0;
        if first.event.version >= lane.delivered {
            lane.attempts = 0;
        }
        self.open_keys.remove(&(name.clone(), position));
        let closed = lane.open.pop_front();
        if let (Some(_), Some(owner)) =
            (&closed, lane.owner.as_ref().and_then(|owner| service.instances.get_mut(owner)))
        {
            owner.open -= 1;
        }
        self.knowledge.completed(name, position, ending.produced, self.gather.commit.sequence);
        self.gather.commit.completions.push(Completion {
            service: name.clone(),
            position,
            key: key.clone(),
            version: first.event.version,
            ended: ending.ended,
            instance: ending.instance,
            epoch: ending.epoch,
            attempt: ending.attempt,
            time: self.now.wall,
            produced: ending.produced.iter().map(|produced| produced.position).collect(),
        });
        let (listed, drained, open_left) = (lane.listed, lane.is_drained(), !lane.open.is_empty());
        self.arm_deadline(name, key, open_left.then_some(self.now.monotonic + self.config.limits.delivery_deadline));
        if drained {
            self.drained(name, key);
        } else {
            if listed && let Some(lane) = self.lane_mut(name, key) {
                let record = lane.record(name, key);
                self.gather.commit.lanes.push(LaneChange::Put(record));
            }
            self.enqueue(name, key);
        }
        self.dirty.insert(name.clone());
    }
}
