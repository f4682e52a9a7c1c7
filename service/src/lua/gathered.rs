//! State that gathers over keys: what the rebuild handlers make of the whole log, event by event in its order.
//!
//! Every instance follows the log for itself, so that all of them have the same at the same position. Read from here is
//! what an event of another key has written (a user's list of accounts, a counter); a key's own state is read from its own
//! events, which is fresher. What is kept here is also what a state store keeps: the values, and up to where they go.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use dacapo_core::{Event, Key, Position, Version};
use serde_json::Value;

use super::{
    run::Written,
    store::{Change, Live, Snapshot},
};

/// Events whose effect can be taken back: a listener is shown the state without its own event, and comes soon after it.
const RECENT_MAX: usize = 1_024;

type Writes = BTreeMap<String, Option<Arc<Value>>>;

/// An event that was followed, and what was there before it.
#[derive(Debug, Clone)]
struct Recent {
    position: Position,
    event: Arc<Event>,
    before: Writes,
}

/// What gathers over keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Gathered {
    values: BTreeMap<String, Arc<Value>>,
    /// What an event of another key has written.
    foreign: BTreeSet<String>,
    /// The latest event of each key that is in it.
    versions: BTreeMap<Key, Version>,
    position: Position,
    recent: VecDeque<Recent>,
    /// What listeners wrote that no rebuild handler rebuilds: here alone, as long as the store lasts.
    live: BTreeMap<String, Live>,
}

impl Gathered {
    pub(super) fn of(snapshot: Snapshot) -> Self {
        let Snapshot { position, values, foreign, versions, live } = snapshot;
        Self { values, foreign, versions, position, recent: VecDeque::new(), live }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    pub(super) fn value(&self, key: &str) -> Option<Arc<Value>> {
        self.values.get(key).cloned()
    }

    /// The latest followed version of a key.
    pub(super) fn version(&self, key: &Key) -> Version {
        self.versions.get(key).copied().unwrap_or_default()
    }

    /// Whether reads of this key are answered from here.
    pub(super) fn is_foreign(&self, key: &str) -> bool {
        self.foreign.contains(key)
    }

    pub(super) fn has_foreign(&self) -> bool {
        !self.foreign.is_empty()
    }

    /// What a listener wrote and nothing rebuilds.
    pub(super) fn live(&self, key: &str) -> Option<&Live> {
        self.live.get(key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        let live = self.live.iter().filter(|(_, live)| **live != Live::Deleted).map(|(key, _)| key);
        self.values.keys().filter(|key| !self.live.contains_key(*key)).chain(live)
    }

    /// Takes in what an event makes.
    pub(super) fn take(&mut self, event: &Event, writes: BTreeMap<String, Written>) -> Change {
        let mut before = Writes::new();
        let mut change =
            Change { position: event.position, version: Some((event.key.clone(), event.version)), ..Change::default() };
        for (key, Written { value, .. }) in writes {
            if key != event.key.as_str() && self.foreign.insert(key.clone()) {
                change.foreign.push(key.clone());
            }
            if self.live.remove(&key).is_some() {
                change.live.push((key.clone(), None));
            }
            let former = match &value {
                Some(value) => self.values.insert(key.clone(), Arc::clone(value)),
                None => self.values.remove(&key),
            };
            before.insert(key.clone(), former);
            change.values.push((key, value));
        }
        if !before.is_empty() {
            if self.recent.len() == RECENT_MAX {
                self.recent.pop_front();
            }
            let event = Arc::new(event.clone());
            self.recent.push_back(Recent { position: event.position, event, before });
        }
        self.versions.insert(event.key.clone(), event.version);
        self.position = event.position;
        change
    }

    /// What the values were before an event, and the events that changed one of them afterwards.
    pub(super) fn before(&self, position: Position) -> Option<(Writes, Vec<Arc<Event>>)> {
        let place = self.recent.binary_search_by_key(&position, |recent| recent.position).ok()?;
        let before = self.recent[place].before.clone();
        let touches = |recent: &&Recent| recent.before.keys().any(|key| before.contains_key(key));
        let later = self.recent.range(place + 1..).filter(touches).map(|recent| Arc::clone(&recent.event)).collect();
        Some((before, later))
    }

    /// Keeps what a listener wrote and nothing rebuilds.
    pub(super) fn keep_live(&mut self, writes: BTreeMap<String, Live>) -> Change {
        let live = writes.iter().map(|(key, live)| (key.clone(), Some(live.clone()))).collect();
        self.live.extend(writes);
        Change { position: self.position, live, ..Change::default() }
    }
}
