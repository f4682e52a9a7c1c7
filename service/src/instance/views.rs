//! The view: source key → contribution, gathered under other keys, fed by following the log outside the lanes.
//!
//! Every instance feeds its own. A view is an index over all source keys and has no limit but their number; what a
//! service contributes should be small. Views carry no guard: what must hold is decided on states.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dacapo_core::{
    Event, Key, Position, Timestamp,
    digest::StableHasher,
    trace::What,
    wire::{Credit, Events, Rebuild},
};

use super::{Instance, Purpose, Waiter};
use crate::service::Service;

/// Pages that the bus may send ahead: one is worked on while others are under way.
pub(super) const PAGES_AHEAD: u32 = 4;

/// How often somebody who waits for a position asks how far the log is: a bus need not send pages without events, and
/// what is waited for may be an event of another type.
const PROBE_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Default)]
pub(super) struct View {
    gathered: BTreeMap<Key, BTreeMap<Key, String>>,
    /// Under which key each source key is gathered.
    placed: BTreeMap<Key, Key>,
    /// Everything up to here is in the view.
    pub(super) position: Position,
    /// The view has met the present at least once in this life.
    pub(super) met_present: bool,
    /// The probe that is under way.
    probe: Option<u64>,
    /// When the next probe is due, while somebody waits.
    probe_at: Option<Timestamp>,
    /// Who waits for which position.
    waiters: BTreeSet<(Position, Waiter)>,
    /// Pages whose credit has not been given back.
    taken: u32,
}

impl View {
    pub(super) fn gathered_under(&self, gather: &Key) -> Vec<(Key, String)> {
        let sources = self.gathered.get(gather);
        sources.into_iter().flatten().map(|(source, value)| (source.clone(), value.clone())).collect()
    }

    pub(super) fn place(&mut self, source: &Key, gather: Key, value: String) {
        if let Some(former) = self.placed.insert(source.clone(), gather.clone())
            && former != gather
            && let Some(sources) = self.gathered.get_mut(&former)
        {
            sources.remove(source);
            if sources.is_empty() {
                self.gathered.remove(&former);
            }
        }
        self.gathered.entry(gather).or_default().insert(source.clone(), value);
    }

    pub(super) fn lose_session(&mut self) {
        self.probe = None;
        self.waiters.retain(|(_, waiter)| matches!(waiter, Waiter::Request(_)));
    }

    pub(super) fn due(&self) -> Option<Timestamp> {
        self.probe_at
    }

    pub(super) fn content(&self) -> &BTreeMap<Key, BTreeMap<Key, String>> {
        &self.gathered
    }

    pub(super) fn check_invariants(&self) {
        let sources: usize = self.gathered.values().map(BTreeMap::len).sum();
        assert_eq!(sources, self.placed.len(), "every source key contributes under one key");
    }
}

impl<S: Service> Instance<S> {
    /// Opens the stream, after what was seen last.
    pub(super) fn follow_view(&mut self) {
        if !self.view_types.is_empty() {
            self.ask_for_view(Purpose::View);
        }
    }

    fn ask_for_view(&mut self, purpose: Purpose) -> u64 {
        let follow = purpose == Purpose::View;
        let request = self.questions.ask(purpose, self.now.monotonic);
        let (after, types) = (self.view.position, self.view_types.clone());
        if follow {
            self.view.taken = 0;
        }
        self.send(Rebuild { request, after, types, follow, credit: PAGES_AHEAD });
        request
    }

    /// A page of the stream or of a probe. Each of them is without gap from where it began, so whichever is ahead has
    /// brought everything before it: the rest of the other is known by its positions.
    pub(super) fn view_page(&mut self, request: u64, page: &Events) {
        for event in &page.events {
            if event.position > self.view.position {
                self.view.position = event.position;
                self.contribute(event);
            }
        }
        self.give_credit(request);
        self.view_reached(page.position);
    }

    /// Gives a page's credit back. A followed log comes commit by commit, for as long as the session lasts: there the
    /// credit of several pages goes back at once, while the bus still has enough to go on.
    fn give_credit(&mut self, request: u64) {
        let mut credit = 1;
        if self.questions.purpose(request) == Some(&Purpose::View) {
            self.view.taken += 1;
            if self.view.taken < PAGES_AHEAD / 2 {
                return;
            }
            credit = std::mem::take(&mut self.view.taken);
        }
        self.send(Credit { request: Some(request), credit });
    }

    fn contribute(&mut self, event: &Event) {
        if let Some(digest) = self.service.follow(event) {
            self.record_viewed(event, digest);
        }
        let Some(contribution) = self.service.contribute(event) else { return };
        let gather = contribution.gather;
        self.view.place(&event.key, gather.clone(), contribution.value);
        if self.config.record {
            self.record_viewed(event, StableHasher::digest(0, &self.view.gathered.get(&gather)));
        }
    }

    fn record_viewed(&mut self, event: &Event, digest: u64) {
        self.record(What::Viewed {
            service: self.name.clone(),
            instance: self.config.name.clone(),
            incarnation: self.config.incarnation,
            position: event.position,
            digest,
        });
    }

    fn view_reached(&mut self, position: Position) {
        self.view.position = self.view.position.max(position);
        while self.view.met_present
            && let Some((at_least, _)) = self.view.waiters.first()
            && *at_least <= self.view.position
        {
            self.runnable.extend(self.view.waiters.pop_first().map(|(_, waiter)| waiter));
        }
    }

    /// The stream, or a probe, has played the past.
    pub(super) fn view_met_present(&mut self, request: u64, position: Position) {
        if !std::mem::replace(&mut self.view.met_present, true) {
            self.service.caught_up(position);
        }
        if self.view.probe == Some(request) {
            self.view.probe = None;
            self.questions.end(request);
        }
        self.view_reached(position);
    }

    /// Whether the view is good for somebody who has read it and wants `at_least`; if not, they are woken later.
    pub(super) fn view_suffices(&mut self, waiter: Waiter, at_least: Position) -> bool {
        if self.view_types.is_empty() || (self.view.met_present && self.view.position >= at_least) {
            return true;
        }
        self.view.waiters.insert((at_least, waiter));
        self.view.probe_at.get_or_insert(self.now.monotonic + PROBE_EVERY);
        false
    }

    /// Wakes somebody when the view has gone on, whatever it sees then.
    pub(super) fn view_moves(&mut self, waiter: Waiter) {
        self.view.waiters.insert((self.view.position.next(), waiter));
        self.view.probe_at.get_or_insert(self.now.monotonic + PROBE_EVERY);
    }

    pub(super) fn tick_view(&mut self) {
        if self.view.probe_at.is_none_or(|at| at > self.now.monotonic) {
            return;
        }
        let wanted = !self.view.waiters.is_empty();
        self.view.probe_at = wanted.then(|| self.now.monotonic + PROBE_EVERY);
        if wanted && self.view.met_present && self.view.probe.is_none() && self.line.is_up() {
            self.view.probe = Some(self.ask_for_view(Purpose::Probe));
        }
    }
}
