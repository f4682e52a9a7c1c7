//! What is drawn during a run: always by (seed, concern, identity), never by a running count.
//!
//! Identities are of the world: (host, kind, event or operation id, attempt). So taking a fault out of a plan re-times
//! nothing that the fault did not touch. A branched run draws with another seed from one step on, and shares everything
//! before it with the run that it branched from.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::draw::{stateless, stateless_between, stateless_chance};

/// From this step on a run draws with another seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Branch {
    /// The last step that the run shares with the one that it branched from.
    pub after_step: u64,
    /// What is drawn later depends on this.
    pub seed: u64,
}

/// The chance of a run. Copies are of one mind: they know how far the run is.
#[derive(Debug, Clone)]
pub(crate) struct Chance {
    seed: u64,
    branch: Option<Branch>,
    /// The number of the last record.
    step: Arc<AtomicU64>,
}

impl Chance {
    pub(crate) fn new(seed: u64, branch: Option<Branch>) -> Self {
        Self { seed, branch, step: Arc::default() }
    }

    /// Tells how far the run is.
    pub(crate) fn set_step(&self, step: u64) {
        self.step.store(step, Ordering::Relaxed);
    }

    fn seed(&self) -> u64 {
        match self.branch {
            Some(branch) if self.step.load(Ordering::Relaxed) > branch.after_step => branch.seed,
            _ => self.seed,
        }
    }

    /// A number.
    pub(crate) fn number<I: Hash + ?Sized>(&self, concern: &str, identity: &I) -> u64 {
        stateless(self.seed(), concern, identity)
    }

    /// Uniform in `low..=high`.
    pub(crate) fn between<I: Hash + ?Sized>(&self, concern: &str, identity: &I, (low, high): (u64, u64)) -> u64 {
        stateless_between(self.seed(), concern, identity, low, high)
    }

    /// True `permille` times in a thousand.
    pub(crate) fn happens<I: Hash + ?Sized>(&self, concern: &str, identity: &I, permille: u32) -> bool {
        stateless_chance(self.seed(), concern, identity, permille)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_shares_everything_up_to_its_step() {
        let trunk = Chance::new(1, None);
        let branch = Chance::new(1, Some(Branch { after_step: 10, seed: 2 }));
        let copy = branch.clone();
        branch.set_step(10);
        assert_eq!(trunk.number("link latency", &7), copy.number("link latency", &7));
        branch.set_step(11);
        assert_ne!(trunk.number("link latency", &7), copy.number("link latency", &7), "a copy branches off, too");
    }
}
