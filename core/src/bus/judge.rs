//! Judging publishes and completions, in the order in which they came.
//!
//! What a message needs to know (are its ids in the log, what are its keys' heads, was this completed before) is
//! looked up for all that wait, one look-up at a time; then the messages are judged strictly first come, first
//! served. That order is stricter than needed (per connection and per key would do), and simple to reason about.
//!
//! Order of judgement: already completed → fenced → known ids → guards → expectations.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Bus, ConnId, Output,
    batch::{Facts, Origin, Outcome},
};
use crate::{
    event::Receipt,
    marks::bus as marks,
    names::{InstanceName, ServiceName, Version},
    planted::Bug,
    store::{Found, LookUp},
    wire::{Complete, Produced, Publish, Receipts},
};

/// Messages that wait to be judged, and what is being looked up for them.
#[derive(Debug, Clone, Default)]
pub(super) struct Inbox {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) bytes: usize,
    /// Gathers for the next look-up.
    pub(super) wanted: LookUp,
    /// The number of the look-up that gathers.
    pub(super) gathering: u64,
    /// The look-up that is under way, if one is.
    pub(super) under_way: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) conn: ConnId,
    pub(super) message: Message,
    /// The look-up that must be answered first, if any.
    pub(super) look_up: Option<u64>,
    /// The last durable commit when it came.
    pub(super) since: u64,
    pub(super) facts: Facts,
    pub(super) bytes: usize,
}

#[derive(Debug, Clone, Hash)]
pub(super) enum Message {
    /// With the service that spoke when it came; none for a publisher that is none.
    Publish {
        speaker: Option<ServiceName>,
        publish: Publish,
    },
    /// An event of the bus's own, as a batch of one.
    Audit {
        publish: Publish,
    },
    Complete {
        service: ServiceName,
        instance: InstanceName,
        complete: Complete,
    },
}

impl Inbox {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The oldest commit that something waits since.
    pub(super) fn since(&self) -> Option<u64> {
        self.waiting.front().map(|waiting| waiting.since)
    }

    fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes;
        self.waiting.push_back(waiting);
    }

    fn pop_ready(&mut self) -> Option<Waiting> {
        if self.waiting.front()?.look_up.is_some() {
            return None;
        }
        let waiting = self.waiting.pop_front()?;
        self.bytes -= waiting.bytes;
        Some(waiting)
    }
}

impl Bus {
    pub(super) fn publish(&mut self, conn: ConnId, publish: Publish) {
        let limits = &self.config.limits;
        let bytes: usize = publish.events.iter().map(|event| event.data.as_str().len() + 256).sum();
        let full = self.inbox.len() >= limits.publishes_waiting_max
            || (self.inbox.len() > 0 && self.inbox.bytes + bytes > limits.publishes_waiting_bytes_max);
        let Some(state) = self.conns.get_mut(&conn) else { return };
        if full || self.throttled.contains(&conn) {
            self.throttled.insert(conn);
            // An empty batch gets a receipt as well, or its sender would never know.
            let receipts = vec![Receipt::Throttled; publish.events.len().max(1)];
            self.mark(marks::THROTTLED);
            self.send(conn, Receipts { request: publish.request, receipts });
            return;
        }
        let speaker = state.instance.as_ref().map(|(service, _)| service.clone());
        self.wait_for_judgement(conn, Message::Publish { speaker, publish }, bytes);
    }

    pub(super) fn wait_for_judgement(&mut self, conn: ConnId, message: Message, bytes: usize) {
        let mut facts = Facts::default();
        let mut wanted = false;
        let (events, guards) = match &message {
            Message::Publish { publish, .. } | Message::Audit { publish } => (&publish.events, &publish.guards),
            Message::Complete { complete, .. } => (&complete.events, &complete.guards),
        };
        for id in events.iter().flat_map(|event| std::iter::once(&event.id).chain(&event.causation)) {
            if let Some(event) = self.knowledge.event(id) {
                facts.ids.insert(id.clone(), Arc::clone(event));
            } else {
                self.inbox.wanted.ids.push(id.clone());
                wanted = true;
            }
        }
        for key in events.iter().map(|event| &event.key).chain(guards.iter().map(|guard| &guard.key)) {
            if let Some(head) = self.knowledge.head(key) {
                facts.heads.insert(key.clone(), head.clone());
            } else {
                self.inbox.wanted.heads.push(key.clone());
                wanted = true;
            }
        }
        if let Message::Complete { service, complete, .. } = &message
            && !self.open_keys.contains_key(&(service.clone(), complete.position))
        {
            if let Some(produced) = self.knowledge.done(service, complete.position) {
                facts.completed = Some(Arc::clone(produced));
            } else {
                self.inbox.wanted.completions.push((service.clone(), complete.position));
                wanted = true;
            }
        }
        let look_up = wanted.then_some(self.inbox.gathering);
        let since = self.knowledge.durable_sequence;
        self.inbox.push(Waiting { conn, message, look_up, since, facts, bytes });
    }

    /// Asks the store what the waiting messages need, if nothing is being asked.
    pub(super) fn look_up(&mut self) {
        let inbox = &mut self.inbox;
        if inbox.under_way.is_some() || inbox.wanted == LookUp::default() {
            return;
        }
        let mut look_up = std::mem::take(&mut inbox.wanted);
        look_up.ids.sort();
        look_up.ids.dedup();
        look_up.heads.sort();
        look_up.heads.dedup();
        look_up.completions.sort();
        look_up.completions.dedup();
        let id = inbox.gathering;
        inbox.under_way = Some(id);
        inbox.gathering += 1;
        self.outbox.say_now(Output::LookUp { id, look_up: Arc::new(look_up) });
    }

    pub(super) fn looked_up(&mut self, id: u64, found: &Found) {
        assert_eq!(self.inbox.under_way.take(), Some(id), "one look-up is under way at a time");
        for (key, head) in &found.heads {
            self.knowledge.learn_head(key, head);
        }
        if found.heads.values().any(|head| head.version > Version::ZERO) {
            self.mark(marks::HEAD_ASKED_OF_STORE);
        }
        let durable = self.knowledge.durable_sequence;
        let mut overtaken = false;
        for waiting in self.inbox.waiting.iter_mut().filter(|waiting| waiting.look_up == Some(id)) {
            overtaken |= waiting.since < durable;
            waiting.look_up = None;
            let facts = &mut waiting.facts;
            let (events, guards) = match &waiting.message {
                Message::Publish { publish, .. } | Message::Audit { publish } => (&publish.events, &publish.guards),
                Message::Complete { service, complete, .. } => {
                    if let Some(produced) = found.completions.get(&(service.clone(), complete.position)) {
                        facts.completed = Some(produced.as_slice().into());
                    }
                    (&complete.events, &complete.guards)
                }
            };
            for id in events.iter().flat_map(|event| std::iter::once(&event.id).chain(&event.causation)) {
                if let Some(event) = found.ids.get(id) {
                    facts.ids.insert(id.clone(), Arc::clone(event));
                }
            }
            for key in events.iter().map(|event| &event.key).chain(guards.iter().map(|guard| &guard.key)) {
                if let Some(head) = found.heads.get(key) {
                    facts.heads.insert(key.clone(), head.clone());
                }
            }
        }
        if overtaken {
            self.mark(marks::LOOK_UP_OVERTAKEN);
        }
    }

    /// Judges what can be judged now. Says whether it judged anything.
    pub(super) fn judge(&mut self) -> bool {
        let mut any = false;
        while self.gather.commit.events.len() < self.config.limits.commit_events_max {
            let Some(Waiting { conn, message, facts, .. }) = self.inbox.pop_ready() else { break };
            any = true;
            match message {
                Message::Publish { speaker, publish } => self.judge_publish(conn, speaker.as_ref(), &publish, &facts),
                Message::Audit { publish } => self.judge_audit(conn, &publish, &facts),
                Message::Complete { service, instance, complete } => {
                    self.judge_complete(conn, &service, instance, &complete, &facts);
                }
            }
        }
        if self.gather.commit.events.len() >= self.config.limits.commit_events_max && self.inbox.len() > 0 {
            self.mark(marks::COMMIT_FULL);
        }
        let low = self.config.limits.publishes_waiting_max / 2;
        if any && self.inbox.len() <= low && self.inbox.bytes <= self.config.limits.publishes_waiting_bytes_max / 2 {
            self.resume();
        }
        any
    }

    fn judge_publish(&mut self, conn: ConnId, speaker: Option<&ServiceName>, publish: &Publish, facts: &Facts) {
        let origin = Origin { service: speaker, cause: None, is_bus: false };
        let receipts = match self.admit_batch(&publish.events, &publish.guards, facts, &origin) {
            Outcome::Accepted(produced) => {
                let accepted =
                    |it: Produced| Receipt::Accepted { position: it.position, version: it.version, time: it.time };
                produced.into_iter().map(accepted).collect()
            }
            Outcome::Known(produced) => {
                self.mark(marks::DUPLICATE);
                let known =
                    |it: Produced| Receipt::Duplicate { position: it.position, version: it.version, time: it.time };
                produced.into_iter().map(known).collect()
            }
            Outcome::Stale { key, head } => {
                self.mark(marks::INCONSISTENT);
                let receipt = Receipt::Inconsistent { key, head: head.version, id: head.id };
                vec![receipt; publish.events.len()]
            }
            Outcome::Refused(reason, message) => {
                self.mark(marks::REFUSED);
                vec![Receipt::Refused { reason, message }; publish.events.len().max(1)]
            }
        };
        let frame = Receipts { request: publish.request, receipts };
        if self.config.planted.is(Bug::ReceiptBeforeCommit) {
            self.outbox.say_now(Output::Send { conn, frame: frame.into() });
        } else {
            self.send(conn, frame);
        }
    }
}
