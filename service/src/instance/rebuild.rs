//! Playing the whole past at the start, for a service that wants its states in memory before its first delivery.
//!
//! A key may only be taken up at its first event, and only a state that has had every event played so far may have the
//! next. So once a state was left out or forgotten for want of room, no new key is taken up; and a state that a request
//! hydrates meanwhile is left to its hydration. The rest is hydrated when it is needed.

use std::collections::BTreeSet;

use dacapo_core::{
    Key, Position,
    marks::instance as marks,
    trace::{How, What},
    wire::{Credit, Events, Rebuild as RebuildFrame},
};

use super::{Instance, Purpose, views::PAGES_AHEAD};
use crate::service::Service;

#[derive(Debug, Clone, Default)]
pub(super) struct Rebuild {
    /// The stream under way.
    request: Option<u64>,
    /// The past up to here is played.
    pub(super) position: Position,
    pub(super) done: bool,
    /// The keys whose states have had every event played so far.
    played: BTreeSet<Key>,
    /// There was no room for a state: new keys are not taken up any more.
    full: bool,
}

impl Rebuild {
    pub(super) fn lose_session(&mut self) {
        self.request = None;
    }

    /// A state was dropped for want of room.
    pub(super) fn forget(&mut self, key: &Key) {
        self.full = true;
        self.played.remove(key);
    }
}

impl<S: Service> Instance<S> {
    /// Whether a rebuild goes before `ready`.
    pub(super) fn rebuild_begins(&mut self) -> bool {
        if !self.config.rebuild_at_start || self.rebuild.done || !self.line.is_up() {
            return false;
        }
        let after = self.rebuild.position;
        if after > Position::ZERO {
            self.mark(marks::REBUILD_WENT_ON);
        }
        let request = self.questions.ask(Purpose::Rebuild, self.now.monotonic);
        self.rebuild.request = Some(request);
        self.record(What::RebuildBegun { instance: self.config.name.clone(), request, after });
        self.send(RebuildFrame { request, after, types: self.types.clone(), follow: false, credit: PAGES_AHEAD });
        true
    }

    pub(super) fn rebuild_page(&mut self, request: u64, page: &Events) {
        for event in &page.events {
            if event.position <= self.rebuild.position {
                continue;
            }
            self.rebuild.position = event.position;
            match self.states.version(&event.key) {
                None if self.rebuild.full || self.states.len() >= self.config.states_max => self.rebuild.full = true,
                None => {
                    self.rebuild.played.insert(event.key.clone());
                    self.apply(event, How::Rebuilt);
                }
                Some(version) if version < event.version && self.rebuild.played.contains(&event.key) => {
                    self.apply(event, How::Rebuilt);
                }
                Some(_) => {}
            }
        }
        self.rebuild.position = self.rebuild.position.max(page.position);
        self.send(Credit { request: Some(request), credit: 1 });
    }

    pub(super) fn rebuild_ended(&mut self, request: u64, position: Position) {
        self.questions.end(request);
        self.rebuild.request = None;
        self.rebuild.done = true;
        self.rebuild.played.clear();
        self.record(What::RebuildEnded { instance: self.config.name.clone(), request, position });
        self.ready();
    }
}
