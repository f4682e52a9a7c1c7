//! The process of an instance: what the service's driver does around the machine, without tasks and sockets.

use std::collections::{BTreeMap, VecDeque};

use dacapo_core::{
    ServiceName,
    hashed::Hashed,
    hooks::{Identity, Verdict},
    trace::{Frame, What},
    wire::{FromBus, ToBus},
};
use dacapo_properties::ServiceSpec;
use dacapo_service::{
    Input, Machine, Output, Request, Response, Route,
    driver::{
        CONNECT_DEADLINE, identity_of_request, point_of,
        routing::{Refused, other_methods, resolve},
    },
};

use super::{
    hosts::{BUS, INVARIANTS_EVERY, Returned},
    net::{self, Asked, Heard, Speech},
    queue::{ConnectionId, HostId},
    stage::Stage,
};
use crate::engine::setup;

/// What the socket says, in order.
enum Said {
    Opened(ConnectionId),
    Frame(ConnectionId, Hashed<FromBus>, usize),
    Ended(ConnectionId),
}

/// What callers say, in order.
enum Called {
    Request { id: u64, connection: ConnectionId, request: Request },
    Gone { id: u64 },
}

/// An open request of HTTP.
struct Open {
    connection: ConnectionId,
    identity: Identity,
}

/// A life of an instance's host.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct InstanceProcess {
    host: HostId,
    service: ServiceName,
    machine: Box<dyn Machine>,
    routes: Vec<Route>,
    socket: Option<ConnectionId>,
    /// The attempt under way, and when it is given up.
    connecting: Option<(ConnectionId, u64)>,
    attempts: u64,
    /// Connections opened so far; the last is the number of the socket.
    connections: u64,
    said: VecDeque<Said>,
    called: VecDeque<Called>,
    requests: u64,
    open: BTreeMap<u64, Open>,
    started: bool,
    asked_to_end: bool,
    told_to_end: bool,
    exit: bool,
    delayed: Option<(u64, Output)>,
    turns: u64,
    /// The machine is asked after this turn whether it broke a rule of its own.
    looks: bool,
}

/// The simulated process died at a point.
struct Died;

impl InstanceProcess {
    /// The process starts.
    pub(super) fn start(stage: &mut Stage, host: HostId, service: &ServiceSpec, rebuild: bool) -> Self {
        let faults = setup::handler_faults(&stage.plan, &stage.chance, &service.name, &stage.healed);
        let life = stage.lives[host].number;
        let config = setup::instance_config(&stage.plan, &stage.chance, (&stage.names[host], life), rebuild, faults);
        let machine = (service.make)(config);
        stage.record(host, What::Started { incarnation: machine.incarnation() });
        Self {
            host,
            service: service.name.clone(),
            routes: machine.routes(),
            machine,
            socket: None,
            connecting: None,
            attempts: 0,
            connections: 0,
            said: VecDeque::new(),
            called: VecDeque::new(),
            requests: 0,
            open: BTreeMap::new(),
            started: false,
            asked_to_end: false,
            told_to_end: false,
            exit: false,
            delayed: None,
            turns: 0,
            looks: false,
        }
    }

    pub(super) fn ask_to_end(&mut self) {
        self.asked_to_end = true;
    }

    /// Takes in what came on a connection.
    pub(super) fn hear(&mut self, stage: &mut Stage, connection: ConnectionId, heard: Heard) {
        match heard {
            Heard::Opened => self.said.push_back(Said::Opened(connection)),
            Heard::Refused(_) => self.said.push_back(Said::Ended(connection)),
            Heard::FromBus(frame, bytes) => self.said.push_back(Said::Frame(connection, frame, bytes)),
            Heard::Request(asked) => self.called(stage, connection, *asked),
            Heard::Ended => {
                let waiting = self.called.iter().find_map(|called| match called {
                    Called::Request { id, connection: of, .. } if *of == connection => Some(*id),
                    _ => None,
                });
                let open = || self.open.iter().find(|(_, open)| open.connection == connection).map(|(id, _)| *id);
                match waiting.or_else(open) {
                    Some(id) => self.called.push_back(Called::Gone { id }),
                    None => self.said.push_back(Said::Ended(connection)),
                }
            }
            Heard::Upgrade | Heard::ToBus(_) | Heard::Response(_) => {}
        }
    }

    /// Finds the route, as HTTP does before the machine is asked.
    fn called(&mut self, stage: &mut Stage, connection: ConnectionId, asked: Asked) {
        let Asked::Service { method, path, body, idempotency_key, caller, at_least } = asked else { return };
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        match resolve(&self.routes, Some(method), path, query) {
            Ok((route, parameters)) => {
                self.requests += 1;
                let (idempotency_key, caller) = (Some(idempotency_key), Some(caller));
                let (method, route) = (route.method, route.path);
                let request = Request { method, route, parameters, idempotency_key, caller, at_least, body };
                self.called.push_back(Called::Request { id: self.requests, connection, request });
            }
            Err(Refused::Answer(response)) => stage.respond(connection, response),
            Err(Refused::OtherMethods(methods)) => stage.respond(connection, other_methods(&methods)),
        }
    }

    /// Goes on as far as it can; how the process ended, if it did.
    pub(super) fn run(&mut self, stage: &mut Stage) -> Option<Returned> {
        loop {
            match self.drain(stage) {
                Ok(None) => {}
                Ok(Some(until_us)) => {
                    stage.wake_at(self.host, until_us);
                    return None;
                }
                Err(Died) => return Some(Returned::Died),
            }
            if self.exit {
                if let Some(socket) = self.socket.take() {
                    stage.close(socket, self.host);
                }
                stage.record(self.host, What::Stopped { reason: "it was asked to end".to_owned() });
                return Some(Returned::Quietly);
            }
            if let Some(until_us) = stage.paused_until_us(self.host) {
                stage.wake_at(self.host, until_us);
                return None;
            }
            let Some(input) = self.next_input(stage) else {
                if let Some(due) = self.machine.poll_timeout() {
                    stage.wake_at_local(self.host, due);
                }
                if let Some((_, until_us)) = self.connecting {
                    stage.wake_at(self.host, until_us);
                }
                return None;
            };
            let now = stage.clock(self.host);
            self.machine.handle_input(now, input);
            self.turns += 1;
            self.looks = self.turns.is_multiple_of(INVARIANTS_EVERY);
            stage.count_turn();
        }
    }

    /// The bus before HTTP before timers: what lies in the socket may show that a deadline was kept.
    fn next_input(&mut self, stage: &mut Stage) -> Option<Input> {
        if !std::mem::replace(&mut self.started, true) {
            return Some(Input::Started);
        }
        if self.asked_to_end && !std::mem::replace(&mut self.told_to_end, true) {
            return Some(Input::Shutdown);
        }
        while stage.view(self.host).reads
            && let Some(said) = self.said.pop_front()
        {
            if let Some(input) = self.listen(stage, said) {
                return Some(input);
            }
        }
        if let Some((connection, until_us)) = self.connecting
            && until_us <= stage.now_us
        {
            self.connecting = None;
            stage.close(connection, self.host);
            return Some(Input::Disconnected);
        }
        match self.called.pop_front() {
            Some(Called::Request { id, connection, request }) => {
                self.open.insert(id, Open { connection, identity: identity_of_request(&request) });
                return Some(Input::Request { id, request });
            }
            Some(Called::Gone { id }) => {
                self.open.remove(&id);
                return Some(Input::RequestGone { id });
            }
            None => {}
        }
        let now = stage.clock(self.host).monotonic;
        self.machine.poll_timeout().is_some_and(|due| due <= now).then_some(Input::Timeout)
    }

    fn listen(&mut self, stage: &mut Stage, said: Said) -> Option<Input> {
        let is_attempt = |connecting: Option<(ConnectionId, u64)>, connection: ConnectionId| {
            connecting.is_some_and(|(attempt, _)| attempt == connection)
        };
        match said {
            Said::Opened(connection) if is_attempt(self.connecting, connection) => {
                self.connecting = None;
                self.connections += 1;
                self.socket = Some(connection);
                stage.record(self.host, What::Connected { connection: self.connections });
                Some(Input::Connected)
            }
            Said::Frame(connection, frame, bytes) if self.socket == Some(connection) => {
                stage.net.read(connection, self.host, bytes);
                let recorded = Frame::FromBus(frame.clone());
                stage.record(self.host, What::FrameReceived { connection: self.connections, frame: recorded });
                Some(Input::Frame(frame.into_inner()))
            }
            Said::Ended(connection) if self.socket == Some(connection) => {
                self.drop_socket(stage);
                Some(Input::Disconnected)
            }
            Said::Ended(connection) if is_attempt(self.connecting, connection) => {
                self.connecting = None;
                Some(Input::Disconnected)
            }
            Said::Opened(_) | Said::Frame(..) | Said::Ended(_) => None,
        }
    }

    fn drop_socket(&mut self, stage: &mut Stage) {
        if let Some(socket) = self.socket.take() {
            stage.close(socket, self.host);
            stage.record(self.host, What::Disconnected { connection: self.connections });
        }
    }

    /// Carries out what the machine wants done; until when the next thing waits, if it does.
    fn drain(&mut self, stage: &mut Stage) -> Result<Option<u64>, Died> {
        match self.delayed.take() {
            Some((until_us, output)) if until_us > stage.now_us => {
                self.delayed = Some((until_us, output));
                return Ok(Some(until_us));
            }
            Some((_, output)) => self.carry_out(stage, output),
            None => {}
        }
        while let Some(output) = self.machine.poll_output() {
            let identity = |id| self.open.get(&id).map_or(Identity::None, |open| open.identity);
            if let Some(point) = point_of(&output, identity) {
                match stage.before(self.host, Some(&self.service), point) {
                    Verdict::Go | Verdict::Fail(_) => {}
                    Verdict::Twice => {
                        if let Output::Send(frame) = &output {
                            self.send(stage, frame.clone());
                        }
                    }
                    Verdict::Delay(wait) => {
                        let until_us = stage.now_us + wait.as_micros() as u64;
                        self.delayed = Some((until_us, output));
                        return Ok(Some(until_us));
                    }
                    Verdict::Lose => {
                        self.lose(&output);
                        continue;
                    }
                    Verdict::Die => return Err(Died),
                }
            }
            self.carry_out(stage, output);
        }
        if std::mem::take(&mut self.looks) {
            self.machine.check_invariants();
        }
        Ok(None)
    }

    /// The caller of a lost answer goes on waiting; of a lost attempt to connect one hears as of a refused one.
    fn lose(&mut self, output: &Output) {
        match output {
            Output::Respond { id, .. } => drop(self.open.remove(id)),
            Output::Connect => {
                self.connecting = Some((ConnectionId::MAX, u64::MAX));
                self.said.push_back(Said::Ended(ConnectionId::MAX));
            }
            _ => {}
        }
    }

    fn carry_out(&mut self, stage: &mut Stage, output: Output) {
        match output {
            Output::Connect => {
                self.attempts += 1;
                let life = stage.lives[self.host].number;
                let identity = net::identity(&(stage.names[self.host].as_str(), life, self.attempts));
                let connection = stage.connect(self.host, BUS, Speech::Frames, identity);
                self.connecting = Some((connection, stage.now_us + CONNECT_DEADLINE.as_micros() as u64));
            }
            Output::Send(frame) => self.send(stage, frame),
            Output::Close => {
                if let Some((connection, _)) = self.connecting.take() {
                    stage.close(connection, self.host);
                }
                self.drop_socket(stage);
            }
            Output::Respond { id, response } => self.respond(stage, id, response),
            Output::Record(what) => stage.record(self.host, what),
            Output::Exit => self.exit = true,
        }
    }

    fn respond(&mut self, stage: &mut Stage, id: u64, response: Response) {
        if let Some(open) = self.open.remove(&id) {
            stage.respond(open.connection, response);
        }
    }

    fn send(&mut self, stage: &mut Stage, frame: ToBus) {
        let Some(socket) = self.socket else { return };
        let frame = Hashed::new(frame);
        let recorded = Frame::ToBus(frame.clone());
        stage.record(self.host, What::FrameSent { connection: self.connections, frame: recorded });
        stage.send_to_bus(socket, frame);
    }
}
