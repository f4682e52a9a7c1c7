//! A store as its documentation reads, word by word: lists that are searched from the front, and nothing clever.

use std::{collections::BTreeMap, sync::Arc};

use dacapo_core::{
    Event, EventType, Key, Position, ServiceName, Term, Version,
    store::{
        Answer, Commit, Completion, Found, KeyHead, LaneChange, LaneRecord, LookUp, Page, Query, Read, Recovered,
        ServiceRecord, Taken, Undone, service_key,
    },
    wire::Produced,
};

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) term: Term,
    pub(super) events: Vec<Arc<Event>>,
    pub(super) completions: Vec<Completion>,
    pub(super) services: BTreeMap<ServiceName, ServiceRecord>,
    pub(super) lanes: BTreeMap<(ServiceName, Key), LaneRecord>,
}

impl Model {
    pub(super) fn end(&self) -> Position {
        Position(self.events.len() as u64)
    }

    pub(super) fn version_of(&self, key: &Key) -> Version {
        Version(self.events.iter().filter(|event| event.key == *key).count() as u64)
    }

    pub(super) fn is_ended(&self, service: &ServiceName, position: Position) -> bool {
        self.completions.iter().any(|it| it.service == *service && it.position == position)
    }

    /// Applies a commit that follows all rules.
    pub(super) fn apply(&mut self, commit: &Commit) {
        self.events.extend(commit.events.iter().cloned());
        self.completions.extend(commit.completions.iter().cloned());
        for service in &commit.services {
            self.services.insert(service.name.clone(), service.clone());
        }
        for (service, frontier) in &commit.frontiers {
            if let Some(service) = self.services.get_mut(service) {
                service.frontier = *frontier;
            }
        }
        for change in &commit.lanes {
            match change {
                LaneChange::Put(lane) => {
                    self.lanes.insert((lane.service.clone(), lane.key.clone()), lane.clone());
                }
                LaneChange::Remove { service, key } => {
                    self.lanes.remove(&(service.clone(), key.clone()));
                }
            }
        }
    }

    pub(super) fn recover(&mut self) -> Recovered {
        self.term = self.term.next();
        let heads = self.services.keys().map(|service| (service_key(service), self.head(&service_key(service))));
        Recovered {
            term: self.term,
            position: self.end(),
            services: self.services.values().cloned().collect(),
            service_heads: heads.filter(|(_, head)| head.version > Version::ZERO).collect(),
            lanes: self.lanes.values().cloned().collect(),
        }
    }

    fn head(&self, key: &Key) -> KeyHead {
        let mut by_type = BTreeMap::new();
        for event in self.events.iter().filter(|event| event.key == *key) {
            by_type.insert(event.event_type.clone(), event.version);
        }
        KeyHead {
            version: self.version_of(key),
            id: self.events.iter().rfind(|event| event.key == *key).map(|event| event.id.clone()),
            by_type: Arc::new(by_type.into_iter().collect()),
        }
    }

    pub(super) fn look_up(&self, look_up: &LookUp) -> Found {
        let mut found = Found { read_at: self.end(), ..Found::default() };
        for event in self.events.iter().filter(|event| look_up.ids.contains(&event.id)) {
            found.ids.insert(event.id.clone(), Arc::clone(event));
        }
        for key in &look_up.heads {
            found.heads.insert(key.clone(), self.head(key));
        }
        for completion in &self.completions {
            let ended = (completion.service.clone(), completion.position);
            if look_up.completions.contains(&ended) {
                let produced = completion.produced.iter().map(|position| {
                    let event = &self.events[position.0 as usize - 1];
                    let Event { id, key, version, position, time, .. } = &**event;
                    let (id, key) = (id.clone(), key.clone());
                    Produced { id, key, version: *version, position: *position, time: *time }
                });
                found.completions.insert(ended, produced.collect());
            }
        }
        found
    }

    pub(super) fn completions_of(&self, positions: &[Position]) -> Vec<Completion> {
        let mut found: Vec<_> =
            self.completions.iter().filter(|completion| positions.contains(&completion.position)).cloned().collect();
        found.sort_by(|a, b| (&a.service, a.position).cmp(&(&b.service, b.position)));
        found
    }

    pub(super) fn read(&self, read: &Read) -> Page {
        match read {
            Read::Undone { service, after, types, limit } => {
                let asked_for = |event: &Event| event.position > *after;
                self.undone(service, types, asked_for, self.end(), *limit)
            }
            Read::Lane { service, key, after, through, types, limit } => {
                let asked_for =
                    |event: &Event| event.key == *key && event.version > *after && event.position <= *through;
                self.undone(service, types, asked_for, self.end().min(*through), *limit)
            }
            Read::Key { key, after, types, limit } => {
                let events =
                    self.page(|event| event.key == *key && event.version > *after && is_of(event, types), *limit);
                Page::Key { more: events.len() == *limit, events, head: self.version_of(key), read_at: self.end() }
            }
            Read::Log { after, types, limit } => {
                let events = self.page(|event| event.position > *after && is_of(event, types), *limit);
                let more = events.len() == *limit;
                let through = if more { events[*limit - 1].position } else { self.end() };
                Page::Log { events, through, more }
            }
            Read::Keys { after, limit } => {
                let mut heads = BTreeMap::new();
                for event in &self.events {
                    heads.insert(event.key.clone(), event.version);
                }
                let is_behind = |key: &Key| after.as_ref().is_none_or(|after| key > after);
                let heads: Vec<_> = heads.into_iter().filter(|(key, _)| is_behind(key)).take(*limit).collect();
                Page::Keys { more: heads.len() == *limit, heads, read_at: self.end() }
            }
        }
    }

    fn page(&self, asked_for: impl Fn(&Event) -> bool, limit: usize) -> Vec<Arc<Event>> {
        self.events.iter().filter(|event| asked_for(event)).take(limit).cloned().collect()
    }

    fn undone(
        &self,
        service: &ServiceName,
        types: &[Taken],
        asked_for: impl Fn(&Event) -> bool,
        end: Position,
        limit: usize,
    ) -> Page {
        let counts = |event: &Event| {
            types.iter().any(|taken| taken.event_type == event.event_type && event.position > taken.since)
        };
        let events =
            self.page(|event| asked_for(event) && counts(event) && !self.is_ended(service, event.position), limit);
        let previous = |event: &Event| {
            let is_earlier = |other: &&Arc<Event>| other.key == event.key && other.version < event.version;
            let is_taken = |other: &&Arc<Event>| types.iter().any(|taken| taken.event_type == other.event_type);
            self.events.iter().filter(is_earlier).filter(is_taken).map(|other| other.version).max().unwrap_or_default()
        };
        let events: Vec<_> = events.into_iter().map(|event| Undone { previous: previous(&event), event }).collect();
        let more = events.len() == limit;
        let through = if more { events[limit - 1].event.position } else { end };
        Page::Undone { events, through, more }
    }

    pub(super) fn query(&self, query: &Query) -> Answer {
        let is_behind = |event: &Event| match query.cursor {
            None => true,
            Some(cursor) if query.newest_first => event.position < cursor,
            Some(cursor) => event.position > cursor,
        };
        let holds = |event: &Event| {
            is_behind(event)
                && query.key.as_ref().is_none_or(|it| *it == event.key)
                && is_of(event, &query.types)
                && query.correlation.as_ref().is_none_or(|it| *it == event.correlation)
                && query.causation.as_ref().is_none_or(|it| Some(it) == event.causation.as_ref())
                && query.source.as_ref().is_none_or(|it| *it == event.source)
                && query.id.as_ref().is_none_or(|it| *it == event.id)
                && query.from.is_none_or(|it| event.time >= it)
                && query.until.is_none_or(|it| event.time < it)
        };
        let mut events = self.page(holds, usize::MAX);
        if query.newest_first {
            events.reverse();
        }
        let more = events.len() > query.limit;
        events.truncate(query.limit);
        let next = events.last().map(|event| event.position).filter(|_| more);
        Answer { events, next, read_at: self.end() }
    }
}

fn is_of(event: &Event, types: &[EventType]) -> bool {
    types.is_empty() || types.contains(&event.event_type)
}
