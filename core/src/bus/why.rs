//! What the bus alone knows of a lane. The words for it are in [`crate::why`].

use super::{Bus, admin, service::Lane};
use crate::{
    names::{Key, ServiceName},
    time::Timestamp,
    why::{LaneFacts, Live, OpenFacts},
};

impl Bus {
    /// The facts; none if there is no such service.
    pub(super) fn lane_facts(&self, name: &ServiceName, key: Key) -> Option<LaneFacts> {
        let service = self.services.get(name)?;
        let lane = service.lanes.get(&key);
        let idle = service.idle.owner(&key).map(|(owner, epoch, _)| (owner.clone(), *epoch));
        let owner = lane.and_then(|lane| lane.owner.clone().map(|owner| (owner, lane.epoch))).or(idle);
        let live = Live {
            owner: owner.as_ref().map(|(owner, _)| owner.clone()),
            epoch: owner.map_or(0, |(_, epoch)| epoch),
            backoff_ms: lane.and_then(|lane| lane.backoff).map(|until| self.until_ms(until)),
            failures_max: self.config.limits.failures_max,
            open: lane.and_then(|lane| self.open_facts(lane)),
            loaded: service.loaded,
            instances: admin::instances(service),
        };
        Some(LaneFacts {
            service: name.clone(),
            key,
            types: service.types.clone(),
            frontier: service.frontier_now(),
            next_version: lane.map(|lane| lane.pending.front().map_or(lane.next_version, |first| first.event.version)),
            failures: lane.map_or(0, |lane| lane.failures),
            parked: lane.and_then(|lane| lane.parked.clone()),
            live: Some(live),
        })
    }

    fn open_facts(&self, lane: &Lane) -> Option<OpenFacts> {
        let first = lane.open.front()?;
        let held = first.held_by.is_some_and(|sequence| sequence > self.knowledge.durable_sequence);
        Some(OpenFacts {
            attempt: first.token.attempt,
            since_ms: self.now.monotonic.since(first.since).as_millis() as u64,
            deadline_ms: lane.deadline.map(|deadline| self.until_ms(deadline)),
            count: lane.open.len(),
            in_the_bus: first.judging || held,
            conflict: first.conflict.clone().unwrap_or_default(),
        })
    }

    fn until_ms(&self, at: Timestamp) -> u64 {
        at.since(self.now.monotonic).as_millis() as u64
    }
}
