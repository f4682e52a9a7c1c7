//! How the store in memory answers: by walking the log, or one key of it, and leaving out what was not asked for.

use std::{ops::Bound, sync::Arc};

use dacapo_core::{
    Event, EventType, Key, Position, ServiceName, Version,
    store::{Answer, Completion, Found, LookUp, Page, Query, Read, Taken, Undone},
    wire::Produced,
};

use super::log::Log;
use crate::page::{Room, page_limit};

impl Log {
    pub(super) fn look_up(&self, look_up: &LookUp) -> Found {
        let LookUp { ids, heads, completions } = look_up;
        let known = |id| self.ids.get(id).and_then(|position| self.event(*position)).cloned();
        let head = |key| self.keys.get(key).map(|chain| chain.head.clone()).unwrap_or_default();
        Found {
            read_at: self.end(),
            ids: ids.iter().filter_map(|id| known(id).map(|event| (id.clone(), event))).collect(),
            heads: heads.iter().map(|key| (key.clone(), head(key))).collect(),
            completions: completions
                .iter()
                .filter_map(|ended| self.completions.get(ended).map(|it| (ended.clone(), self.produced(it))))
                .collect(),
        }
    }

    fn produced(&self, completion: &Completion) -> Vec<Produced> {
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

    pub(super) fn completions_of(&self, positions: &[Position]) -> Vec<Completion> {
        self.completions.values().filter(|completion| positions.contains(&completion.position)).cloned().collect()
    }

    pub(super) fn read(&self, read: &Read) -> Page {
        match read {
            Read::Undone { service, after, types, limit } => {
                self.undone(service, types, self.after(*after), self.end(), *limit)
            }
            Read::Lane { service, key, after, through, types, limit } => {
                let through = (*through).min(self.end());
                let events = self.of_key(key, *after).take_while(move |event| event.position <= through);
                self.undone(service, types, events, through, *limit)
            }
            Read::Key { key, after, types, limit } => {
                let mut room = Room::new(*limit);
                let events = room.fill(self.of_key(key, *after).filter(|event| is_of(event, types)));
                Page::Key { events, head: self.version_of(key), read_at: self.end(), more: room.is_full() }
            }
            Read::Log { after, types, limit } => {
                let mut room = Room::new(*limit);
                let events = room.fill(self.after(*after).filter(|event| is_of(event, types)));
                let last = events.last().map(|event| event.position);
                let through = last.filter(|_| room.is_full()).unwrap_or_else(|| self.end());
                Page::Log { events, through, more: room.is_full() }
            }
            Read::Keys { after, limit } => {
                let limit = page_limit(*limit);
                let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
                let heads: Vec<_> = self
                    .keys
                    .range::<Key, _>((from, Bound::Unbounded))
                    .map(|(key, chain)| (key.clone(), chain.head.version))
                    .take(limit)
                    .collect();
                Page::Keys { more: heads.len() == limit, heads, read_at: self.end() }
            }
        }
    }

    /// Of these events, those that the service takes and has not ended.
    fn undone<'a>(
        &'a self,
        service: &ServiceName,
        types: &[Taken],
        events: impl Iterator<Item = &'a Arc<Event>>,
        end: Position,
        limit: usize,
    ) -> Page {
        let mut room = Room::new(limit);
        let taken =
            |event: &Event| types.iter().any(|it| it.event_type == event.event_type && event.position > it.since);
        let ended = |event: &Event| self.completions.contains_key(&(service.clone(), event.position));
        let events: Vec<_> = room
            .fill(events.filter(|event| taken(event) && !ended(event)))
            .into_iter()
            .map(|event| Undone { previous: self.previous(&event, types), event })
            .collect();
        let last = events.last().map(|undone| undone.event.position);
        let through = last.filter(|_| room.is_full()).unwrap_or(end);
        Page::Undone { events, through, more: room.is_full() }
    }

    /// The last version before the event's, on its key, of any of the types.
    fn previous(&self, event: &Event, types: &[Taken]) -> Version {
        self.of_key(&event.key, Version::ZERO)
            .take_while(|earlier| earlier.version < event.version)
            .filter(|earlier| types.iter().any(|taken| taken.event_type == earlier.event_type))
            .last()
            .map(|earlier| earlier.version)
            .unwrap_or_default()
    }

    pub(super) fn query(&self, query: &Query) -> Answer {
        let mut room = Room::new(query.limit);
        let cursor = query.cursor;
        let asked_for = |event: &&Arc<Event>| matches(query, event);
        let mut found: Vec<_> = if query.newest_first {
            let before = cursor.unwrap_or(Position(u64::MAX));
            let events = self.events.iter().rev().skip_while(|event| event.position >= before);
            events.filter(asked_for).take(page_limit(query.limit) + 1).collect()
        } else {
            self.after(cursor.unwrap_or_default()).filter(asked_for).take(page_limit(query.limit) + 1).collect()
        };
        let events = room.fill(found.iter().copied());
        found.drain(..events.len());
        let next = events.last().map(|event| event.position).filter(|_| !found.is_empty());
        Answer { events, next, read_at: self.end() }
    }

    /// The log behind a position.
    fn after(&self, position: Position) -> impl Iterator<Item = &Arc<Event>> {
        let skipped = usize::try_from(position.0).unwrap_or(usize::MAX).min(self.events.len());
        self.events[skipped..].iter()
    }

    /// A key's events behind a version.
    fn of_key(&self, key: &Key, after: Version) -> impl Iterator<Item = &Arc<Event>> {
        let positions = self.keys.get(key).map_or(&[][..], |chain| &chain.positions[..]);
        let skipped = usize::try_from(after.0).unwrap_or(usize::MAX).min(positions.len());
        positions[skipped..].iter().filter_map(|position| self.event(*position))
    }
}

fn is_of(event: &Event, types: &[EventType]) -> bool {
    types.is_empty() || types.contains(&event.event_type)
}

/// Whether every condition of the query but its cursor holds.
fn matches(query: &Query, event: &Event) -> bool {
    let Query { cursor: _, key, types, correlation, causation, source, id, from, until, newest_first: _, limit: _ } =
        query;
    key.as_ref().is_none_or(|key| event.key == *key)
        && is_of(event, types)
        && correlation.as_ref().is_none_or(|correlation| event.correlation == *correlation)
        && causation.as_ref().is_none_or(|causation| event.causation.as_ref() == Some(causation))
        && source.as_ref().is_none_or(|source| event.source == *source)
        && id.as_ref().is_none_or(|id| event.id == *id)
        && from.is_none_or(|from| event.time >= from)
        && until.is_none_or(|until| event.time < until)
}
