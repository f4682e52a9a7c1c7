//! Who was handed which event, under which token, and whether it is surely still theirs.
//!
//! From outside one cannot always know that a delivery is open: the bus may have seen its deadline pass an instant
//! ago. So the model knows two things: what may be open, and what surely is. Nothing may be taken from an owner
//! that surely holds it.

use dacapo_core::{
    Event, InstanceName, Key, Position, ServiceName, Timestamp, Version,
    bus::ConnId,
    store::Taken,
    wire::{Deliver, Token},
};

use super::{Broken, Connection, Judged, Mark, Model, audit::shown, must};

/// A delivery as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// To this connection.
    pub conn: ConnId,
    /// Of this service.
    pub service: ServiceName,
    /// Which instance it is.
    pub instance: InstanceName,
    /// The event's key.
    pub key: Key,
    /// The event's version.
    pub version: Version,
    /// The event's position.
    pub position: Position,
    /// The delivery's token.
    pub token: Token,
    /// What the service took then.
    pub(super) types: Vec<Taken>,
    /// The deadline counts from here, or from later.
    pub(super) renewed: Timestamp,
    /// Nothing that was seen has ended it.
    pub(super) holds: bool,
    /// It was nacked, or its conflicts made no progress.
    pub(super) failed: bool,
    /// The heads of its last conflict.
    pub(super) conflict: Vec<(Key, Version)>,
}

impl Model {
    /// The newest delivery of an event in this life of the bus.
    pub(super) fn newest(&self, service: &ServiceName, position: Position) -> Option<usize> {
        self.deliveries.iter().rposition(|delivery| delivery.position == position && delivery.service == *service)
    }

    fn expired(&self, delivery: &Delivery) -> bool {
        self.now >= delivery.renewed + self.limits.delivery_deadline
    }

    /// Whether a delivery's deadline may have passed.
    pub(super) fn is_expired(&self, index: usize) -> bool {
        self.expired(&self.deliveries[index])
    }

    /// Whether a delivery is open as far as anyone can see.
    pub fn seems_open(&self, index: usize) -> bool {
        let delivery = &self.deliveries[index];
        delivery.holds
            && self.connections.get(&delivery.conn).is_some_and(|connection| connection.lives() && !connection.leaving)
            && self.log.ended(&delivery.service, delivery.position).is_none()
    }

    /// Whether a delivery is open beyond doubt.
    pub(super) fn surely_open(&self, index: usize) -> bool {
        let heard = |connection: &Connection| self.now < connection.heard + self.limits.heartbeat_deadline;
        let connection = self.connections.get(&self.deliveries[index].conn);
        self.seems_open(index) && connection.is_some_and(heard) && self.surely_kept(index)
    }

    /// Whether nothing but its connection could have ended a delivery: neither its deadline nor a failure of it, or of
    /// one before it in the lane.
    fn surely_kept(&self, index: usize) -> bool {
        let delivery = &self.deliveries[index];
        let failed_before = |earlier: &Delivery| {
            earlier.service == delivery.service
                && earlier.key == delivery.key
                && earlier.version < delivery.version
                && (!earlier.holds || earlier.failed || self.expired(earlier))
                && !self.is_ending(&earlier.service, earlier.position)
        };
        let newest =
            |(index, earlier): &(usize, &Delivery)| self.newest(&earlier.service, earlier.position) == Some(*index);
        delivery.holds
            && !self.is_ending(&delivery.service, delivery.position)
            && !self.expired(delivery)
            && !self.deliveries.iter().enumerate().filter(newest).any(|(_, earlier)| failed_before(earlier))
    }

    /// The delivery that this token was given with.
    pub(super) fn under(&self, conn: ConnId, position: Position, token: Token) -> Option<usize> {
        let index = self
            .deliveries
            .iter()
            .rposition(|delivery| delivery.conn == conn && delivery.position == position && delivery.token == token)?;
        let delivery = &self.deliveries[index];
        (self.newest(&delivery.service, position) == Some(index)).then_some(index)
    }

    /// Whether earlier messages of a connection may still wait, so that what comes behind them may mean something else.
    fn waits_behind(&self, conn: ConnId) -> bool {
        self.publishes.iter().any(|publish| publish.conn == conn && !publish.answered)
            || self.completes.iter().any(|complete| complete.conn == conn && !complete.answered)
    }

    pub(super) fn nack(&mut self, conn: ConnId, position: Position, token: Token) {
        self.spoken.push((conn, position, token));
        let Some(index) = self.under(conn, position, token) else { return };
        let service = self.deliveries[index].service.clone();
        let first = self.log.event(position).is_some_and(|event| self.is_first_undone(&service, event));
        if self.waits_behind(conn) || !first {
            // A completion that waits may overtake it, and one that is not its lane's first is not nacked.
            self.deliveries[index].holds = false;
            return;
        }
        if self.surely_open(index) {
            let nacked = self.nacked.entry((service, position)).or_default();
            *nacked = (nacked.0 + 1, self.now);
        }
        let delivery = &mut self.deliveries[index];
        delivery.holds = false;
        delivery.failed = true;
    }

    pub(super) fn extend(&mut self, conn: ConnId, position: Position, token: Token) {
        self.spoken.push((conn, position, token));
        let Some(index) = self.under(conn, position, token) else { return };
        let service = &self.deliveries[index].service;
        let first = self.log.event(position).is_some_and(|event| self.is_first_undone(service, event));
        if first && self.surely_open(index) && !self.waits_behind(conn) {
            self.deliveries[index].renewed = self.now;
        }
    }

    pub(super) fn deliver(&mut self, conn: ConnId, deliver: &Deliver) -> Judged {
        let connection = &self.connections[&conn];
        let (Some(hello), Some(session)) = (connection.hello.clone(), connection.session) else {
            return Err(Broken { rule: "frames in turn", what: format!("{conn:?} was not welcomed: {deliver:?}") });
        };
        let token = deliver.token;
        must!(connection.ready, "frames in turn", "{conn:?} is not ready: {deliver:?}");
        must!(!connection.superseded, "one_owner_per_lane", "{conn:?} was superseded: {deliver:?}");
        must!(
            token.term == self.term && token.session == session,
            "one_owner_per_lane",
            "the token of {deliver:?} is not of session {session} of {}",
            self.term
        );
        self.event_may_be_delivered(&hello.service, deliver)?;
        self.token_is_newer(&hello.service, &hello.instance, deliver)?;
        self.lane_may_have(conn, &hello.service, &hello.instance, deliver)?;
        self.failures_are_kept(&hello.service, deliver)?;
        self.credit_suffices(conn, deliver)?;
        self.note_delivery(conn, &hello.service, &hello.instance, deliver);
        Ok(())
    }

    fn event_may_be_delivered(&self, service: &ServiceName, deliver: &Deliver) -> Judged {
        let event = &deliver.event;
        let logged = self.log.event(event.position);
        must!(
            logged == Some(event),
            "shown_is_durable",
            "{} is delivered, the log holds {logged:?}",
            shown(service, event)
        );
        let ended = self.log.ended(service, event.position);
        must!(ended.is_none(), "completes_once", "{} is delivered after {ended:?}", shown(service, event));
        let lane = self.log.lane(service, &event.key);
        let parked = lane.is_some_and(|lane| lane.parked.is_some());
        must!(!parked, "parked lanes are silent", "{} is delivered, {lane:?}", shown(service, event));
        let types = self.log.services().get(service).map(|record| record.types.clone()).unwrap_or_default();
        must!(self.log.takes(service, event), "types", "{} is not taken", shown(service, event));
        let previous = self.log.previous(&types, event);
        must!(
            deliver.previous == previous,
            "no_duplicate_processing",
            "{} is delivered with previous {}, it is {previous}",
            shown(service, event),
            deliver.previous
        );
        Ok(())
    }

    fn token_is_newer(&self, service: &ServiceName, instance: &InstanceName, deliver: &Deliver) -> Judged {
        let position = deliver.event.position;
        let same = |older: &&Delivery| older.service == *service && older.position == position;
        for older in self.deliveries.iter().filter(same) {
            must!(
                (older.token.epoch, older.token.attempt) < (deliver.token.epoch, deliver.token.attempt),
                "one_owner_per_lane",
                "{:?} follows {:?} for {position} of {service}",
                deliver.token,
                older.token
            );
            must!(
                older.instance == *instance || older.token.epoch < deliver.token.epoch,
                "one_owner_per_lane",
                "{instance} has {:?}, {} had {:?} for {position} of {service}",
                deliver.token,
                older.instance,
                older.token
            );
        }
        Ok(())
    }

    fn lane_may_have(&self, conn: ConnId, service: &ServiceName, instance: &InstanceName, deliver: &Deliver) -> Judged {
        let event = &deliver.event;
        let mut open = 1;
        for (index, other) in self.deliveries.iter().enumerate() {
            if other.service != *service || other.key != event.key {
                continue;
            }
            let kept = self.surely_kept(index);
            let away = self
                .connections
                .get(&other.conn)
                .is_some_and(|connection| connection.may_come_back(self.now, self.limits.grace));
            must!(
                !kept || !away || other.instance == *instance,
                "one_owner_per_lane",
                "{} is delivered to {instance} within the grace of the owner of {other:?}",
                shown(service, event)
            );
            if !self.surely_open(index) {
                continue;
            }
            must!(
                other.position != event.position,
                "no_duplicate_processing",
                "{} is delivered again while {other:?} is open",
                shown(service, event)
            );
            must!(
                other.conn == conn && other.token.epoch == deliver.token.epoch,
                "one_owner_per_lane",
                "{} is delivered under {:?} while {other:?} is open",
                shown(service, event),
                deliver.token
            );
            open += 1;
        }
        must!(
            open <= self.limits.lane_open_max,
            "bounded",
            "{open} deliveries of the lane {} of {service} are open",
            event.key
        );
        for earlier in self.log.undone(service) {
            if earlier.key != event.key || earlier.version >= event.version {
                continue;
            }
            let held = self.newest(service, earlier.position).map(|index| &self.deliveries[index]);
            must!(
                held.is_some_and(|held| held.conn == conn && held.token.epoch == deliver.token.epoch && !held.failed),
                "lane_order",
                "{} is delivered under {:?} while {} is undone and held by {held:?}",
                shown(service, event),
                deliver.token,
                shown(service, earlier)
            );
        }
        Ok(())
    }

    fn failures_are_kept(&self, service: &ServiceName, deliver: &Deliver) -> Judged {
        let event = &deliver.event;
        let Some((count, at)) = self.nacked.get(&(service.clone(), event.position)) else { return Ok(()) };
        if *count == 0 || !self.is_first_undone(service, event) {
            return Ok(());
        }
        let lane = self.log.lane(service, &event.key);
        must!(
            lane.is_some_and(|lane| lane.failures >= *count),
            "failures are durable",
            "{} is delivered after {count} nacks, {lane:?}",
            shown(service, event)
        );
        must!(
            *count < self.limits.failures_max,
            "parking",
            "{} is delivered after {count} nacks",
            shown(service, event)
        );
        let again = *at + self.limits.backoff_first;
        must!(
            *at == Timestamp::ZERO || self.now >= again,
            "back-off",
            "{} is delivered at {}, not before {again}",
            shown(service, event),
            self.now
        );
        Ok(())
    }

    fn credit_suffices(&self, conn: ConnId, deliver: &Deliver) -> Judged {
        let open = (0..self.deliveries.len())
            .filter(|index| self.deliveries[*index].conn == conn && self.surely_open(*index))
            .count();
        let credit = self.connections[&conn].credit_high;
        must!(open < credit as usize, "bounded", "{conn:?} has {open} open of {credit} and gets {deliver:?}");
        Ok(())
    }

    /// When the store has nothing left to answer, an event that is undone is held by somebody, parked, or backing off:
    /// otherwise free hands would have it.
    pub fn nothing_lies_idle(&self) -> Judged {
        for service in self.log.services().keys() {
            let held = |index: usize| {
                let delivery = &self.deliveries[index];
                delivery.service == *service
                    && !delivery.failed
                    && self.newest(service, delivery.position) == Some(index)
                    && self.connections.get(&delivery.conn).is_some_and(Connection::lives)
                    && self.log.ended(service, delivery.position).is_none()
            };
            if !self.hands_are_free(service) || (0..self.deliveries.len()).any(held) {
                continue;
            }
            for event in self.log.undone(service) {
                let lane = self.log.lane(service, &event.key);
                must!(
                    lane.is_some_and(|lane| lane.parked.is_some() || lane.failures > 0),
                    "no lane waits for another",
                    "{} lies idle with free hands; {lane:?}",
                    shown(service, event)
                );
            }
        }
        Ok(())
    }

    fn note_delivery(&mut self, conn: ConnId, service: &ServiceName, instance: &InstanceName, deliver: &Deliver) {
        let event: &Event = &deliver.event;
        if let Some(older) = self.newest(service, event.position) {
            // What is behind it in the lane was withdrawn with it.
            for other in &mut self.deliveries {
                if other.service == *service && other.key == event.key && other.version > event.version {
                    other.holds = false;
                }
            }
            let expired = self.expired(&self.deliveries[older]);
            let older = &mut self.deliveries[older];
            older.holds = false;
            let (moved, same_conn) = (older.instance != *instance, older.conn == conn);
            self.marks.reach(Mark::Redelivered);
            if moved {
                self.marks.reach(Mark::OwnerMoved);
            } else if !same_conn {
                self.marks.reach(Mark::GraceKept);
            }
            if same_conn && older.failed {
                self.marks.reach(Mark::NackRedelivered);
            }
            if expired && !older.failed {
                self.marks.reach(Mark::DeadlineMissed);
            }
        }
        *self.delivered.entry((service.clone(), event.position)).or_default() += 1;
        self.deliveries.push(Delivery {
            conn,
            service: service.clone(),
            instance: instance.clone(),
            key: event.key.clone(),
            version: event.version,
            position: event.position,
            token: deliver.token,
            types: self.log.services().get(service).map(|record| record.types.clone()).unwrap_or_default(),
            renewed: self.quiet_at,
            holds: true,
            failed: false,
            conflict: vec![],
        });
        let lane = |other: &Delivery| other.service == *service && other.key == event.key;
        let open =
            (0..self.deliveries.len()).filter(|index| lane(&self.deliveries[*index]) && self.surely_open(*index));
        if open.count() > 1 {
            self.marks.reach(Mark::TwoOpenInLane);
        }
    }
}
