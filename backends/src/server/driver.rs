//! The loop around the machine: one input in, then all its outputs carried out in order, then the next input.
//!
//! The loop is where a process can be interfered with: before each thing that the bus does to the outside the hooks are
//! asked, and may delay it (what is behind waits too), lose it, or stop the process dead; while the hooks have stopped
//! the process, no input is taken and no time-out seen.

use std::{
    collections::{BTreeMap, VecDeque},
    future::ready,
    sync::Arc,
    time::Duration,
};

use dacapo_core::{
    access::{Denied, Judgement, Speaker},
    bus::{AdminAnswer, Bus, ConnId, Input, Output},
    hooks::{Point, Verdict},
    names::Term,
    store::{Commit, StoreError},
    trace::{Frame, What},
    wire::{Closing, Error, ErrorCode, FromBus, ToBus},
};
use futures_util::{
    future::{BoxFuture, FutureExt},
    stream::{FuturesUnordered, StreamExt},
};
use tokio::{pin, sync::mpsc, time::sleep};

use super::{
    outbox::{End, Full, Item, Outbox},
    points,
    shared::{Arrival, Phase, Shared},
    shutdown::Shutdown,
};

/// How one life of a bus ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It can go no further; another is to be recovered.
    Stopped { reason: String },
    /// Another process has a newer term: recovering again would take the store back from it.
    TakenOver(StoreError),
    /// A hook stopped the process dead.
    Died,
    /// It was asked to.
    ShutDown,
}

/// One life of a bus.
pub(super) struct Driver<'a> {
    shared: &'a Arc<Shared>,
    bus: Bus,
    term: Term,
    /// Connections that the bus knows. What comes from others is left over from a former life.
    conns: BTreeMap<ConnId, Peer>,
    /// Answers of the store that are still to come.
    answers: FuturesUnordered<BoxFuture<'static, Answered>>,
    /// Inputs that the driver itself caused; they come before any other.
    caused: VecDeque<Input>,
    taken_over: Option<StoreError>,
}

/// Who is at the other end.
struct Peer {
    outbox: Arc<Outbox>,
    speaker: Speaker,
}

/// An answer of the store.
struct Answered {
    input: Input,
    /// The commit that it is about, if it is about one.
    commit: Option<Arc<Commit>>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, bus: Bus, term: Term) -> Self {
        Self {
            shared,
            bus,
            term,
            conns: BTreeMap::new(),
            answers: FuturesUnordered::new(),
            caused: VecDeque::new(),
            taken_over: None,
        }
    }

    /// Runs the bus to its end. On the way out everyone who is connected has been told, unless the process died.
    pub(super) async fn run(mut self, inbox: &mut mpsc::Receiver<Arrival>, shutdown: &mut Shutdown) -> Ended {
        let ended = match self.drain().await {
            Ok(()) => loop {
                // A machine whose time-out is always due must not starve the other tasks of this thread.
                tokio::task::consume_budget().await;
                let Some(input) = self.next_input(inbox, shutdown).await else {
                    self.shared.phase.tell(Phase::Closing);
                    break match self.finish_commits().await {
                        Ok(()) => Ended::ShutDown,
                        Err(ended) => ended,
                    };
                };
                if let Err(ended) = self.turn(input).await {
                    break ended;
                }
            },
            Err(ended) => ended,
        };
        let reason = match &ended {
            Ended::Died => return ended,
            Ended::Stopped { reason } => format!("the bus recovers from its store: {reason}"),
            Ended::TakenOver(error) => error.to_string(),
            Ended::ShutDown => "the bus is shutting down".to_owned(),
        };
        match self.close_all(&reason).await {
            Ok(()) => ended,
            Err(died) => died,
        }
    }

    /// The next input; none if the server is to end.
    async fn next_input(&mut self, inbox: &mut mpsc::Receiver<Arrival>, shutdown: &mut Shutdown) -> Option<Input> {
        loop {
            if let Some(input) = self.caused.pop_front() {
                return Some(input);
            }
            let due = self.bus.poll_timeout().map(|due| due.since(self.shared.world.clock.now().monotonic));
            if due == Some(Duration::ZERO) {
                // Before the inbox, or a busy one would put off every deadline.
                if let Some(Some(answered)) = self.answers.next().now_or_never() {
                    return Some(self.hear(answered));
                }
                return Some(Input::Timeout);
            }
            let arrival = tokio::select! {
                biased;
                () = shutdown.requested() => return None,
                Some(answered) = self.answers.next() => return Some(self.hear(answered)),
                // `Shared` holds a sender, so the inbox never ends before the server does.
                Some(arrival) = inbox.recv() => arrival,
                // The clock may drift against the runtime's: the loop looks again.
                () = sleep(due.unwrap_or_default()), if due.is_some() => continue,
            };
            if let Some(input) = self.arrive(arrival) {
                return Some(input);
            }
        }
    }

    /// What an arrival means to the bus; nothing if its connection is not of this life.
    fn arrive(&mut self, arrival: Arrival) -> Option<Input> {
        match arrival {
            Arrival::Connected { conn, outbox, speaker } => {
                self.shared.world.record(What::Connected { connection: conn.0 });
                self.record_speaker(conn, &speaker);
                self.conns.insert(conn, Peer { outbox, speaker });
                Some(Input::Connected { conn })
            }
            Arrival::Frame { conn, mut frame, room } => {
                drop(room);
                let peer = self.conns.get_mut(&conn)?;
                self.shared.metrics.frames_received.add(1);
                let verdict = self.shared.access.judge(self.shared, &mut peer.speaker, &mut frame);
                if self.shared.world.hooks.recording() {
                    if matches!(frame, ToBus::Hello(_)) {
                        let speaker = peer.speaker.clone();
                        self.record_speaker(conn, &speaker);
                    }
                    let frame = Frame::from(frame.clone());
                    self.shared.world.record(What::FrameReceived { connection: conn.0, frame });
                }
                match verdict {
                    Judgement::Pass => return Some(Input::Frame { conn, frame }),
                    Judgement::Answer(frame) => self.send(conn, frame),
                    Judgement::End(error) => self.turn_away(conn, error),
                }
                self.shared.metrics.denied.add(1);
                None
            }
            Arrival::Admin { conn, admin, by } => {
                self.conns.contains_key(&conn).then_some(Input::Admin { conn, admin, by })
            }
            Arrival::Disconnected { conn } => {
                self.conns.remove(&conn)?;
                self.shared.world.record(What::Disconnected { connection: conn.0 });
                Some(Input::Disconnected { conn })
            }
        }
    }

    fn record_speaker(&self, conn: ConnId, speaker: &Speaker) {
        if self.shared.world.hooks.recording()
            && let Some(what) = speaker.recorded(conn.0)
        {
            self.shared.world.record(what);
        }
    }

    /// Takes note of an answer of the store on its way to the bus.
    fn hear(&mut self, answered: Answered) -> Input {
        if let Some(commit) = answered.commit {
            self.shared.metrics.committed(&commit);
            if let Some(last) = commit.events.last() {
                self.cut_the_revoked(&commit);
                self.shared.position.tell(last.position);
            }
        }
        match &answered.input {
            Input::CommitFailed { error, .. } => {
                self.shared.metrics.commit_failed();
                self.note_term(error);
            }
            Input::TermIs { term: Ok(current) } if *current > self.term => {
                self.note_term(&StoreError::Fenced { mine: self.term, current: *current });
            }
            _ => {}
        }
        answered.input
    }

    fn note_term(&mut self, error: &StoreError) {
        if matches!(error, StoreError::Fenced { .. }) {
            self.taken_over.get_or_insert_with(|| error.clone());
        }
    }

    async fn turn(&mut self, input: Input) -> Result<(), Ended> {
        self.shared.pause().await;
        self.bus.handle_input(self.shared.world.clock.now(), input);
        self.drain().await?;
        if self.shared.world.hooks.recording() {
            self.bus.check_invariants();
        }
        Ok(())
    }

    /// Carries out everything that the bus wants done.
    async fn drain(&mut self) -> Result<(), Ended> {
        while let Some(output) = self.bus.poll_output() {
            if let Some(point) = points::of(&output) {
                let lost = interfere(self.shared, point).await?;
                if lost && matches!(output, Output::Send { .. }) {
                    continue;
                }
            }
            self.carry_out(output)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, output: Output) -> Result<(), Ended> {
        let port = &self.shared.port;
        match output {
            Output::Send { conn, frame } => self.send(conn, frame),
            Output::Answer { conn, answer } => self.answer(conn, answer),
            Output::Close { conn } => self.close(conn, End { code: 1_000, reason: "the bus closed it" }),
            Output::Commit(commit) => {
                let (sequence, events, completions) = (commit.sequence, commit.events.len(), commit.completions.len());
                self.shared.world.record(What::CommitSubmitted { sequence, events, completions });
                let pending = port.commit(Arc::clone(&commit));
                self.answers.push(Box::pin(async move {
                    match pending.await {
                        Ok(()) => Answered { input: Input::Committed { sequence }, commit: Some(commit) },
                        Err(error) => Answered { input: Input::CommitFailed { sequence, error }, commit: None },
                    }
                }));
            }
            Output::LookUp { id, look_up } => {
                let pending = port.look_up(look_up);
                self.ask(async move { Input::LookedUp { id, found: pending.await } });
            }
            Output::Read { id, read } => {
                let pending = port.read(read);
                self.ask(async move { Input::ReadDone { id, page: pending.await } });
            }
            Output::CheckTerm => {
                let pending = port.current_term();
                self.ask(async move { Input::TermIs { term: pending.await } });
            }
            Output::Record(what) => self.shared.world.record(what),
            Output::Stop { reason } => {
                return Err(match self.taken_over.take() {
                    Some(error) => Ended::TakenOver(error),
                    None => Ended::Stopped { reason },
                });
            }
        }
        Ok(())
    }

    fn ask(&mut self, question: impl Future<Output = Input> + Send + 'static) {
        self.answers.push(Box::pin(async move { Answered { input: question.await, commit: None } }));
    }

    fn send(&mut self, conn: ConnId, frame: FromBus) {
        let Some(Peer { outbox, .. }) = self.conns.get(&conn) else { return };
        self.shared.metrics.sent(&frame);
        if self.shared.world.hooks.recording() {
            let frame = Frame::from(frame.clone());
            self.shared.world.record(What::FrameSent { connection: conn.0, frame });
        }
        let Err(Full) = outbox.push(Item::Frame(frame)) else { return };
        self.shared.metrics.readers_slow.add(1);
        let error = Error {
            code: ErrorCode::SlowReader,
            message: format!(
                "more than {} bytes wait for this connection, which does not read",
                self.shared.config.limits.send_queue_bytes_max
            ),
            help: "read on, reconnect, and ask for less credit".to_owned(),
            request: None,
        };
        outbox.cut(Item::Frame(error.into()), End { code: 1_008, reason: "slow_reader" });
        self.leave(conn);
    }

    fn answer(&mut self, conn: ConnId, answer: AdminAnswer) {
        if let Some(Peer { outbox, .. }) = self.conns.get(&conn)
            && outbox.push(Item::Answer(answer)).is_err()
        {
            self.leave(conn);
        }
    }

    fn close(&mut self, conn: ConnId, end: End) {
        if let Some(Peer { outbox, .. }) = self.conns.get(&conn) {
            outbox.close(end);
            self.leave(conn);
        }
    }

    /// Ends a connection that may not go on, and says why.
    fn turn_away(&mut self, conn: ConnId, error: Error) {
        let reason = error.message.clone();
        self.send(conn, error.into());
        self.send(conn, Closing { reason }.into());
        self.close(conn, End { code: 1_008, reason: "not allowed" });
    }

    /// A token that was revoked counts no more from the moment at which that is durable.
    fn cut_the_revoked(&mut self, commit: &Commit) {
        if !self.shared.access.learn(&commit.events) {
            return;
        }
        let stale: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, peer)| !self.shared.access.is_current(&peer.speaker))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in stale {
            self.turn_away(conn, Denied::UnknownToken.to_frame(None));
        }
    }

    /// Forgets a connection that the driver closed, and tells the bus.
    fn leave(&mut self, conn: ConnId) {
        if self.conns.remove(&conn).is_some() {
            self.shared.world.record(What::Disconnected { connection: conn.0 });
            self.caused.push_back(Input::Disconnected { conn });
        }
    }

    /// Before a shutdown: takes nothing new, but lets the store finish, so that whoever waits for a receipt gets it.
    async fn finish_commits(&mut self) -> Result<(), Ended> {
        let deadline = sleep(self.shared.config.shutdown_deadline);
        pin!(deadline);
        loop {
            let input = tokio::select! {
                biased;
                Some(answered) = self.answers.next() => self.hear(answered),
                () = ready(()), if self.answers.is_empty() => return Ok(()),
                () = &mut deadline => return Ok(()),
            };
            self.turn(input).await?;
        }
    }

    /// Tells everyone why, and closes.
    async fn close_all(&mut self, reason: &str) -> Result<(), Ended> {
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            let frame = FromBus::from(Closing { reason: reason.to_owned() });
            if !interfere(self.shared, points::of_frame(&frame)).await? {
                self.send(conn, frame);
            }
            self.close(conn, End { code: 1_001, reason: "closing" });
        }
        Ok(())
    }
}

/// Asks the hooks; whether this one thing is lost.
async fn interfere(shared: &Shared, point: Point) -> Result<bool, Ended> {
    match shared.world.hooks.before(point) {
        Verdict::Go | Verdict::Twice | Verdict::Fail(_) => Ok(false),
        Verdict::Lose => Ok(true),
        Verdict::Delay(duration) => {
            sleep(duration).await;
            Ok(false)
        }
        Verdict::Die => Err(Ended::Died),
    }
}
