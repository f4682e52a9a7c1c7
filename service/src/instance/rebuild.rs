//! Playing the whole past at the start, for a service that wants its states in memory before its first delivery.
//!
//! A key may only be taken up at its first event. So once a state was left out for want of room, no new key is taken up:
//! the rest is hydrated when it is needed.

use dacapo_core::{
    Position,
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
    /// There was no room for a state: new keys are not taken up any more.
    pub(super) full: bool,
}

impl Rebuild {
    pub(super) fn lose_session(&mut self) {
        self.request = None;
    }
}

impl<S: Service> Instance<S> {
    /// Whether a rebuild goes before `ready`.
    pub(super) fn rebuild_begins(&mut self) -> bool {
        if !self.config.rebuild_at_start || self.rebuild.done || !self.line.is_up() {
            return false;
        }
        let after = self.rebuild.position;
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
            let known = self.states.version(&event.key);
            if known.is_none() && (self.rebuild.full || self.states.len() >= self.config.states_max) {
                self.rebuild.full = true;
            } else if known.unwrap_or_default() < event.version {
                self.apply(event, How::Rebuilt);
            }
        }
        self.rebuild.position = self.rebuild.position.max(page.position);
        self.send(Credit { request: Some(request), credit: 1 });
    }

    pub(super) fn rebuild_ended(&mut self, request: u64, position: Position) {
        self.questions.end(request);
        self.rebuild.request = None;
        self.rebuild.done = true;
        self.record(What::RebuildEnded { instance: self.config.name.clone(), request, position });
        self.ready();
    }
}
