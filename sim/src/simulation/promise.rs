//! Promises of a test's own, from closures.
//!
//! ```
//! use std::collections::BTreeMap;
//! use dacapo_sim::prelude::*;
//!
//! /// What each account holds, added up from the log by code that the service does not share.
//! fn no_overdraft() -> Always {
//!     promise("no_overdraft", "no account ever holds less than nothing").events(
//!         BTreeMap::<Key, i64>::new(),
//!         |held, event| {
//!             let pence: i64 = event.data.to().unwrap_or(0);
//!             let held = held.entry(event.key.clone()).or_default();
//!             match event.event_type.as_str() {
//!                 "Credited" => *held += pence,
//!                 "Debited" => *held -= pence,
//!                 _ => {}
//!             }
//!             if *held < 0 { Err(format!("{} holds {held} pence", event.key)) } else { Ok(()) }
//!         },
//!     )
//! }
//! ```

use std::{collections::BTreeMap, sync::Arc};

use dacapo_core::{Event, EventType, Key, trace::Record};
use dacapo_properties::{Property, Verdict, Violation};
use dacapo_service::Service;

use super::seen::{Eye, Seen};

/// Makes a property for each run.
pub(crate) type Make = Arc<dyn Fn() -> Box<dyn Property> + Send + Sync>;

/// What must hold at every step. Made by [`promise`], or from a function that makes a [`Property`].
#[derive(Clone)]
pub struct Always(pub(crate) Make);

/// What must hold at the end, when all faults are over and everything is done. Made by [`promise`], or from a function
/// that makes a [`Property`] which judges in its `finish`.
#[derive(Clone)]
pub struct Eventually(pub(super) Make);

impl<F: Fn() -> P + Send + Sync + 'static, P: Property + 'static> From<F> for Always {
    fn from(make: F) -> Self {
        Self(Arc::new(move || Box::new(make())))
    }
}

impl<F: Fn() -> P + Send + Sync + 'static, P: Property + 'static> From<F> for Eventually {
    fn from(make: F) -> Self {
        Self(Arc::new(move || Box::new(make())))
    }
}

/// Begins a promise: its name (`a_seat_is_sold_once`), and one sentence that a person can check.
pub fn promise(name: &'static str, sentence: &'static str) -> Promise {
    Promise { name, sentence }
}

/// A promise that does not say yet how it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    name: &'static str,
    sentence: &'static str,
}

impl Promise {
    /// Holds at every prefix of the log: `judge` sees the events in order, folds them into a state of its own that
    /// begins as `start`, and objects with a sentence that says what it saw.
    pub fn events<S: Clone + Send + Sync + 'static>(
        self,
        start: S,
        judge: impl Fn(&mut S, &Event) -> Result<(), String> + Send + Sync + 'static,
    ) -> Always {
        self.events_and_answers(start, move |state, seen| match seen {
            Seen::Event(event) => judge(state, event),
            Seen::Answer(_) => Ok(()),
        })
    }

    /// Holds of every state: after each event, `judge` sees the key and the state that the service's own fold makes of
    /// the key's events. It trusts that fold; what must not depend on it belongs into [`events`](Self::events).
    pub fn states<V: Service>(
        self,
        service: V,
        judge: impl Fn(&Key, &V::State) -> Result<(), String> + Send + Sync + 'static,
    ) -> Always {
        let types: Vec<EventType> = service.types();
        self.events(BTreeMap::<Key, V::State>::new(), move |states, event| {
            if !types.contains(&event.event_type) {
                return Ok(());
            }
            let state = states.entry(event.key.clone()).or_default();
            service.apply(&event.key, state, event);
            judge(&event.key, state)
        })
    }

    /// Holds of the answers that customers get: `judge` sees events and answers in the order in which they come.
    pub fn events_and_answers<S: Clone + Send + Sync + 'static>(
        self,
        start: S,
        judge: impl Fn(&mut S, Seen<'_>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Always {
        let judge = Arc::new(judge);
        Always(Arc::new(move || {
            let (state, eye, judge) = (start.clone(), Eye::default(), Arc::clone(&judge));
            let judge = move |state: &mut S, seen: Seen<'_>| judge(state, seen);
            Box::new(Rule {
                promise: self,
                state,
                eye,
                judge,
                at_the_end: |_: &S| Ok(()),
                judges_end: false,
                checks: 0,
            })
        }))
    }

    /// Holds at the end: `gather` folds events and answers into a state as they come, `judge` looks at it when all is
    /// healed and done and [`inspect`](super::Simulation::inspect) has its answers.
    pub fn at_the_end<S: Clone + Send + Sync + 'static>(
        self,
        start: S,
        gather: impl Fn(&mut S, Seen<'_>) + Send + Sync + 'static,
        judge: impl Fn(&S) -> Result<(), String> + Send + Sync + 'static,
    ) -> Eventually {
        let (gather, judge) = (Arc::new(gather), Arc::new(judge));
        Eventually(Arc::new(move || {
            let (state, eye) = (start.clone(), Eye::default());
            let (gather, at_the_end) = (Arc::clone(&gather), Arc::clone(&judge));
            let judge = move |state: &mut S, seen: Seen<'_>| {
                gather(state, seen);
                Ok(())
            };
            let at_the_end = move |state: &S| at_the_end(state);
            Box::new(Rule { promise: self, state, eye, judge, at_the_end, judges_end: true, checks: 0 })
        }))
    }

    fn broken(self, step: u64, message: String, steps: Vec<u64>) -> Verdict {
        Err(Box::new(Violation { property: self.name, sentence: self.sentence, step, message, steps }))
    }
}

/// A promise over a run.
struct Rule<S, J, E> {
    promise: Promise,
    state: S,
    eye: Eye,
    judge: J,
    at_the_end: E,
    judges_end: bool,
    checks: u64,
}

impl<S, J, E> Property for Rule<S, J, E>
where
    S: Send,
    J: Fn(&mut S, Seen<'_>) -> Result<(), String> + Send,
    E: Fn(&S) -> Result<(), String> + Send,
{
    fn name(&self) -> &'static str {
        self.promise.name
    }

    fn sentence(&self) -> &'static str {
        self.promise.sentence
    }

    fn source(&self) -> &'static str {
        "the test itself"
    }

    fn observe(&mut self, record: &Record) -> Verdict {
        let Self { state, judge, checks, judges_end, .. } = self;
        let looked = self.eye.look(record, |seen| {
            *checks += u64::from(!*judges_end);
            judge(state, seen)
        });
        looked.or_else(|(message, steps)| {
            let steps = steps.into_iter().filter(|step| *step != record.step).collect();
            self.promise.broken(record.step, message, steps)
        })
    }

    fn finish(&mut self) -> Verdict {
        self.checks += u64::from(self.judges_end);
        (self.at_the_end)(&self.state).or_else(|message| self.promise.broken(0, message, Vec::new()))
    }

    fn checks(&self) -> u64 {
        self.checks
    }
}
