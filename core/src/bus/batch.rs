//! Whether a batch enters the log: whole, or not at all.
//!
//! A batch is wholly known (a duplicate) or wholly new; whatever can never be accepted is refused; what rests on stale
//! ground is told so. What is accepted goes into the commit that gathers.

use std::{collections::BTreeMap, sync::Arc};

use super::Bus;
use crate::{
    event::{Event, Expectation, Guard, NewEvent, Refusal},
    limits::{BATCH_EVENTS_MAX, BATCH_GUARDS_MAX, DATA_BYTES_MAX, DATA_DEPTH_MAX, TYPES_PER_KEY_MAX},
    names::{CorrelationId, EventId, Key, ServiceName, Source},
    planted::Bug,
    store::KeyHead,
    wire::Produced,
};

/// What was known or found for one message. What was decided since is in [`super::knowledge::Knowledge`], and counts
/// more.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Facts {
    pub(super) ids: BTreeMap<EventId, Arc<Event>>,
    pub(super) heads: BTreeMap<Key, KeyHead>,
    pub(super) completed: Option<Arc<[Produced]>>,
}

/// Of the planted bug `completion-apart`: what a completion produced, for a later commit.
#[derive(Debug, Clone, Hash)]
pub(super) struct Apart {
    pub(super) service: ServiceName,
    pub(super) cause: Option<(EventId, CorrelationId)>,
    pub(super) events: Vec<NewEvent>,
}

/// Who speaks for a batch.
pub(super) struct Origin<'a> {
    /// The service that speaks; none for a publisher that is none.
    pub(super) service: Option<&'a ServiceName>,
    /// The event whose handling produced it.
    pub(super) cause: Option<(EventId, CorrelationId)>,
    /// The bus itself, to which reserved names belong.
    pub(super) is_bus: bool,
}

/// What becomes of a batch.
pub(super) enum Outcome {
    Accepted(Vec<Produced>),
    Known(Vec<Produced>),
    Stale { key: Key, head: KeyHead },
    Refused(Refusal, String),
}

impl Bus {
    pub(super) fn head_of(&self, key: &Key, facts: &Facts) -> KeyHead {
        match self.knowledge.head(key).or_else(|| facts.heads.get(key)) {
            Some(head) => head.clone(),
            None => panic!("the head of {key} was looked up"),
        }
    }

    /// Judges a batch and, if it is good, puts it into the commit that gathers: whole or not at all.
    pub(super) fn admit_batch(
        &mut self,
        events: &[NewEvent],
        guards: &[Guard],
        facts: &Facts,
        origin: &Origin<'_>,
    ) -> Outcome {
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
            if !origin.is_bus && (event.id.is_reserved() || event.key.is_reserved() || event.event_type.is_reserved()) {
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
            if event.data.is_deeper_than(DATA_DEPTH_MAX) {
                let message = format!(
                    "the data of {} is nested deeper than {DATA_DEPTH_MAX} levels; flatten it, or send it as a text",
                    event.id
                );
                return Err((Refusal::DataTooDeep, message));
            }
            let source = match (origin.service, &event.source) {
                (Some(service), None) => Source::from(service.clone()),
                (Some(service), Some(source)) if source.as_str() == service.as_str() => source.clone(),
                (Some(service), Some(source)) => {
                    let message = format!("{service} may not publish as {source}; leave the source out");
                    return Err((Refusal::Source, message));
                }
                (None, Some(source)) if origin.is_bus || !source.is_reserved() => source.clone(),
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
            self.admit_batch(&events, &[], &facts, &Origin { service: Some(&service), cause, is_bus: false });
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
