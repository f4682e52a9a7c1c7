//! Connections and instances: hello, readiness, heartbeats, leaving.

use super::{
    Bus, ConnId, Output,
    deliver::Lost,
    service::{Instance, Service, sorted},
    timers::Timer,
};
use crate::{
    limits::TYPES_PER_SERVICE_MAX,
    marks::bus as marks,
    names::{InstanceName, Key, Position, ServiceName},
    planted::Bug,
    store::{KeyHead, ServiceRecord, Taken},
    time::Timestamp,
    wire::{Closing, Credit, ErrorCode, Hello, Ping, Pong, Resume, Start, Welcome},
};

/// A connection as the bus holds it.
#[derive(Debug, Clone, Default)]
pub(super) struct Conn {
    /// The instance that speaks on it, once it has said hello.
    pub(super) instance: Option<(ServiceName, InstanceName)>,
    /// When something was last heard on it.
    pub(super) heard: Timestamp,
    /// Reads that are open.
    pub(super) reads: usize,
}

impl Bus {
    pub(super) fn connected(&mut self, conn: ConnId) {
        if self.conns.len() >= self.config.limits.connections_max {
            self.error(
                conn,
                ErrorCode::LimitReached,
                "the bus has as many connections as it may",
                "try again later",
                None,
            );
            self.outbox.say_now(Output::Close { conn });
            return;
        }
        let heard = self.now.monotonic;
        let former = self.conns.insert(conn, Conn { heard, ..Conn::default() });
        debug_assert!(former.is_none(), "a connection's number is used once");
        self.timers.arm(heard + self.config.limits.heartbeat_deadline, Timer::Heartbeat(conn));
    }

    /// The connection ended; its instance may come back within its grace.
    pub(super) fn disconnected(&mut self, conn: ConnId) {
        let Some(gone) = self.conns.remove(&conn) else { return };
        self.throttled.remove(&conn);
        for request in self.streams_of(conn) {
            self.streams.remove(&(conn, request));
        }
        let Some((service, name)) = gone.instance else { return };
        let until = self.now.monotonic + self.config.limits.grace;
        let durable = Some(self.knowledge.durable_sequence);
        let Some(instance) = self.services.get_mut(&service).and_then(|service| service.instances.get_mut(&name))
        else {
            return;
        };
        if instance.conn != Some(conn) {
            return; // A newer connection of the same incarnation has taken over.
        }
        instance.conn = None;
        instance.ready = false;
        instance.grace = Some(until);
        self.timers.arm(until, Timer::Grace(service.clone(), name.clone()));
        self.mark(marks::INSTANCE_AWAY);
        // What was held back behind a commit will not reach it: nobody's fault.
        for key in self.lanes_of(&service, &name) {
            if self
                .lane_mut(&service, &key)
                .and_then(|lane| lane.open.front())
                .is_some_and(|first| first.held_by > durable)
            {
                self.withdraw(&service, &key, Lost::Disconnected);
                self.enqueue(&service, &key);
            }
        }
    }

    pub(super) fn close(&mut self, conn: ConnId, reason: &str) {
        self.send(conn, Closing { reason: reason.to_owned() });
        self.outbox.say(self.gather.barrier(), Output::Close { conn });
        self.disconnected(conn);
    }

    pub(super) fn heartbeat_due(&mut self, conn: ConnId) {
        let Some(state) = self.conns.get(&conn) else { return };
        let deadline = state.heard + self.config.limits.heartbeat_deadline;
        if deadline > self.now.monotonic {
            self.timers.arm(deadline, Timer::Heartbeat(conn));
            return;
        }
        self.mark(marks::SILENT_CONNECTION_CLOSED);
        let help = "send any frame, such as ping, at least every third of the heartbeat deadline";
        self.error(conn, ErrorCode::Silent, "nothing was heard for longer than the heartbeat deadline", help, None);
        self.close(conn, "silent");
    }

    pub(super) fn hello(&mut self, conn: ConnId, hello: Hello) {
        let Some(state) = self.conns.get(&conn) else { return };
        if state.instance.is_some() {
            let help = "open a connection for each instance";
            self.error(conn, ErrorCode::OutOfTurn, "this connection has said hello before", help, None);
            return;
        }
        if let Err((code, message, help)) = self.admit(&hello) {
            self.error(conn, code, &message, help, None);
            self.close(conn, "the hello was refused");
            return;
        }
        let Hello { service: name, instance: instance_name, incarnation, credit, .. } = hello;
        let credit = credit.min(self.config.limits.credit_max);
        self.session += 1;
        let session = self.session;
        let Some(service) = self.services.get_mut(&name) else { return };
        let former =
            service.instances.get(&instance_name).map(|former| (former.incarnation, former.conn, former.grace));
        match former {
            Some((of, former_conn, grace)) if of == incarnation => {
                if let Some(instance) = service.instances.get_mut(&instance_name) {
                    instance.conn = Some(conn);
                    instance.session = session;
                    instance.ready = false;
                    instance.credit = credit;
                    instance.grace = None;
                }
                if let Some(until) = grace {
                    self.timers.cancel(until, &Timer::Grace(name.clone(), instance_name.clone()));
                    self.mark(marks::RECONNECTED_WITHIN_GRACE);
                }
                if let Some(former_conn) = former_conn {
                    self.mark(marks::SESSION_SUPERSEDED);
                    let help = "nothing, if this was a reconnect; else give each instance a name of its own";
                    let message = "a newer connection of the same incarnation took over";
                    self.error(former_conn, ErrorCode::Superseded, message, help, None);
                    self.close(former_conn, "superseded");
                    let data = serde_json::json!({ "instance": instance_name, "incarnation": incarnation, "session": session });
                    self.system_event(&name, "$Fenced", None, &data);
                }
                // The old session's tokens are void: what it has open comes again under the new one.
                for key in self.lanes_of(&name, &instance_name) {
                    self.withdraw(&name, &key, Lost::Disconnected);
                    self.enqueue(&name, &key);
                }
            }
            Some(_) => {
                // It is away, or it would have been refused: its former life is over.
                self.leave(&name, &instance_name, "another incarnation took its place");
                self.join(&name, &instance_name, incarnation, conn, session, credit);
            }
            None => self.join(&name, &instance_name, incarnation, conn, session, credit),
        }
        if let Some(state) = self.conns.get_mut(&conn) {
            state.instance = Some((name, instance_name));
        }
        let limits = &self.config.limits;
        let welcome = Welcome {
            term: self.term,
            session,
            position: self.knowledge.position,
            heartbeat_deadline_ms: limits.heartbeat_deadline.as_millis() as u64,
            delivery_deadline_ms: limits.delivery_deadline.as_millis() as u64,
            credit,
        };
        self.send(conn, welcome);
    }

    fn join(
        &mut self,
        service: &ServiceName,
        name: &InstanceName,
        incarnation: u64,
        conn: ConnId,
        session: u64,
        credit: u32,
    ) {
        let instance = Instance {
            incarnation,
            conn: Some(conn),
            session,
            ready: false,
            credit,
            open: 0,
            queue: std::collections::VecDeque::new(),
            grace: None,
        };
        if let Some(service) = self.services.get_mut(service) {
            service.instances.insert(name.clone(), instance);
        }
    }

    /// Whether this instance may be one; registers its service when it is the first.
    fn admit(&mut self, hello: &Hello) -> Result<(), (ErrorCode, String, &'static str)> {
        let limits = &self.config.limits;
        let name = &hello.service;
        if name.is_reserved() || hello.instance.is_reserved() {
            let message = format!("{name} or {} begins with `$`, which belongs to the bus", hello.instance);
            return Err((ErrorCode::Reserved, message, "choose another name"));
        }
        let types = sorted(hello.types.clone());
        if types.len() > TYPES_PER_SERVICE_MAX {
            let message = format!("{name} takes {} types, the limit is {TYPES_PER_SERVICE_MAX}", types.len());
            return Err((ErrorCode::LimitReached, message, "split the service"));
        }
        let Some(service) = self.services.get(name) else {
            if self.services.len() >= limits.services_max {
                let message =
                    format!("there are {} services, the limit is {}", self.services.len(), limits.services_max);
                return Err((ErrorCode::LimitReached, message, "raise services_max"));
            }
            self.register(name, types, hello.start);
            return Ok(());
        };
        if service.types.iter().map(|taken| &taken.event_type).ne(types.iter()) {
            let registered: Vec<&str> = service.types.iter().map(|taken| taken.event_type.as_str()).collect();
            let message = format!("{name} is registered with the types {}", registered.join(", "));
            return Err((ErrorCode::TypesDiffer, message, "declare these, or have an administrator change them"));
        }
        if let Some(former) = service.instances.get(&hello.instance) {
            if former.incarnation != hello.incarnation && former.conn.is_some() {
                let message = format!("{} of {name} lives under another incarnation", hello.instance);
                return Err((
                    ErrorCode::InstanceAlive,
                    message,
                    "wait for its heartbeat deadline, or take another name",
                ));
            }
        } else if service.instances.len() >= limits.instances_per_service_max {
            let message = format!("{name} has {} instances, which is the limit", service.instances.len());
            return Err((ErrorCode::LimitReached, message, "raise instances_per_service_max"));
        }
        Ok(())
    }

    fn register(&mut self, name: &ServiceName, types: Vec<crate::names::EventType>, start: Start) {
        let since = match start {
            Start::Beginning => Position::ZERO,
            Start::Now => self.knowledge.position,
        };
        let types: Vec<Taken> = types.into_iter().map(|event_type| Taken { event_type, since }).collect();
        let record = ServiceRecord { name: name.clone(), types, frontier: since.min(self.knowledge.durable) };
        self.services.insert(name.clone(), Service::new(record.clone(), KeyHead::default()));
        self.gather.commit.services.push(record);
        self.mark(marks::SERVICE_REGISTERED);
        let data = serde_json::json!({ "service": name, "start": start });
        self.system_event(name, "$ServiceRegistered", None, &data);
        self.dirty.insert(name.clone());
    }

    pub(super) fn ready(&mut self, conn: ConnId) {
        let Some((name, instance_name)) = self.speaker(conn) else {
            self.error(conn, ErrorCode::OutOfTurn, "ready needs a hello first", "say hello", None);
            return;
        };
        let moved_max = self.config.limits.idle_lanes_moved_max;
        let Some(service) = self.services.get_mut(&name) else { return };
        let Some(instance) = service.instances.get_mut(&instance_name) else { return };
        if !std::mem::replace(&mut instance.ready, true) {
            let ready = service.instances.values().filter(|instance| instance.takes_work()).count();
            let epoch = &mut service.epoch;
            let next_epoch = || {
                *epoch += 1;
                *epoch
            };
            if service.idle.share_with(&instance_name, ready, moved_max, next_epoch) > 0 {
                self.mark(marks::IDLE_LANES_MOVED);
            }
        }
        self.dirty.insert(name);
    }

    /// The service and instance that speak on a connection.
    pub(super) fn speaker(&self, conn: ConnId) -> Option<(ServiceName, InstanceName)> {
        self.conns.get(&conn)?.instance.clone()
    }

    /// The lanes with work that stick to an instance.
    fn lanes_of(&self, service: &ServiceName, instance: &InstanceName) -> Vec<Key> {
        let Some(service) = self.services.get(service) else { return Vec::new() };
        let owned = service.lanes.iter().filter(|(_, lane)| lane.owner.as_ref() == Some(instance));
        owned.map(|(key, _)| key.clone()).collect()
    }

    /// An instance is gone for good: its lanes go on with others, in order, under a higher epoch.
    pub(super) fn leave(&mut self, name: &ServiceName, instance_name: &InstanceName, reason: &str) {
        let lanes = self.lanes_of(name, instance_name);
        for key in &lanes {
            if self.config.planted.is(Bug::StickyLost) {
                break;
            }
            self.withdraw(name, key, Lost::Disconnected);
        }
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(gone) = service.instances.remove(instance_name) else { return };
        service.idle.forget_owner(instance_name);
        for key in &gone.queue {
            if let Some(lane) = service.lanes.get_mut(key) {
                lane.queued = false;
            }
        }
        for key in &lanes {
            if let Some(lane) = self.lane_mut(name, key) {
                lane.owner = None;
            }
        }
        // Lanes that stood in its queue although it had lost them go on as well.
        for key in lanes.iter().chain(&gone.queue) {
            self.enqueue(name, key);
        }
        if let Some(until) = gone.grace {
            self.timers.cancel(until, &Timer::Grace(name.clone(), instance_name.clone()));
        }
        self.mark(marks::OWNER_LEFT);
        let data = serde_json::json!({
            "instance": instance_name, "incarnation": gone.incarnation, "lanes": lanes.len(), "reason": reason,
        });
        self.system_event(name, "$OwnerLeft", None, &data);
        self.dirty.insert(name.clone());
    }

    pub(super) fn bye(&mut self, conn: ConnId) {
        if let Some((service, instance)) = self.speaker(conn) {
            self.leave(&service, &instance, "it said bye");
            if let Some(state) = self.conns.get_mut(&conn) {
                state.instance = None;
            }
        }
        self.close(conn, "bye");
    }

    pub(super) fn credit(&mut self, conn: ConnId, credit: &Credit) {
        let credit_max = self.config.limits.credit_max;
        if let Some(request) = credit.request {
            self.stream_credit(conn, request, credit.credit);
            return;
        }
        let Some((name, instance)) = self.speaker(conn) else {
            self.error(conn, ErrorCode::OutOfTurn, "credit for deliveries needs a hello first", "say hello", None);
            return;
        };
        if let Some(instance) = self.services.get_mut(&name).and_then(|service| service.instances.get_mut(&instance)) {
            instance.credit = credit.credit.min(credit_max);
        }
        self.dirty.insert(name);
    }

    pub(super) fn ping(&mut self, conn: ConnId, ping: &Ping) {
        let frame = Pong { nonce: ping.nonce }.into();
        self.outbox.say_now(Output::Send { conn, frame });
    }

    /// Publishers that were throttled may go on.
    pub(super) fn resume(&mut self) {
        for conn in std::mem::take(&mut self.throttled) {
            self.mark(marks::RESUMED);
            self.send(conn, Resume {});
        }
    }
}
