//! The store as a simulated bus reaches it.
//!
//! The store outlives the bus: it is the disk. A call takes effect when it is made, the answer comes after a drawn time,
//! and a crash in between loses the answer and not the deed. What became durable is recorded here, as the store's wrapper
//! saw it, whatever the bus believes.

use std::{future::pending, hash::Hash, io, sync::Arc, time::Duration};

use bytes::Bytes;
use dacapo_backends::port::{Pending, Pieces, StorePort};
use dacapo_core::{
    hooks::{Identity, Point},
    names::{Position, Term},
    store::{Answer, BackedUp, Commit, Completion, Found, LookUp, Page, Query, Read, Reader, Recovered, StoreError},
    trace::What,
};
use futures_util::stream;
use tokio::time::sleep;

use super::stage::{Life, Stage};
use crate::{
    engine::{identity, store::RunStore, times},
    fault::points,
};

/// What is sent at once of a backup.
const PIECE_BYTES: usize = 16 << 10;

/// The store, for one life of the bus.
pub(super) struct SimPort {
    stage: Arc<Stage>,
    life: Arc<Life>,
}

impl SimPort {
    pub(super) fn new(stage: &Arc<Stage>, life: &Arc<Life>) -> Self {
        Self { stage: Arc::clone(stage), life: Arc::clone(life) }
    }

    /// The answer, after the time that this call takes.
    fn answer<T: Send + 'static>(&self, after_us: u64, result: Result<T, StoreError>) -> Pending<T> {
        let after = Duration::from_micros(after_us + self.stage.faults().extra_store_us());
        let life = Arc::clone(&self.life);
        Box::pin(async move {
            sleep(after).await;
            if life.is_dead() {
                return pending().await;
            }
            result
        })
    }

    /// Calls the store now; the answer comes after its time.
    fn call<T: Send + 'static>(
        &self,
        after_us: u64,
        call: impl FnOnce(&mut RunStore) -> Result<T, StoreError>,
    ) -> Pending<T> {
        if self.life.is_dead() {
            return Box::pin(pending());
        }
        let (result, passed) = self.stage.call_store(call);
        let extra_us = passed.extra_us;
        if !self.stage.pass(&self.life, passed) {
            return Box::pin(pending());
        }
        self.answer(after_us + extra_us, result)
    }

    fn ask<T: Send + 'static>(
        &self,
        after_us: u64,
        question: impl FnOnce(&mut dyn Reader) -> Result<T, StoreError>,
    ) -> Pending<T> {
        self.call(after_us, |store| store.ask(question))
    }

    fn read_us<I: Hash>(&self, kind: &str, identity: &I) -> u64 {
        times::read_us(&self.stage.plan.settings, &self.stage.chance, kind, identity)
    }

    fn commit_us<I: Hash>(&self, identity: &I) -> u64 {
        times::commit_us(&self.stage.plan.settings, &self.stage.chance, identity)
    }
}

impl StorePort for SimPort {
    fn recover(&self) -> Pending<Recovered> {
        let identity = ("recover", self.life.number);
        self.call(self.commit_us(&identity), RunStore::recover)
    }

    fn commit(&self, commit: Arc<Commit>) -> Pending<()> {
        if self.life.is_dead() {
            return Box::pin(pending());
        }
        let after_us = self.commit_us(&identity::of_commit(&commit));
        let sequence = commit.sequence;
        let fails = self.stage.faults().fails_commit(&commit);
        let (committed, passed) = self.stage.call_store(|store| store.commit(&commit, fails));
        if committed.durable {
            self.stage.observe(&commit);
            self.stage.record(&self.life.host, What::CommitDurable { commit });
        } else if let Err(error) = &committed.told {
            self.stage.record(&self.life.host, What::CommitFailed { sequence, error: error.to_string() });
        }
        let extra_us = passed.extra_us;
        let point = Point { name: points::COMMIT_DURABLE, identity: Identity::Sequence(sequence) };
        if !self.stage.pass(&self.life, passed) || !self.stage.reach(&self.life, point) {
            return Box::pin(pending());
        }
        self.answer(after_us + extra_us, committed.told)
    }

    fn look_up(&self, look_up: Arc<LookUp>) -> Pending<Found> {
        self.ask(self.read_us("look up", &*look_up), |store| store.look_up(&look_up))
    }

    fn read(&self, read: Arc<Read>) -> Pending<Page> {
        self.ask(self.read_us("read", &*read), |store| store.read(&read))
    }

    fn query(&self, query: Query) -> Pending<Answer> {
        self.ask(self.read_us("query", &query), |store| store.query(&query))
    }

    fn completions(&self, positions: Vec<Position>) -> Pending<Vec<Completion>> {
        self.ask(self.read_us("completions", &positions), |store| store.completions(&positions))
    }

    fn back_up(&self, _: Option<u64>) -> Pending<BackedUp> {
        self.call(self.commit_us(&("backup", self.life.number)), RunStore::back_up)
    }

    fn take_backup(&self, backed_up: &BackedUp) -> io::Result<Pieces> {
        let taken = self.stage.store().take_backup();
        let copy = taken.filter(|copy| copy.len() as u64 == backed_up.bytes);
        let pieces = copy.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the backup is not there any more"))?;
        let pieces: Vec<_> = pieces.chunks(PIECE_BYTES).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Ok(Box::pin(stream::iter(pieces)))
    }

    fn current_term(&self) -> Pending<Term> {
        self.ask(self.read_us("current term", &self.life.number), |store| store.current_term())
    }
}
