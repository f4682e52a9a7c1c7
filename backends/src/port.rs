//! How the server reaches its store: asynchronously, so that the bus goes on deciding while a commit is under way.
//!
//! A call takes effect, or is queued, **when the method is called**; the future only yields the answer. So the order
//! of the calls is the order of the effects, and whoever drops the future loses the answer and not the deed: exactly
//! what a crash between a commit and its acknowledgement does.
//!
//! Production's port is [`ThreadedStore`](crate::threaded::ThreadedStore). The simulator brings its own, which runs
//! the store at once and answers after a drawn delay.

use std::{future::Future, io, pin::Pin, sync::Arc};

use axum::body::Bytes;
use dacapo_core::{
    names::{Position, Term},
    store::{Answer, BackedUp, Commit, Completion, Found, LookUp, Page, Query, Read, Recovered, StoreError},
};
use futures_util::stream::BoxStream;

/// An answer of the store that is still to come.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'static>>;

/// The content of a file, piece by piece.
pub type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// How large a store is on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// The file itself.
    pub store_bytes: u64,
    /// Its write-ahead log.
    pub wal_bytes: u64,
}

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
    /// How large the store is on disk; none if it is nowhere. Told at once, whatever the store is doing.
    fn size(&self) -> Option<Size> {
        None
    }
    /// Makes a backup beside the store.
    fn back_up(&self, bytes_per_second: Option<u64>) -> Pending<BackedUp> {
        let _ = bytes_per_second;
        let sentence = "this kind of store cannot be backed up while it is in use".to_owned();
        Box::pin(std::future::ready(Err(StoreError::NotAStore(sentence))))
    }
    /// The content of a backup that was made, which has no name any more from here on.
    fn take_backup(&self, backed_up: &BackedUp) -> io::Result<Pieces> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{} is no file of this store", backed_up.path.display()),
        ))
    }
}
