//! The store as a simulated bus reaches it.
//!
//! A call takes effect when it is made, the answer comes after a drawn time, and a crash in between loses the answer and
//! not the deed; the calls tell whether the bus lives on. What became durable is recorded here, as the store's wrapper saw it, whatever the bus believes.

use std::{hash::Hash, sync::Arc};

use dacapo_core::{
    bus::Input,
    hooks::{Identity, Point},
    store::{Commit, LookUp, Query, Read, Reader, Recovered, StoreError},
    trace::What,
};

use super::{
    hosts::BUS,
    queue::{Event, HostId},
    stage::Stage,
};
use crate::{
    disk::restored,
    engine::{
        identity,
        store::{Accusation, Ending, Passed, RunStore, no_backup},
        times,
    },
    fault::points,
    plan::StoreKind,
};

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
        if let Some(slot) = self.free.pop() {
            self.slots[slot] = Some(answer);
            slot
        } else {
            self.slots.push(Some(answer));
            self.slots.len() - 1
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
    /// Calls the store with the disk as the faults have it, and tells what the call has met.
    fn call_store<T>(&mut self, call: impl FnOnce(&mut RunStore) -> T) -> (T, Passed) {
        if self.plan.settings.store == StoreKind::Disk {
            let disk = self.faults.disk(&self.names[BUS]);
            self.store.prepare(&disk, self.now_us);
        }
        let answer = call(&mut self.store);
        (answer, self.store.passed())
    }

    /// A life of the bus is over.
    pub(super) fn end_store(&mut self, ending: Ending) {
        let ((), passed) = self.call_store(|store| store.end(ending));
        for mark in passed.marks {
            self.mark(BUS, mark);
        }
        if let Some(Accusation { property, sentence, message }) = passed.broken {
            self.accuse(property, sentence, message);
        }
    }

    /// The run begins with this in its store.
    pub(super) fn found(&mut self, commit: Arc<Commit>) {
        self.progress.observe(&commit);
        self.faults.observe(&commit);
        self.record(BUS, What::Found { commit });
    }

    /// Asks for the log's end, as whoever only reads does; how much was read, or why not.
    pub(super) fn store_tells_log(&mut self) -> (Result<usize, StoreError>, Passed) {
        self.call_store(|store| store.ask(|store| Ok(store.query(&Query::default())?.events.len())))
    }

    /// Somebody at the bus's machine makes a backup, and restores it elsewhere; whether the bus lives on.
    pub(super) fn store_backs_up(&mut self, host: HostId) -> bool {
        let (made, passed) = self.call_store(|store| store.back_up().map(|_| store.take_backup().unwrap_or_default()));
        if let Ok(copy) = made {
            match restored::restore(&copy) {
                Ok(restored) => self.record(host, restored.into_record()),
                Err(error) => {
                    let Accusation { property, sentence, message } =
                        no_backup(format!("a backup that was said to be made: {error}"));
                    self.accuse(property, sentence, message);
                }
            }
        }
        self.pass(host, passed)
    }

    /// A life of the bus hears of what a call of its store has met; whether it goes on.
    pub(super) fn pass(&mut self, host: HostId, passed: Passed) -> bool {
        for mark in passed.marks {
            self.mark(host, mark);
        }
        for commit in passed.proved {
            self.progress.observe(&commit);
            self.faults.observe(&commit);
            self.progressed = true;
            self.record(host, What::CommitDurable { commit });
        }
        if let Some(Accusation { property, sentence, message }) = passed.broken {
            self.accuse(property, sentence, message);
        }
        let point = |name| Point { name, identity: Identity::None };
        self.reach_times(host, point(points::DISK_WRITE), passed.writes)
            && self.reach_times(host, point(points::DISK_SYNC), passed.syncs)
            && self.reach_times(host, point(points::BACKUP_WRITE), passed.backup_writes)
    }

    fn answer(&mut self, asker: Asker, after_us: u64, what: Answered) {
        let at_us = self.now_us + after_us + self.faults.extra_store_us();
        let life = self.lives[asker.host].number;
        let slot = self.answers.put(Answer { host: asker.host, life, bus: asker.bus, what });
        self.queue.put(at_us, Event::Answer(slot));
    }

    fn read_us<I: Hash>(&self, kind: &str, identity: &I) -> u64 {
        times::read_us(&self.plan.settings, &self.chance, kind, identity)
    }

    pub(super) fn store_recovers(&mut self, asker: Asker) -> bool {
        let identity = ("recover", self.lives[asker.host].number);
        let after_us = times::commit_us(&self.plan.settings, &self.chance, &identity);
        let (recovered, passed) = self.call_store(RunStore::recover);
        self.answer_if_alive(asker, after_us, passed, Answered::Recovered(Box::new(recovered)))
    }

    pub(super) fn store_commits(&mut self, asker: Asker, commit: Arc<Commit>) -> bool {
        let sequence = commit.sequence;
        let after_us = times::commit_us(&self.plan.settings, &self.chance, &identity::of_commit(&commit));
        let fails = self.faults.fails_commit(&commit);
        let (committed, passed) = self.call_store(|store| store.commit(&commit, fails));
        if committed.durable {
            self.progress.observe(&commit);
            self.faults.observe(&commit);
            self.progressed = true;
            self.record(asker.host, What::CommitDurable { commit });
        } else if let Err(error) = &committed.told {
            self.record(asker.host, What::CommitFailed { sequence, error: error.to_string() });
        }
        let input = match committed.told {
            Ok(()) => Input::Committed { sequence },
            Err(error) => Input::CommitFailed { sequence, error },
        };
        let extra_us = passed.extra_us;
        let point = Point { name: points::COMMIT_DURABLE, identity: Identity::Sequence(sequence) };
        if !self.pass(asker.host, passed) || !self.reach(asker.host, point) {
            return false;
        }
        self.answer(asker, after_us + extra_us, Answered::Input(Box::new(input)));
        true
    }

    pub(super) fn store_looks_up(&mut self, asker: Asker, id: u64, look_up: &LookUp) -> bool {
        let after_us = self.read_us("look up", look_up);
        self.ask_store(asker, after_us, |store| store.look_up(look_up), |found| Input::LookedUp { id, found })
    }

    pub(super) fn store_reads(&mut self, asker: Asker, id: u64, read: &Read) -> bool {
        let after_us = self.read_us("read", read);
        self.ask_store(asker, after_us, |store| store.read(read), |page| Input::ReadDone { id, page })
    }

    pub(super) fn store_tells_term(&mut self, asker: Asker) -> bool {
        let after_us = self.read_us("current term", &self.lives[asker.host].number);
        self.ask_store(asker, after_us, |store| store.current_term(), |term| Input::TermIs { term })
    }

    fn ask_store<T>(
        &mut self,
        asker: Asker,
        after_us: u64,
        question: impl FnOnce(&mut dyn Reader) -> Result<T, StoreError>,
        input: impl FnOnce(Result<T, StoreError>) -> Input,
    ) -> bool {
        let (answer, passed) = self.call_store(|store| store.ask(question));
        self.answer_if_alive(asker, after_us, passed, Answered::Input(Box::new(input(answer))))
    }

    /// Whether the bus lives on.
    fn answer_if_alive(&mut self, asker: Asker, after_us: u64, passed: Passed, what: Answered) -> bool {
        let extra_us = passed.extra_us;
        let alive = self.pass(asker.host, passed);
        if alive {
            self.answer(asker, after_us + extra_us, what);
        }
        alive
    }
}
