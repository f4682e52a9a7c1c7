//! How the server reaches its store: asynchronously, so that the bus goes on deciding while a commit is under way.
//!
//! A call takes effect, or is queued, **when the method is called**; the future only yields the answer. So the order
//! of the calls is the order of the effects, and whoever drops the future loses the answer and not the deed: exactly
//! what a crash between a commit and its acknowledgement does.
//!
//! Production's port is [`ThreadedStore`](crate::threaded::ThreadedStore). The simulator brings its own, which runs
//! the store at once and answers after a drawn delay.

use std::{future::Future, pin::Pin, sync::Arc};

use dacapo_core::{
    names::{Position, Term},
    store::{Answer, Commit, Completion, Found, LookUp, Page, Query, Read, Recovered, StoreError},
};

/// An answer of the store that is still to come.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'static>>;

/// A store behind an asynchronous door. Each method is the one of the same name of
/// [`Store`](dacapo_core::store::Store) or [`Reader`](dacapo_core::store::Reader).
pub trait StorePort: Send + Sync + 'static {
    /// Hands out a new term and tells what a bus begins with.
    fn recover(&self) -> Pending<Recovered>;
    /// Makes a commit durable. Commits take effect in the order of the calls.
    fn commit(&self, commit: Arc<Commit>) -> Pending<()>;
    /// Answers a look-up, having seen every commit that was answered before the call.
    fn look_up(&self, look_up: Arc<LookUp>) -> Pending<Found>;
    /// Reads a page, having seen every commit that was answered before the call.
    fn read(&self, read: Arc<Read>) -> Pending<Page>;
    /// Answers a question from outside.
    fn query(&self, query: Query) -> Pending<Answer>;
    /// How the services ended these events.
    fn completions(&self, positions: Vec<Position>) -> Pending<Vec<Completion>>;
    /// The newest term that was handed out.
    fn current_term(&self) -> Pending<Term>;
}
