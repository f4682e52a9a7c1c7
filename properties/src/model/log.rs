//! A store that is only lists. Every answer is a scan; what a store must uphold by itself is checked before a commit
//! changes anything. It never touches a disk and is never quick.

use std::{collections::BTreeMap, sync::Arc};

use dacapo_core::{
    Event, EventId, Key, Position, ServiceName, Term, Version,
    event::Receipt,
    store::{
        Commit, Completion, Found, KeyHead, LaneChange, LaneRecord, LookUp, Page, Read, Recovered, ServiceRecord,
        StoreError, Taken, Undone, service_key,
    },
    wire::Produced,
};

/// What is durable.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log {
    term: Term,
    sequence: u64,
    events: Vec<Arc<Event>>,
    ended: BTreeMap<ServiceName, BTreeMap<Position, Completion>>,
    services: BTreeMap<ServiceName, ServiceRecord>,
    lanes: BTreeMap<(ServiceName, Key), LaneRecord>,
}

fn violation<T>(what: String) -> Result<T, StoreError> {
    Err(StoreError::Violation(what))
}

impl Log {
    /// The newest term that was handed out.
    pub fn term(&self) -> Term {
        self.term
    }

    /// The end of the log.
    pub fn position(&self) -> Position {
        Position(self.events.len() as u64)
    }

    /// All events, in order.
    pub fn events(&self) -> &[Arc<Event>] {
        &self.events
    }

    /// The event at a position.
    pub fn event(&self, position: Position) -> Option<&Arc<Event>> {
        self.events.get(usize::try_from(position.0).ok()?.checked_sub(1)?)
    }

    /// The events at or before a position.
    pub fn through(&self, through: Position) -> &[Arc<Event>] {
        &self.events[..self.events.len().min(through.0 as usize)]
    }

    /// The event of this id, if it stands at or before a position.
    pub fn find(&self, id: &EventId, through: Position) -> Option<&Arc<Event>> {
        self.through(through).iter().find(|event| event.id == *id)
    }

    /// A key's latest version at a position, and the event there.
    pub fn head(&self, key: &Key, through: Position) -> (Version, Option<&Arc<Event>>) {
        let last = self.through(through).iter().rev().find(|event| event.key == *key);
        (last.map(|event| event.version).unwrap_or_default(), last)
    }

    /// All services.
    pub fn services(&self) -> &BTreeMap<ServiceName, ServiceRecord> {
        &self.services
    }

    /// The list of lanes behind.
    pub fn lanes(&self) -> &BTreeMap<(ServiceName, Key), LaneRecord> {
        &self.lanes
    }

    /// One lane's record on that list.
    pub fn lane(&self, service: &ServiceName, key: &Key) -> Option<&LaneRecord> {
        self.lanes.get(&(service.clone(), key.clone()))
    }

    /// How a service ended an event, if it did.
    pub fn ended(&self, service: &ServiceName, position: Position) -> Option<&Completion> {
        self.ended.get(service)?.get(&position)
    }

    /// How often anything was ended.
    pub fn ended_count(&self) -> usize {
        self.ended.values().map(BTreeMap::len).sum()
    }

    /// Whether a service takes an event.
    pub fn takes(&self, service: &ServiceName, event: &Event) -> bool {
        self.services.get(service).is_some_and(|record| takes(&record.types, event))
    }

    /// What a service takes and has not ended, in order.
    pub fn undone<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a Arc<Event>> {
        let ended = self.ended.get(service);
        let types: &[Taken] = self.services.get(service).map_or(&[], |record| &record.types);
        self.events
            .iter()
            .filter(move |event| takes(types, event) && !ended.is_some_and(|ended| ended.contains_key(&event.position)))
    }

    /// The last version before an event, on its key, of any of these types.
    pub fn previous(&self, types: &[Taken], event: &Event) -> Version {
        let before = self.through(Position(event.position.0 - 1)).iter().rev();
        let mut earlier = before.filter(|earlier| earlier.key == event.key && has_type(types, earlier));
        earlier.next().map(|earlier| earlier.version).unwrap_or_default()
    }

    /// An event as a completion's answer names it.
    pub fn produced(&self, completion: &Completion) -> Vec<Produced> {
        let events = completion.produced.iter().filter_map(|position| self.event(*position));
        events
            .map(|event| Produced {
                id: event.id.clone(),
                key: event.key.clone(),
                version: event.version,
                position: event.position,
                time: event.time,
            })
            .collect()
    }

    /// The receipt that says where an event stands.
    pub fn duplicate(event: &Event) -> Receipt {
        Receipt::Duplicate { position: event.position, version: event.version, time: event.time }
    }

    /// Hands out a term to another bus than the one that writes.
    pub fn hand_out_term(&mut self) -> Term {
        self.term = Term(self.term.0 + 1);
        self.sequence = 0;
        self.term
    }

    /// Hands out a term, and tells what a bus begins with.
    pub fn recover(&mut self) -> Recovered {
        let heads = self.services.keys().map(|service| {
            let key = service_key(service);
            let head = self.key_head(&key);
            (key, head)
        });
        let service_heads = heads.filter(|(_, head)| head.version > Version::ZERO).collect();
        Recovered {
            term: self.hand_out_term(),
            position: self.position(),
            services: self.services.values().cloned().collect(),
            service_heads,
            lanes: self.lanes.values().cloned().collect(),
        }
    }

    /// Applies a commit whole, or tells why it breaks what must always hold.
    pub fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        if commit.term != self.term {
            return Err(StoreError::Fenced { mine: commit.term, current: self.term });
        }
        let mut after = self.clone();
        after.apply(commit)?;
        *self = after;
        Ok(())
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), StoreError> {
        if commit.sequence != self.sequence + 1 {
            return violation(format!("commit {} follows commit {}", commit.sequence, self.sequence));
        }
        self.sequence = commit.sequence;
        let first = self.position().next();
        for event in &commit.events {
            let end = self.position();
            if event.position != end.next() {
                return violation(format!("position {} follows {end}", event.position));
            }
            if let Some(known) = self.find(&event.id, end) {
                return violation(format!("{} stands at {} already", event.id, known.position));
            }
            let (head, _) = self.head(&event.key, end);
            if event.version != head.next() {
                return violation(format!("version {} of {} follows {head}", event.version, event.key));
            }
            self.events.push(event.clone());
        }
        for record in &commit.services {
            if !record.types.is_sorted_by(|a, b| a.event_type < b.event_type) {
                return violation(format!("the types of {} are not sorted", record.name));
            }
            self.services.insert(record.name.clone(), record.clone());
        }
        for completion in &commit.completions {
            self.end(completion, first)?;
        }
        for (service, frontier) in &commit.frontiers {
            let end = self.position();
            let Some(record) = self.services.get_mut(service) else {
                return violation(format!("there is no service {service}"));
            };
            if *frontier < record.frontier || *frontier > end {
                return violation(format!("the frontier {frontier} of {service} follows {}", record.frontier));
            }
            record.frontier = *frontier;
        }
        for change in &commit.lanes {
            match change {
                LaneChange::Put(lane) => {
                    if !self.services.contains_key(&lane.service) {
                        return violation(format!("there is no service {}", lane.service));
                    }
                    self.lanes.insert((lane.service.clone(), lane.key.clone()), lane.clone());
                }
                LaneChange::Remove { service, key } => {
                    if self.lanes.remove(&(service.clone(), key.clone())).is_none() {
                        return violation(format!("the lane {key} of {service} is not on the list"));
                    }
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, completion: &Completion, first: Position) -> Result<(), StoreError> {
        let Some(event) = self.event(completion.position) else {
            return violation(format!("{} ends what is not there: {}", completion.service, completion.position));
        };
        if event.key != completion.key || event.version != completion.version {
            return violation(format!("the completion of {} names another key or version", completion.position));
        }
        let end = self.position();
        if completion.produced.iter().any(|position| *position < first || *position > end) {
            return violation(format!("the completion of {} names events of other commits", completion.position));
        }
        if !self.services.contains_key(&completion.service) {
            return violation(format!("there is no service {}", completion.service));
        }
        let ended = self.ended.entry(completion.service.clone()).or_default();
        if ended.insert(completion.position, completion.clone()).is_some() {
            return violation(format!("{} ended {} already", completion.service, completion.position));
        }
        Ok(())
    }

    fn key_head(&self, key: &Key) -> KeyHead {
        let events = self.events.iter().filter(|event| event.key == *key);
        events.fold(KeyHead::default(), |head, event| {
            let mut by_type: BTreeMap<_, _> = head.by_type.iter().cloned().collect();
            by_type.insert(event.event_type.clone(), event.version);
            KeyHead {
                version: event.version,
                id: Some(event.id.clone()),
                by_type: Arc::new(by_type.into_iter().collect()),
            }
        })
    }

    /// Answers a look-up.
    pub fn look_up(&self, look_up: &LookUp) -> Found {
        let end = self.position();
        let ids = look_up.ids.iter().filter_map(|id| Some((id.clone(), self.find(id, end)?.clone())));
        let heads = look_up.heads.iter().map(|key| (key.clone(), self.key_head(key)));
        let completions = look_up.completions.iter().filter_map(|(service, position)| {
            Some(((service.clone(), *position), self.produced(self.ended(service, *position)?)))
        });
        Found { read_at: end, ids: ids.collect(), heads: heads.collect(), completions: completions.collect() }
    }

    /// Answers a read.
    pub fn read(&self, read: &Read) -> Page {
        let end = self.position();
        let undone = |service: &ServiceName, types: &[Taken], event: &Event| {
            takes(types, event) && self.ended(service, event.position).is_none()
        };
        let with_previous = |types: &[Taken], event: &Arc<Event>| Undone {
            event: event.clone(),
            previous: self.previous(types, event),
        };
        match read {
            Read::Undone { service, after, types, limit } => {
                let events = self.events.iter().filter(|event| event.position > *after);
                let events = events.filter(|event| undone(service, types, event)).take(*limit);
                let events: Vec<_> = events.map(|event| with_previous(types, event)).collect();
                undone_page(events, *limit, end)
            }
            Read::Lane { service, key, after, through, types, limit } => {
                let events = self.through(*through).iter().filter(|event| event.key == *key && event.version > *after);
                let events = events.filter(|event| undone(service, types, event)).take(*limit);
                let events: Vec<_> = events.map(|event| with_previous(types, event)).collect();
                undone_page(events, *limit, end.min(*through))
            }
            Read::Key { key, after, types, limit } => {
                let events = self.events.iter().filter(|event| event.key == *key && event.version > *after);
                let events = events.filter(|event| types.is_empty() || types.contains(&event.event_type));
                let events: Vec<_> = events.take(*limit).cloned().collect();
                let (head, _) = self.head(key, end);
                Page::Key { more: events.len() == *limit, events, head, read_at: end }
            }
            Read::Log { after, types, limit } => {
                let events = self.events.iter().filter(|event| event.position > *after);
                let events = events.filter(|event| types.is_empty() || types.contains(&event.event_type));
                let events: Vec<_> = events.take(*limit).cloned().collect();
                let more = events.len() == *limit;
                let through = events.last().filter(|_| more).map_or(end, |event| event.position);
                Page::Log { events, through, more }
            }
            Read::Keys { after, limit } => {
                let mut heads = self.heads(end);
                heads.retain(|key, _| after.as_ref().is_none_or(|after| key > after));
                let heads: Vec<_> = heads.into_iter().take(*limit).collect();
                Page::Keys { more: heads.len() == *limit, heads, read_at: end }
            }
        }
    }

    /// Every key's head at a position.
    pub fn heads(&self, through: Position) -> BTreeMap<Key, Version> {
        self.through(through).iter().map(|event| (event.key.clone(), event.version)).collect()
    }
}

fn has_type(types: &[Taken], event: &Event) -> bool {
    types.iter().any(|taken| taken.event_type == event.event_type)
}

fn takes(types: &[Taken], event: &Event) -> bool {
    types.iter().any(|taken| taken.event_type == event.event_type && event.position > taken.since)
}

fn undone_page(events: Vec<Undone>, limit: usize, end: Position) -> Page {
    let more = events.len() == limit;
    let through = events.last().filter(|_| more).map_or(end, |undone| undone.event.position);
    Page::Undone { events, through, more }
}

#[cfg(test)]
mod tests {
    use dacapo_core::{CorrelationId, Data, EventType, Source, WallTime, store::Ended};

    use super::*;

    fn event(position: u64, id: &str, event_type: &str, key: &str, version: u64) -> Arc<Event> {
        Arc::new(Event {
            position: Position(position),
            id: EventId::of(id),
            event_type: EventType::of(event_type),
            key: Key::of(key),
            version: Version(version),
            correlation: CorrelationId::of(id),
            causation: None,
            time: WallTime(position),
            source: Source::of("customer"),
            data: Data::null(),
            attributes: dacapo_core::Attributes::default(),
        })
    }

    fn taken(event_type: &str, since: u64) -> Taken {
        Taken { event_type: EventType::of(event_type), since: Position(since) }
    }

    fn service() -> ServiceName {
        ServiceName::of("alpha")
    }

    fn done(position: u64, key: &str, version: u64) -> Completion {
        Completion {
            service: service(),
            position: Position(position),
            key: Key::of(key),
            version: Version(version),
            ended: Ended::Completed,
            instance: None,
            epoch: 1,
            attempt: 1,
            time: WallTime(0),
            produced: vec![],
        }
    }

    /// a1 A, b1 B, a2 B, a3 A; alpha takes A, and B after position 2; a1 is completed.
    fn log() -> Log {
        let mut log = Log::default();
        log.recover();
        let types = vec![taken("A", 0), taken("B", 2)];
        log.commit(&Commit {
            sequence: 1,
            term: Term(1),
            events: vec![
                event(1, "e1", "A", "a", 1),
                event(2, "e2", "B", "b", 1),
                event(3, "e3", "B", "a", 2),
                event(4, "e4", "A", "a", 3),
            ],
            services: vec![ServiceRecord { name: service(), types, frontier: Position(0) }],
            completions: vec![done(1, "a", 1)],
            ..Commit::default()
        })
        .expect("is a commit");
        log
    }

    fn next(log: &Log, events: Vec<Arc<Event>>) -> Commit {
        Commit { sequence: 2, term: log.term(), events, ..Commit::default() }
    }

    #[test]
    fn undone_is_what_is_taken_after_its_since_and_not_ended() {
        let log = log();
        let positions: Vec<_> = log.undone(&service()).map(|event| event.position.0).collect();
        assert_eq!(positions, [3, 4]);
        let types = log.services()[&service()].types.clone();
        let read = |after, limit| {
            log.read(&Read::Undone { service: service(), after: Position(after), types: types.clone(), limit })
        };
        let Page::Undone { events, through, more } = read(0, 1) else { panic!("another page") };
        assert_eq!((events.len(), events[0].previous, through, more), (1, Version(1), Position(3), true));
        let Page::Undone { events, through, more } = read(3, 2) else { panic!("another page") };
        assert_eq!((events.len(), events[0].previous, through, more), (1, Version(2), Position(4), false));
    }

    #[test]
    fn a_lane_is_read_by_version_up_to_a_position() {
        let log = log();
        let types = log.services()[&service()].types.clone();
        let read = Read::Lane {
            service: service(),
            key: Key::of("a"),
            after: Version(0),
            through: Position(3),
            types,
            limit: 9,
        };
        let Page::Undone { events, through, more } = log.read(&read) else { panic!("another page") };
        assert_eq!(events.iter().map(|undone| undone.event.version.0).collect::<Vec<_>>(), [2]);
        assert_eq!((through, more), (Position(3), false));
    }

    #[test]
    fn a_look_up_tells_ids_heads_and_completions() {
        let found = log().look_up(&LookUp {
            ids: vec![EventId::of("e3"), EventId::of("nobody")],
            heads: vec![Key::of("a"), Key::of("none")],
            completions: vec![(service(), Position(1)), (service(), Position(3))],
        });
        assert_eq!(found.read_at, Position(4));
        assert_eq!(found.ids.keys().map(EventId::as_str).collect::<Vec<_>>(), ["e3"]);
        let head = &found.heads[&Key::of("a")];
        assert_eq!((head.version, head.id.as_ref().map(EventId::as_str)), (Version(3), Some("e4")));
        assert_eq!(*head.by_type, [(EventType::of("A"), Version(3)), (EventType::of("B"), Version(2))]);
        assert_eq!(found.heads[&Key::of("none")], KeyHead::default());
        assert_eq!(found.completions.len(), 1);
    }

    #[test]
    fn keys_and_the_log_are_read_page_by_page() {
        let log = log();
        let Page::Keys { heads, more, .. } = log.read(&Read::Keys { after: Some(Key::of("a")), limit: 2 }) else {
            panic!("another page")
        };
        assert_eq!((heads, more), (vec![(Key::of("b"), Version(1))], false));
        let read = Read::Log { after: Position(1), types: vec![EventType::of("B")], limit: 1 };
        let Page::Log { events, through, more } = log.read(&read) else { panic!("another page") };
        assert_eq!((events[0].position, through, more), (Position(2), Position(2), true));
        let read = Read::Key { key: Key::of("a"), after: Version(1), types: vec![], limit: 5 };
        let Page::Key { events, head, more, .. } = log.read(&read) else { panic!("another page") };
        assert_eq!((events.len(), head, more), (2, Version(3), false));
    }

    #[test]
    fn what_would_break_the_log_changes_nothing() {
        let mut log = log();
        let before = log.clone();
        let broken = [
            vec![event(6, "e6", "A", "a", 4)],
            vec![event(5, "e1", "A", "a", 4)],
            vec![event(5, "e5", "A", "a", 5)],
            vec![event(5, "e5", "A", "a", 4), event(6, "e5", "A", "a", 5)],
        ];
        for events in broken {
            assert!(matches!(log.commit(&next(&before, events)), Err(StoreError::Violation(_))));
        }
        let twice = Commit { completions: vec![done(1, "a", 1)], ..next(&before, vec![]) };
        assert!(matches!(log.commit(&twice), Err(StoreError::Violation(_))));
        let old = Commit { term: Term(0), ..next(&before, vec![]) };
        assert!(matches!(log.commit(&old), Err(StoreError::Fenced { .. })));
        let back = Commit { frontiers: vec![(service(), Position(9))], ..next(&before, vec![]) };
        assert!(matches!(log.commit(&back), Err(StoreError::Violation(_))));
        assert_eq!(log, before);
    }

    #[test]
    fn recovering_hands_out_a_newer_term_and_tells_services_and_lanes() {
        let mut log = log();
        let lane =
            LaneRecord { service: service(), key: Key::of("a"), next_version: Version(2), failures: 1, parked: None };
        let own = event(5, "s1", "ServiceRegistered", "$service/alpha", 1);
        let put = Commit { lanes: vec![LaneChange::Put(lane.clone())], ..next(&log, vec![own]) };
        log.commit(&put).expect("is a commit");
        let recovered = log.recover();
        assert_eq!((recovered.term, recovered.position), (Term(2), Position(5)));
        assert_eq!(recovered.lanes, [lane]);
        assert_eq!(recovered.services.len(), 1);
        assert_eq!(recovered.service_heads[0].1.version, Version(1));
        assert!(matches!(log.commit(&Commit { sequence: 3, ..put }), Err(StoreError::Fenced { .. })));
    }
}
