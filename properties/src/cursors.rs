//! The cursors that a restart goes by: a service's frontier, and the next version of each lane behind. They may pass
//! over nothing that has not ended.
//!
//! A cursor that ran ahead does no harm until the bus crashes, and then loses an event in silence; so it is judged at
//! the commit that moves it.

use std::collections::BTreeMap;

use dacapo_core::{
    Position, ServiceName, Version,
    store::{Commit, LaneChange, LaneRecord},
};

use crate::{
    log::{Entry, Log},
    property::Moment,
};

/// What a cursor has passed over.
pub(crate) type Passed = (String, Vec<Moment>);

/// How far each service's frontier was found right.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cursors {
    frontiers: BTreeMap<ServiceName, Position>,
    moved: u64,
}

impl Cursors {
    /// How many moves were judged.
    pub(crate) fn moved(&self) -> u64 {
        self.moved
    }

    /// What the cursors of this commit, which the log holds already, have passed over.
    pub(crate) fn commit(&mut self, log: &Log, commit: &Commit) -> Option<Passed> {
        for record in &commit.services {
            // Registered, or its types changed: what is before was judged, or does not count.
            self.frontiers.insert(record.name.clone(), record.frontier);
        }
        for change in &commit.lanes {
            if let LaneChange::Put(lane) = change
                && let Some(passed) = self.lane(log, lane)
            {
                return Some(passed);
            }
        }
        commit.frontiers.iter().find_map(|(service, frontier)| self.frontier(log, service, *frontier))
    }

    fn lane(&mut self, log: &Log, lane: &LaneRecord) -> Option<Passed> {
        self.moved += 1;
        let service = log.service(&lane.service)?;
        let before = log.positions_of(&lane.key);
        let before = &before[..before.len().min(lane.next_version.0.saturating_sub(1) as usize)];
        // From the end: what ran ahead is there. All that is further back was judged when the lane moved over it.
        let undone = before
            .iter()
            .rev()
            .filter_map(|position| log.at(*position))
            .take_while(|entry| !service.takes(&entry.event) || service.done(entry.event.position).is_none())
            .find(|entry| service.takes(&entry.event))?;
        let told = format!("the lane {} of {} goes on at version {}", lane.key, lane.service, lane.next_version);
        Some((describe(&told, undone), vec![undone.durable]))
    }

    fn frontier(&mut self, log: &Log, name: &ServiceName, frontier: Position) -> Option<Passed> {
        self.moved += 1;
        let service = log.service(name)?;
        let judged = self.frontiers.entry(name.clone()).or_default();
        let start = (*judged).min(log.end()).0 as usize;
        let end = frontier.min(log.end()).0 as usize;
        *judged = (*judged).max(frontier);
        let undone = log.entries().get(start..end)?.iter().find(|entry| {
            let event = &entry.event;
            let behind = || service.behind(&event.key).map_or(Version(u64::MAX), |behind| behind.record.next_version);
            service.takes(event) && service.done(event.position).is_none() && event.version < behind()
        })?;
        Some((describe(&format!("the frontier of {name} moved to position {frontier}"), undone), vec![undone.durable]))
    }
}

fn describe(told: &str, undone: &Entry) -> String {
    let event = &undone.event;
    format!(
        "{told}, over version {} of {} (position {}), which has not ended; a restart would lose it",
        event.version, event.key, event.position
    )
}
