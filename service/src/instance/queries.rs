//! Whole keys read for a handler: every event of a key, of any type. Nothing is kept of it beyond the run that asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dacapo_core::{
    Event, Key, Version,
    wire::{Events, Read, ReadWhat},
};

use super::{Instance, Purpose, Waiter};
use crate::service::Service;

/// Keys read at once; further ones wait their turn here.
const QUERIES_OPEN_MAX: usize = 8;

/// Events of a key that a handler may ask for: a key with more is a log of its own.
const EVENTS_MAX: usize = 10_000;

#[derive(Debug, Clone, Default)]
struct Query {
    asked: bool,
    /// Everything is there, or as much as may be.
    done: bool,
    events: Vec<Arc<Event>>,
    waiters: BTreeSet<Waiter>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Queries {
    by_key: BTreeMap<Key, Query>,
}

impl Queries {
    /// The events of a key, if they were read.
    pub(super) fn read(&self, key: &Key) -> Option<&[Arc<Event>]> {
        self.by_key.get(key).filter(|query| query.done).map(|query| query.events.as_slice())
    }

    /// A run has used these.
    pub(super) fn forget<'a>(&mut self, keys: impl IntoIterator<Item = &'a Key>) {
        for key in keys {
            self.by_key.remove(key);
        }
    }

    /// Whoever waits on a connection asks again on the next.
    pub(super) fn lose_session(&mut self) {
        self.by_key.clear();
    }
}

impl<S: Service> Instance<S> {
    /// Wants the events of a key read.
    pub(super) fn query(&mut self, key: &Key, waiter: Waiter) {
        let query = self.queries.by_key.entry(key.clone()).or_default();
        query.waiters.insert(waiter);
        self.ask_queries();
    }

    fn ask_queries(&mut self) {
        if !self.line.is_up() {
            return;
        }
        let under_way = self.queries.by_key.values().filter(|query| query.asked && !query.done).count();
        let room = QUERIES_OPEN_MAX.saturating_sub(under_way);
        let waiting = self.queries.by_key.iter().filter(|(_, query)| !query.asked);
        let next: Vec<Key> = waiting.take(room).map(|(key, _)| key.clone()).collect();
        for key in next {
            self.ask_query(&key);
        }
    }

    fn ask_query(&mut self, key: &Key) {
        let Some(query) = self.queries.by_key.get_mut(key) else { return };
        query.asked = true;
        let after = query.events.last().map_or(Version::ZERO, |event| event.version);
        let request = self.questions.ask(Purpose::Query(key.clone()), self.now.monotonic);
        self.send(Read { request, what: ReadWhat::Key { key: key.clone(), after, types: Vec::new() } });
    }

    /// A page of a key's events.
    pub(super) fn queried(&mut self, key: &Key, page: &Events) {
        let Some(query) = self.queries.by_key.get_mut(key) else { return };
        query.events.extend(page.events.iter().filter(|event| event.key == *key).cloned());
        if page.more && !page.events.is_empty() && query.events.len() < EVENTS_MAX {
            return self.ask_query(key);
        }
        query.done = true;
        self.runnable.extend(std::mem::take(&mut query.waiters));
        self.ask_queries();
    }
}
