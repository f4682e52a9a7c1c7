//! The links between hosts: what the active faults make of each, computed when it is used and kept until a fault begins or
//! ends.

use std::sync::Arc;

use dacapo_core::NodeName;

use super::network::HostId;
use crate::engine::faults::{FaultTable, Way};

/// One way of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) latency_us: u64,
    pub(super) way: Way,
}

/// How long a link takes while nothing is wrong with it.
pub(super) type Standing = Box<dyn Fn(&NodeName, &NodeName) -> u64 + Send>;

/// All links.
pub(super) struct Links {
    names: Arc<[NodeName]>,
    standing: Standing,
    /// By (from, to): what was computed last, and the fault table's count of changes then.
    known: Vec<Option<(u64, Link)>>,
}

impl Links {
    pub(super) fn new(names: &Arc<[NodeName]>, standing: Standing) -> Self {
        Self { names: Arc::clone(names), standing, known: vec![None; names.len() * names.len()] }
    }

    pub(super) fn link(&mut self, faults: &FaultTable, from: HostId, to: HostId) -> Link {
        let known = &mut self.known[from.0 * self.names.len() + to.0];
        if let Some((changes, link)) = known
            && *changes == faults.changes()
        {
            return *link;
        }
        let (one, other) = (&self.names[from.0], &self.names[to.0]);
        let latency_us = (self.standing)(one, other) + faults.extra_latency_us(one, other);
        let link = Link { latency_us, way: faults.way(one, other) };
        *known = Some((faults.changes(), link));
        link
    }
}
