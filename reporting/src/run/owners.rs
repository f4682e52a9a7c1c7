//! Who owned a key: the instance that the bus handed the key's events to, epoch by epoch.
//!
//! An owner ends when another instance is handed an event of the key, or when its own process or the bus's ends.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::{
    Key, NodeName,
    trace::{Frame, Record, What},
    wire::FromBus,
};

use super::{Message, messages::receiver, rows::service_of};

/// A key of a service, in one instance's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Whose.
    pub node: NodeName,
    /// What.
    pub key: Key,
    /// In which epoch of the lane.
    pub epoch: u64,
    /// From this step.
    pub from: u64,
    /// Up to this step.
    pub to: u64,
}

/// Who owned each of these keys, in the order of the steps.
pub fn owners(records: &[Record], messages: &[Message], keys: &[Key]) -> Vec<Owner> {
    let last = records.last().map_or(0, |record| record.step);
    let recovers = |record: &&Record| matches!(record.what, What::Recovered { .. });
    let buses: BTreeSet<&NodeName> = records.iter().filter(recovers).map(|record| &record.node).collect();
    let mut owned: BTreeMap<(NodeName, &Key), Owner> = BTreeMap::new();
    let mut owners = Vec::new();
    for record in records {
        match &record.what {
            What::FrameSent { frame: Frame::FromBus(frame), .. } => {
                let FromBus::Deliver(deliver) = &**frame else { continue };
                let Some(key) = keys.iter().find(|key| **key == deliver.event.key) else { continue };
                let Some(node) = receiver(messages, record.step).cloned() else { continue };
                let lane = (service_of(&node), key);
                let epoch = deliver.token.epoch;
                if owned.get(&lane).is_some_and(|owner| owner.node == node && owner.epoch == epoch) {
                    continue;
                }
                let owner = Owner { node, key: key.clone(), epoch, from: record.step, to: last };
                if let Some(former) = owned.insert(lane, owner) {
                    owners.push(Owner { to: record.step, ..former });
                }
            }
            // The bus's own end ends all; an instance's, what it had.
            What::Stopped { .. } => {
                let is_bus = buses.contains(&record.node);
                owned.retain(|_, owner| {
                    let ends = is_bus || owner.node == record.node;
                    if ends {
                        owners.push(Owner { to: record.step, ..owner.clone() });
                    }
                    !ends
                });
            }
            _ => {}
        }
    }
    owners.extend(owned.into_values());
    owners.sort_by(|a, b| (a.from, &a.node).cmp(&(b.from, &b.node)));
    owners
}
