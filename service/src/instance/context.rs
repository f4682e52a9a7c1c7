//! What a handler or route sees while it runs, and what it leaves behind.
//!
//! A run changes nothing: it reads states, notes which versions it saw, and gathers what it wants to emit. Whether that
//! is sent, or thrown away and run again, is decided afterwards.

use std::collections::BTreeMap;

use dacapo_core::{Data, EventType, Key, Version, planted::Planted};
use serde::Serialize;

use super::{states::States, views::View};
use crate::service::Interrupt;

/// An event that a run wants in the log.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(super) struct Emitted {
    pub(super) event_type: EventType,
    pub(super) key: Key,
    pub(super) data: Data,
    /// The key must have no event yet.
    pub(super) first: bool,
}

/// What a run leaves behind.
#[derive(Debug, Clone, Default)]
pub(super) struct Ran {
    /// The keys whose states were read, and as of which version.
    pub(super) reads: BTreeMap<Key, Version>,
    pub(super) emitted: Vec<Emitted>,
    /// A state that was asked for and not at hand. The run is void, even if the handler went on.
    pub(super) missing: Option<Key>,
    /// Whether the view was read.
    pub(super) viewed: bool,
}

/// What a handler or route may do.
#[derive(Debug)]
pub struct Context<'a, State> {
    states: &'a States<State>,
    view: &'a View,
    planted: Planted,
    ran: Ran,
}

impl<'a, State: Default> Context<'a, State> {
    pub(super) fn new(states: &'a States<State>, view: &'a View, planted: Planted) -> Self {
        Self { states, view, planted, ran: Ran::default() }
    }

    pub(super) fn finish(self) -> Ran {
        self.ran
    }

    /// The state of a key, as of a version that becomes an expectation (if the handler emits to the key) or a guard.
    /// What this run emitted is not in it. A key without events has the default state.
    pub fn state(&mut self, key: &Key) -> Result<&'a State, Interrupt> {
        if let Some(entry) = self.states.get(key) {
            self.ran.reads.insert(key.clone(), entry.version);
            Ok(&entry.state)
        } else {
            self.ran.missing.get_or_insert_with(|| key.clone());
            Err(Interrupt::Missing(key.clone()))
        }
    }

    /// What is gathered under a key: (source key, contribution as JSON text), by source key. Views carry no guard.
    /// While the view has not met the present yet it is empty, and the machine runs the handler again when it has.
    pub fn view(&mut self, gather: &Key) -> Vec<(Key, String)> {
        self.ran.viewed = true;
        self.view.gathered_under(gather)
    }

    /// Emits an event. If the key's state was read, the head must still be what it was; else any head will do.
    pub fn emit<T: Serialize + ?Sized>(&mut self, event_type: EventType, key: Key, data: &T) {
        self.ran.emitted.push(Emitted { event_type, key, data: Data::of(data), first: false });
    }

    /// Emits the first event of a key: the key must have none.
    pub fn emit_first<T: Serialize + ?Sized>(&mut self, event_type: EventType, key: Key, data: &T) {
        self.ran.emitted.push(Emitted { event_type, key, data: Data::of(data), first: true });
    }

    /// The planted bug of this run, if any.
    pub fn planted(&self) -> Planted {
        self.planted
    }
}
