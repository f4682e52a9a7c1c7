//! A store in memory: for tests, simulations and the exhaustive search.
//!
//! It keeps every promise of a store but durability: "durable" here means that the process lives. It is written to be
//! obviously right rather than fast, since the SQLite store is compared with it.

mod log;
mod read;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dacapo_core::{
    Position, Term,
    store::{
        Answer, Commit, Completion, Found, LookUp, Page, Query, Read, Reader, Recovered, Store, StoreError, service_key,
    },
};

use log::Log;

/// A handle on a store in memory; clones and readers are handles on the same one. It lives as long as one of them.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    log: Arc<Mutex<Log>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A second store with the same contents, which goes its own way from here: an engine that branches needs it.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { log: Arc::new(Mutex::new(self.lock().clone())) }
    }

    /// A digest of all that it holds.
    pub fn digest(&self) -> u64 {
        self.lock().digest()
    }

    /// A panic of another holder leaves the log whole, since a commit is checked before any of it is applied.
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader for MemoryStore {
    fn look_up(&mut self, look_up: &LookUp) -> Result<Found, StoreError> {
        Ok(self.lock().look_up(look_up))
    }

    fn read(&mut self, read: &Read) -> Result<Page, StoreError> {
        Ok(self.lock().read(read))
    }

    fn query(&mut self, query: &Query) -> Result<Answer, StoreError> {
        Ok(self.lock().query(query))
    }

    fn completions(&mut self, positions: &[Position]) -> Result<Vec<Completion>, StoreError> {
        Ok(self.lock().completions_of(positions))
    }

    fn current_term(&mut self) -> Result<Term, StoreError> {
        Ok(self.lock().term)
    }
}

impl Store for MemoryStore {
    fn recover(&mut self) -> Result<Recovered, StoreError> {
        let mut log = self.lock();
        log.term = log.term.next();
        let service_heads = log
            .services
            .keys()
            .map(service_key)
            .filter_map(|key| log.keys.get(&key).map(|chain| (key, chain.head.clone())))
            .collect();
        Ok(Recovered {
            term: log.term,
            position: log.end(),
            services: log.services.values().cloned().collect(),
            service_heads,
            lanes: log.lanes.values().cloned().collect(),
        })
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let mut log = self.lock();
        log.check(commit)?;
        log.apply(commit);
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(self.clone()))
    }
}
