//! Group commit without a timer: while one commit is under way, the next gathers.
//!
//! Decisions are made against all that was decided before, committed or not. That is only right because nothing that
//! the bus says leaves before the commits that it rests upon ([`Gather::barrier`], [`Outbox`]), and because a failed
//! commit ends this bus with everything that gathered behind it.

use std::{collections::VecDeque, sync::Arc};

use super::Output;
use crate::{
    names::{EventType, Term, Version},
    store::Commit,
};

/// The last version of each type on a key before an event.
pub(super) type ByType = Arc<Vec<(EventType, Version)>>;

#[derive(Debug, Clone)]
pub(super) struct Gather {
    /// What goes into the next commit.
    pub(super) commit: Commit,
    /// For each event in it, what its key had before.
    pub(super) before: Vec<ByType>,
    pub(super) under_way: Option<(Arc<Commit>, Vec<ByType>)>,
}

impl Gather {
    pub(super) fn new(term: Term) -> Self {
        let commit = Commit { sequence: 1, term, ..Commit::default() };
        Self { commit, before: Vec::new(), under_way: None }
    }

    /// The commit that everything decided so far rests upon; none if all of it is durable.
    pub(super) fn barrier(&self) -> Option<u64> {
        if self.commit.is_empty() {
            self.under_way.as_ref().map(|(commit, _)| commit.sequence)
        } else {
            Some(self.commit.sequence)
        }
    }

    /// What was gathered, if it is its turn: nothing is under way, and there is something.
    pub(super) fn submit(&mut self) -> Option<Arc<Commit>> {
        if self.under_way.is_some() || self.commit.is_empty() {
            return None;
        }
        let next = Commit { sequence: self.commit.sequence + 1, term: self.commit.term, ..Commit::default() };
        let commit = Arc::new(std::mem::replace(&mut self.commit, next));
        self.under_way = Some((Arc::clone(&commit), std::mem::take(&mut self.before)));
        Some(commit)
    }

    /// The commit that was under way is durable.
    pub(super) fn committed(&mut self, sequence: u64) -> (Arc<Commit>, Vec<ByType>) {
        match self.under_way.take() {
            Some(under_way) if under_way.0.sequence == sequence => under_way,
            other => panic!("commit {sequence} was answered, but under way is {:?}", other.map(|it| it.0.sequence)),
        }
    }

    /// Drops what is under way and what has gathered.
    pub(super) fn drop_all(&mut self) {
        let sequence = self.commit.sequence + 1;
        *self = Self::new(self.commit.term);
        self.commit.sequence = sequence;
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }
}

/// What the bus says, in order; what rests upon a commit that is not durable is held.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox {
    pub(super) ready: VecDeque<Output>,
    pub(super) held: VecDeque<(u64, Output)>,
}

impl Outbox {
    /// Says it once the commit `barrier` is durable.
    pub(super) fn say(&mut self, barrier: Option<u64>, output: Output) {
        match barrier {
            None => {
                debug_assert!(self.held.is_empty(), "nothing is held when all is durable");
                self.ready.push_back(output);
            }
            Some(sequence) => {
                debug_assert!(self.held.back().is_none_or(|(last, _)| *last <= sequence), "barriers only grow");
                self.held.push_back((sequence, output));
            }
        }
    }

    /// Says it at once: for what rests upon nothing that could be lost.
    pub(super) fn say_now(&mut self, output: Output) {
        self.ready.push_back(output);
    }

    /// Lets go what rested upon commits up to `sequence`, except what has become void meanwhile.
    pub(super) fn release(&mut self, sequence: u64, is_void: impl Fn(&Output) -> bool) {
        while self.held.front().is_some_and(|(barrier, _)| *barrier <= sequence) {
            if let Some((_, output)) = self.held.pop_front()
                && !is_void(&output)
            {
                self.ready.push_back(output);
            }
        }
    }

    /// Drops everything but this: the bus ends.
    pub(super) fn end_with(&mut self, output: Output) {
        self.held.clear();
        self.ready.clear();
        self.ready.push_back(output);
    }

    /// Drops what is held.
    pub(super) fn drop_held(&mut self) {
        self.held.clear();
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.ready.pop_front()
    }
}
