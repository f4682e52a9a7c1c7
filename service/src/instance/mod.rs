//! The instance machine: one process of a service, without IO.
//!
//! ```text
//! handle_input(now, Input)          mutate
//! poll_output() -> Option<Output>   then drain
//! poll_timeout() -> Option<Timestamp>
//! ```
//!
//! | file | what lives there |
//! |---|---|
//! | `config`, `io` | how an instance is set up; its inputs, outputs and the [`Machine`] trait |
//! | `session` | connect, `hello`, `welcome`, heartbeats, coming back |
//! | `questions` | what was asked of the bus under a number |
//! | `states`, `fetches` | the states in memory; bringing one up to its head |
//! | `queries` | whole keys read for a handler |
//! | `context`, `decision`, `ids` | what a handler sees; what becomes of what it read and emitted; derived ids |
//! | `deliveries`, `handling` | what is open; handling it and taking the bus's answer |
//! | `requests` | routes: idempotent publishing, answers |
//! | `views`, `rebuild`, `reconcile` | following the log, playing the past, comparing all heads |
//!
//! Deliberately absent: IO, clocks, chance; and any memory of what was answered, since the log has it.

mod config;
mod context;
mod decision;
mod deliveries;
mod fetches;
mod handling;
mod ids;
mod io;
mod queries;
mod questions;
mod rebuild;
mod reconcile;
mod requests;
mod session;
mod states;
#[cfg(test)]
mod tests;
mod views;

use std::collections::{BTreeSet, VecDeque};

use dacapo_core::{
    Event, EventType, Key, Now, ServiceName, Timestamp,
    digest::{StableHasher, digest_of},
    marks::Mark,
    sizes::SizesTold,
    trace::{How, What},
    wire::{FromBus, ToBus},
};

pub use self::{
    config::{HandlerFaults, InstanceConfig},
    context::Context,
    io::{Input, Machine, Output},
    requests::REQUEST_ANSWERED,
};
use self::{
    context::Ran,
    deliveries::Deliveries,
    fetches::{Fetches, Waiter},
    queries::Queries,
    questions::{Purpose, Questions},
    rebuild::Rebuild,
    reconcile::Reconcile,
    requests::Requests,
    session::{Line, Link},
    states::States,
    views::View,
};
use crate::service::{Interrupt, Response, Route, Service};

/// How many inputs pass between two looks at every state, in builds that look at all.
const STATES_CHECKED_EVERY: u64 = 64;

/// One process of the service `S`.
#[derive(Clone)]
pub struct Instance<S: Service> {
    service: S,
    config: InstanceConfig,
    name: ServiceName,
    /// Sorted.
    types: Vec<EventType>,
    /// Sorted.
    view_types: Vec<EventType>,
    now: Now,
    /// Counts the inputs, to tell what came first within one microsecond.
    input: u64,
    outputs: VecDeque<Output>,
    /// Who should look again whether it can go on; looking twice does no harm.
    runnable: VecDeque<Waiter>,
    line: Line,
    questions: Questions,
    states: States<S::State>,
    fetches: Fetches,
    queries: Queries,
    deliveries: Deliveries,
    requests: Requests,
    view: View,
    rebuild: Rebuild,
    reconcile: Reconcile,
    sizes_told: SizesTold<4>,
}

impl<S: Service> Instance<S> {
    /// An instance that has not started.
    ///
    /// # Panics
    /// When the configuration cannot work: without credit, or without room for a state.
    pub fn new(service: S, config: InstanceConfig) -> Self {
        assert!(config.credit > 0, "an instance without credit gets no delivery");
        assert!(config.states_max > 0, "an instance needs room for a state");
        let mut view = View::default();
        view.position = service.followed();
        let sorted = |types: Vec<EventType>| types.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        Self {
            name: service.name(),
            types: sorted(service.types()),
            view_types: sorted(service.view_types()),
            service,
            config,
            now: Now::default(),
            input: 0,
            outputs: VecDeque::new(),
            runnable: VecDeque::new(),
            line: Line::new(),
            questions: Questions::default(),
            states: States::new(),
            fetches: Fetches::default(),
            queries: Queries::default(),
            deliveries: Deliveries::default(),
            requests: Requests::default(),
            view,
            rebuild: Rebuild::default(),
            reconcile: Reconcile::default(),
            sizes_told: SizesTold::default(),
        }
    }

    fn send(&mut self, frame: impl Into<ToBus>) {
        if let Link::Up(session) = &mut self.line.link {
            session.said(self.now.monotonic);
        }
        self.outputs.push_back(Output::Send(frame.into()));
    }

    fn record(&mut self, what: What) {
        if self.config.record {
            self.outputs.push_back(Output::Record(what));
        }
    }

    fn record_all(&mut self, records: Vec<What>) {
        for what in records {
            self.record(what);
        }
    }

    fn mark(&mut self, mark: Mark) {
        if self.config.record {
            self.record(What::Mark { name: mark.name.to_owned() });
        }
    }

    /// Runs a handler or route; nothing is changed by it.
    fn run<T>(
        &self,
        body: impl FnOnce(&S, &mut Context<'_, S::State>) -> Result<T, Interrupt>,
    ) -> (Result<T, Interrupt>, Ran) {
        let mut context = Context::new(&self.states, &self.view, &self.queries, self.config.planted, self.now);
        let result = body(&self.service, &mut context);
        (result, context.finish())
    }

    /// Folds one event into its key's state.
    fn apply(&mut self, event: &Event, how: How) {
        let after = self.states.fold(&self.service, event);
        self.states.touch(&event.key);
        if !self.config.record {
            return;
        }
        let digest = self.states.get(&event.key).map_or(0, |entry| StableHasher::digest(0, &entry.state));
        self.record(What::Applied {
            service: self.name.clone(),
            instance: self.config.name.clone(),
            incarnation: self.config.incarnation,
            code: self.service.code(),
            key: event.key.clone(),
            position: event.position,
            version: event.version,
            after,
            digest,
            how,
        });
    }

    /// A frame of the bus, sent on from here to who asked for it.
    fn frame(&mut self, frame: FromBus) {
        let Some(frame) = self.frame_of_session(frame) else { return };
        match frame {
            FromBus::Deliver(deliver) => self.delivered(deliver),
            FromBus::Completed(completed) => self.completed(&completed),
            FromBus::Conflict(conflict) => self.conflict(conflict),
            FromBus::Fenced(fenced) => self.fenced(&fenced),
            FromBus::Rejected(rejected) => self.rejected(&rejected),
            FromBus::Events(page) => match self.questions.purpose(page.request).cloned() {
                Some(Purpose::View | Purpose::Probe) => self.view_page(page.request, &page),
                Some(Purpose::Rebuild) => self.rebuild_page(page.request, &page),
                Some(purpose @ (Purpose::State(_) | Purpose::Query(_) | Purpose::Answer(_) | Purpose::Heads)) => {
                    self.questions.end(page.request);
                    match purpose {
                        Purpose::State(key) => self.hydrated(&key, &page),
                        Purpose::Query(key) => self.queried(&key, &page),
                        Purpose::Answer(id) => self.looked_up(id, &page),
                        _ => self.heads_page(page),
                    }
                }
                Some(Purpose::Publish(_)) | None => {}
            },
            FromBus::Rebuilt(rebuilt) => match self.questions.purpose(rebuilt.request) {
                Some(Purpose::View | Purpose::Probe) => self.view_met_present(rebuilt.request, rebuilt.position),
                Some(Purpose::Rebuild) => self.rebuild_ended(rebuilt.request, rebuilt.position),
                _ => {}
            },
            FromBus::Receipts(receipts) => {
                if let Some(Purpose::Publish(id)) = self.questions.purpose(receipts.request).cloned() {
                    self.questions.end(receipts.request);
                    self.receipts(id, &receipts.receipts);
                }
            }
            FromBus::Resume(_) => self.resumed(),
            FromBus::Error(error) => self.error(&error),
            FromBus::Closing(_) => self.hang_up(false),
            FromBus::Welcome(_) | FromBus::Pong(_) => {}
        }
    }

    /// Goes on with whatever can go on.
    fn work(&mut self) {
        while let Some(waiter) = self.runnable.pop_front() {
            match waiter {
                Waiter::Delivery(position) => self.step_delivery(position),
                Waiter::Request(id) => self.step_request(id),
            }
        }
        self.ask_for_states();
    }

    /// What is in memory and open, against its limits, as far as it is news.
    fn record_sizes(&mut self) {
        if !self.config.record {
            return;
        }
        let Some(credit) = self.line.session().map(|session| u64::from(session.welcome.credit)) else { return };
        let states_max = self.config.states_max;
        // What is needed is counted only where it counts.
        let states_max = if self.states.len() <= states_max { states_max } else { states_max + self.needed().len() };
        let all = [
            ("instance deliveries", self.deliveries.unanswered(), handling::OPEN_PER_CREDIT as u64 * credit),
            ("instance reads", self.fetches.asked(), fetches::READS_OPEN_MAX as u64),
            ("instance requests", self.requests.len(), self.config.requests_max as u64),
            ("instance states", self.states.len(), states_max as u64),
        ];
        let mut sizes = Vec::new();
        for (place, (name, size, limit)) in all.into_iter().enumerate() {
            if self.sizes_told.is_news(place, size as u64, limit) {
                sizes.push((name.to_owned(), size as u64, limit));
            }
        }
        if !sizes.is_empty() {
            self.record(What::Sizes { sizes });
        }
    }

    fn tick(&mut self) {
        self.tick_line();
        self.tick_deliveries();
        self.tick_requests();
        self.tick_view();
        self.tick_reconcile();
    }

    /// Forgets what is least recently used beyond the limit; what open work needs stays.
    fn forget_surplus_states(&mut self) {
        if self.states.len() <= self.config.states_max {
            return;
        }
        let needed = self.needed();
        let forgotten = self.states.shrink(self.config.states_max, &needed);
        for key in forgotten {
            self.rebuild.forget(&key);
            self.record(What::Forgotten {
                service: self.name.clone(),
                instance: self.config.name.clone(),
                incarnation: self.config.incarnation,
                key: Some(key),
            });
        }
    }

    /// The states that open work holds in memory.
    fn needed(&self) -> BTreeSet<Key> {
        let by_deliveries = self.deliveries.iter().flat_map(|(_, open)| &open.needs);
        by_deliveries.chain(self.requests.needs()).chain(self.fetches.keys()).cloned().collect()
    }
}

impl<S: Service> Machine for Instance<S> {
    fn handle_input(&mut self, now: Now, input: Input) {
        debug_assert!(now.monotonic >= self.now.monotonic, "the monotonic clock went back");
        self.now = now;
        self.input += 1;
        if matches!(self.line.link, Link::Ended) {
            if let Input::Request { id, .. } = input {
                let response = Response::error(503, "the instance is shutting down; repeat the request");
                self.outputs.push_back(Output::Respond { id, response });
            }
            return;
        }
        match input {
            Input::Started => self.started(),
            Input::Connected => self.connected(),
            Input::Frame(frame) => self.frame(frame),
            Input::Disconnected => self.disconnected(),
            Input::Request { id, request } => self.requested(id, request),
            Input::RequestGone { id } => self.request_gone(id),
            Input::Shutdown => self.shut_down(),
            Input::Timeout => self.tick(),
        }
        self.work();
        self.forget_surplus_states();
        if cfg!(debug_assertions) {
            self.check_work();
            // Looking at every state after every input would cost more than all the rest.
            if self.input.is_multiple_of(STATES_CHECKED_EVERY) {
                self.states.check_invariants();
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        if matches!(self.line.link, Link::Ended) {
            return None;
        }
        let up = self.line.is_up();
        [
            self.line.due(self.questions.oldest()),
            self.deliveries.due().filter(|_| up),
            self.requests.due(),
            self.view.due(),
            self.reconcile.due().filter(|_| up),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn routes(&self) -> Vec<Route> {
        self.service.routes()
    }

    fn incarnation(&self) -> u64 {
        self.config.incarnation
    }

    fn check_invariants(&self) {
        self.states.check_invariants();
        self.view.check_invariants();
        self.check_work();
    }

    fn digest(&self) -> u64 {
        let mut digest = digest_of(self.config.incarnation, &(&self.name, &self.config.name, self.line.attempts));
        for (key, entry) in self.states.iter() {
            digest = digest_of(digest, &(key, entry.version, entry.folded, &entry.state));
        }
        for (position, open) in self.deliveries.iter() {
            digest = digest_of(digest, &(position, open.token, &open.decided, open.of_former_session, &open.heads));
        }
        digest = digest_of(digest, &self.requests.content());
        digest = digest_of(digest, &self.fetches.keys().collect::<Vec<_>>());
        digest = digest_of(digest, &(self.view.content(), self.view.position, self.view.met_present));
        digest = digest_of(digest, &(self.rebuild.position, self.rebuild.done, self.reconcile.suspects()));
        let session = self.line.session().map(|session| (session.welcome.session, session.ready));
        digest_of(digest, &(session, std::mem::discriminant(&self.line.link)))
    }

    fn boxed_clone(&self) -> Box<dyn Machine> {
        Box::new(self.clone())
    }
}

impl<S: Service> Instance<S> {
    /// The rules of what is open, which is little.
    fn check_work(&self) {
        self.fetches.check_invariants();
        self.deliveries.check_invariants();
        assert!(self.runnable.is_empty(), "work was left lying");
        self.requests.check_invariants();
        assert!(self.requests.len() <= self.config.requests_max, "more requests are open than may be");
        let surplus = self.states.len().saturating_sub(self.config.states_max);
        assert!(surplus <= self.needed().len(), "{surplus} states too many are in memory");
        if let Some(session) = self.line.session() {
            let (open, credit) = (self.deliveries.unanswered(), session.welcome.credit as usize);
            assert!(open <= handling::OPEN_PER_CREDIT * credit, "{open} deliveries are open, the credit is {credit}");
        } else {
            assert_eq!(self.deliveries.unanswered(), 0, "a delivery outlived its session");
            assert_eq!(self.questions.purposes().count(), 0, "a question outlived its session");
        }
        for purpose in self.questions.purposes() {
            if let Purpose::State(key) = purpose {
                assert!(self.fetches.contains(key), "nobody waits for {key}");
            }
        }
    }
}
