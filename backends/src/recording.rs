//! A store that tells the trace what it really did, at the moment at which it did it.
//!
//! The properties believe this and not the bus: a commit that became durable just before a crash is in the trace,
//! although nobody lived to hear of it. That is why it wraps the store and not the port, whose answer may be lost.

use dacapo_core::{
    hooks::World,
    names::{Position, Term},
    store::{Answer, Commit, Completion, Found, LookUp, Page, Query, Read, Reader, Recovered, Store, StoreError},
    trace::What,
};
use std::sync::Arc;

/// Records [`What::CommitDurable`] and [`What::CommitFailed`] as the node of its [`World`].
pub struct RecordingStore<S> {
    inner: S,
    world: World,
}

impl<S> RecordingStore<S> {
    /// Records what `inner` does.
    pub fn new(inner: S, world: World) -> Self {
        Self { inner, world }
    }
}

impl<S: Store> Reader for RecordingStore<S> {
    fn look_up(&mut self, look_up: &LookUp) -> Result<Found, StoreError> {
        self.inner.look_up(look_up)
    }
    fn read(&mut self, read: &Read) -> Result<Page, StoreError> {
        self.inner.read(read)
    }
    fn query(&mut self, query: &Query) -> Result<Answer, StoreError> {
        self.inner.query(query)
    }
    fn completions(&mut self, positions: &[Position]) -> Result<Vec<Completion>, StoreError> {
        self.inner.completions(positions)
    }
    fn current_term(&mut self) -> Result<Term, StoreError> {
        self.inner.current_term()
    }
}

impl<S: Store> Store for RecordingStore<S> {
    fn recover(&mut self) -> Result<Recovered, StoreError> {
        self.inner.recover()
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let result = self.inner.commit(commit);
        if self.world.hooks.recording() {
            self.world.record(match &result {
                Ok(()) => What::CommitDurable { commit: Arc::new(commit.clone()) },
                Err(error) => What::CommitFailed { sequence: commit.sequence, error: error.to_string() },
            });
        }
        result
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.inner.reader()
    }
}
