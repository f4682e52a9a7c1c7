//! The store's side of a branch: what it holds, what it was asked, and as of when it answers.
//!
//! It makes a commit durable as late as possible: when it says so, when an answer shows it, or when a crash leaves it
//! behind. What the bus shows too early is therefore always seen; to make it durable sooner would change nothing that
//! the bus can know of.

use std::sync::Arc;

use dacapo_backends::MemoryStore;
use dacapo_core::{
    bus::Input,
    store::{Commit, LookUp, Read, Reader as _, Recovered, Store as _, StoreError},
    trace::What,
};
use dacapo_properties::{Verdict, Violation};

use super::World;
use crate::search::step::{Step, When};

/// A question that the store has not answered, with its contents as of when it was asked.
#[derive(Clone)]
pub(super) struct Question<Q> {
    pub(super) id: u64,
    pub(super) what: Arc<Q>,
    pub(super) asked: Contents,
}

/// What a store holds: shared between branches until one of them commits.
#[derive(Clone)]
pub(super) struct Contents {
    store: Arc<MemoryStore>,
    pub(super) digest: u64,
}

/// The commit that the store was handed.
#[derive(Clone)]
pub(super) struct UnderWay {
    pub(super) commit: Arc<Commit>,
    /// It is durable, and the bus has not been told.
    pub(super) applied: bool,
}

/// The store, and what is asked of it.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) contents: Contents,
    pub(super) under_way: Option<UnderWay>,
    pub(super) look_up: Option<Question<LookUp>>,
    pub(super) reads: Vec<Question<Read>>,
}

impl Contents {
    fn new(store: MemoryStore) -> Self {
        Self { digest: store.digest(), store: Arc::new(store) }
    }
}

impl Asked {
    /// An empty store.
    pub(super) fn new() -> Self {
        Self { contents: Contents::new(MemoryStore::new()), under_way: None, look_up: None, reads: Vec::new() }
    }

    /// Everything is answered.
    pub(super) fn is_quiet(&self) -> bool {
        self.under_way.is_none() && self.look_up.is_none() && self.reads.is_empty()
    }

    /// Whoever asked is gone.
    pub(super) fn forget(&mut self) {
        self.under_way = None;
        self.look_up = None;
        self.reads.clear();
    }

    /// What the store would do first.
    pub(super) fn first(&self) -> Option<Step> {
        if self.under_way.is_some() {
            Some(Step::Confirm)
        } else if self.look_up.is_some() {
            Some(Step::LookedUp(When::Now))
        } else {
            (!self.reads.is_empty()).then_some(Step::ReadDone(0, When::Now))
        }
    }

    /// All that it may do next.
    pub(super) fn choices(&self, may_fail: bool, steps: &mut Vec<Step>) {
        let open = self.under_way.as_ref();
        if let Some(UnderWay { applied, .. }) = open {
            steps.push(Step::Confirm);
            if may_fail {
                steps.push(Step::CommitFails { applied: true });
            }
            if may_fail && !applied {
                steps.push(Step::CommitFails { applied: false });
            }
        }
        let whens = |asked: &Contents| {
            let earlier = (asked.digest != self.contents.digest).then_some(When::Asked);
            let committed = self.may_become_durable().then_some(When::Committed);
            [Some(When::Now), earlier, committed].into_iter().flatten()
        };
        if let Some(look_up) = &self.look_up {
            steps.extend(whens(&look_up.asked).map(Step::LookedUp));
        }
        for (index, read) in self.reads.iter().enumerate() {
            steps.extend(whens(&read.asked).map(|when| Step::ReadDone(index, when)));
        }
    }

    /// There is a commit under way that is not durable.
    pub(super) fn may_become_durable(&self) -> bool {
        self.under_way.as_ref().is_some_and(|commit| !commit.applied)
    }
}

impl World {
    /// Hands out a new term.
    pub(super) fn recover(&mut self) -> Result<Recovered, Box<Violation>> {
        let mut store = self.store.contents.store.fork();
        let recovered = store.recover().map_err(|error| Box::new(self.last_line(&error.to_string())))?;
        self.store.contents = Contents::new(store);
        Ok(recovered)
    }

    pub(super) fn confirmed(&mut self) -> Result<Option<Input>, Box<Violation>> {
        self.apply()?;
        Ok(self.store.under_way.take().map(|open| Input::Committed { sequence: open.commit.sequence }))
    }

    pub(super) fn commit_fails(&mut self, applied: bool) -> Result<Option<Input>, Box<Violation>> {
        if applied {
            self.apply()?;
        }
        let Some(open) = self.store.under_way.take() else { return Ok(None) };
        let sequence = open.commit.sequence;
        let error = StoreError::Io("nobody knows what became of the commit".to_owned());
        self.observe(What::CommitFailed { sequence, error: error.to_string() })?;
        Ok(Some(Input::CommitFailed { sequence, error }))
    }

    pub(super) fn looked_up(&mut self, when: When) -> Result<Option<Input>, Box<Violation>> {
        let Some(open) = self.store.look_up.take() else { return Ok(None) };
        let found = self.contents(when, &open.asked)?.look_up(&open.what);
        Ok(Some(Input::LookedUp { id: open.id, found }))
    }

    pub(super) fn read_done(&mut self, index: usize, when: When) -> Result<Option<Input>, Box<Violation>> {
        let open = self.store.reads.remove(index);
        let page = self.contents(when, &open.asked)?.read(&open.what);
        Ok(Some(Input::ReadDone { id: open.id, page }))
    }

    /// The store as of then.
    fn contents(&mut self, when: When, asked: &Contents) -> Result<MemoryStore, Box<Violation>> {
        if when == When::Committed {
            self.apply()?;
        }
        let contents = if when == When::Asked { asked } else { &self.store.contents };
        Ok((*contents.store).clone())
    }

    /// The commit under way becomes durable, if it is not.
    pub(super) fn apply(&mut self) -> Verdict {
        let Some(open) = self.store.under_way.as_mut().filter(|open| !open.applied) else { return Ok(()) };
        open.applied = true;
        let commit = Arc::clone(&open.commit);
        let mut store = self.store.contents.store.fork();
        if let Err(error) = store.commit(&commit) {
            return Err(Box::new(self.last_line(&error.to_string())));
        }
        self.store.contents = Contents::new(store);
        self.story.durable(&commit);
        self.observe(What::CommitDurable { commit })
    }
}
