//! What a batch of events deserves, given the log up to a position: the rules of publishing, each a scan.
//!
//! Where the rules leave the order of two objections open, both are allowed. It never decides when a decision is
//! made: its callers try every position at which it may have been.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::{
    CorrelationId, Event, EventId, Expectation, Guard, Key, NewEvent, Position, Refusal, ServiceName, Source, Version,
};

use super::Log;

/// Who sends a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Speaker {
    /// A connection without a `hello`: must name its source.
    Publisher,
    /// An instance, publishing of its own accord.
    Service(ServiceName),
    /// An instance, completing a delivery of this event.
    Completion(ServiceName, Box<Event>),
}

/// What a batch may be answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Allowed {
    /// It may enter the log.
    pub accepted: bool,
    /// It stands in the log already, here.
    pub duplicate: Option<Vec<Position>>,
    /// An expectation or guard fails: key, its head, the event there.
    pub inconsistent: Vec<(Key, Version, Option<EventId>)>,
    /// Rules that it breaks.
    pub refused: BTreeSet<Refusal>,
}

/// An event as the log would hold it, without what the bus chooses.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Meant {
    correlation: CorrelationId,
    causation: Option<EventId>,
    source: Option<Source>,
}

impl Speaker {
    /// What an event would say of where it comes from. An event with a cause and no correlation belongs to the
    /// correlation of its cause; one without a cause belongs to the batch, whose correlation is named after its first
    /// event.
    pub(super) fn meant(&self, log: &Log, batch: &[NewEvent], event: &NewEvent, through: Position) -> Meant {
        match self {
            Self::Completion(service, cause) => Meant {
                correlation: cause.correlation.clone(),
                causation: Some(cause.id.clone()),
                source: Some(service.clone().into()),
            },
            Self::Publisher | Self::Service(_) => {
                let correlation = event.correlation.clone();
                let correlation = correlation.or_else(|| correlation_of(self, log, batch, event, through));
                let own = match self {
                    Self::Service(service) => Some(service.clone().into()),
                    _ => None,
                };
                Meant {
                    correlation: correlation.unwrap_or_else(|| CorrelationId::of(batch[0].id.as_str())),
                    causation: event.causation.clone(),
                    source: event.source.clone().or(own),
                }
            }
        }
    }

    /// Whether the log's event is what this speaker's would be.
    pub fn same(&self, log: &Log, batch: &[NewEvent], event: &NewEvent, logged: &Event) -> bool {
        let meant = self.meant(log, batch, event, Position(logged.position.0 - 1));
        logged.id == event.id
            && logged.event_type == event.event_type
            && logged.key == event.key
            && logged.data == event.data
            && Some(&logged.source) == meant.source.as_ref()
            && logged.correlation == meant.correlation
            && logged.causation == meant.causation
    }
}

/// The correlation of an event's cause, which stands earlier in the batch or in the log.
fn correlation_of(
    speaker: &Speaker,
    log: &Log,
    batch: &[NewEvent],
    event: &NewEvent,
    through: Position,
) -> Option<CorrelationId> {
    let cause = event.causation.as_ref()?;
    let own = batch.iter().position(|other| other.id == event.id)?;
    match batch[..own].iter().find(|earlier| earlier.id == *cause) {
        Some(earlier) => Some(speaker.meant(log, batch, earlier, through).correlation),
        None => log.find(cause, through).map(|cause| cause.correlation.clone()),
    }
}

/// Judges a batch against the log up to a position.
pub fn judge(log: &Log, through: Position, speaker: &Speaker, events: &[NewEvent], guards: &[Guard]) -> Allowed {
    let mut refused = refused_always(speaker, events);
    let never = !refused.is_empty();
    refused.append(&mut refused_causes(log, through, speaker, events));
    let known: Vec<_> = events.iter().map(|event| (event, log.find(&event.id, through))).collect();
    let known_count = known.iter().filter(|(_, logged)| logged.is_some()).count();
    if known.iter().any(|(event, logged)| logged.is_some_and(|logged| !speaker.same(log, events, event, logged))) {
        refused.insert(Refusal::IdHasOtherContent);
    }
    if known_count > 0 && known_count < events.len() {
        refused.insert(Refusal::BatchPartlyKnown);
    }
    let mut allowed = Allowed { refused, ..Allowed::default() };
    if known_count > 0 && allowed.refused.is_empty() {
        allowed.duplicate = Some(known.iter().filter_map(|(_, logged)| Some(logged.as_ref()?.position)).collect());
    } else if known_count == 0 && !never {
        allowed.inconsistent = inconsistent(log, through, events, guards);
        allowed.accepted = allowed.refused.is_empty() && allowed.inconsistent.is_empty();
    }
    allowed
}

/// What no log could make right.
fn refused_always(speaker: &Speaker, events: &[NewEvent]) -> BTreeSet<Refusal> {
    let mut refused = BTreeSet::new();
    if events.is_empty() && !matches!(speaker, Speaker::Completion(..)) {
        refused.insert(Refusal::EmptyBatch);
    }
    let mut ids = BTreeSet::new();
    for event in events {
        if !ids.insert(&event.id) {
            refused.insert(Refusal::IdTwiceInBatch);
        }
        let source_reserved = event.source.as_ref().is_some_and(Source::is_reserved);
        if event.id.is_reserved() || event.key.is_reserved() || event.event_type.is_reserved() || source_reserved {
            refused.insert(Refusal::Reserved);
        }
        match (speaker, &event.source) {
            (Speaker::Publisher, None) => {
                refused.insert(Refusal::Source);
            }
            (Speaker::Service(service) | Speaker::Completion(service, _), Some(source))
                if source.as_str() != service.as_str() =>
            {
                refused.insert(Refusal::Source);
            }
            _ => {}
        }
        if let Speaker::Completion(_, cause) = speaker
            && (event.causation.as_ref().is_some_and(|given| *given != cause.id)
                || event.correlation.as_ref().is_some_and(|given| *given != cause.correlation))
        {
            refused.insert(Refusal::CausationNotYours);
        }
    }
    refused
}

fn refused_causes(log: &Log, through: Position, speaker: &Speaker, events: &[NewEvent]) -> BTreeSet<Refusal> {
    let mut refused = BTreeSet::new();
    if matches!(speaker, Speaker::Completion(..)) {
        return refused;
    }
    for event in events.iter().filter(|event| event.causation.is_some()) {
        match correlation_of(speaker, log, events, event, through) {
            None => {
                refused.insert(Refusal::UnknownCause);
            }
            Some(correlation) => {
                if event.correlation.as_ref().is_some_and(|own| *own != correlation) {
                    refused.insert(Refusal::CauseOfOtherCorrelation);
                }
            }
        }
    }
    refused
}

/// The first guard that fails, or else the first expectation in sequence. What is told is the key's head in the log,
/// since nothing of the batch is there.
fn inconsistent(
    log: &Log,
    through: Position,
    events: &[NewEvent],
    guards: &[Guard],
) -> Vec<(Key, Version, Option<EventId>)> {
    let told = |key: &Key| {
        let (head, event) = log.head(key, through);
        (key.clone(), head, event.map(|event| event.id.clone()))
    };
    let failing = guards.iter().filter(|guard| log.head(&guard.key, through).0 != guard.version);
    let failing: Vec<_> = failing.map(|guard| told(&guard.key)).collect();
    if !failing.is_empty() {
        return failing;
    }
    let mut heads: BTreeMap<&Key, Version> = BTreeMap::new();
    for event in events {
        let head = heads.entry(&event.key).or_insert_with(|| log.head(&event.key, through).0);
        if matches!(event.expectation, Expectation::Version(version) if version != *head) {
            return vec![told(&event.key)];
        }
        *head = head.next();
    }
    vec![]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dacapo_core::{Data, EventType, Term, WallTime, store::Commit};

    use super::*;

    fn new_event(id: &str, key: &str, expectation: Expectation) -> NewEvent {
        NewEvent {
            id: EventId::of(id),
            event_type: EventType::of("A"),
            key: Key::of(key),
            expectation,
            correlation: None,
            causation: None,
            source: Some(Source::of("customer")),
            data: Data::null(),
            attributes: dacapo_core::Attributes::default(),
        }
    }

    /// `a` has e1 and e2.
    fn log() -> Log {
        let mut log = Log::default();
        log.recover();
        let event = |position, id: &str| {
            Arc::new(Event {
                position: Position(position),
                id: EventId::of(id),
                event_type: EventType::of("A"),
                key: Key::of("a"),
                version: Version(position),
                correlation: CorrelationId::of("e1"),
                causation: (position > 1).then(|| EventId::of("e1")),
                time: WallTime(0),
                source: Source::of("customer"),
                data: Data::null(),
                attributes: dacapo_core::Attributes::default(),
            })
        };
        let events = vec![event(1, "e1"), event(2, "e2")];
        log.commit(&Commit { sequence: 1, term: Term(1), events, ..Commit::default() }).expect("is a commit");
        log
    }

    #[track_caller]
    fn check(events: &[NewEvent], guards: &[Guard], expected: &str) {
        let allowed = judge(&log(), Position(2), &Speaker::Publisher, events, guards);
        let text = match &allowed {
            Allowed { accepted: true, .. } => "accepted".to_owned(),
            Allowed { duplicate: Some(positions), .. } => format!("duplicate {positions:?}"),
            Allowed { inconsistent, refused, .. } => format!("{inconsistent:?} {refused:?}"),
        };
        assert_eq!(text, expected);
    }

    const ANY: Expectation = Expectation::Any;

    fn version(version: u64) -> Expectation {
        Expectation::Version(Version(version))
    }

    #[test]
    fn expectations_are_judged_in_sequence_and_guards_before_them() {
        check(&[new_event("n", "a", version(2))], &[], "accepted");
        check(&[new_event("n", "a", version(1))], &[], "[(a, Version(2), Some(e2))] {}");
        check(&[new_event("n", "a", version(2)), new_event("m", "a", version(3))], &[], "accepted");
        check(&[new_event("n", "a", ANY), new_event("m", "a", version(2))], &[], "[(a, Version(2), Some(e2))] {}");
        let guard = Guard { key: Key::of("b"), version: Version(1) };
        check(&[new_event("n", "a", version(1))], &[guard], "[(b, Version(0), None)] {}");
    }

    #[test]
    fn a_batch_is_wholly_known_or_wholly_new() {
        check(&[new_event("e1", "a", version(0))], &[], "duplicate [Position(1)]");
        check(&[new_event("e1", "a", ANY), new_event("n", "a", ANY)], &[], "[] {BatchPartlyKnown}");
        check(&[new_event("e1", "b", ANY)], &[], "[] {IdHasOtherContent}");
        check(&[new_event("n", "a", ANY), new_event("n", "a", ANY)], &[], "[] {IdTwiceInBatch}");
        check(&[], &[], "[] {EmptyBatch}");
    }

    #[test]
    fn causes_are_earlier_events_of_the_same_correlation() {
        let caused = |id: &str, cause: &str, correlation: Option<&str>| NewEvent {
            causation: Some(EventId::of(cause)),
            correlation: correlation.map(CorrelationId::of),
            ..new_event(id, "b", ANY)
        };
        check(&[caused("n", "e2", Some("e1"))], &[], "accepted");
        check(&[caused("n", "e2", None)], &[], "accepted");
        check(&[caused("n", "e2", Some("x"))], &[], "[] {CauseOfOtherCorrelation}");
        check(&[caused("n", "nobody", None)], &[], "[] {UnknownCause}");
        check(&[new_event("m", "a", ANY), caused("n", "m", Some("m"))], &[], "accepted");
        check(&[caused("n", "m", Some("m")), new_event("m", "a", ANY)], &[], "[] {UnknownCause}");
        check(&[caused("e2", "e1", Some("e1"))], &[], "[] {IdHasOtherContent}");
    }

    #[test]
    fn a_speaker_names_itself_and_nothing_of_the_bus() {
        let log = log();
        let none = NewEvent { source: None, ..new_event("n", "a", ANY) };
        let service = Speaker::Service(ServiceName::of("alpha"));
        let refused = |speaker: &Speaker, event: &NewEvent| {
            judge(&log, Position(2), speaker, std::slice::from_ref(event), &[]).refused
        };
        assert!(refused(&Speaker::Publisher, &none).contains(&Refusal::Source));
        assert!(refused(&service, &none).is_empty());
        assert!(refused(&service, &new_event("n", "a", ANY)).contains(&Refusal::Source));
        let reserved = new_event("n", "$service/x", ANY);
        assert!(refused(&Speaker::Publisher, &reserved).contains(&Refusal::Reserved));
        let completion = Speaker::Completion(ServiceName::of("alpha"), Box::new((*log.events()[0]).clone()));
        let caused = NewEvent { causation: Some(EventId::of("e2")), ..none.clone() };
        assert!(refused(&completion, &caused).contains(&Refusal::CausationNotYours));
        assert!(judge(&log, Position(2), &completion, &[], &[]).accepted);
    }
}
