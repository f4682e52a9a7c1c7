//! Open deliveries: what the bus gave this instance to handle, and how far each is.
//!
//! Of one lane only the first is handled; those behind it wait until it has ended. A delivery whose completion was sent
//! and not answered outlives the connection: it is asked again on the next, and the log says what became of it. One that
//! stays unanswered on a connection that lives is asked again there: it, or its answer, was lost, and whatever is behind
//! it in its lane would wait for ever.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dacapo_core::{
    Event, Key, Position, Timestamp, Version,
    wire::{Complete, Head, Token},
};

use super::{Waiter, states::Moment};

#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) token: Token,
    pub(super) previous: Version,
    pub(super) event: Arc<Event>,
    /// When it came.
    pub(super) came: Moment,
    /// When the bus must be told that it takes longer; or, once it is decided, asked again what became of it.
    pub(super) wake_at: Timestamp,
    /// What was sent and is not answered yet; none while it is handled.
    pub(super) decided: Option<Complete>,
    /// Its session has ended: the answer to what was decided is all that is still wanted.
    pub(super) of_former_session: bool,
    /// How far the states must be before it is handled again: a conflict told.
    pub(super) heads: Vec<Head>,
    /// The states that its last run read or lacked.
    pub(super) needs: BTreeSet<Key>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Deliveries {
    open: BTreeMap<Position, Delivery>,
    lanes: BTreeMap<Key, BTreeSet<Position>>,
    decided: usize,
    /// First ones of their lanes that wait for completions to be answered.
    held: BTreeSet<Position>,
}

impl Deliveries {
    pub(super) fn get(&self, position: Position) -> Option<&Delivery> {
        self.open.get(&position)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Position, &Delivery)> {
        self.open.iter()
    }

    pub(super) fn decided(&self) -> usize {
        self.decided
    }

    /// Deliveries that are not answered yet: those that the bus counts against the credit.
    pub(super) fn unanswered(&self) -> usize {
        self.open.len() - self.decided
    }

    pub(super) fn insert(&mut self, delivery: Delivery) {
        let position = delivery.event.position;
        self.end(position);
        self.lanes.entry(delivery.event.key.clone()).or_default().insert(position);
        self.open.insert(position, delivery);
    }

    pub(super) fn end(&mut self, position: Position) -> Option<Delivery> {
        let ended = self.open.remove(&position)?;
        self.held.remove(&position);
        self.decided -= usize::from(ended.decided.is_some());
        if let Some(lane) = self.lanes.get_mut(&ended.event.key) {
            lane.remove(&position);
            if lane.is_empty() {
                self.lanes.remove(&ended.event.key);
            }
        }
        Some(ended)
    }

    pub(super) fn decide(&mut self, position: Position, complete: Complete, ask_at: Timestamp) {
        if let Some(delivery) = self.open.get_mut(&position) {
            delivery.wake_at = ask_at;
            self.decided += usize::from(delivery.decided.replace(complete).is_none());
        }
    }

    /// Opens a decided delivery again, to be handled on fresher ground; returns what was decided.
    pub(super) fn reconsider(&mut self, position: Position, heads: Vec<Head>) -> Option<Complete> {
        let delivery = self.open.get_mut(&position)?;
        let former = delivery.decided.take()?;
        self.decided -= 1;
        delivery.heads = heads;
        Some(former)
    }

    pub(super) fn get_mut(&mut self, position: Position) -> Option<&mut Delivery> {
        self.open.get_mut(&position)
    }

    pub(super) fn first_of(&self, key: &Key) -> Option<Position> {
        self.lanes.get(key)?.first().copied()
    }

    /// Withdraws what was delivered behind `ended` on its lane to the same owner: it comes again after it.
    pub(super) fn withdraw_behind(&mut self, ended: &Delivery) {
        let epoch = |token: Token| (token.term, token.session, token.epoch);
        let behind: Vec<Position> = self.lanes.get(&ended.event.key).map_or_else(Vec::new, |lane| {
            lane.range(ended.event.position..)
                .copied()
                .filter(|position| epoch(self.open[position].token) == epoch(ended.token))
                .collect()
        });
        for position in behind {
            self.end(position);
        }
    }

    pub(super) fn hold(&mut self, position: Position) {
        self.held.insert(position);
    }

    pub(super) fn release_held(&mut self) -> impl Iterator<Item = Waiter> + use<> {
        std::mem::take(&mut self.held).into_iter().map(Waiter::Delivery)
    }

    /// What is not decided comes again with another token, here or elsewhere.
    pub(super) fn lose_session(&mut self) {
        let undecided: Vec<Position> =
            self.open.iter().filter(|(_, open)| open.decided.is_none()).map(|(position, _)| *position).collect();
        for position in undecided {
            self.end(position);
        }
        self.open.values_mut().for_each(|delivery| delivery.of_former_session = true);
    }

    /// When the next delivery is due to be extended or asked about.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.open.values().map(|open| open.wake_at).min()
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.decided, self.open.values().filter(|open| open.decided.is_some()).count());
        assert_eq!(self.open.len(), self.lanes.values().map(BTreeSet::len).sum::<usize>());
        for (position, delivery) in &self.open {
            assert!(self.lanes.get(&delivery.event.key).is_some_and(|lane| lane.contains(position)));
            assert!(!delivery.of_former_session || delivery.decided.is_some(), "{position} outlived its session");
        }
        assert!(self.held.iter().all(|position| self.open.contains_key(position)));
    }
}
