//! How events reach the lanes: live from commits, by reading the log when the service is behind, and key by key for
//! lanes that have spilled.
//!
//! Each way hands over what it read *up to a position*, and buffers what is committed while its read is open, so that
//! reading meets the present without gap or overlap.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Bus,
    gather::ByType,
    reads::Purpose,
    service::{LaneReading, Pending},
};
use crate::{
    event::Event,
    marks::bus as marks,
    names::{Key, Position, ServiceName, Version},
    store::{Commit, KeyHead, LaneChange, Page, Read, Undone},
};

/// What was committed while a read was open: everything after the position that the read is certain to have seen.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Arriving {
    pub(super) events: VecDeque<Undone>,
    /// More came than may be kept; the next read brings it.
    pub(super) overflown: bool,
}

impl Arriving {
    pub(super) fn push(&mut self, undone: Undone, events_max: usize) {
        if self.overflown || self.events.len() >= events_max {
            self.overflown = true;
            self.events.clear();
        } else {
            self.events.push_back(undone);
        }
    }
}

impl Bus {
    /// Hands the events of a durable commit to the services that take them.
    pub(super) fn feed_commit(&mut self, commit: &Commit, before: &[ByType], durable_before: Position) {
        let names: Vec<ServiceName> = self.services.keys().cloned().collect();
        for name in names {
            self.feed_commit_to(&name, commit, before, durable_before);
            self.dirty.insert(name);
        }
    }

    fn feed_commit_to(&mut self, name: &ServiceName, commit: &Commit, before: &[ByType], durable_before: Position) {
        let Some(service) = self.services.get_mut(name) else { return };
        if let Some((_, arriving)) = &mut service.reading {
            let events_max = self.config.limits.read_page_events;
            for (event, before) in commit.events.iter().zip(before) {
                let undone = undone(event, before, &service.types);
                arriving.push(undone, events_max);
            }
            return;
        }
        if service.loaded != durable_before {
            return; // It is behind, and reads when there is room.
        }
        for (event, before) in commit.events.iter().zip(before) {
            let Some(service) = self.services.get_mut(name) else { return };
            if service.pending >= self.config.limits.service_pending_max {
                self.mark(marks::SERVICE_WINDOW_FULL);
                return; // The window is full: from here on it is behind.
            }
            service.loaded = event.position;
            if service.takes(event) {
                let undone = undone(event, before, &service.types);
                self.feed(name, undone);
            }
        }
    }

    /// Puts one event, at the service's `loaded`, into its lane.
    fn feed(&mut self, name: &ServiceName, undone: Undone) {
        let limits = &self.config.limits;
        let Some(service) = self.services.get_mut(name) else { return };
        let Undone { event, previous } = undone;
        let key = event.key.clone();
        if self.knowledge.done(name, event.position).is_some() {
            return; // The page was read before the completion was durable.
        }
        if !service.lanes.contains_key(&key) {
            let mut lane = super::service::Lane { next_version: event.version, ..Default::default() };
            if let Some((owner, epoch)) = service.idle.take(&key)
                && service.instances.contains_key(&owner)
            {
                lane.owner = Some(owner);
                lane.epoch = epoch;
            }
            service.lanes.insert(key.clone(), lane);
        }
        let Some(lane) = service.lanes.get_mut(&key) else { return };
        if !lane.spilled && event.version <= lane.loaded_version() {
            return; // The lane was read from the log beyond what the service had looked at.
        }
        let pending = Pending { event, previous, attempts: 0 };
        if lane.spilled {
            if let Some(reading) = &mut lane.reading {
                if reading.overflown || reading.arriving.len() >= limits.lane_pending_max {
                    reading.overflown = true;
                    reading.arriving.clear();
                } else {
                    reading.arriving.push_back(pending);
                }
            }
            return;
        }
        if lane.stands() || lane.pending.len() >= limits.lane_pending_max {
            self.mark(marks::LANE_SPILLED);
            self.list_lane(name, &key);
            if let Some(lane) = self.lane_mut(name, &key) {
                lane.spilled = true;
            }
            return;
        }
        if !lane.listed {
            service.outstanding.insert(pending.event.position, key.clone());
        }
        lane.pending.push_back(pending);
        service.pending += 1;
        self.enqueue(name, &key);
    }

    /// Reads on where the service is behind and there is room.
    pub(super) fn read_on(&mut self, name: &ServiceName) {
        let limits = &self.config.limits;
        let durable = self.knowledge.durable;
        let Some(service) = self.services.get_mut(name) else { return };
        if service.reading.is_some() || service.loaded >= durable {
            return;
        }
        let room = limits.service_pending_max.saturating_sub(service.pending);
        // Half of the window must be free, so that a full one is not refilled event by event.
        if room == 0 || room < limits.service_pending_max / 2 {
            return;
        }
        let read = Read::Undone {
            service: name.clone(),
            after: service.loaded,
            types: service.types.clone(),
            limit: limits.read_page_events.min(room),
        };
        let id = self.begin_read(read, Purpose::Service(name.clone()));
        if let Some(service) = self.services.get_mut(name) {
            service.reading = Some((id, Arriving::default()));
        }
    }

    /// A page past `loaded` has come.
    pub(super) fn service_read(&mut self, name: &ServiceName, id: u64, page: Page) {
        let Page::Undone { events, through, more } = page else { panic!("an undone read was answered with {page:?}") };
        let Some(service) = self.services.get_mut(name) else { return };
        match &service.reading {
            Some((open, _)) if *open == id => {}
            _ => return, // The service began anew meanwhile.
        }
        let Some((_, arriving)) = service.reading.take() else { return };
        self.mark(marks::SERVICE_CATCHES_UP);
        // The store may have shown the commit under way before it said that it is durable; those events come live.
        let durable = self.knowledge.durable;
        let through = through.min(durable);
        for undone in events.into_iter().filter(|undone| undone.event.position <= durable) {
            let Some(service) = self.services.get_mut(name) else { return };
            service.loaded = undone.event.position;
            self.feed(name, undone);
        }
        let Some(service) = self.services.get_mut(name) else { return };
        service.loaded = service.loaded.max(through);
        if !more && !arriving.overflown {
            for undone in arriving.events {
                let Some(service) = self.services.get_mut(name) else { return };
                if undone.event.position <= service.loaded {
                    continue;
                }
                if service.pending >= self.config.limits.service_pending_max {
                    break;
                }
                service.loaded = undone.event.position;
                if service.takes(&undone.event) {
                    self.feed(name, undone);
                }
            }
        }
        self.dirty.insert(name.clone());
    }

    /// Reads on where a lane has spilled, nothing of it is in memory, and it could be delivered.
    pub(super) fn read_lane(&mut self, name: &ServiceName, key: &Key) {
        let limits = &self.config.limits;
        let durable = self.knowledge.durable;
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(lane) = service.lanes.get(key) else { return };
        if !lane.spilled || lane.reading.is_some() || !lane.pending.is_empty() || lane.stands() {
            return;
        }
        // A lane may go beyond the service's window: what it loads is bounded by its own limit, and it must not
        // starve behind the others.
        let read = Read::Lane {
            service: name.clone(),
            key: key.clone(),
            after: lane.loaded_version(),
            // Beyond `loaded`: after a restart the lane's first event, whose failures are counted, may stand there.
            through: durable,
            types: service.types.clone(),
            limit: limits.lane_pending_max.min(limits.read_page_events),
        };
        let id = self.begin_read(read, Purpose::Lane(name.clone(), key.clone()));
        if let Some(lane) = self.lane_mut(name, key) {
            lane.reading = Some(LaneReading { id, arriving: VecDeque::new(), overflown: false });
        }
    }

    /// A page of a spilled lane has come.
    pub(super) fn lane_read(&mut self, name: &ServiceName, key: &Key, id: u64, page: Page) {
        let Page::Undone { events, more, .. } = page else { panic!("a lane read was answered with {page:?}") };
        let lane_pending_max = self.config.limits.lane_pending_max;
        let Some(lane) = self.lane_mut(name, key) else { return };
        match &lane.reading {
            Some(reading) if reading.id == id => {}
            _ => return, // The lane failed or was parked meanwhile.
        }
        let Some(reading) = lane.reading.take() else { return };
        let (attempts, delivered, failures) = (lane.attempts, lane.delivered, lane.failures);
        self.mark(marks::SPILLED_LANE_READ);
        let read = events.into_iter().map(|Undone { event, previous }| {
            let attempts = if event.version <= delivered { attempts } else { 0 };
            Pending { event, previous, attempts }
        });
        let mut loaded: Vec<Pending> = read.collect();
        if let Some(first) = loaded.first_mut() {
            first.attempts = first.attempts.max(failures);
        }
        let mut met = !more && !reading.overflown;
        if met {
            let last = loaded.last().map_or(Version::ZERO, |last| last.event.version);
            let mut arriving = reading.arriving.into_iter().filter(|pending| pending.event.version > last);
            let room = lane_pending_max.saturating_sub(loaded.len());
            loaded.extend(arriving.by_ref().take(room));
            met = arriving.next().is_none(); // What finds no room is read again.
        }
        let knowledge = &self.knowledge;
        loaded.retain(|pending| knowledge.done(name, pending.event.position).is_none());
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(lane) = service.lanes.get_mut(key) else { return };
        lane.spilled = !met;
        service.pending += loaded.len();
        lane.pending.extend(loaded);
        if lane.is_drained() {
            self.drained(name, key);
        } else {
            self.enqueue(name, key);
        }
        self.dirty.insert(name.clone());
    }

    /// Puts a lane on the list of lanes behind, so that the frontier passes it.
    pub(super) fn list_lane(&mut self, name: &ServiceName, key: &Key) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(lane) = service.lanes.get_mut(key) else { return };
        if !lane.listed {
            lane.listed = true;
            for pending in &lane.pending {
                service.outstanding.remove(&pending.event.position);
            }
        }
        self.gather.commit.lanes.push(LaneChange::Put(lane.record(name, key)));
    }

    /// A lane has nothing left to do: its owner is remembered, the rest is forgotten.
    pub(super) fn drained(&mut self, name: &ServiceName, key: &Key) {
        let lanes_max = self.config.limits.idle_lanes_max;
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(lane) = service.lanes.remove(key) else { return };
        debug_assert!(lane.open.is_empty() && lane.is_drained(), "only a drained lane is forgotten");
        if let Some(owner) = lane.owner {
            service.idle.insert(key.clone(), owner, lane.epoch, lanes_max);
        }
        if lane.listed {
            self.gather.commit.lanes.push(LaneChange::Remove { service: name.clone(), key: key.clone() });
            self.mark(marks::LISTED_LANE_DRAINED);
        }
    }

    /// Lists lanes that hold the frontier too far back.
    pub(super) fn pass_slow_lanes(&mut self, name: &ServiceName) {
        let lag_max = self.config.limits.frontier_lag_max;
        loop {
            let Some(service) = self.services.get(name) else { return };
            let Some((first, key)) = service.outstanding.first_key_value() else { return };
            if service.loaded.0 - first.0 < lag_max {
                return;
            }
            let key = key.clone();
            self.mark(marks::SLOW_LANE_LISTED);
            self.list_lane(name, &key);
        }
    }
}

fn undone(event: &Arc<Event>, before: &ByType, types: &[crate::store::Taken]) -> Undone {
    let head = KeyHead { by_type: Arc::clone(before), ..KeyHead::default() };
    Undone { event: Arc::clone(event), previous: head.last_of(types) }
}
