//! Situations that a test wants to have met: a campaign that never came there has proved nothing about it.

use std::sync::Arc;

use dacapo_core::{Event, trace::Record};
use dacapo_properties::{Property, Verdict};

use super::{
    promise::Make,
    seen::{Eye, Seen},
};

/// What must happen now and then. Made by [`situation`] or [`mark`].
#[derive(Clone)]
pub struct Sometimes {
    pub(super) name: &'static str,
    /// None: the bus's own properties, or the engine, count it.
    pub(super) make: Option<Make>,
}

/// Begins a situation: its name says what happened, such as `a cancelled seat was sold again`.
pub fn situation(name: &'static str) -> Situation {
    Situation { name }
}

/// A place that the simulator itself knows, such as `conflict` or `redelivery`: `dacapo list marks` has them all, and
/// so has [`marks`](crate::marks::marks).
pub fn mark(name: &'static str) -> Sometimes {
    Sometimes { name, make: None }
}

/// A situation that does not say yet how it is seen.
#[derive(Debug, Clone, Copy)]
pub struct Situation {
    name: &'static str,
}

impl Situation {
    /// `met` sees the events of the log in order, folds them into a state of its own that begins as `start`, and says
    /// when the situation is there.
    pub fn events<S: Clone + Send + Sync + 'static>(
        self,
        start: S,
        met: impl Fn(&mut S, &Event) -> bool + Send + Sync + 'static,
    ) -> Sometimes {
        self.events_and_answers(start, move |state, seen| match seen {
            Seen::Event(event) => met(state, event),
            Seen::Answer(_) => false,
        })
    }

    /// The same over events and the answers that customers get.
    pub fn events_and_answers<S: Clone + Send + Sync + 'static>(
        self,
        start: S,
        met: impl Fn(&mut S, Seen<'_>) -> bool + Send + Sync + 'static,
    ) -> Sometimes {
        let met = Arc::new(met);
        let make: Make = Arc::new(move || {
            let (state, met) = (start.clone(), Arc::clone(&met));
            let met = move |state: &mut S, seen: Seen<'_>| met(state, seen);
            Box::new(Counter { name: self.name, eye: Eye::default(), state, met, count: 0 })
        });
        Sometimes { name: self.name, make: Some(make) }
    }
}

/// Counts a situation in a run. It is a property that never fails.
struct Counter<S, M> {
    name: &'static str,
    eye: Eye,
    state: S,
    met: M,
    count: u64,
}

impl<S: Send, M: Fn(&mut S, Seen<'_>) -> bool + Send> Property for Counter<S, M> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn sentence(&self) -> &'static str {
        "a situation that should be met now and then"
    }

    fn source(&self) -> &'static str {
        "the test itself"
    }

    fn observe(&mut self, record: &Record) -> Verdict {
        let Self { eye, state, met, count, .. } = self;
        let looked = eye.look(record, |seen| {
            *count += u64::from(met(state, seen));
            Ok(())
        });
        looked.expect("counting objects to nothing");
        Ok(())
    }

    fn checks(&self) -> u64 {
        self.count
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![(self.name, self.count)]
    }
}
