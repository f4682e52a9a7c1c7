//! The promises of the bus, judged along a branch: a copy of everything that judges goes with every branch, and what it
//! remembers is part of a state's digest.

use std::hash::Hash as _;

use dacapo_core::{
    Limits, NodeName, Timestamp,
    digest::StableHasher,
    trace::{Record, What},
};
use dacapo_properties::{Known, Observer, Verdict, bus_observers};

/// Judges one branch.
pub(super) struct Jury {
    pub(super) known: Known,
    observers: Vec<Box<dyn Observer>>,
    bus: NodeName,
    step: u64,
}

impl Clone for Jury {
    fn clone(&self) -> Self {
        Self {
            known: self.known.clone(),
            observers: self.observers.iter().map(|observer| observer.boxed_clone()).collect(),
            bus: self.bus.clone(),
            step: self.step,
        }
    }
}

impl Jury {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { known: Known::default(), observers: bus_observers(limits), bus: crate::cast::bus(), step: 0 }
    }

    /// Looks at something that happened at the bus.
    pub(super) fn observe(&mut self, at: Timestamp, what: What) -> Verdict {
        self.observe_at(&self.bus.clone(), at, what)
    }

    /// Looks at something that happened.
    pub(super) fn observe_at(&mut self, node: &NodeName, at: Timestamp, what: What) -> Verdict {
        self.step += 1;
        let record = Record { step: self.step, at, node: node.clone(), what };
        self.known.observe(&record);
        let known = &self.known;
        self.observers.iter_mut().try_for_each(|observer| observer.observe(known, &record))
    }

    /// Looks back at the end.
    pub(super) fn finish(&mut self) -> Verdict {
        let known = &self.known;
        self.observers.iter_mut().try_for_each(|observer| observer.finish(known))
    }

    /// How many records it has seen.
    pub(super) fn step(&self) -> u64 {
        self.step
    }

    /// Adds all that it may yet judge by to a digest.
    pub(super) fn memory(&self, now: Timestamp, to: &mut StableHasher) {
        self.known.memory(now, to);
        for (index, observer) in self.observers.iter().enumerate() {
            index.hash(to);
            observer.memory(&self.known, now, to);
        }
    }
}
