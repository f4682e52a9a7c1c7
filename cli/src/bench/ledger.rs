//! Who was told what: figures for people, and the check that a load was carried out as the bus promises.
//!
//! It lives in one thread with all connections of the load.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};

use dacapo_core::{Key, Version};
use tokio::sync::Notify;

use super::{
    arguments::BenchArguments,
    figures::{Figures, count_in},
};
use crate::stopwatch::Stopwatch;

/// Findings that are told one by one.
const FAULTS_TOLD: usize = 10;

/// Who was told what.
pub(super) struct Ledger {
    watch: Stopwatch,
    services: u64,
    stage: Cell<Stage>,
    state: RefCell<State>,
    changed: Notify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is measured from this time on.
    Loading {
        from: Duration,
    },
    /// Publishers have stopped, instances go on.
    Draining,
    Closed,
}

struct State {
    figures: Figures,
    accepted: u64,
    completed: u64,
    /// The last version that each service has completed of each key.
    lanes: BTreeMap<(u32, Key), Version>,
    faults: Vec<String>,
    faults_count: u64,
}

impl Ledger {
    pub(super) fn new(arguments: &BenchArguments) -> Self {
        Self {
            watch: Stopwatch::start(),
            services: arguments.services.into(),
            stage: Cell::new(Stage::Loading { from: Duration::MAX }),
            state: RefCell::new(State {
                figures: Figures::new(),
                accepted: 0,
                completed: 0,
                lanes: BTreeMap::new(),
                faults: Vec::new(),
                faults_count: 0,
            }),
            changed: Notify::new(),
        }
    }

    /// Microseconds since the beginning: what stands in the events.
    pub(super) fn now_us(&self) -> u64 {
        self.watch.elapsed().as_micros() as u64
    }

    /// The load begins; measuring does after the warm-up.
    pub(super) fn begin(&self, warm_up: Duration) {
        self.stage.set(Stage::Loading { from: self.watch.elapsed() + warm_up });
    }

    /// The load ends.
    pub(super) fn end(&self) {
        if let Stage::Loading { from } = self.stage.get() {
            self.stage.set(Stage::Draining);
            self.state.borrow_mut().figures.time = self.watch.elapsed().saturating_sub(from);
        }
    }

    /// Nobody waits for anything any more.
    pub(super) fn close(&self) {
        self.stage.set(Stage::Closed);
        let mut state = self.state.borrow_mut();
        let (due, done) = (state.accepted * self.services, state.completed);
        if done < due {
            state.fault(format!("{} accepted events were not completed", due - done));
        }
        self.changed.notify_waiters();
    }

    pub(super) fn is_loading(&self) -> bool {
        matches!(self.stage.get(), Stage::Loading { .. })
    }

    /// How far into what is measured it is now, if it is measured.
    fn measured(&self) -> Option<Duration> {
        let now = self.watch.elapsed();
        match self.stage.get() {
            Stage::Loading { from } => now.checked_sub(from),
            Stage::Draining | Stage::Closed => None,
        }
    }

    /// Events were accepted that were sent then.
    pub(super) fn accepted(&self, sent_us: u64, events: u64) {
        let mut state = self.state.borrow_mut();
        state.accepted += events;
        if let Some(at) = self.measured() {
            state.figures.accepted += events;
            count_in(&mut state.figures.accepted_by_second, at, events);
            state.figures.receipt.saturating_record(self.now_us().saturating_sub(sent_us));
        }
    }

    pub(super) fn stale(&self, events: u64) {
        if self.measured().is_some() {
            self.state.borrow_mut().figures.stale += events;
        }
    }

    pub(super) fn throttled(&self) {
        if self.measured().is_some() {
            self.state.borrow_mut().figures.throttled += 1;
        }
    }

    pub(super) fn delivered_again(&self) {
        if self.measured().is_some() {
            self.state.borrow_mut().figures.delivered_again += 1;
        }
    }

    /// A service was told that it has completed this event, which was sent then.
    pub(super) fn completed(&self, service: u32, key: &Key, version: Version, sent_us: u64) {
        let mut state = self.state.borrow_mut();
        let lane = state.lanes.entry((service, key.clone())).or_default();
        let last = std::mem::replace(lane, version.max(*lane));
        if version <= last {
            state.fault(format!("service {service} completed version {version} of {key} twice, after {last}"));
        } else {
            state.completed += 1;
            if version != last.next() {
                state.fault(format!("service {service} completed version {version} of {key} right after {last}"));
            }
        }
        if let Some(at) = self.measured() {
            state.figures.completed += 1;
            count_in(&mut state.figures.completed_by_second, at, 1);
            state.figures.publish_to_completed.saturating_record(self.now_us().saturating_sub(sent_us));
        }
        drop(state);
        if !self.is_loading() {
            self.changed.notify_waiters();
        }
    }

    /// Something that a bus which keeps its promises never does.
    pub(super) fn fault(&self, sentence: String) {
        self.state.borrow_mut().fault(sentence);
        self.changed.notify_waiters();
    }

    /// Waits until a service has completed something; whether everything that was accepted is completed by every
    /// service, or something is wrong.
    pub(super) async fn drained(&self) -> bool {
        let is_done = |state: &State| state.faults_count > 0 || state.completed >= state.accepted * self.services;
        let before = self.state.borrow().completed;
        self.until(|state| is_done(state) || state.completed > before).await;
        is_done(&self.state.borrow())
    }

    /// Waits until something is wrong.
    pub(super) async fn failed(&self) {
        self.until(|state| state.faults_count > 0).await;
    }

    /// Waits until nobody waits for anything any more.
    pub(super) async fn closed(&self) {
        self.until(|_| self.stage.get() == Stage::Closed).await;
    }

    async fn until(&self, condition: impl Fn(&State) -> bool) {
        loop {
            // One thread: nothing changes between the question and the waiting.
            if condition(&self.state.borrow()) {
                return;
            }
            self.changed.notified().await;
        }
    }

    pub(super) fn figures(&self) -> Figures {
        self.state.borrow().figures.clone()
    }

    /// What was wrong, in sentences.
    pub(super) fn faults(&self) -> Vec<String> {
        let state = self.state.borrow();
        let mut told = state.faults.clone();
        let more = state.faults_count - told.len() as u64;
        if more > 0 {
            told.push(format!("and {more} more"));
        }
        told
    }
}

impl State {
    fn fault(&mut self, sentence: String) {
        self.faults_count += 1;
        if self.faults.len() < FAULTS_TOLD {
            self.faults.push(sentence);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::{Arguments, Verb};

    fn ledger() -> Ledger {
        let Verb::Bench(arguments) = Arguments::parse_from(["dacapo", "bench"]).verb else { panic!("is a bench") };
        let ledger = Ledger::new(&arguments);
        ledger.begin(Duration::ZERO);
        ledger
    }

    #[test]
    fn a_lane_in_order_is_no_fault() {
        let ledger = ledger();
        ledger.accepted(0, 2);
        ledger.completed(0, &Key::of("a"), Version(1), 0);
        ledger.completed(0, &Key::of("a"), Version(2), 0);
        ledger.end();
        ledger.close();
        assert_eq!(ledger.faults(), Vec::<String>::new());
        assert_eq!((ledger.figures().accepted, ledger.figures().completed), (2, 2));
    }

    #[test]
    fn what_is_passed_over_done_twice_or_missing_is_told() {
        let ledger = ledger();
        ledger.accepted(0, 4);
        for version in [1, 3, 3] {
            ledger.completed(0, &Key::of("a"), Version(version), 0);
        }
        ledger.end();
        ledger.close();
        let faults = ledger.faults();
        assert!(faults[0].contains("completed version 3 of a right after 1"), "{faults:?}");
        assert!(faults[1].contains("completed version 3 of a twice, after 3"), "{faults:?}");
        assert!(faults[2].contains("2 accepted events were not completed"), "{faults:?}");
    }
}
