//! The links between hosts: what the active faults make of each, computed when it is used and kept until a fault begins or
//! ends.

use std::sync::Arc;

use dacapo_core::NodeName;

use super::network::HostId;
use crate::{
    engine::{
        chance::Chance,
        faults::{FaultTable, Way},
        times,
    },
    plan::Plan,
};

/// One way of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) latency_us: u64,
    pub(super) way: Way,
}

/// All links.
#[derive(Debug)]
pub(super) struct Links {
    plan: Arc<Plan>,
    chance: Chance,
    names: Arc<[NodeName]>,
    /// By (from, to): what was computed last, and the fault table's count of changes then.
    known: Vec<Option<(u64, Link)>>,
}

impl Links {
    pub(super) fn new(plan: &Arc<Plan>, chance: &Chance, names: &Arc<[NodeName]>) -> Self {
        let known = vec![None; names.len() * names.len()];
        Self { plan: Arc::clone(plan), chance: chance.clone(), names: Arc::clone(names), known }
    }

    pub(super) fn link(&mut self, faults: &FaultTable, from: HostId, to: HostId) -> Link {
        let known = &mut self.known[from.0 * self.names.len() + to.0];
        if let Some((changes, link)) = known
            && *changes == faults.changes()
        {
            return *link;
        }
        let (one, other) = (&self.names[from.0], &self.names[to.0]);
        let standing_us = times::link_us(&self.plan.settings, &self.chance, one, other);
        let link = Link { latency_us: standing_us + faults.extra_latency_us(one, other), way: faults.way(one, other) };
        *known = Some((faults.changes(), link));
        link
    }
}
