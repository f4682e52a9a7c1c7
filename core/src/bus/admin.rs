//! What an administrator asks: to see, to retry, to skip, to change what a service takes. What changes something is
//! an event in the log.

use std::collections::BTreeMap;

use super::{
    Admin, AdminAnswer, Bus, ConnId, InstanceStatus, LaneStatus, Output, ServiceStatus,
    audit::say_who,
    deliver::{Ending, Lost},
    reads::Purpose,
    service::{Lane, Service, sorted},
};
use crate::{
    limits::{PAGE_EVENTS_MAX, TYPES_PER_SERVICE_MAX},
    marks::bus as marks,
    names::{EventType, Key, Position, ServiceName, TokenName, Version},
    store::{LaneChange, Page, Read, Taken},
    wire::{Error, ErrorCode, Start},
};

impl Bus {
    pub(super) fn admin(&mut self, conn: ConnId, admin: Admin, by: Option<TokenName>) {
        let answer = match admin {
            Admin::Services => AdminAnswer::Services(self.services.values().map(service_status).collect()),
            Admin::Lanes { service, parked, after, limit } => match self.services.get(&service) {
                Some(service) => AdminAnswer::Lanes(lanes(service, parked, after.as_ref(), limit)),
                None => no_such_service(&service),
            },
            Admin::Retry { service, key } => return self.read_parked(conn, service, key, false, by),
            Admin::Skip { service, key } => return self.read_parked(conn, service, key, true, by),
            Admin::ChangeTypes { service, types, start } => self.change_types(&service, types, start, by.as_ref()),
            Admin::Audit(event) => return self.audit(conn, event),
        };
        self.answer(conn, answer);
    }

    pub(super) fn answer(&mut self, conn: ConnId, answer: AdminAnswer) {
        self.outbox.say(self.gather.barrier(), Output::Answer { conn, answer });
    }

    /// Retry and skip are audited with their cause, so the parked event is read first.
    pub(super) fn read_parked(&mut self, conn: ConnId, name: ServiceName, key: Key, skip: bool, by: Option<TokenName>) {
        let Some(service) = self.services.get(&name) else { return self.answer(conn, no_such_service(&name)) };
        let Some(lane) = service.lanes.get(&key).filter(|lane| lane.parked.is_some()) else {
            return self.answer(conn, not_parked(&name, &key));
        };
        let after = Version(lane.next_version.0.saturating_sub(1));
        let (through, types) = (self.knowledge.durable, service.types.clone());
        let read =
            Read::Lane { service: name.clone(), key: key.clone(), after, through, types: types.clone(), limit: 1 };
        self.begin_read(read, Purpose::Parked { conn, service: name, key, types, skip, by });
    }

    pub(super) fn parked_read(
        &mut self,
        conn: ConnId,
        (name, key): (&ServiceName, &Key),
        skip: bool,
        by: Option<&TokenName>,
        page: Page,
    ) {
        let Page::Undone { events, .. } = page else { panic!("a lane read was answered with {page:?}") };
        let Some(lane) = self.lane_mut(name, key).filter(|lane| lane.parked.is_some()) else {
            return self.answer(conn, not_parked(name, key));
        };
        let first = events.into_iter().next();
        let skip = skip && first.is_some(); // Since its types changed, nothing may be left to skip.
        let failures = lane.failures;
        let reason = lane.parked.take();
        lane.failures = 0;
        lane.disconnects = 0;
        let cause = first.as_ref().map(|first| (first.event.id.clone(), first.event.correlation.clone()));
        let position = first.as_ref().map(|first| first.event.position);
        let mut data = serde_json::json!({
            "service": name, "key": key, "position": position, "failures": failures, "parked_because": reason,
        });
        say_who(&mut data, by);
        if skip && let Some(first) = first {
            let Some(service) = self.services.get_mut(name) else { return };
            let Some(lane) = service.lanes.get_mut(key) else { return };
            debug_assert!(lane.pending.is_empty(), "a parked lane holds nothing");
            let position = first.event.position;
            lane.pending.push_back(super::service::Pending {
                event: first.event,
                previous: first.previous,
                attempts: 0,
            });
            service.pending += 1;
            self.ended(name, key, position, Ending::skipped());
            self.mark(marks::SKIPPED);
        } else {
            let Some(lane) = self.lane_mut(name, key) else { return };
            let record = lane.record(name, key);
            self.gather.commit.lanes.push(LaneChange::Put(record));
            self.enqueue(name, key);
            self.mark(marks::RETRIED);
        }
        let event_type = if skip { "$Skipped" } else { "$Retried" };
        let audited = self.system_event(name, event_type, cause, &data);
        self.answer(conn, AdminAnswer::Done(audited));
    }

    /// The service takes other types from now on; its instances must come back with these.
    fn change_types(
        &mut self,
        name: &ServiceName,
        types: Vec<EventType>,
        start: Start,
        by: Option<&TokenName>,
    ) -> AdminAnswer {
        let types = sorted(types);
        if types.len() > TYPES_PER_SERVICE_MAX {
            let message = format!("{} types are more than {TYPES_PER_SERVICE_MAX}", types.len());
            return error(ErrorCode::LimitReached, message, "split the service");
        }
        let Some(service) = self.services.get(name) else { return no_such_service(name) };
        let former: BTreeMap<&EventType, Position> =
            service.types.iter().map(|taken| (&taken.event_type, taken.since)).collect();
        let since = match start {
            Start::Beginning => Position::ZERO,
            Start::Now => self.knowledge.position,
        };
        let added = types.iter().any(|event_type| !former.contains_key(event_type));
        let taken: Vec<Taken> = types
            .iter()
            .map(|event_type| Taken {
                event_type: event_type.clone(),
                since: former.get(event_type).copied().unwrap_or(since),
            })
            .collect();
        let rewinds = added && start == Start::Beginning;
        self.begin_anew(name, taken, rewinds);
        self.mark(marks::TYPES_CHANGED);
        let mut data = serde_json::json!({ "service": name, "types": types, "start": start });
        say_who(&mut data, by);
        let audited = self.system_event(name, "$TypesChanged", None, &data);
        AdminAnswer::Done(audited)
    }

    /// Forgets what a service has in memory and begins again at its frontier, or at the beginning. What is done stays
    /// done: the store knows each completion.
    fn begin_anew(&mut self, name: &ServiceName, types: Vec<Taken>, rewinds: bool) {
        let Some(service) = self.services.get(name) else { return };
        let keys: Vec<Key> = service.lanes.keys().cloned().collect();
        let conns: Vec<ConnId> = service.instances.values().filter_map(|instance| instance.conn).collect();
        for conn in conns {
            self.close(conn, "the types of the service have changed; reconnect with the new ones");
        }
        for key in &keys {
            self.withdraw(name, key, Lost::Failed);
            self.cancel_backoff(name, key);
        }
        let Some(service) = self.services.get_mut(name) else { return };
        service.types = types;
        service.lanes.retain(|_, lane| lane.listed);
        for (key, lane) in &mut service.lanes {
            let parked = lane.parked.take();
            let next_version = match (rewinds, lane.pending.front()) {
                (true, _) => Version::ZERO,
                (false, Some(first)) => first.event.version,
                (false, None) => lane.next_version,
            };
            // Another event may be the first now, and it has not failed.
            let failures = if parked.is_some() { lane.failures } else { 0 };
            *lane = Lane { next_version, failures, parked, listed: true, spilled: true, ..Lane::default() };
            self.gather.commit.lanes.push(LaneChange::Put(lane.record(name, key)));
        }
        service.idle.clear();
        service.unowned.clear();
        for instance in service.instances.values_mut() {
            instance.queue.clear();
        }
        service.pending = 0;
        service.outstanding.clear();
        service.reading = None;
        if rewinds {
            service.frontier = Position::ZERO;
        }
        service.loaded = service.frontier;
        self.gather.commit.services.push(service.record());
        let lanes: Vec<Key> = service.lanes.keys().cloned().collect();
        for key in lanes {
            self.enqueue(name, &key);
        }
        self.dirty.insert(name.clone());
    }
}

pub(super) fn error(code: ErrorCode, message: String, help: &str) -> AdminAnswer {
    AdminAnswer::Error(Error { code, message, help: help.to_owned(), request: None })
}

fn no_such_service(name: &ServiceName) -> AdminAnswer {
    error(ErrorCode::NotFound, format!("there is no service {name}"), "see the list of services")
}

fn not_parked(name: &ServiceName, key: &Key) -> AdminAnswer {
    error(ErrorCode::NotFound, format!("the lane {key} of {name} is not parked"), "see the list of parked lanes")
}

fn service_status(service: &Service) -> ServiceStatus {
    let instances = service.instances.iter().map(|(name, instance)| InstanceStatus {
        name: name.clone(),
        incarnation: instance.incarnation,
        connected: instance.conn.is_some(),
        ready: instance.ready,
        lanes: service.idle.owned_by(name)
            + service.lanes.values().filter(|lane| lane.owner.as_ref() == Some(name)).count(),
        open: instance.open as usize,
        credit: instance.credit,
    });
    ServiceStatus {
        name: service.name.clone(),
        types: service.types.clone(),
        frontier: service.frontier_now(),
        loaded: service.loaded,
        pending: service.pending,
        open: service.instances.values().map(|instance| instance.open as usize).sum(),
        lanes_behind: service.lanes_behind(),
        lanes_parked: service.lanes.values().filter(|lane| lane.parked.is_some()).count(),
        system_events_skipped: service.system_events_skipped,
        instances: instances.collect(),
    }
}

fn lanes(service: &Service, parked: bool, after: Option<&Key>, limit: usize) -> Vec<LaneStatus> {
    let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
    let limit = if limit == 0 { PAGE_EVENTS_MAX } else { limit.min(PAGE_EVENTS_MAX) };
    let lanes = service.lanes.range::<Key, _>((from, std::ops::Bound::Unbounded));
    let wanted = lanes.filter(|(_, lane)| !parked || lane.parked.is_some());
    wanted.take(limit).map(|(key, lane)| lane_status(service, key, lane)).collect()
}

fn lane_status(service: &Service, key: &Key, lane: &Lane) -> LaneStatus {
    let state = if let Some(reason) = &lane.parked {
        format!("parked after {} failures: {reason}", lane.failures)
    } else if lane.backoff.is_some() {
        format!("waits after {} failures before it is delivered again", lane.failures)
    } else if let (Some(owner), false) = (&lane.owner, lane.open.is_empty()) {
        format!("{owner} is handling it")
    } else if lane.reading.is_some() {
        "its next events are being read from the log".to_owned()
    } else if let Some(owner) = &lane.owner {
        format!("waits for credit of {owner}")
    } else {
        "waits for a ready instance with credit".to_owned()
    };
    LaneStatus {
        service: service.name.clone(),
        key: key.clone(),
        owner: lane.owner.clone(),
        epoch: lane.epoch,
        next_version: lane.pending.front().map_or(lane.next_version, |first| first.event.version),
        failures: lane.failures,
        disconnects: lane.disconnects,
        parked: lane.parked.clone(),
        pending: lane.pending.len(),
        open: lane.open.len(),
        more_in_log: lane.spilled,
        state,
    }
}
