//! A plan that shares a run's past and has another future.
//!
//! The past is every fault that began, and every draw that was made, up to a step. Later draws depend on a fresh seed
//! ([`Branch`](crate::engine::Branch)), and so do later faults: they are drawn again under the same mask. Of those, the
//! ones that would begin in the past are left out, since the past is what it was; how many of a mask's faults are still
//! to come is thereby as open as it was at that moment. Operations stay as they are: they are what customers want, not
//! what happens to them.

use std::collections::BTreeSet;

use dacapo_core::{
    NodeName,
    trace::{Record, What},
};

use crate::{
    cast::{self, Cast},
    fault::{Fault, Harm, Trigger},
    plan::Plan,
    swarm,
};

/// Faults of a future have ids of their own, so that none is taken for one of the past.
const FRESH_ID: u32 = 1_000_000;

/// What had happened by a step.
#[derive(Debug, Clone)]
pub(super) struct Past {
    /// The step.
    pub(super) step: u64,
    /// Its time.
    at_us: u64,
    /// The faults that had begun.
    begun: BTreeSet<u32>,
    /// All faults were over for good.
    healed: bool,
}

impl Past {
    /// What had happened after this step of a run; after step 0, nothing.
    pub(super) fn of(records: &[Record], step: u64) -> Self {
        let past = &records[..usize::try_from(step).map_or(records.len(), |step| step.min(records.len()))];
        let begun = past.iter().filter_map(|record| match record.what {
            What::FaultBegun { fault } => Some(fault),
            _ => None,
        });
        let healed = past.iter().any(|record| matches!(record.what, What::Healed { .. }));
        let at_us = past.iter().map(|record| record.at.0).max().unwrap_or(0);
        Self { step, at_us, begun: begun.collect(), healed }
    }

    fn is_open(&self, fault: &Fault) -> bool {
        match fault.trigger {
            // What begins at a point may have reached it; the run tells.
            Trigger::On { .. } => true,
            Trigger::At { us } => self.step == 0 || us > self.at_us,
        }
    }
}

/// A future.
#[derive(Debug)]
pub(super) struct Future {
    /// The plan.
    pub(super) plan: Plan,
    /// Faults that were drawn and left out, since they would have begun in the past.
    pub(super) left_out: u64,
    /// Those of its faults that begin at a point of the run, which may lie in the past.
    pub(super) at_points: BTreeSet<u32>,
}

/// Draws a future.
pub(super) fn draw(plan: &Plan, cast: &Cast, past: &Past, seed: u64) -> Future {
    if past.healed {
        // No fault is to come, and how long the rest may take follows from those that were.
        return Future { plan: plan.clone(), left_out: 0, at_points: BTreeSet::new() };
    }
    let mut future = plan.clone();
    future.faults.retain(|fault| past.begun.contains(&fault.id));
    let drawn = swarm::faults(seed, &plan.mask, cast, &plan.settings);
    let (open, closed): (Vec<Fault>, Vec<Fault>) = drawn.into_iter().partition(|fault| past.is_open(fault));
    let mut hosts: BTreeSet<NodeName> = cast.hosts().into_iter().collect();
    hosts.extend(future.extra_instances().into_iter().map(|(_, host)| host));
    for mut fault in open {
        fault.id += FRESH_ID;
        if let Harm::ScaleOut { service, host } = &mut fault.what {
            // Its host is nobody else's.
            let mut number = 0;
            while hosts.contains(host) {
                *host = cast::instance(service, number);
                number += 1;
            }
            hosts.insert(host.clone());
        }
        future.faults.push(fault);
    }
    let at_point = |fault: &&Fault| fault.id >= FRESH_ID && matches!(fault.trigger, Trigger::On { .. });
    let at_points = future.faults.iter().filter(at_point).map(|fault| fault.id).collect();
    Future { plan: future, left_out: closed.len() as u64, at_points }
}
