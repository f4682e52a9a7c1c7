//! The process of a bus: what the server does around the machine, without tasks and sockets.
//!
//! One input in, then all outputs out in order, each shown to the hooks before. A bus that can go no further is
//! dropped with all its connections and recovered from the store after a back-off. When asked to end, it takes nothing
//! new, waits for the commits under way, and says `closing` to everyone.

mod desk;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use dacapo_backends::server::{ServerConfig, points, weight_of};
use dacapo_core::{
    access::{Denied, Judgement, Secret, Speaker, TokenBook},
    bus::{self, Admin, AdminAnswer, Bus, ConnId, Input, Output},
    hashed::Hashed,
    hooks::{Identity, Point, Verdict},
    names::Term,
    store::{Recovered, StoreError},
    trace::{Frame, What},
    wire::{self, Closing, ErrorCode, FromBus, ToBus},
};
use dacapo_service::Response;

use super::{
    answers::{Answered, Asker},
    hosts::{INVARIANTS_EVERY, Returned},
    net::{Asked, Heard, WINDOW_BYTES},
    queue::{ConnectionId, HostId},
    stage::Stage,
};
use crate::{engine::setup, marks};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is to ask the store what to begin with.
    Begins,
    /// The store has been asked.
    Recovers,
    /// It recovers again at this time.
    Waits { until_us: u64 },
    /// The machine runs.
    Runs,
    /// The machine runs, and delivers nothing more; it closes at this time at the latest.
    Drains { until_us: u64 },
    /// It takes nothing new, and ends at this time at the latest.
    Closes { until_us: u64 },
}

/// What waits for the machine, in the order in which it came.
enum Arrival {
    Connected(ConnId, ConnectionId),
    Frame(ConnId, Hashed<ToBus>),
    Admin(ConnId, Admin),
    Disconnected(ConnId),
}

/// What waits at the door, which a process that stands still does not open.
enum Knock {
    Upgrade(ConnectionId),
    Ask(ConnectionId, Admin),
    Read(ConnectionId),
}

/// An administrator's question.
struct Question {
    connection: ConnectionId,
    until_us: u64,
}

/// Why the machine does not go on.
enum Ended {
    Stopped(String),
    TakenOver(StoreError),
    Died,
}

/// How far carrying out has come.
enum Drained {
    All,
    /// What is next waits until then.
    Until(u64),
}

/// A life of the bus's host.
pub(super) struct BusProcess {
    host: HostId,
    config: ServerConfig,
    state: State,
    bus: Option<Bus>,
    term: Term,
    began_us: u64,
    back_off: Duration,
    /// Which of the buses of this life runs.
    number: u64,
    /// Connections that the bus knows. What comes from others is left over from a former one.
    conns: BTreeMap<ConnId, ConnectionId>,
    /// The tokens, where they are demanded, and who speaks on each connection.
    tokens: Option<TokenBook>,
    speakers: BTreeMap<ConnId, Speaker>,
    /// The numbers of all connections that are open.
    numbers: BTreeMap<ConnectionId, ConnId>,
    last_conn: u64,
    questions: BTreeMap<ConnId, Question>,
    door: VecDeque<Knock>,
    inbox: VecDeque<Arrival>,
    answers: VecDeque<Answered>,
    answers_due: u64,
    /// Inputs that the process itself caused; they come before any other.
    caused: VecDeque<Input>,
    delayed: Option<(u64, Output)>,
    taken_over: Option<StoreError>,
    /// No bus can begin, since there is no room on the disk.
    is_full: bool,
    asked_to_end: bool,
    turns: u64,
    /// The machine is asked after this turn whether it broke a rule of its own.
    looks: bool,
}

impl BusProcess {
    /// The process starts.
    pub(super) fn start(stage: &mut Stage, host: HostId) -> Self {
        let incarnation = stage.entropy(host);
        stage.record(host, What::Started { incarnation });
        let config = setup::server_config(&stage.plan);
        Self {
            host,
            back_off: config.restart_first,
            config,
            state: State::Begins,
            bus: None,
            term: Term::default(),
            began_us: 0,
            number: 0,
            conns: BTreeMap::new(),
            tokens: stage.plan.settings.guarded.then(setup::tokens),
            speakers: BTreeMap::new(),
            numbers: BTreeMap::new(),
            last_conn: 0,
            questions: BTreeMap::new(),
            door: VecDeque::new(),
            inbox: VecDeque::new(),
            answers: VecDeque::new(),
            answers_due: 0,
            caused: VecDeque::new(),
            delayed: None,
            taken_over: None,
            is_full: false,
            asked_to_end: false,
            turns: 0,
            looks: false,
        }
    }

    pub(super) fn ask_to_end(&mut self) {
        self.asked_to_end = true;
    }

    /// Whether the machine runs.
    pub(super) fn is_at_work(&self) -> bool {
        self.bus.is_some() && matches!(self.state, State::Runs | State::Drains { .. })
    }

    fn asker(&self) -> Asker {
        Asker { host: self.host, bus: self.number }
    }

    /// Takes in what came on a connection.
    pub(super) fn hear(&mut self, stage: &mut Stage, connection: ConnectionId, heard: Heard) {
        match heard {
            Heard::Upgrade => self.door.push_back(Knock::Upgrade(connection)),
            Heard::Request(asked) => match *asked {
                Asked::Bus(admin) => self.door.push_back(Knock::Ask(connection, admin)),
                Asked::Log => self.door.push_back(Knock::Read(connection)),
                Asked::Service { .. } => {}
            },
            Heard::ToBus(frame) => {
                if let Some(conn) = self.numbers.get(&connection) {
                    self.inbox.push_back(Arrival::Frame(*conn, stage.through_wire_to_bus(frame)));
                }
            }
            Heard::Ended => {
                if let Some(conn) = self.numbers.remove(&connection) {
                    self.questions.remove(&conn);
                    self.inbox.push_back(Arrival::Disconnected(conn));
                }
            }
            Heard::Opened | Heard::Refused(_) | Heard::FromBus(..) | Heard::Response(_) => {}
        }
    }

    /// Takes in an answer of the store, unless a former bus of this life asked.
    pub(super) fn answered(&mut self, bus: u64, answer: Answered) {
        if bus == self.number {
            self.answers_due -= 1;
            self.answers.push_back(answer);
        }
    }

    /// Goes on as far as it can; how the process ended, if it did.
    pub(super) fn run(&mut self, stage: &mut Stage) -> Option<Returned> {
        loop {
            if self.bus.is_some() {
                match self.drain(stage) {
                    Ok(Drained::All) => {}
                    Ok(Drained::Until(until_us)) => {
                        stage.wake_at(self.host, until_us);
                        return None;
                    }
                    Err(Ended::Died) => return Some(Returned::Died),
                    Err(Ended::TakenOver(error)) => {
                        return Some(match self.close_all(stage, &error.to_string()) {
                            Ok(()) => self.end(stage, Some(error.to_string())),
                            Err(_) => Returned::Died,
                        });
                    }
                    Err(Ended::Stopped(reason)) => {
                        if self.stop(stage, &reason).is_err() {
                            return Some(Returned::Died);
                        }
                    }
                }
            }
            if let Some(until_us) = stage.paused_until_us(self.host) {
                stage.wake_at(self.host, until_us);
                return None;
            }
            if !self.open_door(stage) {
                return Some(Returned::Died);
            }
            self.expire_questions(stage);
            if self.is_full {
                self.tend_desk(stage);
            }
            let input = match self.state {
                State::Begins => {
                    let point = Point { name: "bus recover", identity: Identity::None };
                    if stage.before(self.host, None, point) == Verdict::Die {
                        return Some(Returned::Died);
                    }
                    self.answers_due += 1;
                    if !stage.store_recovers(self.asker()) {
                        return Some(Returned::Died);
                    }
                    self.state = State::Recovers;
                    continue;
                }
                State::Recovers | State::Waits { .. } if self.asked_to_end => return Some(self.end(stage, None)),
                State::Recovers => match self.answers.pop_front() {
                    Some(Answered::Recovered(recovered)) => match *recovered {
                        Ok(recovered) => {
                            self.leave_desk(stage);
                            self.begin(stage, recovered);
                            continue;
                        }
                        Err(error @ (StoreError::Io(_) | StoreError::Full(_))) => {
                            if matches!(error, StoreError::Full(_)) {
                                self.fill_up(stage);
                            }
                            self.wait(stage);
                            continue;
                        }
                        Err(error) => {
                            let reason = format!("the bus cannot recover from its store: {error}");
                            return Some(self.end(stage, Some(reason)));
                        }
                    },
                    Some(Answered::Input(_)) => continue,
                    None => return None,
                },
                State::Waits { until_us } if until_us <= stage.now_us => {
                    self.state = State::Begins;
                    continue;
                }
                State::Waits { until_us } => {
                    stage.wake_at(self.host, until_us);
                    return None;
                }
                State::Runs if self.asked_to_end => {
                    let patience_us = self.config.drain_deadline.as_micros() as u64;
                    self.state = State::Drains { until_us: stage.now_us + patience_us };
                    stage.record(self.host, What::Draining {});
                    Input::Drain
                }
                State::Drains { until_us } if until_us <= stage.now_us || self.nothing_is_open() => {
                    let patience_us = self.config.shutdown_deadline.as_micros() as u64;
                    self.state = State::Closes { until_us: stage.now_us + patience_us };
                    continue;
                }
                State::Drains { until_us } => {
                    let Some(input) = self.next_input(stage) else {
                        self.wake_when_due(stage);
                        stage.wake_at(self.host, until_us);
                        return None;
                    };
                    input
                }
                State::Runs => {
                    let Some(input) = self.next_input(stage) else {
                        self.wake_when_due(stage);
                        return None;
                    };
                    input
                }
                State::Closes { until_us } => match self.answers.pop_front() {
                    Some(answered) => self.heard(answered)?,
                    None if self.answers_due == 0 || until_us <= stage.now_us => {
                        return Some(match self.close_all(stage, "the bus is shutting down") {
                            Ok(()) => self.end(stage, None),
                            Err(_) => Returned::Died,
                        });
                    }
                    None => {
                        stage.wake_at(self.host, until_us);
                        return None;
                    }
                },
            };
            let now = stage.clock(self.host);
            let Some(bus) = &mut self.bus else { return None };
            bus.handle_input(now, input);
            self.turns += 1;
            self.looks = self.turns.is_multiple_of(INVARIANTS_EVERY);
            stage.count_turn();
        }
    }

    fn nothing_is_open(&self) -> bool {
        self.bus.as_ref().is_none_or(|bus| bus.open_deliveries() == 0)
    }

    fn begin(&mut self, stage: &mut Stage, recovered: Recovered) {
        stage.record(self.host, What::Recovered { recovered: Box::new(recovered.clone()) });
        self.term = recovered.term;
        self.began_us = stage.now_us;
        let config = bus::Config { limits: self.config.limits.clone(), planted: self.config.planted, record: true };
        self.bus = Some(Bus::new(config, recovered, stage.clock(self.host)));
        self.state = State::Runs;
    }

    /// The bus can go no further: another one is recovered after a while.
    fn stop(&mut self, stage: &mut Stage, reason: &str) -> Result<(), Ended> {
        self.close_all(stage, &format!("the bus recovers from its store: {reason}"))?;
        self.bus = None;
        self.number += 1;
        self.conns.clear();
        self.speakers.clear();
        self.caused.clear();
        self.answers.clear();
        self.answers_due = 0;
        self.taken_over = None;
        if stage.now_us - self.began_us > self.config.restart_max.as_micros() as u64 {
            self.back_off = self.config.restart_first;
        }
        self.wait(stage);
        Ok(())
    }

    fn wait(&mut self, stage: &Stage) {
        self.state = State::Waits { until_us: stage.now_us + self.back_off.as_micros() as u64 };
        self.back_off = (self.back_off * 2).min(self.config.restart_max);
    }

    fn end(&mut self, stage: &mut Stage, reason: Option<String>) -> Returned {
        let returned = if reason.is_some() { Returned::Because } else { Returned::Quietly };
        let said = reason.unwrap_or_else(|| "it was asked to".to_owned());
        stage.record(self.host, What::Stopped { reason: said });
        returned
    }

    /// Lets in who waits at the door, while the bus runs; whether the process lives on.
    fn open_door(&mut self, stage: &mut Stage) -> bool {
        while let Some(knock) = self.door.pop_front() {
            let runs = matches!(self.state, State::Runs | State::Drains { .. }) || self.is_full;
            match knock {
                Knock::Upgrade(connection) => {
                    let speaker = self.speaker(stage, connection);
                    if runs && speaker.is_err() {
                        stage.mark(self.host, marks::TURNED_AWAY_AT_THE_DOOR);
                    }
                    let admitted = runs && speaker.is_ok();
                    stage.admit(connection, admitted);
                    if admitted {
                        let conn = self.let_in(connection);
                        if let Ok(Some(speaker)) = speaker {
                            self.speakers.insert(conn, speaker);
                        }
                    }
                }
                Knock::Read(connection) if runs => {
                    if !self.read_for(stage, connection) {
                        return false;
                    }
                }
                Knock::Ask(connection, _) | Knock::Read(connection) if !runs => {
                    stage.respond(connection, Response::error(503, "the bus is not running"));
                }
                Knock::Ask(connection, admin) => {
                    let conn = self.let_in(connection);
                    let until_us = stage.now_us + self.config.request_deadline.as_micros() as u64;
                    self.questions.insert(conn, Question { connection, until_us });
                    self.inbox.push_back(Arrival::Admin(conn, admin));
                }
                Knock::Read(_) => {}
            }
        }
        true
    }

    /// Who it is that knocks; none where no token is demanded.
    fn speaker(&self, stage: &mut Stage, connection: ConnectionId) -> Result<Option<Speaker>, Denied> {
        let Some(book) = &self.tokens else { return Ok(None) };
        let hash = stage.net.shown(connection).map(Secret::hash);
        Speaker::of(book, hash.as_ref(), stage.clock(self.host).wall).map(Some)
    }

    fn let_in(&mut self, connection: ConnectionId) -> ConnId {
        self.last_conn += 1;
        let conn = ConnId(self.last_conn);
        self.numbers.insert(connection, conn);
        self.inbox.push_back(Arrival::Connected(conn, connection));
        conn
    }

    fn expire_questions(&mut self, stage: &mut Stage) {
        if self.questions.is_empty() {
            return;
        }
        let now_us = stage.now_us;
        let late: Vec<ConnId> =
            self.questions.iter().filter(|(_, asked)| asked.until_us <= now_us).map(|(conn, _)| *conn).collect();
        for conn in late {
            self.reply(stage, conn, 504, "the bus did not answer in time");
        }
    }

    /// Answers an administrator, whose connection is over then.
    fn reply(&mut self, stage: &mut Stage, conn: ConnId, status: u16, sentence: &str) {
        let Some(asked) = self.questions.remove(&conn) else { return };
        stage.respond(asked.connection, Response::error(status, sentence));
        self.numbers.remove(&asked.connection);
        self.inbox.push_back(Arrival::Disconnected(conn));
    }

    fn next_input(&mut self, stage: &mut Stage) -> Option<Input> {
        if let Some(input) = self.caused.pop_front() {
            return Some(input);
        }
        if let Some(answered) = self.answers.pop_front() {
            return self.heard(answered);
        }
        let now = stage.clock(self.host).monotonic;
        if self.bus.as_ref().and_then(Bus::poll_timeout).is_some_and(|due| due <= now) {
            // Before the inbox, or a busy one would put off every deadline.
            return Some(Input::Timeout);
        }
        while let Some(arrival) = self.inbox.pop_front() {
            if let Some(input) = self.arrive(stage, arrival) {
                return Some(input);
            }
        }
        None
    }

    fn wake_when_due(&mut self, stage: &mut Stage) {
        if let Some(due) = self.bus.as_ref().and_then(Bus::poll_timeout) {
            stage.wake_at_local(self.host, due);
        }
        if let Some(until_us) = self.questions.values().map(|asked| asked.until_us).min() {
            stage.wake_at(self.host, until_us);
        }
    }

    fn arrive(&mut self, stage: &mut Stage, arrival: Arrival) -> Option<Input> {
        match arrival {
            Arrival::Connected(conn, connection) => {
                self.conns.insert(conn, connection);
                stage.record(self.host, What::Connected { connection: conn.0 });
                if self.tokens.is_some() && !self.questions.contains_key(&conn) {
                    // One that a former bus let in has shown this one nothing.
                    let speaker = self.speakers.entry(conn).or_insert(Speaker::Nobody);
                    if let Some(what) = speaker.recorded(conn.0) {
                        stage.record(self.host, what);
                    }
                }
                Some(Input::Connected { conn })
            }
            Arrival::Frame(conn, frame) => {
                self.conns.get(&conn)?;
                let recorded = Frame::ToBus(frame.clone());
                stage.record(self.host, What::FrameReceived { connection: conn.0, frame: recorded });
                let frame = frame.into_inner();
                match self.judge(stage, conn, &frame) {
                    Judgement::Pass => return Some(Input::Frame { conn, frame }),
                    Judgement::Answer(frame) => self.send(stage, conn, frame),
                    Judgement::End(error) => {
                        let reason = error.message.clone();
                        self.send(stage, conn, error.into());
                        self.send(stage, conn, Closing { reason }.into());
                        self.close(stage, conn);
                    }
                }
                None
            }
            Arrival::Admin(conn, admin) => {
                self.conns.contains_key(&conn).then_some(Input::Admin { conn, admin, by: None })
            }
            Arrival::Disconnected(conn) => {
                self.conns.remove(&conn)?;
                self.speakers.remove(&conn);
                stage.record(self.host, What::Disconnected { connection: conn.0 });
                Some(Input::Disconnected { conn })
            }
        }
    }

    /// Asks whether the sender's token allows the frame, as the server's driver does.
    fn judge(&mut self, stage: &mut Stage, conn: ConnId, frame: &ToBus) -> Judgement {
        let (Some(book), Some(speaker)) = (&self.tokens, self.speakers.get_mut(&conn)) else { return Judgement::Pass };
        let judgement = speaker.hear(book, frame, stage.clock(self.host).wall);
        if matches!(frame, ToBus::Hello(_))
            && let Some(what) = speaker.recorded(conn.0)
        {
            stage.record(self.host, what);
        }
        judgement
    }

    /// Takes note of an answer of the store on its way to the machine.
    fn heard(&mut self, answered: Answered) -> Option<Input> {
        let Answered::Input(input) = answered else { return None };
        match &*input {
            Input::CommitFailed { error, .. } => self.note_term(error),
            Input::TermIs { term: Ok(current) } if *current > self.term => {
                self.note_term(&StoreError::Fenced { mine: self.term, current: *current });
            }
            _ => {}
        }
        Some(*input)
    }

    fn note_term(&mut self, error: &StoreError) {
        if matches!(error, StoreError::Fenced { .. }) {
            self.taken_over.get_or_insert_with(|| error.clone());
        }
    }

    fn drain(&mut self, stage: &mut Stage) -> Result<Drained, Ended> {
        match self.delayed.take() {
            Some((until_us, output)) if until_us > stage.now_us => {
                self.delayed = Some((until_us, output));
                return Ok(Drained::Until(until_us));
            }
            Some((_, output)) => self.carry_out(stage, output)?,
            None => {}
        }
        while let Some(output) = self.bus.as_mut().and_then(Bus::poll_output) {
            if let Some(point) = points::of(&output) {
                match stage.before(self.host, None, point) {
                    Verdict::Die => return Err(Ended::Died),
                    Verdict::Lose if matches!(output, Output::Send { .. }) => continue,
                    Verdict::Delay(wait) => {
                        let until_us = stage.now_us + wait.as_micros() as u64;
                        self.delayed = Some((until_us, output));
                        return Ok(Drained::Until(until_us));
                    }
                    Verdict::Go | Verdict::Lose | Verdict::Twice | Verdict::Fail(_) => {}
                }
            }
            self.carry_out(stage, output)?;
        }
        // With debug assertions the machine looks after every input by itself.
        if std::mem::take(&mut self.looks)
            && !cfg!(debug_assertions)
            && let Some(bus) = &self.bus
        {
            bus.check_invariants();
        }
        Ok(Drained::All)
    }

    fn carry_out(&mut self, stage: &mut Stage, output: Output) -> Result<(), Ended> {
        let asker = self.asker();
        match output {
            Output::Send { conn, frame } => self.send(stage, conn, frame),
            Output::Answer { conn, answer } => match answer {
                AdminAnswer::Error(error) => self.reply(stage, conn, status_of(error.code), &error.message),
                _ => self.reply(stage, conn, 200, "done"),
            },
            Output::Close { conn } => self.close(stage, conn),
            Output::Commit(commit) => {
                let (sequence, events, completions) = (commit.sequence, commit.events.len(), commit.completions.len());
                stage.record(self.host, What::CommitSubmitted { sequence, events, completions });
                return self.called(stage.store_commits(asker, Arc::clone(&commit)));
            }
            Output::LookUp { id, look_up } => return self.called(stage.store_looks_up(asker, id, &look_up)),
            Output::Read { id, read } => return self.called(stage.store_reads(asker, id, &read)),
            Output::CheckTerm => return self.called(stage.store_tells_term(asker)),
            Output::Record(what) => stage.record(self.host, what),
            Output::Stop { reason } => {
                return Err(match self.taken_over.take() {
                    Some(error) => Ended::TakenOver(error),
                    None => Ended::Stopped(reason),
                });
            }
        }
        Ok(())
    }

    /// The store was called: an answer will come, unless the call was the end of this life.
    fn called(&mut self, alive: bool) -> Result<(), Ended> {
        self.answers_due += u64::from(alive);
        if alive { Ok(()) } else { Err(Ended::Died) }
    }

    fn send(&mut self, stage: &mut Stage, conn: ConnId, frame: FromBus) {
        let Some(connection) = self.conns.get(&conn).copied() else { return };
        let frame = Hashed::new(frame);
        let recorded = Frame::FromBus(frame.clone());
        stage.record(self.host, What::FrameSent { connection: conn.0, frame: recorded });
        if self.questions.contains_key(&conn) {
            match &*frame {
                FromBus::Error(error) => self.reply(stage, conn, status_of(error.code), &error.message),
                FromBus::Closing(_) => self.reply(stage, conn, 503, "the bus stopped before it answered"),
                _ => {}
            }
            return;
        }
        let bytes = weight_of(&frame);
        let queued = stage.net.unread(connection, self.host).saturating_sub(WINDOW_BYTES);
        if queued > 0 && queued + bytes > self.config.limits.send_queue_bytes_max {
            let error = wire::Error {
                code: ErrorCode::SlowReader,
                message: format!(
                    "more than {} bytes wait for this connection, which does not read",
                    self.config.limits.send_queue_bytes_max
                ),
                help: "read on, reconnect, and ask for less credit".to_owned(),
                request: None,
            };
            stage.mark(self.host, marks::SLOW_READER_CUT);
            stage.send_from_bus(connection, Hashed::new(error.into()), 0);
            self.close(stage, conn);
            return;
        }
        let frame = stage.through_wire_from_bus(frame);
        stage.send_from_bus(connection, frame, bytes);
    }

    /// Closes a connection, and tells the bus.
    fn close(&mut self, stage: &mut Stage, conn: ConnId) {
        let Some(connection) = self.conns.remove(&conn) else { return };
        self.numbers.remove(&connection);
        self.questions.remove(&conn);
        stage.close(connection, self.host);
        stage.record(self.host, What::Disconnected { connection: conn.0 });
        self.caused.push_back(Input::Disconnected { conn });
    }

    /// Tells everyone why, and closes.
    fn close_all(&mut self, stage: &mut Stage, reason: &str) -> Result<(), Ended> {
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            let frame = FromBus::from(Closing { reason: reason.to_owned() });
            match stage.before(self.host, None, points::of_frame(&frame)) {
                Verdict::Die => return Err(Ended::Died),
                Verdict::Lose => {}
                Verdict::Go | Verdict::Delay(_) | Verdict::Twice | Verdict::Fail(_) => self.send(stage, conn, frame),
            }
            self.close(stage, conn);
        }
        Ok(())
    }
}

/// The status with which the server's routes answer this.
fn status_of(code: ErrorCode) -> u16 {
    match code {
        ErrorCode::NotFound => 404,
        ErrorCode::LimitReached => 429,
        ErrorCode::Unavailable | ErrorCode::Silent | ErrorCode::SlowReader => 503,
        _ => 400,
    }
}
