//! What each node knew of a key, at every step: the version in the log, and the version of each instance's state.
//!
//! It changes when a commit becomes durable, when an event goes into a state, and when a state is forgotten or its process
//! begins anew. Between two changes everybody knows what they knew.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::{
    Key, NodeName, Position, Timestamp, Version,
    trace::{Record, What},
};

use crate::declared::Declared;

/// What one knows of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// The version.
    pub version: Version,
    /// The state's digest; none for the log.
    pub digest: Option<u64>,
    /// The balance at that version, if payloads are declared.
    pub balance: Option<i128>,
}

/// A change of what somebody knew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The step.
    pub step: u64,
    /// When.
    pub at: Timestamp,
    /// Who: none for the log itself.
    pub node: Option<NodeName>,
    /// What everybody knew after it: the log, then each node.
    pub log: Known,
    /// By node; a node that is not here knows nothing.
    pub nodes: BTreeMap<NodeName, Known>,
}

/// What was known of a key over a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knew {
    /// The key.
    pub key: Key,
    /// Every node that ever knew something.
    pub nodes: Vec<NodeName>,
    /// In order.
    pub changes: Vec<Change>,
}

impl Knew {
    /// What was known of this key.
    pub fn of(records: &[Record], key: &Key, declared: Option<&Declared>) -> Self {
        let mut log = Known {
            balance: declared.filter(|declared| declared.account(key).is_some()).map(|_| 0),
            ..Known::default()
        };
        let mut balances: BTreeMap<Version, i128> = BTreeMap::new();
        let mut nodes: BTreeMap<NodeName, Known> = BTreeMap::new();
        let mut changes: Vec<Change> = Vec::new();
        for record in records {
            let node = match &record.what {
                What::CommitDurable { commit } => {
                    let before = log.version;
                    for event in commit.events.iter().filter(|event| event.key == *key) {
                        log.version = event.version;
                        if let (Some(balance), Some(declared)) = (&mut log.balance, declared) {
                            *balance += declared.change(event).unwrap_or_default();
                            balances.insert(event.version, *balance);
                        }
                    }
                    if log.version == before {
                        continue;
                    }
                    None
                }
                What::Applied { key: own, version, digest, .. } if own == key => {
                    let balance = balances.get(version).copied();
                    nodes.insert(record.node.clone(), Known { version: *version, digest: Some(*digest), balance });
                    Some(record.node.clone())
                }
                What::Forgotten { key: own, .. } if own.as_ref().is_none_or(|own| own == key) => {
                    let Some(_) = nodes.remove(&record.node) else { continue };
                    Some(record.node.clone())
                }
                What::Started { .. } | What::Stopped { .. } => {
                    let Some(_) = nodes.remove(&record.node) else { continue };
                    Some(record.node.clone())
                }
                _ => continue,
            };
            changes.push(Change { step: record.step, at: record.at, node, log, nodes: nodes.clone() });
        }
        let mut all: Vec<NodeName> = changes.iter().flat_map(|change| change.nodes.keys().cloned()).collect();
        all.sort_unstable();
        all.dedup();
        Self { key: key.clone(), nodes: all, changes }
    }

    /// The keys of the events that some steps are about, in the order of the steps: what a violation is about.
    pub fn keys_of(records: &[Record], steps: &[u64]) -> Vec<Key> {
        let mut keys = Vec::new();
        for step in steps.iter().collect::<BTreeSet<_>>() {
            let record = usize::try_from(step.saturating_sub(1)).ok().and_then(|index| records.get(index));
            if let Some(What::CommitDurable { commit }) = record.map(|record| &record.what) {
                keys.extend(commit.events.iter().map(|event| event.key.clone()));
            }
            if let Some(What::Applied { key, .. }) = record.map(|record| &record.what) {
                keys.push(key.clone());
            }
        }
        // What several steps are about comes first.
        let mut counts: BTreeMap<&Key, usize> = BTreeMap::new();
        for key in &keys {
            *counts.entry(key).or_default() += 1;
        }
        let mut sorted: Vec<Key> = counts.keys().map(|key| (*key).clone()).collect();
        sorted.sort_by_key(|key| (std::cmp::Reverse(counts[key]), keys.iter().position(|other| other == key)));
        // One that several steps are about says most; the others are about something else as well.
        let shared = sorted.iter().filter(|key| counts[key] > 1).count().max(1);
        sorted.truncate(shared);
        sorted
    }

    /// Positions in a run's log that some steps are about.
    pub fn positions_of(records: &[Record], steps: &[u64]) -> Vec<Position> {
        let mut positions = Vec::new();
        for step in steps {
            let record = usize::try_from(step.saturating_sub(1)).ok().and_then(|index| records.get(index));
            if let Some(What::CommitDurable { commit }) = record.map(|record| &record.what) {
                positions.extend(commit.events.iter().map(|event| event.position));
            }
        }
        positions
    }
}
