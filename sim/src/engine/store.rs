//! The store of a run. It outlives the bus: it is the disk, and what SQLite makes of it.
//!
//! A call takes effect when it is made; engines let its answer come after a drawn time, and a crash in between loses
//! the answer and not the deed.

use dacapo_backends::{MemoryStore, SqliteStore};
use dacapo_core::store::{Commit, Recovered, Store, StoreError};

use crate::plan::{Plan, StoreKind};

/// How a life of the bus ends, as its disk sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The process ended or was killed: what it had written is still in the system's hands.
    Process,
    /// The machine lost its power: what was not synced may be gone.
    Power,
}

/// What came of a commit.
#[derive(Debug)]
pub(crate) struct Committed {
    /// It is in the store, whatever the bus is told.
    pub(crate) durable: bool,
    /// What the bus is told.
    pub(crate) told: Result<(), StoreError>,
}

/// The store of a run.
pub(crate) struct RunStore {
    kind: StoreKind,
    /// None until the first life of the bus opens it.
    store: Option<Box<dyn Store>>,
}

impl RunStore {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { kind: plan.settings.store, store: None }
    }

    fn open(&mut self) -> Result<&mut dyn Store, StoreError> {
        let kind = self.kind;
        let store = match self.store.take() {
            Some(store) => store,
            None => match kind {
                StoreKind::Memory => Box::new(MemoryStore::new()) as Box<dyn Store>,
                StoreKind::Sqlite => Box::new(SqliteStore::open_in_memory()?),
            },
        };
        Ok(&mut **self.store.insert(store))
    }

    /// A bus begins.
    pub(crate) fn recover(&mut self) -> Result<Recovered, StoreError> {
        self.open()?.recover()
    }

    /// Makes a commit. `fails` is a planned failure: whether it is made all the same.
    pub(crate) fn commit(&mut self, commit: &Commit, fails: Option<bool>) -> Committed {
        let failure = || Err(StoreError::Io("the medium failed, as planned".to_owned()));
        if fails == Some(false) {
            return Committed { durable: false, told: failure() };
        }
        let made = self.open().and_then(|store| store.commit(commit));
        let durable = made.is_ok();
        Committed { durable, told: if durable && fails.is_some() { failure() } else { made } }
    }

    /// Asks the store.
    pub(crate) fn ask<T>(
        &mut self,
        question: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        question(self.open()?)
    }

    /// A life of the bus is over.
    pub(crate) fn end(&mut self, ending: Ending) {
        // A store in memory has nothing to lose.
        let _ = ending;
    }
}
