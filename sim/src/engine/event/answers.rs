//! The store as a simulated bus reaches it.
//!
//! A call takes effect when it is made, the answer comes after a drawn time, and a crash in between loses the answer and
//! not the deed. What became durable is recorded here, as the store's wrapper saw it, whatever the bus believes.

use std::{hash::Hash, sync::Arc};

use dacapo_core::{
    bus::Input,
    hooks::{Identity, Point},
    store::{Commit, LookUp, Read, Recovered, StoreError},
    trace::What,
};

use super::{
    queue::{Event, HostId},
    stage::Stage,
};
use crate::{engine::times, fault::points};

/// An answer of the store on its way.
pub(super) struct Answer {
    pub(super) host: HostId,
    /// The life that asked.
    pub(super) life: u64,
    /// Which of the buses of that life.
    pub(super) bus: u64,
    pub(super) what: Answered,
}

/// What the store says.
pub(super) enum Answered {
    Recovered(Box<Result<Recovered, StoreError>>),
    Input(Box<Input>),
}

/// The answers on their way.
#[derive(Default)]
pub(super) struct Answers {
    slots: Vec<Option<Answer>>,
    free: Vec<usize>,
}

impl Answers {
    fn put(&mut self, answer: Answer) -> usize {
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(answer);
                slot
            }
            None => {
                self.slots.push(Some(answer));
                self.slots.len() - 1
            }
        }
    }

    pub(super) fn take(&mut self, slot: usize) -> Option<Answer> {
        self.free.push(slot);
        self.slots[slot].take()
    }
}

/// Who asks: the host, and which of the buses of its present life.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) host: HostId,
    pub(super) bus: u64,
}

impl Stage {
    fn answer(&mut self, asker: Asker, after_us: u64, what: Answered) {
        let at_us = self.now_us + after_us + self.faults.extra_store_us();
        let life = self.lives[asker.host].number;
        let slot = self.answers.put(Answer { host: asker.host, life, bus: asker.bus, what });
        self.queue.put(at_us, Event::Answer(slot));
    }

    fn read_us<I: Hash>(&self, kind: &str, identity: &I) -> u64 {
        times::read_us(&self.plan.settings, &self.chance, kind, identity)
    }

    pub(super) fn store_recovers(&mut self, asker: Asker) {
        let recovered = self.store.recover();
        let identity = ("recover", self.lives[asker.host].number);
        let after_us = times::commit_us(&self.plan.settings, &self.chance, &identity);
        self.answer(asker, after_us, Answered::Recovered(Box::new(recovered)));
    }

    /// Whether the bus lives on.
    pub(super) fn store_commits(&mut self, asker: Asker, commit: Arc<Commit>) -> bool {
        let sequence = commit.sequence;
        let after_us = times::commit_us(&self.plan.settings, &self.chance, &(commit.term, sequence));
        let fails = self.faults.fails_commit((commit.term, sequence));
        let committed = self.store.commit(&commit, fails);
        if committed.durable {
            self.progress.observe(&commit);
            self.progressed = true;
            self.record(asker.host, What::CommitDurable { commit });
        } else if let Err(error) = &committed.told {
            self.record(asker.host, What::CommitFailed { sequence, error: error.to_string() });
        }
        let point = Point { name: points::COMMIT_DURABLE, identity: Identity::Sequence(sequence) };
        if !self.reach(asker.host, point) {
            return false;
        }
        let input = match committed.told {
            Ok(()) => Input::Committed { sequence },
            Err(error) => Input::CommitFailed { sequence, error },
        };
        self.answer(asker, after_us, Answered::Input(Box::new(input)));
        true
    }

    pub(super) fn store_looks_up(&mut self, asker: Asker, id: u64, look_up: &LookUp) {
        let found = self.store.ask(|store| store.look_up(look_up));
        let after_us = self.read_us("look up", look_up);
        self.answer(asker, after_us, Answered::Input(Box::new(Input::LookedUp { id, found })));
    }

    pub(super) fn store_reads(&mut self, asker: Asker, id: u64, read: &Read) {
        let page = self.store.ask(|store| store.read(read));
        let after_us = self.read_us("read", read);
        self.answer(asker, after_us, Answered::Input(Box::new(Input::ReadDone { id, page })));
    }

    pub(super) fn store_tells_term(&mut self, asker: Asker) {
        let term = self.store.ask(|store| store.current_term());
        let after_us = self.read_us("current term", &self.lives[asker.host].number);
        self.answer(asker, after_us, Answered::Input(Box::new(Input::TermIs { term })));
    }
}
