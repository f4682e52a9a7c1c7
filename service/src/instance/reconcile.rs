//! `reconcile`: walks all keys' heads and finds what no delivery told of, even a lost last event.
//!
//! A state that is behind on one walk may only be waiting for its delivery. It is hydrated when on the next walk it still
//! lacks what the first one saw.

use std::collections::BTreeMap;

use dacapo_core::{
    Key, Timestamp, Version,
    marks::instance as marks,
    planted::Bug,
    wire::{Events, Head, Read, ReadWhat},
};

use super::{Instance, Purpose};
use crate::service::Service;

#[derive(Debug, Clone, Default)]
pub(super) struct Reconcile {
    /// When the next walk begins; none while one is under way, or if there is none to come.
    walk_at: Option<Timestamp>,
    /// Keys in memory that were behind on the former walk, with the head that it saw.
    suspects: BTreeMap<Key, Version>,
    /// The same of the walk that is under way.
    found: BTreeMap<Key, Version>,
}

impl Reconcile {
    pub(super) fn lose_session(&mut self) {
        // A walk that was cut short begins anew; one that is due is not put off.
        self.found.clear();
    }

    pub(super) fn due(&self) -> Option<Timestamp> {
        self.walk_at
    }

    pub(super) fn suspects(&self) -> usize {
        self.suspects.len()
    }
}

impl<S: Service> Instance<S> {
    /// Sets the time of the next walk, if it is not set.
    pub(super) fn reconcile_later(&mut self) {
        let every = self.config.reconcile_every.filter(|_| !self.config.planted.is(Bug::LastEventLost));
        let walk_at = every.map(|every| self.now.monotonic + every);
        self.reconcile.walk_at = self.reconcile.walk_at.or(walk_at);
    }

    pub(super) fn tick_reconcile(&mut self) {
        if self.line.is_up() && self.reconcile.walk_at.is_some_and(|at| at <= self.now.monotonic) {
            self.reconcile.walk_at = None;
            self.ask_for_heads(None);
        }
    }

    fn ask_for_heads(&mut self, after: Option<Key>) {
        let request = self.questions.ask(Purpose::Heads, self.now.monotonic);
        self.send(Read { request, what: ReadWhat::Keys { after } });
    }

    pub(super) fn heads_page(&mut self, page: Events) {
        let last = page.heads.last().map(|head| head.key.clone());
        for Head { key, version: head } in page.heads {
            let Some(version) = self.states.version(&key).filter(|version| *version < head) else { continue };
            if self.reconcile.suspects.get(&key).is_some_and(|seen| version < *seen) {
                self.mark(marks::RECONCILED);
                self.fetches.want(&key, None);
            } else {
                self.reconcile.found.insert(key, head);
            }
        }
        if let Some(last) = last.filter(|_| page.more) {
            return self.ask_for_heads(Some(last));
        }
        self.reconcile.suspects = std::mem::take(&mut self.reconcile.found);
        self.reconcile_later();
    }
}
