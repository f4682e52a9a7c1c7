//! Hydration: bringing one key's state up to its head, one read per key at a time, however many wait for it.
//!
//! A fetch makes no promise about *which* head: whoever waits is woken when the answer is in, looks again, and asks
//! again if that was not enough.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dacapo_core::{
    Key, Position, Version,
    trace::How,
    wire::{Events, Read, ReadWhat},
};

use super::{Instance, Purpose, states::Moment};
use crate::service::Service;

/// Reads of states that are asked of the bus at once; further ones wait their turn here. Enough to hide the way to the
/// bus, little enough that an instance which comes back cold does not crowd out the others.
pub(super) const READS_OPEN_MAX: usize = 64;

/// Who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Waiter {
    /// The handling of this delivery.
    Delivery(Position),
    /// This request.
    Request(u64),
}

#[derive(Debug, Clone, Default)]
struct Fetch {
    /// The read that is under way: after which version, and when the fetch's first page was asked for.
    asked: Option<(Version, Moment)>,
    waiters: BTreeSet<Waiter>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Fetches {
    by_key: BTreeMap<Key, Fetch>,
    /// Those that are not asked yet, in the order in which they were wanted.
    queue: VecDeque<Key>,
}

impl Fetches {
    /// Wants a key's state brought up to its head.
    pub(super) fn want(&mut self, key: &Key, waiter: Option<Waiter>) {
        let fetch = self.by_key.entry(key.clone()).or_insert_with(|| {
            self.queue.push_back(key.clone());
            Fetch::default()
        });
        fetch.waiters.extend(waiter);
    }

    pub(super) fn lose_session(&mut self) {
        // Asked ones first: they were wanted before the queued ones.
        let queued: BTreeSet<Key> = self.queue.iter().cloned().collect();
        for (key, fetch) in &mut self.by_key {
            fetch.asked = None;
            // A delivery that waits goes with its session.
            fetch.waiters.retain(|waiter| matches!(waiter, Waiter::Request(_)));
            if !queued.contains(key) {
                self.queue.push_front(key.clone());
            }
        }
        self.by_key.retain(|_, fetch| !fetch.waiters.is_empty());
        self.queue.retain(|key| self.by_key.contains_key(key));
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.by_key.contains_key(key)
    }

    pub(super) fn asked(&self) -> usize {
        self.by_key.len() - self.queue.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.by_key.keys()
    }

    fn next_to_ask(&mut self) -> Option<Key> {
        if self.asked() >= READS_OPEN_MAX {
            return None;
        }
        self.queue.pop_front()
    }

    pub(super) fn check_invariants(&self) {
        let asked = self.by_key.values().filter(|fetch| fetch.asked.is_some()).count();
        assert_eq!(asked + self.queue.len(), self.by_key.len(), "a fetch is asked or waits its turn");
        assert!(asked <= READS_OPEN_MAX, "{asked} reads are open, the limit is {READS_OPEN_MAX}");
    }
}

impl<S: Service> Instance<S> {
    /// Sends the reads whose turn it is.
    pub(super) fn ask_for_states(&mut self) {
        while self.line.is_up()
            && let Some(key) = self.fetches.next_to_ask()
        {
            let moment = Moment { input: self.input, at: self.now.monotonic };
            self.ask_for_state(&key, moment);
        }
    }

    fn ask_for_state(&mut self, key: &Key, moment: Moment) {
        let after = self.states.version(key).unwrap_or_default();
        if let Some(fetch) = self.fetches.by_key.get_mut(key) {
            fetch.asked = Some((after, moment));
        }
        let request = self.questions.ask(Purpose::State(key.clone()), self.now.monotonic);
        self.send(Read { request, what: ReadWhat::Key { key: key.clone(), after, types: self.types.clone() } });
    }

    /// A page of a key's events. Those that came by another way meanwhile are in the state already.
    pub(super) fn hydrated(&mut self, key: &Key, page: &Events) {
        let Some((after, moment)) = self.fetches.by_key.get(key).and_then(|fetch| fetch.asked) else {
            return;
        };
        let version = self.states.version(key).unwrap_or_default();
        if version < after {
            // The state was forgotten meanwhile: this page has a hole before it.
            return self.ask_for_state(key, moment);
        }
        let last = page.events.last().map(|event| event.version);
        for event in page.events.iter().filter(|event| event.key == *key) {
            if event.version > self.states.version(key).unwrap_or_default() {
                self.apply(event, How::Hydrated);
            }
        }
        if page.more && last.is_some_and(|last| last > after) {
            return self.ask_for_state(key, moment);
        }
        let head = page.heads.iter().find(|head| head.key == *key).map_or(Version::ZERO, |head| head.version);
        if !page.more {
            self.states.advance(key, head);
            self.states.ensure(key).compared = Some(moment);
        }
        self.states.touch(key);
        if let Some(fetch) = self.fetches.by_key.remove(key) {
            self.runnable.extend(fetch.waiters);
        }
    }
}
