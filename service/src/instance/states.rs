//! The states of keys in memory: a bounded cache of folds over the log.
//!
//! An entry's `version` counts every event of its key, also those of types that the service does not take; `folded` is
//! the last one that went into the state. Nothing here knows how an event came, nor asks for one.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::{Event, Key, Timestamp, Version};

use crate::service::Service;

/// A moment of an instance's life: of two in the same microsecond, the input's number tells which was first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) input: u64,
    pub(super) at: Timestamp,
}

/// One key's state.
#[derive(Debug, Clone)]
pub(super) struct Entry<State> {
    pub(super) state: State,
    /// Everything of the key up to here is in the state or passed over.
    pub(super) version: Version,
    /// The last event that went into the state.
    pub(super) folded: Version,
    /// When the question was asked whose answer last showed the key's head; none if none ever did.
    pub(super) compared: Option<Moment>,
    used: u64,
}

/// The states in memory, and the order in which they were used.
#[derive(Debug, Clone)]
pub(super) struct States<State> {
    entries: BTreeMap<Key, Entry<State>>,
    /// Least recently used first.
    order: BTreeMap<u64, Key>,
    uses: u64,
}

impl<State: Default> States<State> {
    pub(super) fn new() -> Self {
        Self { entries: BTreeMap::new(), order: BTreeMap::new(), uses: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Entry<State>> {
        self.entries.get(key)
    }

    pub(super) fn version(&self, key: &Key) -> Option<Version> {
        self.entries.get(key).map(|entry| entry.version)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Entry<State>)> {
        self.entries.iter()
    }

    /// Marks a state as the most recently used.
    pub(super) fn touch(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key)
            && entry.used < self.uses
        {
            self.order.remove(&entry.used);
            self.uses += 1;
            entry.used = self.uses;
            self.order.insert(self.uses, key.clone());
        }
    }

    /// The key's entry; a fresh one if there is none.
    pub(super) fn ensure(&mut self, key: &Key) -> &mut Entry<State> {
        let uses = &mut self.uses;
        let order = &mut self.order;
        self.entries.entry(key.clone()).or_insert_with(|| {
            *uses += 1;
            order.insert(*uses, key.clone());
            Entry {
                state: State::default(),
                version: Version::ZERO,
                folded: Version::ZERO,
                compared: None,
                used: *uses,
            }
        })
    }

    /// Folds one event into its key's state; returns the version that was folded before it.
    pub(super) fn fold<S: Service<State = State>>(&mut self, service: &S, event: &Event) -> Version {
        let entry = self.ensure(&event.key);
        assert!(event.version > entry.version, "an event goes into a state once: {} {}", event.key, event.version);
        service.apply(&event.key, &mut entry.state, event);
        entry.version = event.version;
        std::mem::replace(&mut entry.folded, event.version)
    }

    /// The state is known to hold everything up to `head`, whose last events may be of other types.
    pub(super) fn advance(&mut self, key: &Key, head: Version) {
        let entry = self.ensure(key);
        entry.version = entry.version.max(head);
    }

    /// Drops the least recently used states that nobody needs until `states_max` are left; returns their keys.
    pub(super) fn shrink(&mut self, states_max: usize, needed: &BTreeSet<Key>) -> Vec<Key> {
        let surplus = self.entries.len().saturating_sub(states_max);
        let chosen: Vec<(u64, Key)> = self
            .order
            .iter()
            .filter(|(_, key)| !needed.contains(*key))
            .take(surplus)
            .map(|(used, key)| (*used, key.clone()))
            .collect();
        chosen
            .into_iter()
            .map(|(used, key)| {
                self.order.remove(&used);
                self.entries.remove(&key);
                key
            })
            .collect()
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.order.len(), self.entries.len(), "every state has one place in the order of use");
        for (key, entry) in &self.entries {
            assert!(entry.folded <= entry.version, "{key}: folded up to {} of {}", entry.folded, entry.version);
            assert_eq!(self.order.get(&entry.used), Some(key), "{key} stands in the order of use");
        }
    }
}
