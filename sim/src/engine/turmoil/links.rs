//! The links between hosts, as turmoil is told of them.
//!
//! turmoil's own operations are not inverse to each other: `release` heals partitions, `repair` strands what is held.
//! So a link's wanted state is computed from all active faults, and told to turmoil from scratch whenever it differs
//! from what was told last. What is held is let go before anything is cut, and only when nothing holds it any more.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use dacapo_core::NodeName;
use turmoil::Sim;

use super::stage::Stage;
use crate::engine::faults::Way;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    latency_us: u64,
    there: Way,
    back: Way,
}

/// What turmoil was told of each pair of hosts.
#[derive(Debug, Default)]
pub(super) struct Links {
    told: BTreeMap<(NodeName, NodeName), Told>,
    /// The fault table's count of changes then.
    changes: Option<u64>,
}

impl Links {
    /// Tells turmoil what has changed.
    pub(super) fn apply(&mut self, sim: &Sim<'_>, stage: &Stage) {
        let changes = stage.faults().changes();
        if self.changes == Some(changes) {
            return;
        }
        self.changes = Some(changes);
        let hosts: Vec<(&NodeName, IpAddr)> = stage.hosts().collect();
        for (index, (a, a_address)) in hosts.iter().enumerate() {
            for (b, b_address) in &hosts[index + 1..] {
                let wanted = {
                    let latency_us = stage.latency_us(a, b);
                    let faults = stage.faults();
                    Told { latency_us, there: faults.way(a, b), back: faults.way(b, a) }
                };
                let pair = ((*a).clone(), (*b).clone());
                let told = self.told.get(&pair).copied();
                if told != Some(wanted) {
                    tell(sim, (*a_address, *b_address), told, wanted);
                    self.told.insert(pair, wanted);
                }
            }
        }
    }
}

fn tell(sim: &Sim<'_>, (a, b): (IpAddr, IpAddr), told: Option<Told>, wanted: Told) {
    if told.is_none_or(|told| told.latency_us != wanted.latency_us) {
        sim.set_link_latency(a, b, Duration::from_micros(wanted.latency_us));
    }
    if told.map_or((Way::Open, Way::Open), |told| (told.there, told.back)) == (wanted.there, wanted.back) {
        return;
    }
    if wanted.there == Way::Held || wanted.back == Way::Held {
        // Holds both ways: nothing holds one way alone.
        sim.hold(a, b);
    } else {
        sim.release(a, b);
    }
    if wanted.there == Way::Cut {
        sim.partition_oneway(a, b);
    }
    if wanted.back == Way::Cut {
        sim.partition_oneway(b, a);
    }
}
