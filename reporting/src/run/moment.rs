//! A node at a step: whether it lived, what it had open, and what it knew of every key.

use std::collections::BTreeMap;

use dacapo_core::{
    Key, NodeName, Version,
    trace::{Record, What},
};

use super::{Known, Open, Rows};
use crate::declared::Declared;

/// A node at a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Whose.
    pub node: NodeName,
    /// When.
    pub step: u64,
    /// Since which step it has been alive; none if it was not.
    pub alive_since: Option<u64>,
    /// What it had not finished.
    pub open: Vec<Open>,
    /// What it knew, by key: its own, and the log's at that step.
    pub knew: Vec<(Key, Known, Known)>,
    /// The last record of its own, up to this step.
    pub last: Option<u64>,
}

impl Moment {
    /// A node after a step.
    pub fn of(records: &[Record], rows: &Rows, node: &NodeName, step: u64, declared: Option<&Declared>) -> Self {
        let alive = rows.lives.iter().find(|life| life.node == *node && life.from <= step && step < life.to);
        // A life that the run ends with is not over at its last step.
        let last = records.last().map_or(0, |record| record.step);
        let alive =
            alive.or_else(|| rows.lives.iter().find(|life| life.node == *node && life.to == last && step == last));
        let mut log: BTreeMap<&Key, Known> = BTreeMap::new();
        let mut balances: BTreeMap<(&Key, Version), i128> = BTreeMap::new();
        let mut knew: BTreeMap<&Key, Known> = BTreeMap::new();
        let mut own = None;
        for record in records.iter().take_while(|record| record.step <= step) {
            if record.node == *node {
                own = Some(record.step);
            }
            match &record.what {
                What::CommitDurable { commit } => {
                    for event in &commit.events {
                        let known = log.entry(&event.key).or_default();
                        known.version = event.version;
                        if let Some(declared) = declared.filter(|declared| declared.account(&event.key).is_some()) {
                            let balance =
                                known.balance.unwrap_or_default() + declared.change(event).unwrap_or_default();
                            known.balance = Some(balance);
                            balances.insert((&event.key, event.version), balance);
                        }
                    }
                }
                What::Applied { key, version, digest, .. } if record.node == *node => {
                    let balance = balances.get(&(key, *version)).copied();
                    knew.insert(key, Known { version: *version, digest: Some(*digest), balance });
                }
                What::Forgotten { key, .. } if record.node == *node => match key {
                    Some(key) => drop(knew.remove(key)),
                    None => knew.clear(),
                },
                What::Started { .. } | What::Stopped { .. } if record.node == *node => knew.clear(),
                _ => {}
            }
        }
        let open = |open: &&Open| open.node == *node && open.from <= step && step < open.to;
        Self {
            node: node.clone(),
            step,
            alive_since: alive.map(|life| life.from),
            open: rows.open.iter().filter(open).cloned().collect(),
            knew: knew
                .into_iter()
                .map(|(key, known)| (key.clone(), known, log.get(key).copied().unwrap_or_default()))
                .collect(),
            last: own,
        }
    }
}
