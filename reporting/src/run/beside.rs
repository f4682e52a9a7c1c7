//! Two runs beside each other: where they part, and what a node knew of a key in each, before and after that.
//!
//! Runs are laid beside each other step by step. Behind the first record that differs, the same step of both is no longer the same
//! moment of their worlds, which is why each side tells its own time.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::{
    Key, NodeName, Timestamp,
    trace::{Record, What},
};

use super::{Knew, Known};
use crate::declared::Declared;

/// The number of records that two runs begin with alike, if they differ at all: the first that differs has this index.
pub fn divergence(a: &[Record], b: &[Record]) -> Option<usize> {
    let equal = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    (equal < a.len() || equal < b.len()).then_some(equal)
}

/// What was known of a key in one of two runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Side {
    /// When the run reached the step; none if it had ended.
    pub at: Option<Timestamp>,
    /// In the log.
    pub log: Known,
    /// By the node; none if it knew nothing of the key.
    pub node: Option<Known>,
}

impl Side {
    /// Whether both know the same, whenever that was.
    pub fn knows_as(&self, other: &Self) -> bool {
        (self.log, self.node) == (other.log, other.node)
    }
}

/// What was known of a key in two runs after a step of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// The step.
    pub step: u64,
    /// In the one and in the other.
    pub sides: [Side; 2],
}

impl Beside {
    /// After a step, and after each later one that changed what the log or the node knew in either run.
    pub fn of(
        runs: [&[Record]; 2],
        key: &Key,
        node: Option<&NodeName>,
        from: u64,
        declared: Option<&Declared>,
    ) -> Vec<Self> {
        let known = runs.map(|records| states(records, key, node, declared));
        let later = known.iter().flat_map(|states| states.keys().copied()).filter(|step| *step > from);
        let steps: BTreeSet<u64> = later.chain([from]).collect();
        let side = |run: usize, step: u64| {
            let (log, node) = known[run].range(..=step).next_back().map(|(_, state)| *state).unwrap_or_default();
            let index = usize::try_from(step.saturating_sub(1)).ok();
            let at = index.and_then(|index| runs[run].get(index)).map(|record| record.at);
            Side { at, log, node }
        };
        steps.into_iter().map(|step| Self { step, sides: [side(0, step), side(1, step)] }).collect()
    }
}

/// What the log and the node knew from each step on at which that changed.
fn states(
    records: &[Record],
    key: &Key,
    node: Option<&NodeName>,
    declared: Option<&Declared>,
) -> BTreeMap<u64, (Known, Option<Known>)> {
    let mut found = BTreeMap::new();
    let mut last = None;
    for change in Knew::of(records, key, declared).changes {
        let state = (change.log, node.and_then(|node| change.nodes.get(node).copied()));
        if last.replace(state) != Some(state) {
            found.insert(change.step, state);
        }
    }
    found
}

/// The node and the key that the difference is told by, if nobody has chosen: of the first state that either run changes
/// where they no longer agree. A service's state says more than the log alone.
pub(crate) fn telling(a: &[Record], b: &[Record], from: usize) -> (Option<NodeName>, Option<Key>) {
    let applied = |records: &[Record]| {
        records.iter().skip(from).find_map(|record| match &record.what {
            What::Applied { key, .. } => Some((record.step, record.node.clone(), key.clone())),
            _ => None,
        })
    };
    let first = [applied(a), applied(b)].into_iter().flatten().min();
    match first {
        Some((_, node, key)) => (Some(node), Some(key)),
        None => (a.get(from).or_else(|| b.get(from)).map(|record| record.node.clone()), None),
    }
}
