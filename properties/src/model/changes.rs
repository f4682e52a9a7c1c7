//! What a commit may say of lanes behind and of services, and because of what.

use dacapo_core::{
    Position,
    bus::Admin,
    store::{Commit, LaneChange, LaneRecord, ServiceRecord},
    wire::Start,
};

use super::{Judged, Log, Mark, Model, must};

impl Model {
    /// A lane that is put on the list has failed as often as its first event was delivered, and is parked only after
    /// it failed, or its instances went away, as often as the limits say.
    pub(super) fn lanes_justified(&mut self, commit: &Commit, after: &Log) -> Judged {
        for change in &commit.lanes {
            let LaneChange::Put(lane) = change else {
                self.marks.reach(Mark::LaneCaughtUp);
                continue;
            };
            let was_parked = self.log.lane(&lane.service, &lane.key).is_some_and(|lane| lane.parked.is_some());
            if lane.parked.is_none() {
                self.marks.reach(if was_parked { Mark::Retried } else { Mark::LaneBehind });
            } else if !was_parked {
                self.marks.reach(Mark::Parked);
            }
            // A skip or a change of types in the same commit may leave the lane with other events, or none; and so may
            // a change of types leave a parked lane.
            let is_last = after.lane(&lane.service, &lane.key) == Some(lane);
            let types_change = commit.services.iter().any(|record| record.name == lane.service);
            if is_last && !types_change && !was_parked {
                self.failures_justified(lane, after)?;
            }
        }
        Ok(())
    }

    fn failures_justified(&self, lane: &LaneRecord, after: &Log) -> Judged {
        let first = after.undone(&lane.service).find(|event| event.key == lane.key);
        let delivered = first.and_then(|event| self.delivered.get(&(lane.service.clone(), event.position)));
        let delivered = delivered.copied().unwrap_or_default();
        must!(
            lane.failures <= delivered,
            "parking",
            "{lane:?} has failed more often than the {delivered} times that {first:?} was delivered"
        );
        let enough = lane.failures >= self.limits.failures_max || delivered >= self.limits.disconnects_max;
        must!(
            lane.parked.is_none() || enough,
            "parking",
            "{lane:?} is parked after {delivered} deliveries of {first:?}"
        );
        Ok(())
    }

    /// A service is registered by a `hello` and changed by an administrator, and what it takes counts from where they
    /// said.
    pub(super) fn services_justified(&self, commit: &Commit) -> Judged {
        for record in &commit.services {
            let former = self.log.services().get(&record.name);
            let registered = former.is_none() && self.connections.values().any(|it| it.may_register(record));
            let changed = self.asked.iter().any(|asked| match &asked.admin {
                Admin::ChangeTypes { service, types, start } if *service == record.name => {
                    // Another change, or the registration, may come before it in the same commit.
                    let alone = commit.services.iter().filter(|other| other.name == record.name).count() == 1;
                    let begins = |position: Position| match start {
                        Start::Beginning => position == Position::ZERO,
                        Start::Now => position >= asked.since,
                    };
                    let kept = |taken| former.is_some_and(|former| former.types.contains(taken));
                    record.types.iter().all(|taken| {
                        types.contains(&taken.event_type) && (kept(taken) || begins(taken.since) || !alone)
                    })
                }
                _ => false,
            });
            must!(registered || changed, "types", "{record:?} is committed, and nobody asked; it was {former:?}");
        }
        Ok(())
    }
}

/// Whether what a service takes counts from where its first `hello` said.
pub(super) fn begins_right(record: &ServiceRecord, start: Start, since: Position) -> bool {
    record.types.iter().all(|taken| match start {
        Start::Beginning => taken.since == Position::ZERO,
        Start::Now => taken.since >= since,
    })
}
