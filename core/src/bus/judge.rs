//! Judging publishes and completions, in the order in which they came.
//!
//! What a message needs to know (are its ids in the log, what are its keys' heads, was this completed before) is
//! looked up for all that wait, one look-up at a time; then the messages are judged strictly first come, first
//! served. That order is stricter than needed (per connection and per key would do), and simple to reason about.
//!
//! Order of judgement: already completed → fenced → known ids → guards → expectations.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{Bus, ConnId, Output, deliver::Ending};
use crate::{
    event::{Event, Expectation, Guard, NewEvent, Receipt, Refusal},
    limits::{BATCH_EVENTS_MAX, BATCH_GUARDS_MAX, DATA_BYTES_MAX, TYPES_PER_KEY_MAX},
    names::{CorrelationId, EventId, InstanceName, Key, ServiceName, Source},
    planted::Bug,
    store::{Ended, Found, KeyHead, LookUp},
    wire::{Complete, Completed, Conflict, Extend, Fenced, Head, Nack, Produced, Publish, Receipts, Rejected},
};

/// Messages that wait to be judged, and what is being looked up for them.
#[derive(Debug, Clone, Default)]
pub(super) struct Inbox {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Gathers for the next look-up.
    wanted: LookUp,
    /// The number of the look-up that gathers.
    gathering: u64,
    /// The look-up that is under way, if one is.
    under_way: Option<u64>,
}

#[derive(Debug, Clone)]
struct Waiting {
    conn: ConnId,
    message: Message,
    /// The look-up that must be answered first, if any.
    look_up: Option<u64>,
    /// The last durable commit when it came.
    since: u64,
    facts: Facts,
    bytes: usize,
}

#[derive(Debug, Clone)]
enum Message {
    /// With the service that spoke when it came; none for a publisher that is none.
    Publish {
        speaker: Option<ServiceName>,
        publish: Publish,
    },
    Complete {
        service: ServiceName,
        instance: InstanceName,
        complete: Complete,
    },
}

/// What was known or found for one message. What was decided since is in [`super::knowledge::Knowledge`], and counts
/// more.
#[derive(Debug, Clone, Default)]
struct Facts {
    ids: BTreeMap<EventId, Arc<Event>>,
    heads: BTreeMap<Key, KeyHead>,
    completed: Option<Arc<[Produced]>>,
}

/// Of the planted bug `completion-apart`: what a completion produced, for a later commit.
#[derive(Debug, Clone)]
pub(super) struct Apart {
    service: ServiceName,
    cause: Option<(EventId, CorrelationId)>,
    events: Vec<NewEvent>,
}

/// Who speaks for a batch.
struct Origin<'a> {
    /// The service that speaks; none for a publisher that is none.
    service: Option<&'a ServiceName>,
    /// The event whose handling produced it.
    cause: Option<(EventId, CorrelationId)>,
}

/// What becomes of a batch.
enum Outcome {
    Accepted(Vec<Produced>),
    Known(Vec<Produced>),
    Stale { key: Key, head: KeyHead },
    Refused(Refusal, String),
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
            self.mark("throttled");
            self.send(conn, Receipts { request: publish.request, receipts });
            return;
        }
        let speaker = state.instance.as_ref().map(|(service, _)| service.clone());
        self.wait_for_judgement(conn, Message::Publish { speaker, publish }, bytes);
    }

    pub(super) fn complete(&mut self, conn: ConnId, complete: Complete) {
        let Some((service, instance)) = self.speaker(conn) else {
            let code = crate::wire::ErrorCode::OutOfTurn;
            self.error(conn, code, "complete needs a hello first", "say hello", None);
            return;
        };
        if let Some(open) = self.open_delivery(&service, &instance, &complete) {
            open.judging = true; // It is being answered: from here on its deadline does not count.
        }
        self.wait_for_judgement(conn, Message::Complete { service, instance, complete }, 0);
    }

    /// The open delivery that this answers: under its token, and by its owner. A token that another instance came by
    /// is worth nothing.
    fn open_delivery(
        &mut self,
        service: &ServiceName,
        instance: &InstanceName,
        complete: &Complete,
    ) -> Option<&mut super::service::Open> {
        // The key is not in the message, but the events before the open ones of its lane are few.
        let lanes = &mut self.services.get_mut(service)?.lanes;
        let key = self.open_keys.get(&(service.clone(), complete.position))?;
        let lane = lanes.get_mut(key).filter(|lane| lane.owner.as_ref() == Some(instance))?;
        let index = lane.pending.iter().take(lane.open.len()).position(|it| it.event.position == complete.position)?;
        lane.open.get_mut(index).filter(|open| open.token == complete.token)
    }

    fn wait_for_judgement(&mut self, conn: ConnId, message: Message, bytes: usize) {
        let mut facts = Facts::default();
        let mut wanted = false;
        let (events, guards) = match &message {
            Message::Publish { publish, .. } => (&publish.events, &publish.guards),
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
        for waiting in self.inbox.waiting.iter_mut().filter(|waiting| waiting.look_up == Some(id)) {
            waiting.look_up = None;
            let facts = &mut waiting.facts;
            let (events, guards) = match &waiting.message {
                Message::Publish { publish, .. } => (&publish.events, &publish.guards),
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
    }

    /// Judges what can be judged now. Says whether it judged anything.
    pub(super) fn judge(&mut self) -> bool {
        let mut any = false;
        while self.gather.commit.events.len() < self.config.limits.commit_events_max {
            let Some(Waiting { conn, message, facts, .. }) = self.inbox.pop_ready() else { break };
            any = true;
            match message {
                Message::Publish { speaker, publish } => self.judge_publish(conn, speaker.as_ref(), &publish, &facts),
                Message::Complete { service, instance, complete } => {
                    self.judge_complete(conn, &service, instance, &complete, &facts);
                }
            }
        }
        let low = self.config.limits.publishes_waiting_max / 2;
        if any && self.inbox.len() <= low && self.inbox.bytes <= self.config.limits.publishes_waiting_bytes_max / 2 {
            self.resume();
        }
        any
    }

    fn judge_publish(&mut self, conn: ConnId, speaker: Option<&ServiceName>, publish: &Publish, facts: &Facts) {
        let origin = Origin { service: speaker, cause: None };
        let receipts = match self.admit_batch(&publish.events, &publish.guards, facts, &origin) {
            Outcome::Accepted(produced) => {
                let accepted =
                    |it: Produced| Receipt::Accepted { position: it.position, version: it.version, time: it.time };
                produced.into_iter().map(accepted).collect()
            }
            Outcome::Known(produced) => {
                self.mark("duplicate");
                let known =
                    |it: Produced| Receipt::Duplicate { position: it.position, version: it.version, time: it.time };
                produced.into_iter().map(known).collect()
            }
            Outcome::Stale { key, head } => {
                self.mark("inconsistent");
                let receipt = Receipt::Inconsistent { key, head: head.version, id: head.id };
                vec![receipt; publish.events.len()]
            }
            Outcome::Refused(reason, message) => {
                self.mark("refused");
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

    fn judge_complete(
        &mut self,
        conn: ConnId,
        service: &ServiceName,
        instance: InstanceName,
        complete: &Complete,
        facts: &Facts,
    ) {
        let Complete { position, token, .. } = *complete;
        if let Some(produced) = self.knowledge.done(service, position).or(facts.completed.as_ref()) {
            let produced = produced.to_vec();
            self.mark("completed_already");
            self.send(conn, Completed { position, already: true, produced });
            return;
        }
        let Some(key) = self.completable(service, &instance, complete) else {
            self.mark("completion_fenced");
            let reason = "the delivery is no longer yours: its lane has moved, or it was delivered again".to_owned();
            self.send(conn, Fenced { position, token, reason });
            return;
        };
        let Some(lane) = self.lane_mut(service, &key) else { return };
        let first = &lane.pending[0];
        if first.event.position != position {
            let help = "complete a lane's deliveries in order";
            let message = "an earlier delivery of this lane is still open";
            self.error(conn, crate::wire::ErrorCode::OutOfTurn, message, help, None);
            if let Some(open) = self.open_delivery(service, &instance, complete) {
                open.judging = false;
            }
            return;
        }
        let origin =
            Origin { service: Some(service), cause: Some((first.event.id.clone(), first.event.correlation.clone())) };
        let (epoch, attempt) = (token.epoch, token.attempt);
        if self.config.planted.is(Bug::CompletionApart) && !complete.events.is_empty() {
            let ending = Ending { ended: Ended::Completed, instance: Some(instance), epoch, attempt, produced: &[] };
            self.ended(service, &key, position, ending);
            self.send(conn, Completed { position, already: false, produced: Vec::new() });
            self.apart.push(Apart {
                service: service.clone(),
                cause: origin.cause.clone(),
                events: complete.events.clone(),
            });
            return;
        }
        match self.admit_batch(&complete.events, &complete.guards, facts, &origin) {
            Outcome::Accepted(produced) => {
                let ending =
                    Ending { ended: Ended::Completed, instance: Some(instance), epoch, attempt, produced: &produced };
                self.ended(service, &key, position, ending);
                self.send(conn, Completed { position, already: false, produced });
            }
            Outcome::Known(_) => {
                let message = "the ids of its events are in the log without this completion; ids are derived from the \
                               handled event, so another publisher has taken them: nack it and choose other ids";
                self.reject(conn, service, &instance, complete, Refusal::IdHasOtherContent, message.to_owned());
            }
            Outcome::Stale { .. } => self.conflict(conn, service, &instance, &key, complete, facts),
            Outcome::Refused(reason, message) => self.reject(conn, service, &instance, complete, reason, message),
        }
    }

    /// The lane whose open delivery this completes, if the token is the newest.
    fn completable(&mut self, service: &ServiceName, instance: &InstanceName, complete: &Complete) -> Option<Key> {
        let key = self.open_keys.get(&(service.clone(), complete.position))?.clone();
        let accepts_old = self.config.planted.is(Bug::OldEpochAccepted);
        if self.open_delivery(service, instance, complete).is_some() || accepts_old {
            return Some(key);
        }
        None
    }

    fn reject(
        &mut self,
        conn: ConnId,
        service: &ServiceName,
        instance: &InstanceName,
        complete: &Complete,
        reason: Refusal,
        message: String,
    ) {
        self.mark("completion_rejected");
        if let Some(open) = self.open_delivery(service, instance, complete) {
            open.judging = false;
        }
        self.send(conn, Rejected { position: complete.position, token: complete.token, reason, message });
    }

    /// The completion rested on stale ground: its instance handles the event again, unless nothing moved since the
    /// last time, which counts as a failure.
    fn conflict(
        &mut self,
        conn: ConnId,
        service: &ServiceName,
        instance: &InstanceName,
        key: &Key,
        complete: &Complete,
        facts: &Facts,
    ) {
        let keys: BTreeSet<&Key> = complete
            .events
            .iter()
            .map(|event| &event.key)
            .chain(complete.guards.iter().map(|guard| &guard.key))
            .collect();
        let heads: Vec<Head> =
            keys.iter().map(|key| Head { key: (*key).clone(), version: self.head_of(key, facts).version }).collect();
        let Some(open) = self.open_delivery(service, instance, complete) else { return };
        open.judging = false;
        let stuck = open.conflict.as_ref().is_some_and(|former| {
            let before: BTreeMap<_, _> = former.iter().map(|head| (&head.key, head.version)).collect();
            heads.iter().all(|head| before.get(&head.key).is_some_and(|version| *version >= head.version))
        });
        open.conflict = Some(heads.clone());
        if stuck {
            self.mark("conflict_without_progress");
            let reason = "its handler ran into the same conflict twice: it demands what the log denies";
            let Complete { position, token, .. } = *complete;
            self.fail_lane(service, key, reason);
            self.send(conn, Fenced { position, token, reason: reason.to_owned() });
            return;
        }
        self.mark("conflict");
        let deadline = self.now.monotonic + self.config.limits.delivery_deadline;
        self.arm_deadline(service, key, Some(deadline));
        self.send(conn, Conflict { position: complete.position, token: complete.token, heads });
    }

    fn head_of(&self, key: &Key, facts: &Facts) -> KeyHead {
        match self.knowledge.head(key).or_else(|| facts.heads.get(key)) {
            Some(head) => head.clone(),
            None => panic!("the head of {key} was looked up"),
        }
    }

    /// Judges a batch and, if it is good, puts it into the commit that gathers: whole or not at all.
    fn admit_batch(&mut self, events: &[NewEvent], guards: &[Guard], facts: &Facts, origin: &Origin<'_>) -> Outcome {
        if events.is_empty() && origin.cause.is_none() {
            return refused(Refusal::EmptyBatch, "the batch has no event; send at least one");
        }
        if events.len() > BATCH_EVENTS_MAX || guards.len() > BATCH_GUARDS_MAX {
            let message = format!(
                "the batch has {} events and {} guards, the limits are {BATCH_EVENTS_MAX} and {BATCH_GUARDS_MAX}; split it",
                events.len(),
                guards.len()
            );
            return Outcome::Refused(Refusal::BatchTooLarge, message);
        }
        let settled = match self.settle(events, facts, origin) {
            Ok(settled) => settled,
            Err((refusal, message)) => return Outcome::Refused(refusal, message),
        };
        match self.known(events, &settled, facts) {
            Ok(None) => {}
            Ok(Some(produced)) => return Outcome::Known(produced),
            Err((refusal, message)) => return Outcome::Refused(refusal, message),
        }
        for guard in guards {
            let head = self.head_of(&guard.key, facts);
            if head.version != guard.version {
                return Outcome::Stale { key: guard.key.clone(), head };
            }
        }
        // The heads as the batch's own events move them.
        let mut heads: BTreeMap<&Key, KeyHead> = BTreeMap::new();
        let mut accepted = Vec::with_capacity(events.len());
        let mut position = self.knowledge.position;
        for (event, (source, correlation, causation)) in events.iter().zip(settled) {
            let head = heads.remove(&event.key).unwrap_or_else(|| self.head_of(&event.key, facts));
            if matches!(event.expectation, Expectation::Version(version) if version != head.version) {
                return Outcome::Stale { key: event.key.clone(), head: self.head_of(&event.key, facts) };
            }
            let known_type = head.by_type.binary_search_by(|(of, _)| of.cmp(&event.event_type)).is_ok();
            if !known_type && head.by_type.len() >= TYPES_PER_KEY_MAX {
                let message = format!(
                    "the key {} has {TYPES_PER_KEY_MAX} types of events, which is the limit; use another key",
                    event.key
                );
                return Outcome::Refused(Refusal::TooManyTypes, message);
            }
            position = position.next();
            let event = Arc::new(Event {
                position,
                id: event.id.clone(),
                event_type: event.event_type.clone(),
                key: event.key.clone(),
                version: head.version.next(),
                correlation,
                causation,
                time: self.now.wall,
                source,
                data: event.data.clone(),
            });
            let before = Arc::clone(&head.by_type);
            let head = head.advanced(&event);
            accepted.push((Arc::clone(&event), before, head.clone()));
            let key = &events[accepted.len() - 1].key;
            heads.insert(key, head);
        }
        Outcome::Accepted(accepted.into_iter().map(|(event, before, head)| self.append(event, before, head)).collect())
    }

    /// Decides an event: from here on it counts, and nothing that rests on it is said before it is durable.
    pub(super) fn append(&mut self, event: Arc<Event>, before: super::gather::ByType, head: KeyHead) -> Produced {
        self.knowledge.decided(&event, head, self.gather.commit.sequence);
        let produced = Produced {
            id: event.id.clone(),
            key: event.key.clone(),
            version: event.version,
            position: event.position,
            time: event.time,
        };
        self.gather.commit.events.push(event);
        self.gather.before.push(before);
        produced
    }

    /// Checks each event by itself, and settles whose it is and what it came of.
    #[expect(clippy::type_complexity, reason = "a triple and a pair, both taken apart where they are received")]
    fn settle(
        &self,
        events: &[NewEvent],
        facts: &Facts,
        origin: &Origin<'_>,
    ) -> Result<Vec<(Source, CorrelationId, Option<EventId>)>, (Refusal, String)> {
        let mut settled: Vec<(Source, CorrelationId, Option<EventId>)> = Vec::with_capacity(events.len());
        let mut earlier: BTreeMap<&EventId, usize> = BTreeMap::new();
        for (index, event) in events.iter().enumerate() {
            if event.id.is_reserved() || event.key.is_reserved() || event.event_type.is_reserved() {
                let message = format!(
                    "{} ({} on {}) has a name that begins with `$`, which belongs to the bus; choose another",
                    event.id, event.event_type, event.key
                );
                return Err((Refusal::Reserved, message));
            }
            let bytes = event.data.as_str().len();
            if bytes > DATA_BYTES_MAX {
                let message = format!(
                    "the data of {} has {bytes} bytes, the limit is {DATA_BYTES_MAX}; store it elsewhere",
                    event.id
                );
                return Err((Refusal::DataTooLarge, message));
            }
            let source = match (origin.service, &event.source) {
                (Some(service), None) => Source::from(service.clone()),
                (Some(service), Some(source)) if source.as_str() == service.as_str() => source.clone(),
                (Some(service), Some(source)) => {
                    let message = format!("{service} may not publish as {source}; leave the source out");
                    return Err((Refusal::Source, message));
                }
                (None, Some(source)) if !source.is_reserved() => source.clone(),
                (None, Some(_)) => {
                    return Err((
                        Refusal::Reserved,
                        "a source that begins with `$` belongs to the bus; choose another".into(),
                    ));
                }
                (None, None) => {
                    return Err((
                        Refusal::Source,
                        format!("{} has no source; name the publisher in `source`", event.id),
                    ));
                }
            };
            let (correlation, causation) = match (&origin.cause, &event.causation) {
                (Some((cause, correlation)), given) => {
                    if given.as_ref().is_some_and(|given| given != cause)
                        || event.correlation.as_ref().is_some_and(|given| given != correlation)
                    {
                        let message = "a completion's events get correlation and causation from the event that was handled; \
                                       leave them out";
                        return Err((Refusal::CausationNotYours, message.into()));
                    }
                    (correlation.clone(), Some(cause.clone()))
                }
                (None, Some(cause)) => {
                    let of_cause = match earlier.get(cause) {
                        Some(earlier) => Some(settled[*earlier].1.clone()),
                        None => self.known_event(cause, facts).map(|event| event.correlation.clone()),
                    };
                    let Some(correlation) = of_cause else {
                        let message =
                            format!("{cause}, the cause of {}, is not in the log; publish it first", event.id);
                        return Err((Refusal::UnknownCause, message));
                    };
                    if event.correlation.as_ref().is_some_and(|given| *given != correlation) {
                        let message = format!(
                            "{cause}, the cause of {}, belongs to the correlation {correlation}; leave the correlation out",
                            event.id
                        );
                        return Err((Refusal::CauseOfOtherCorrelation, message));
                    }
                    (correlation, Some(cause.clone()))
                }
                (None, None) => (event.correlation.clone().unwrap_or_else(|| own_correlation(&events[0].id)), None),
            };
            if earlier.insert(&event.id, index).is_some() {
                return Err((
                    Refusal::IdTwiceInBatch,
                    format!("the id {} stands twice in the batch; ids are unique", event.id),
                ));
            }
            settled.push((source, correlation, causation));
        }
        Ok(settled)
    }

    fn known_event<'a>(&'a self, id: &EventId, facts: &'a Facts) -> Option<&'a Arc<Event>> {
        if self.config.planted.is(Bug::IdWindow) {
            return self.knowledge.event(id);
        }
        self.knowledge.event(id).or_else(|| facts.ids.get(id))
    }

    /// Whether the batch is in the log already: wholly, not at all, or in a way that is refused.
    fn known(
        &self,
        events: &[NewEvent],
        settled: &[(Source, CorrelationId, Option<EventId>)],
        facts: &Facts,
    ) -> Result<Option<Vec<Produced>>, (Refusal, String)> {
        let known: Vec<Option<&Arc<Event>>> = events.iter().map(|event| self.known_event(&event.id, facts)).collect();
        let count = known.iter().flatten().count();
        if count == 0 {
            return Ok(None);
        }
        if count < events.len() {
            let message =
                format!("{count} of the {} ids are in the log and the others are not; send new ids", events.len());
            return Err((Refusal::BatchPartlyKnown, message));
        }
        let mut produced = Vec::with_capacity(count);
        for ((event, (source, correlation, causation)), known) in
            events.iter().zip(settled).zip(known.into_iter().flatten())
        {
            let same = event.event_type == known.event_type
                && event.key == known.key
                && *source == known.source
                && *correlation == known.correlation
                && *causation == known.causation
                && event.data == known.data;
            if !same {
                let message = format!(
                    "{} is in the log at position {} with other content; send a new id",
                    event.id, known.position
                );
                return Err((Refusal::IdHasOtherContent, message));
            }
            produced.push(Produced {
                id: known.id.clone(),
                key: known.key.clone(),
                version: known.version,
                position: known.position,
                time: known.time,
            });
        }
        Ok(Some(produced))
    }

    pub(super) fn nack(&mut self, conn: ConnId, nack: Nack) {
        let Nack { position, token, reason } = nack;
        let Some((service, key)) = self.answered(conn, position, token) else { return };
        if self.lane_mut(&service, &key).is_some_and(|lane| lane.pending[0].event.position != position) {
            let help = "nack a lane's first open delivery; those behind it come again by themselves";
            self.error(conn, crate::wire::ErrorCode::OutOfTurn, "an earlier delivery of this lane is open", help, None);
            return;
        }
        self.mark("nacked");
        self.fail_lane(&service, &key, &reason);
    }

    pub(super) fn extend(&mut self, conn: ConnId, extend: &Extend) {
        let Some((service, key)) = self.answered(conn, extend.position, extend.token) else { return };
        if self.lane_mut(&service, &key).is_none_or(|lane| lane.pending[0].event.position != extend.position) {
            return; // Behind the first its time has not begun; and the first must not gain any by it.
        }
        self.mark("extended");
        let deadline = self.now.monotonic + self.config.limits.delivery_deadline;
        self.arm_deadline(&service, &key, Some(deadline));
    }

    /// The lane of the open delivery that a nack or extend speaks of; says `fenced` if it is not the speaker's.
    fn answered(
        &mut self,
        conn: ConnId,
        position: crate::names::Position,
        token: crate::wire::Token,
    ) -> Option<(ServiceName, Key)> {
        let Some((service, instance)) = self.speaker(conn) else {
            self.error(conn, crate::wire::ErrorCode::OutOfTurn, "this frame needs a hello first", "say hello", None);
            return None;
        };
        let as_completion = Complete { position, token, events: Vec::new(), guards: Vec::new() };
        match self.open_delivery(&service, &instance, &as_completion) {
            // What is being judged is answered by that judgement.
            Some(open) if open.judging => None,
            Some(_) => self.open_keys.get(&(service.clone(), position)).cloned().map(|key| (service, key)),
            None => {
                let reason =
                    "the delivery is no longer yours: its lane has moved, or it was delivered again".to_owned();
                self.send(conn, Fenced { position, token, reason });
                None
            }
        }
    }

    /// The planted bug `completion-apart`: what completions produced goes into a later commit.
    pub(super) fn append_apart(&mut self) {
        for Apart { service, cause, events } in std::mem::take(&mut self.apart) {
            let mut facts = Facts::default();
            for event in &events {
                if self.knowledge.head(&event.key).is_none() {
                    return;
                }
                facts.heads.insert(event.key.clone(), self.head_of(&event.key, &Facts::default()));
            }
            self.admit_batch(&events, &[], &facts, &Origin { service: Some(&service), cause });
        }
    }
}

fn refused(refusal: Refusal, message: &str) -> Outcome {
    Outcome::Refused(refusal, message.to_owned())
}

/// A correlation that an event begins is named after its id.
fn own_correlation(id: &EventId) -> CorrelationId {
    CorrelationId::of(id.as_str().to_owned())
}
