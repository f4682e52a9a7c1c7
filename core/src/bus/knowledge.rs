//! What the bus knows of the log without asking the store: where it ends, and bounded caches of heads, ids and
//! completions.
//!
//! Each entry is stamped with the sequence of the commit that it was decided in. A look-up is answered with at least
//! every commit that was durable when it was asked; what was decided later is kept here until the last message that
//! waits since then is judged. So look-up and cache together are never stale, however long the answer took: see
//! [`Knowledge::forget`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use crate::{
    event::Event,
    limits::Limits,
    names::{EventId, Key, Position, ServiceName},
    store::KeyHead,
    wire::Produced,
};

#[derive(Debug, Clone, Default)]
pub(super) struct Knowledge {
    /// The end of the log as decided, including what is not durable yet.
    pub(super) position: Position,
    /// The end of the log as committed.
    pub(super) durable: Position,
    /// The last commit that is durable.
    pub(super) durable_sequence: u64,
    pub(super) heads: BTreeMap<Key, (KeyHead, u64)>,
    pub(super) heads_by_age: BTreeSet<(u64, Key)>,
    pub(super) recent: VecDeque<(u64, EventId)>,
    pub(super) ids: BTreeMap<EventId, Arc<Event>>,
    pub(super) done: BTreeMap<(ServiceName, Position), Arc<[Produced]>>,
    pub(super) done_by_age: VecDeque<(u64, (ServiceName, Position))>,
}

impl Knowledge {
    pub(super) fn new(position: Position) -> Self {
        Self { position, durable: position, ..Self::default() }
    }

    pub(super) fn head(&self, key: &Key) -> Option<&KeyHead> {
        self.heads.get(key).map(|(head, _)| head)
    }

    pub(super) fn event(&self, id: &EventId) -> Option<&Arc<Event>> {
        self.ids.get(id)
    }

    pub(super) fn done(&self, service: &ServiceName, position: Position) -> Option<&Arc<[Produced]>> {
        self.done.get(&(service.clone(), position))
    }

    /// Takes a head that the store answered, unless a newer one is known.
    pub(super) fn learn_head(&mut self, key: &Key, head: &KeyHead) {
        if !self.heads.contains_key(key) {
            self.set_head(key.clone(), head.clone(), self.durable_sequence);
        }
    }

    /// An event was decided in the commit `sequence`; `head` is its key's head from now on.
    pub(super) fn decided(&mut self, event: &Arc<Event>, head: KeyHead, sequence: u64) {
        debug_assert_eq!(event.position, self.position.next(), "positions are gap-free");
        self.position = event.position;
        self.set_head(event.key.clone(), head, sequence);
        self.recent.push_back((sequence, event.id.clone()));
        self.ids.insert(event.id.clone(), Arc::clone(event));
    }

    /// A completion was decided in the commit `sequence`.
    pub(super) fn completed(
        &mut self,
        service: &ServiceName,
        position: Position,
        produced: &[Produced],
        sequence: u64,
    ) {
        let which = (service.clone(), position);
        let former = self.done.insert(which.clone(), produced.into());
        debug_assert!(former.is_none(), "an event is completed once");
        self.done_by_age.push_back((sequence, which));
    }

    fn set_head(&mut self, key: Key, head: KeyHead, sequence: u64) {
        if let Some((_, former)) = self.heads.insert(key.clone(), (head, sequence)) {
            self.heads_by_age.remove(&(former, key.clone()));
        }
        self.heads_by_age.insert((sequence, key));
    }

    /// Forgets what is beyond the limits, oldest first, but nothing that was decided after the commit `floor`: the
    /// newest commit that every open look-up and read is certain to have seen.
    pub(super) fn forget(&mut self, limits: &Limits, floor: u64) {
        debug_assert!(floor <= self.durable_sequence, "what is not durable cannot be asked of the store");
        while self.heads.len() > limits.heads_max && self.heads_by_age.first().is_some_and(|(age, _)| *age <= floor) {
            if let Some((_, key)) = self.heads_by_age.pop_first() {
                self.heads.remove(&key);
            }
        }
        let old = |front: Option<&(u64, EventId)>| front.is_some_and(|(age, _)| *age <= floor);
        while self.recent.len() > limits.recent_events_max && old(self.recent.front()) {
            if let Some((_, id)) = self.recent.pop_front() {
                self.ids.remove(&id);
            }
        }
        while self.done.len() > limits.recent_events_max
            && self.done_by_age.front().is_some_and(|(age, _)| *age <= floor)
        {
            if let Some((_, which)) = self.done_by_age.pop_front() {
                self.done.remove(&which);
            }
        }
    }

    /// Heads, ids and completions in memory.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.heads.len(), self.ids.len(), self.done.len())
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.durable <= self.position, "what is durable was decided");
        assert_eq!(self.heads.len(), self.heads_by_age.len(), "each head has one age");
        assert_eq!(self.ids.len(), self.recent.len(), "each recent id stands once");
        assert_eq!(self.done.len(), self.done_by_age.len(), "each completion stands once");
    }
}
