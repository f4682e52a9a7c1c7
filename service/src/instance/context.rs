//! What a handler or route sees while it runs, and what it leaves behind.
//!
//! A run changes nothing: it reads states, notes which versions it saw, and gathers what it wants to emit. Whether that
//! is sent, or thrown away and run again, is decided afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
    sync::Arc,
};

use dacapo_core::{
    CorrelationId, Data, Event, EventType, Expectation, Key, Now, Position, Version, planted::Planted, trace::What,
};
use serde::Serialize;

use super::{queries::Queries, states::States, views::View};
use crate::service::Interrupt;

/// An event that a run wants in the log.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Emitted {
    pub(super) event_type: EventType,
    pub(super) key: Key,
    pub(super) data: Data,
    /// The key must have no event yet.
    pub(super) first: bool,
    /// Where the service says by itself what it demands, and whose correlation it is.
    pub(super) as_said: Option<(Expectation, Option<CorrelationId>)>,
}

impl Hash for Emitted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.event_type, &self.key, &self.data, self.first).hash(state);
        // Ids are derived from it: what came later must not change those of batches without it.
        if let Some(as_said) = &self.as_said {
            as_said.hash(state);
        }
    }
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
    /// The view must have seen this.
    pub(super) at_least: Position,
    /// Whether values of the view were read, and not only that there are none.
    pub(super) viewed_values: bool,
    /// What was read makes no demands on what is emitted.
    pub(super) unguarded: bool,
    /// But for these.
    pub(super) guarded: BTreeSet<Key>,
    /// Keys whose events were asked for.
    pub(super) queried: BTreeSet<Key>,
    /// For the trace.
    pub(super) records: Vec<What>,
}

/// What a handler or route may do.
#[derive(Debug)]
pub struct Context<'a, State> {
    states: &'a States<State>,
    view: &'a View,
    queries: &'a Queries,
    planted: Planted,
    now: Now,
    ran: Ran,
}

impl<'a, State: Default> Context<'a, State> {
    pub(super) fn new(
        states: &'a States<State>,
        view: &'a View,
        queries: &'a Queries,
        planted: Planted,
        now: Now,
    ) -> Self {
        Self { states, view, queries, planted, now, ran: Ran::default() }
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

    /// Every event of a key, whatever its type, in order: 10,000 at most, as of some moment after it was asked for. It
    /// carries no guard. What is not at hand is fetched, and the handler run again.
    pub fn events(&mut self, key: &Key) -> Result<&'a [Arc<Event>], Interrupt> {
        self.ran.queried.insert(key.clone());
        self.queries.read(key).ok_or_else(|| Interrupt::Unread(key.clone()))
    }

    /// What is gathered under a key: (source key, contribution as JSON text), by source key. Views carry no guard.
    /// While the view has not met the present yet it is empty, and the machine runs the handler again when it has.
    pub fn view(&mut self, gather: &Key) -> Vec<(Key, String)> {
        self.ran.viewed = true;
        self.view.gathered_under(gather)
    }

    /// Emits an event. If the key's state was read, the head must still be what it was; else any head will do.
    pub fn emit<T: Serialize + ?Sized>(&mut self, event_type: EventType, key: Key, data: &T) {
        self.ran.emitted.push(Emitted { event_type, key, data: Data::of(data), first: false, as_said: None });
    }

    /// Emits the first event of a key: the key must have none.
    pub fn emit_first<T: Serialize + ?Sized>(&mut self, event_type: EventType, key: Key, data: &T) {
        self.ran.emitted.push(Emitted { event_type, key, data: Data::of(data), first: true, as_said: None });
    }

    /// Emits an event with an expectation of its own; for hosts of other languages. `None` for the correlation is that of the
    /// handled event or the request; another one is possible for a request alone.
    pub fn emit_as(
        &mut self,
        event_type: EventType,
        key: Key,
        data: Data,
        expectation: Expectation,
        correlation: Option<CorrelationId>,
    ) {
        let as_said = Some((expectation, correlation));
        self.ran.emitted.push(Emitted { event_type, key, data, first: false, as_said });
    }

    /// What this run reads makes no demands on what it emits: all of that is said with [`emit_as`](Self::emit_as). A
    /// refusal still rests on what was read.
    pub fn unguarded(&mut self) {
        self.ran.unguarded = true;
    }

    /// What this run emits rests on a key that it read, whatever [`unguarded`](Self::unguarded) says.
    pub fn guard(&mut self, key: &Key) -> Result<(), Interrupt> {
        self.state(key)?;
        self.ran.guarded.insert(key.clone());
        Ok(())
    }

    /// The version of a key's state, and the last one that went into it: the types that the service does not take are
    /// counted and not folded.
    pub fn version(&mut self, key: &Key) -> Result<(Version, Version), Interrupt> {
        self.state(key)?;
        self.states.get(key).map(|entry| (entry.version, entry.folded)).ok_or_else(|| Interrupt::Missing(key.clone()))
    }

    /// The run rests on a view of the service's own ([`follow`](crate::Service::follow)), which must have met the present.
    pub fn viewing(&mut self) {
        self.ran.viewed = true;
    }

    /// The run rests on values of that view.
    pub fn viewed_values(&mut self) {
        self.ran.viewed_values = true;
    }

    /// Whether it does.
    pub fn has_viewed_values(&self) -> bool {
        self.ran.viewed_values
    }

    /// The view must have seen this position.
    pub fn must_have_seen(&mut self, position: Position) {
        self.ran.viewed = true;
        self.ran.at_least = self.ran.at_least.max(position);
    }

    /// Both clocks, as of the input that is worked on. A handler that is to do the same again has no use for them.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Tells the trace something.
    pub fn record(&mut self, what: What) {
        self.ran.records.push(what);
    }

    /// The planted bug of this run, if any.
    pub fn planted(&self) -> Planted {
        self.planted
    }
}
