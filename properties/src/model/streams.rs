//! Reads and rebuilds: what is told is exactly what the log holds.

use dacapo_core::{
    EventType, Key, Position, Version,
    bus::ConnId,
    wire::{Credit, Events, Read, ReadWhat, Rebuild, Rebuilt},
};

use super::{Broken, Judged, Log, Mark, Model, must};

/// A read that arrived in this life of the bus.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) conn: ConnId,
    request: u64,
    what: ReadWhat,
    /// The end of the log when it arrived.
    since: Position,
    pub(super) answered: bool,
}

/// A rebuild of this life of the bus.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact that was seen or not, and they do not exclude each other"
)]
pub struct Stream {
    /// On this connection.
    pub conn: ConnId,
    /// Its name there.
    pub request: u64,
    /// Empty for all.
    types: Vec<EventType>,
    /// Whether it goes on live.
    follow: bool,
    /// Pages that may still be sent.
    pub credit: u64,
    /// Everything up to here was told.
    pub cursor: Position,
    /// The end of the log when it was asked for.
    since: Position,
    /// The past was played.
    pub rebuilt: bool,
    /// The receiver ended it, or it was refused.
    pub ended: bool,
    /// It ended while pages may have been held back behind a commit; they still come.
    trailing: bool,
}

impl Stream {
    fn takes(&self, event_type: &EventType) -> bool {
        self.types.is_empty() || self.types.contains(event_type)
    }

    fn between(&self, log: &Log, through: Position) -> Vec<std::sync::Arc<dacapo_core::Event>> {
        let events = log.through(through).iter().filter(|event| event.position > self.cursor);
        events.filter(|event| self.takes(&event.event_type)).cloned().collect()
    }

    /// Whether something of the log was not told although credit is left.
    pub(super) fn owes(&self, log: &Log) -> bool {
        let finished = self.ended || (self.rebuilt && !self.follow);
        !finished && self.credit > 0 && (!self.rebuilt || !self.between(log, log.position()).is_empty())
    }
}

impl Model {
    pub(super) fn read(&mut self, conn: ConnId, read: &Read) {
        let since = self.log.position();
        self.reads.push(Reading { conn, request: read.request, what: read.what.clone(), since, answered: false });
    }

    pub(super) fn rebuild(&mut self, conn: ConnId, rebuild: &Rebuild) {
        self.streams.push(Stream {
            conn,
            request: rebuild.request,
            types: rebuild.types.clone(),
            follow: rebuild.follow,
            credit: u64::from(rebuild.credit),
            cursor: rebuild.after,
            since: self.log.position(),
            rebuilt: false,
            ended: false,
            trailing: false,
        });
    }

    fn stream(&mut self, conn: ConnId, request: u64) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.conn == conn && stream.request == request)
    }

    pub(super) fn stream_credit(&mut self, conn: ConnId, credit: &Credit) {
        let busy = self.under_way.is_some();
        let Some(stream) = credit.request.and_then(|request| self.stream(conn, request)) else { return };
        if credit.credit == 0 {
            stream.trailing = busy && !stream.ended;
            stream.ended = true;
        }
        stream.credit += u64::from(credit.credit);
    }

    /// An error that names a read or stream ends it; whether there was one.
    pub(super) fn stream_erred(&mut self, conn: ConnId, request: u64) -> bool {
        if let Some(stream) = self.stream(conn, request) {
            stream.ended = true;
            return true;
        }
        let read = self.reads.iter_mut().find(|read| read.conn == conn && read.request == request && !read.answered);
        read.is_some_and(|read| {
            read.answered = true;
            true
        })
    }

    pub(super) fn events(&mut self, conn: ConnId, events: &Events) -> Judged {
        must!(
            events.position <= self.log.position(),
            "shown_is_durable",
            "{conn:?} was told {events:?}, the log ends at {}",
            self.log.position()
        );
        let waits = |read: &Reading| read.conn == conn && read.request == events.request && !read.answered;
        if let Some(index) = self.reads.iter().position(waits) {
            self.reads[index].answered = true;
            return self.read_answered(&self.reads[index].clone(), events);
        }
        let limits = self.limits.clone();
        let log_position = self.log.position();
        let Some(index) = self.streams.iter().position(|s| s.conn == conn && s.request == events.request) else {
            return Err(Broken { rule: "answers", what: format!("{conn:?} did not ask for {events:?}") });
        };
        let stream = &self.streams[index];
        if stream.trailing {
            return Ok(());
        }
        must!(!stream.ended, "answers", "{events:?} came on the ended {stream:?}");
        must!(!stream.rebuilt || stream.follow, "answers", "{events:?} came after the end of {stream:?}");
        must!(stream.credit > 0, "bounded", "{events:?} came without credit on {stream:?}");
        must!(
            events.position >= stream.cursor && events.events == stream.between(&self.log, events.position),
            "rebuild_equals_live",
            "{events:?} came on {stream:?}; the log holds {:?}",
            stream.between(&self.log, log_position)
        );
        must!(events.events.len() <= limits.read_page_events, "bounded", "{events:?} is larger than a page");
        let crossed = stream.rebuilt;
        let stream = &mut self.streams[index];
        stream.credit -= 1;
        stream.cursor = events.position;
        if crossed {
            self.marks.reach(Mark::RebuildCrossed);
        } else if stream.credit == 0 {
            self.marks.reach(Mark::RebuildPaused);
        }
        Ok(())
    }

    pub(super) fn rebuilt(&mut self, conn: ConnId, rebuilt: &Rebuilt) -> Judged {
        let Some(index) = self.streams.iter().position(|s| s.conn == conn && s.request == rebuilt.request) else {
            return Err(Broken { rule: "answers", what: format!("{conn:?} did not ask for {rebuilt:?}") });
        };
        let stream = &self.streams[index];
        if stream.trailing {
            return Ok(());
        }
        must!(!stream.rebuilt && !stream.ended, "answers", "{rebuilt:?} came on {stream:?}");
        let left = stream.between(&self.log, rebuilt.position);
        must!(
            left.is_empty() && rebuilt.position >= stream.since.min(self.log.position()),
            "rebuild_equals_live",
            "{rebuilt:?} came on {stream:?}; not told are {left:?}"
        );
        must!(rebuilt.position <= self.log.position(), "shown_is_durable", "{rebuilt:?} is beyond the log");
        let stream = &mut self.streams[index];
        stream.rebuilt = true;
        stream.cursor = stream.cursor.max(rebuilt.position);
        self.marks.reach(Mark::Rebuilt);
        Ok(())
    }

    fn read_answered(&mut self, read: &Reading, answer: &Events) -> Judged {
        let at = answer.position;
        must!(at >= read.since, "no answer is stale", "{answer:?} answers {read:?}");
        must!(answer.events.len() <= self.limits.read_page_events, "bounded", "{answer:?} is larger than a page");
        let heads: Vec<(Key, Version)> = answer.heads.iter().map(|head| (head.key.clone(), head.version)).collect();
        match &read.what {
            ReadWhat::Key { key, after, types } => {
                let events = self.log.through(at).iter().filter(|event| event.key == *key && event.version > *after);
                let events = events.filter(|event| types.is_empty() || types.contains(&event.event_type));
                let expected: Vec<_> = events.take(answer.events.len().max(usize::from(!answer.more) * 1000)).collect();
                must!(
                    expected.iter().copied().eq(answer.events.iter()) && (!answer.more || !expected.is_empty()),
                    "reads are true",
                    "{answer:?} answers {read:?}; the log holds {expected:?}"
                );
                let head = self.log.head(key, at).0;
                must!(heads == [(key.clone(), head)], "reads are true", "{answer:?} tells {heads:?}, it is {head}");
                self.marks.reach(Mark::KeyRead);
            }
            ReadWhat::Keys { after } => {
                let mut all: Vec<_> = self.log.heads(at).into_iter().collect();
                all.retain(|(key, _)| after.as_ref().is_none_or(|after| key > after));
                if answer.more {
                    all.truncate(heads.len());
                }
                must!(
                    all == heads && answer.events.is_empty() && (!answer.more || !heads.is_empty()),
                    "reads are true",
                    "{answer:?} answers {read:?}; the log holds {all:?}"
                );
                must!(heads.len() <= self.limits.read_page_events, "bounded", "{answer:?} is larger than a page");
            }
        }
        if answer.more {
            self.marks.reach(Mark::ReadContinued);
        }
        Ok(())
    }
}
