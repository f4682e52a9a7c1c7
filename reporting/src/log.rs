//! Reading a store: pages of the table, an event with its surroundings, a correlation, a key.
//!
//! Every answer is bounded, whatever is asked and however long the log is: what was not looked at is said, never passed
//! over in silence. Reads are short, so that a bus that writes to the same file is not held up by them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use dacapo_backends::{SqliteReader, Standing};
use dacapo_core::{
    CorrelationId, Event, EventId, Key, Position, Version, WallTime,
    limits::PAGE_EVENTS_MAX,
    store::{Answer, Completion, LaneRecord, LookUp, Query, Reader as _, StoreError},
};

use crate::{
    fared::{Fares, Handling},
    filter::{Filter, NoFilter},
    run::{Run, conflicts},
};

/// Events that one page of the table looks at, when a filter wants few of them: about a tenth of a second.
pub const LOOKED_AT_MAX: usize = 10_000;

/// Events of one correlation that are shown at once. It is far beyond what a request sensibly causes.
pub const CORRELATION_EVENTS_MAX: usize = 20_000;

/// Why something cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The filter.
    #[error("{0}")]
    Filter(#[from] NoFilter),
}

/// Where a page of the table begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Anchor {
    /// With the newest event.
    #[default]
    Newest,
    /// With the oldest event.
    Oldest,
    /// With what is older than this.
    Before(Position),
    /// With what is newer than this.
    After(Position),
}

/// A page of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Newest first.
    pub events: Vec<Arc<Event>>,
    /// How services fared with them.
    pub fares: Fares,
    /// There may be older ones than this position.
    pub older: Option<Position>,
    /// There may be newer ones than this position.
    pub newer: Option<Position>,
    /// How many events were looked at.
    pub looked_at: usize,
    /// The page is not full because enough was looked at: what is beyond is not known.
    pub gave_up: bool,
    /// Where the log ended.
    pub end: Position,
}

/// A correlation's events.
#[derive(Debug, Clone, PartialEq)]
pub struct Correlation {
    /// In order of position.
    pub events: Vec<Arc<Event>>,
    /// There are more than [`CORRELATION_EVENTS_MAX`].
    pub more: bool,
}

/// A store that is looked at.
#[derive(Debug)]
pub struct Log {
    reader: SqliteReader,
    first: Option<WallTime>,
    /// What met a conflict, by position; none without a trace.
    conflicts: Option<BTreeMap<Position, u64>>,
}

impl Log {
    /// Opens a store without ever writing to it, whether a bus runs on it or not.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { reader: SqliteReader::open_read_only(path)?, first: None, conflicts: None })
    }

    /// Opens the log of a recorded run, which knows of conflicts besides.
    pub fn of_run(run: &Run) -> Result<Self, StoreError> {
        Ok(Self { conflicts: Some(conflicts(&run.records)), ..Self::open(&run.log())? })
    }

    /// What met a conflict, and how often; none if there is no trace to tell.
    pub fn conflicts(&self) -> Option<&BTreeMap<Position, u64>> {
        self.conflicts.as_ref()
    }

    /// The filter with its times resolved, if this log knows what it asks for.
    pub fn ready(&mut self, filter: &Filter) -> Result<Filter, LogError> {
        if filter.needs_trace() && self.conflicts.is_none() {
            return Err(NoFilter::Conflict.into());
        }
        let mut filter = filter.clone();
        if filter.needs_first() {
            filter.resolve(self.first()?);
        }
        Ok(filter)
    }

    /// What stands beside the log.
    pub fn standing(&mut self) -> Result<Standing, StoreError> {
        self.reader.standing()
    }

    /// When the log begins.
    pub fn first(&mut self) -> Result<WallTime, StoreError> {
        if self.first.is_none() {
            let answer = self.reader.query(&Query { limit: 1, ..Query::default() })?;
            self.first = answer.events.first().map(|event| event.time);
        }
        Ok(self.first.unwrap_or_default())
    }

    /// Answers a query, as a bus would.
    pub fn ask(&mut self, query: &Query) -> Result<Answer, StoreError> {
        self.reader.query(query)
    }

    /// Those of the events that a filter wants, which [`Log::ready`] has looked at.
    pub fn wanted(&mut self, filter: &Filter, events: Vec<Arc<Event>>) -> Result<Vec<Arc<Event>>, StoreError> {
        let fares = if filter.needs_fared() {
            let standing = self.standing()?;
            self.fares(&events, &standing)?
        } else {
            Fares::default()
        };
        Ok(events.into_iter().filter(|event| filter.matches(event, &fares.fared(event.position))).collect())
    }

    /// A page of the events that a filter wants, newest first.
    pub fn page(&mut self, filter: &Filter, anchor: Anchor, limit: usize) -> Result<Found, LogError> {
        let filter = self.ready(filter)?;
        let standing = self.standing()?;
        let (after, before) = filter.between();
        let forwards = matches!(anchor, Anchor::Oldest | Anchor::After(_));
        let mut query = Query { newest_first: !forwards, ..filter.query(Some(&standing.types))? };
        query.cursor = match anchor {
            Anchor::Newest => Some(before).filter(|before| before.0 <= standing.end.0),
            Anchor::Before(position) => Some(position.min(before)),
            Anchor::Oldest => Some(after),
            Anchor::After(position) => Some(position.max(after)),
        };
        let wanted = limit + 1;
        let (mut events, mut looked_at, mut last, mut exhausted) = (Vec::new(), 0, None, false);
        while !exhausted && events.len() < wanted && looked_at < LOOKED_AT_MAX {
            query.limit = if filter.terms.is_empty() { wanted } else { PAGE_EVENTS_MAX };
            let answer = self.reader.query(&query)?;
            looked_at += answer.events.len();
            last = answer.events.last().map(|event| event.position).or(last);
            exhausted = answer.next.is_none();
            query.cursor = answer.next.or(query.cursor);
            let within = |event: &&Arc<Event>| after < event.position && event.position < before;
            let fares = if filter.needs_fared() { self.fares(&answer.events, &standing)? } else { Fares::default() };
            exhausted |= answer.events.last().is_some_and(|event| !within(&event));
            let wants = |event: &&Arc<Event>| within(event) && filter.matches(event, &fares.fared(event.position));
            events.extend(answer.events.iter().filter(wants).cloned());
        }
        let full = events.len() > limit;
        events.truncate(limit);
        let gave_up = !full && !exhausted;
        let reached = if full { events.last().map(|event| event.position) } else { last };
        let beyond = reached.filter(|_| full || gave_up);
        if forwards {
            events.reverse();
        }
        let first_shown = events.first().map(|event| event.position);
        let last_shown = events.last().map(|event| event.position);
        let (older, newer) = match anchor {
            Anchor::Newest => (beyond, None),
            Anchor::Before(position) => (beyond, first_shown.or(Some(Position(position.0.saturating_sub(1))))),
            Anchor::Oldest => (None, beyond),
            Anchor::After(position) => (last_shown.or(Some(Position(position.0.saturating_add(1)))), beyond),
        };
        let fares = self.fares(&events, &standing)?;
        Ok(Found { events, fares, older, newer, looked_at, gave_up, end: standing.end })
    }

    /// What came after a position, oldest first: for those who follow.
    pub fn since(
        &mut self,
        filter: &Filter,
        after: Position,
        limit: usize,
    ) -> Result<(Vec<Arc<Event>>, Position), LogError> {
        let filter = self.ready(filter)?;
        let answer = self.reader.query(&Query { cursor: Some(after), limit, ..Query::default() })?;
        let reached = answer.events.last().map_or(after, |event| event.position);
        Ok((self.wanted(&filter, answer.events)?, reached))
    }

    /// An event by its id.
    pub fn event(&mut self, id: &EventId) -> Result<Option<Arc<Event>>, StoreError> {
        Ok(self.reader.query(&Query { id: Some(id.clone()), limit: 1, ..Query::default() })?.events.pop())
    }

    /// Events by their ids.
    pub fn events(
        &mut self,
        ids: impl IntoIterator<Item = EventId>,
    ) -> Result<BTreeMap<EventId, Arc<Event>>, StoreError> {
        let look_up = LookUp { ids: ids.into_iter().collect(), ..LookUp::default() };
        if look_up.ids.is_empty() { Ok(BTreeMap::new()) } else { Ok(self.reader.look_up(&look_up)?.ids) }
    }

    /// The event at a position.
    pub fn at(&mut self, position: Position) -> Result<Option<Arc<Event>>, StoreError> {
        let Some(before) = position.0.checked_sub(1) else { return Ok(None) };
        let query = Query { cursor: Some(Position(before)), limit: 1, ..Query::default() };
        Ok(self.reader.query(&query)?.events.pop().filter(|event| event.position == position))
    }

    /// What an event caused directly, in order; more than `limit` are not told.
    pub fn effects(&mut self, id: &EventId, limit: usize) -> Result<(Vec<Arc<Event>>, bool), StoreError> {
        let answer = self.reader.query(&Query { causation: Some(id.clone()), limit, ..Query::default() })?;
        Ok((answer.events, answer.next.is_some()))
    }

    /// A correlation's events, in order.
    pub fn correlation(&mut self, id: &CorrelationId) -> Result<Correlation, StoreError> {
        let mut query = Query { correlation: Some(id.clone()), ..Query::default() };
        let mut events = Vec::new();
        loop {
            let answer = self.reader.query(&query)?;
            events.extend(answer.events);
            let more = answer.next.is_some();
            if !more || events.len() >= CORRELATION_EVENTS_MAX {
                return Ok(Correlation { events, more });
            }
            query.cursor = answer.next;
        }
    }

    /// A key's events after a version, in order, and the key's head.
    pub fn key(&mut self, key: &Key, after: Version, limit: usize) -> Result<(Vec<Arc<Event>>, Version), StoreError> {
        let read = dacapo_core::store::Read::Key { key: key.clone(), after, types: Vec::new(), limit };
        match self.reader.read(&read)? {
            dacapo_core::store::Page::Key { events, head, .. } => Ok((events, head)),
            _ => Ok((Vec::new(), Version::ZERO)),
        }
    }

    /// A key's events behind a position (before it, if backwards), and whether there are more.
    pub fn on_key(
        &mut self,
        key: &Key,
        at: Position,
        backwards: bool,
        limit: usize,
    ) -> Result<(Vec<Arc<Event>>, bool), StoreError> {
        let query =
            Query { key: Some(key.clone()), cursor: Some(at), newest_first: backwards, limit, ..Query::default() };
        let answer = self.reader.query(&query)?;
        Ok((answer.events, answer.next.is_some()))
    }

    /// How services ended events.
    pub fn completions(&mut self, events: &[Arc<Event>]) -> Result<Vec<Completion>, StoreError> {
        let positions: Vec<Position> = events.iter().map(|event| event.position).collect();
        self.reader.completions(&positions)
    }

    /// How services fared with events.
    pub fn fares(&mut self, events: &[Arc<Event>], standing: &Standing) -> Result<Fares, StoreError> {
        let completions = self.completions(events)?;
        let mut ended: BTreeMap<(Position, String), Completion> = completions
            .into_iter()
            .map(|completion| ((completion.position, completion.service.to_string()), completion))
            .collect();
        let lanes: BTreeMap<(&str, &str), &LaneRecord> =
            standing.lanes.iter().map(|lane| ((lane.service.as_str(), lane.key.as_str()), lane)).collect();
        let mut fares = Fares::default();
        for event in events {
            let mut handlings = Vec::new();
            for service in &standing.services {
                let completion = ended.remove(&(event.position, service.name.to_string()));
                let takes = service
                    .types
                    .iter()
                    .any(|taken| taken.event_type == event.event_type && taken.since < event.position);
                if completion.is_some() || takes {
                    handlings.push(Handling::of(
                        service,
                        event,
                        completion,
                        lanes.get(&(service.name.as_str(), event.key.as_str())).copied(),
                    ));
                }
            }
            fares.put(event.position, handlings);
            let times = self.conflicts.as_ref().and_then(|conflicts| conflicts.get(&event.position));
            fares.put_conflicts(event.position, times.copied().unwrap_or(0));
        }
        Ok(fares)
    }

    /// The newest events, in order.
    pub fn newest(&mut self, limit: usize) -> Result<Vec<Arc<Event>>, StoreError> {
        let mut query = Query { newest_first: true, ..Query::default() };
        let mut events: Vec<Arc<Event>> = Vec::new();
        loop {
            query.limit = (limit - events.len()).min(PAGE_EVENTS_MAX);
            let answer = self.reader.query(&query)?;
            events.extend(answer.events);
            query.cursor = answer.next;
            if query.cursor.is_none() || events.len() >= limit {
                events.reverse();
                return Ok(events);
            }
        }
    }

    /// The positions of these events that are in the log: which links lead somewhere.
    pub fn known(&mut self, ids: impl IntoIterator<Item = EventId>) -> Result<BTreeSet<EventId>, StoreError> {
        Ok(self.events(ids)?.into_keys().collect())
    }
}
