//! Reads of the log: for services and lanes that catch up, for instances that hydrate, and as streams for rebuilds.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{Bus, ConnId, Output, feed::Arriving};
use crate::{
    event::Event,
    limits::PAGE_BYTES_MAX,
    marks::bus as marks,
    names::{EventType, Key, Position, ServiceName, TokenName},
    planted::Bug,
    store::{Commit, Page, Read as StoreRead, Taken, Undone},
    wire::{ErrorCode, Events, Head, Read, ReadWhat, Rebuild, Rebuilt},
};

/// What an open read is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// A service that is behind.
    Service(ServiceName),
    /// A lane that has spilled.
    Lane(ServiceName, Key),
    /// A page that an instance asked for.
    Page { conn: ConnId, request: u64, key: Option<Key> },
    /// The next page of a stream.
    Stream { conn: ConnId, request: u64 },
    /// The first event of a parked lane, for an administrator's retry or skip, as of what the service took then.
    Parked { conn: ConnId, service: ServiceName, key: Key, types: Vec<Taken>, skip: bool, by: Option<TokenName> },
}

#[derive(Debug, Clone)]
pub(super) struct OpenRead {
    pub(super) purpose: Purpose,
    /// The last durable commit when it was asked.
    pub(super) since: u64,
}

/// A rebuild, and what may follow it.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    /// Everything up to here was sent or passed over.
    sent: Position,
    /// Sorted; empty for all.
    types: Vec<EventType>,
    follow: bool,
    /// Pages that may be sent.
    credit: u32,
    /// The read of the next page, if one is open.
    reading: Option<(u64, Arriving)>,
    /// The past is played.
    rebuilt: bool,
}

impl Stream {
    /// Hashes it; `rank` tells a read's number from the others that are open.
    pub(super) fn hash_with(&self, rank: impl Fn(u64) -> Option<usize>, to: &mut impl Hasher) {
        let Self { sent, types, follow, credit, reading, rebuilt } = self;
        (sent, types, follow, credit, rebuilt).hash(to);
        reading.as_ref().map(|(read, arriving)| (rank(*read), arriving)).hash(to);
    }

    fn takes(&self, event: &Event) -> bool {
        self.types.is_empty() || self.types.binary_search(&event.event_type).is_ok()
    }
}

impl Bus {
    pub(super) fn begin_read(&mut self, read: StoreRead, purpose: Purpose) -> u64 {
        self.read_number += 1;
        let id = self.read_number;
        self.reads.insert(id, OpenRead { purpose, since: self.knowledge.durable_sequence });
        self.outbox.say_now(Output::Read { id, read: Arc::new(read) });
        id
    }

    pub(super) fn read_done(&mut self, id: u64, page: Page) {
        let Some(OpenRead { purpose, .. }) = self.reads.remove(&id) else { panic!("read {id} is not open") };
        match purpose {
            Purpose::Service(name) => self.service_read(&name, id, page),
            Purpose::Lane(name, key) => self.lane_read(&name, &key, id, page),
            Purpose::Page { conn, request, key } => self.page_read(conn, request, key, page),
            Purpose::Stream { conn, request } => self.stream_read(conn, request, id, page),
            Purpose::Parked { conn, service, key, types, skip, by } => {
                if self.services.get(&service).is_some_and(|service| service.types != types) {
                    return self.read_parked(conn, service, key, skip, by); // Another event may be the first now.
                }
                self.parked_read(conn, (&service, &key), skip, by.as_ref(), page);
            }
        }
    }

    /// An instance reads a page.
    pub(super) fn read(&mut self, conn: ConnId, read: Read) {
        let limits = &self.config.limits;
        let limit = limits.read_page_events;
        let Some(state) = self.conns.get_mut(&conn) else { return };
        if state.reads >= limits.reads_per_connection_max {
            let message = "this connection has as many reads open as it may";
            self.error(
                conn,
                ErrorCode::LimitReached,
                message,
                "wait for answers before asking more",
                Some(read.request),
            );
            return;
        }
        state.reads += 1;
        let key = match &read.what {
            ReadWhat::Key { key, .. } => Some(key.clone()),
            ReadWhat::Keys { .. } => None,
        };
        let store_read = match read.what {
            ReadWhat::Key { key, after, types } => StoreRead::Key { key, after, types, limit },
            ReadWhat::Keys { after } => StoreRead::Keys { after, limit },
        };
        self.begin_read(store_read, Purpose::Page { conn, request: read.request, key });
    }

    fn page_read(&mut self, conn: ConnId, request: u64, key: Option<Key>, page: Page) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.reads -= 1;
        let frame = match page {
            Page::Key { events, head, read_at, more } => {
                let heads = key.map(|key| Head { key, version: head }).into_iter().collect();
                Events { request, events, heads, position: read_at, more }
            }
            Page::Keys { heads, read_at, more } => {
                let heads = heads.into_iter().map(|(key, version)| Head { key, version }).collect();
                Events { request, events: Vec::new(), heads, position: read_at, more }
            }
            other => panic!("a read of an instance was answered with {other:?}"),
        };
        self.send(conn, frame);
    }

    pub(super) fn rebuild(&mut self, conn: ConnId, rebuild: Rebuild) {
        let streams_max = self.config.limits.streams_per_connection_max;
        let Rebuild { request, after, types, follow, credit } = rebuild;
        if !self.conns.contains_key(&conn) {
            return;
        }
        if self.streams_of(conn).len() >= streams_max || self.streams.contains_key(&(conn, request)) {
            let message =
                format!("this connection has a stream {request}, or {streams_max} streams, which is the limit");
            self.error(
                conn,
                ErrorCode::LimitReached,
                &message,
                "end a stream with credit 0, or use another number",
                Some(request),
            );
            return;
        }
        let types = super::service::sorted(types);
        let stream = Stream { sent: after, types, follow, credit, reading: None, rebuilt: false };
        self.streams.insert((conn, request), stream);
        self.mark(marks::REBUILD_BEGUN);
        self.stream_on(conn, request);
    }

    pub(super) fn stream_credit(&mut self, conn: ConnId, request: u64, credit: u32) {
        if !self.conns.contains_key(&conn) {
            return;
        }
        let Some(stream) = self.streams.get_mut(&(conn, request)) else {
            let message = format!("this connection has no stream {request}");
            self.error(conn, ErrorCode::NotFound, &message, "begin it with rebuild", Some(request));
            return;
        };
        if credit == 0 {
            self.streams.remove(&(conn, request));
            return;
        }
        stream.credit = stream.credit.saturating_add(credit);
        self.stream_on(conn, request);
    }

    /// The streams of a connection.
    pub(super) fn streams_of(&self, conn: ConnId) -> Vec<u64> {
        self.streams.range((conn, 0)..=(conn, u64::MAX)).map(|((_, request), _)| *request).collect()
    }

    /// Reads the next page of a stream, if it is behind and has credit.
    fn stream_on(&mut self, conn: ConnId, request: u64) {
        let limit = self.config.limits.read_page_events;
        let durable = self.knowledge.durable;
        let Some(stream) = self.streams.get_mut(&(conn, request)) else { return };
        if stream.reading.is_some() || stream.credit == 0 || (stream.rebuilt && stream.sent >= durable) {
            return;
        }
        let read = StoreRead::Log { after: stream.sent, types: stream.types.clone(), limit };
        let id = self.begin_read(read, Purpose::Stream { conn, request });
        if let Some(stream) = self.streams.get_mut(&(conn, request)) {
            stream.reading = Some((id, Arriving::default()));
        }
    }

    fn stream_read(&mut self, conn: ConnId, request: u64, id: u64, page: Page) {
        let Page::Log { mut events, mut through, more } = page else { panic!("a log read was answered with {page:?}") };
        let off_by_one = self.config.planted.is(Bug::RebuildOffByOne);
        let overlaps = self.config.planted.is(Bug::RebuildOverlaps);
        let events_max = self.config.limits.read_page_events;
        let Some(stream) = self.streams.get_mut(&(conn, request)) else { return };
        match &stream.reading {
            Some((open, _)) if *open == id => {}
            _ => return, // The stream ended, and another took its number.
        }
        let Some((_, arriving)) = stream.reading.take() else { return };
        if off_by_one && !more {
            events.pop();
        }
        let mut live = 0;
        if !more && !arriving.overflown {
            // What was committed while the page was read follows without another read.
            for Undone { event, .. } in arriving.events {
                if event.position > through || (overlaps && event.position == through) {
                    if !fit_a_page(events.iter().chain([&event]), events_max) {
                        break; // The next page brings it.
                    }
                    through = event.position;
                    if stream.takes(&event) {
                        live += 1;
                        events.push(event);
                    }
                }
            }
        }
        stream.sent = stream.sent.max(through);
        stream.credit -= 1;
        let rebuilt_now = !more && !stream.rebuilt;
        stream.rebuilt |= rebuilt_now;
        let ends = rebuilt_now && !stream.follow;
        let position = stream.sent;
        if live > 0 {
            self.mark(marks::REBUILD_MEETS_LIVE);
        }
        self.send(conn, Events { request, events, heads: Vec::new(), position, more });
        if rebuilt_now {
            self.mark(marks::REBUILD_FINISHED);
            self.send(conn, Rebuilt { request, position });
        }
        if ends {
            self.streams.remove(&(conn, request));
        } else {
            self.stream_on(conn, request);
        }
    }

    /// Hands the events of a durable commit to the streams that have come so far.
    pub(super) fn follow_commit(&mut self, commit: &Commit, durable_before: Position) {
        let Some(last) = commit.events.last().map(|event| event.position) else { return };
        let events_max = self.config.limits.read_page_events;
        let is_page = fit_a_page(&commit.events, events_max);
        let mut frames = Vec::new();
        let mut behind = Vec::new();
        let mut fell_behind = false;
        for ((conn, request), stream) in &mut self.streams {
            if let Some((_, arriving)) = &mut stream.reading {
                for event in &commit.events {
                    let undone = Undone { event: Arc::clone(event), previous: crate::names::Version::ZERO };
                    arriving.push(undone, events_max);
                }
            } else if is_page && stream.rebuilt && stream.sent == durable_before && stream.credit > 0 {
                stream.sent = last;
                stream.credit -= 1;
                // A page without events still tells how far the stream has come.
                let events = commit.events.iter().filter(|event| stream.takes(event)).cloned().collect();
                let frame = Events { request: *request, events, heads: Vec::new(), position: last, more: false };
                frames.push((*conn, frame));
            } else {
                behind.push((*conn, *request));
                fell_behind |= stream.rebuilt && stream.sent == durable_before;
            }
        }
        if fell_behind {
            self.mark(marks::STREAM_FELL_BEHIND);
        }
        for (conn, frame) in frames {
            self.send(conn, frame);
        }
        for (conn, request) in behind {
            self.stream_on(conn, request);
        }
    }
}

/// Whether these events may go in one frame; a single one always may.
fn fit_a_page<'a>(events: impl IntoIterator<Item = &'a Arc<Event>>, events_max: usize) -> bool {
    let (mut count, mut bytes) = (0, 0);
    for event in events {
        count += 1;
        let Event { id, event_type, key, correlation, causation, source, data, .. } = &**event;
        let causation = causation.as_ref().map_or("", |id| id.as_str());
        let names = [id.as_str(), event_type.as_str(), key.as_str(), correlation.as_str(), causation, source.as_str()];
        bytes += data.as_str().len() + names.into_iter().map(str::len).sum::<usize>();
    }
    count <= 1 || (count <= events_max && bytes <= PAGE_BYTES_MAX)
}
