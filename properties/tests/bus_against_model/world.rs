//! A bus, the model, the store's open calls and the clients' ends of the connections, driven step by step.
//!
//! The network is as quick as thought: what the bus sends is received. What is slow here is the store, whose every
//! answer is a step of its own, and the clients, who say what they say whenever a step says so.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use dacapo_core::{
    Guard, Limits, NewEvent, Now, Position, Timestamp, WallTime,
    bus::{Bus, Config, ConnId, Input, Output},
    planted::Planted,
    store::{Found, LookUp, Page, Read, StoreError},
    wire::{FromBus, ToBus, Token},
};
use dacapo_properties::model::{Broken, Judged, Mark, Marks, Model};

use crate::transition::{Failure, Setup, Transition};

pub(crate) const INSTANCES: usize = 6;
pub(crate) const SLOTS: usize = 8;

/// A question that the store has not answered, with the answer as of when it was asked.
struct Open<Q, A> {
    id: u64,
    question: Arc<Q>,
    early: A,
    asked_at: Position,
}

/// The whole.
pub(crate) struct World {
    config: Config,
    bus: Bus,
    pub(crate) model: Model,
    /// Whether a service takes events of the bus's own.
    pub(crate) system: bool,
    pub(crate) now: Now,
    wall_offset: u64,
    /// The newest connection of each slot: three instances of each of two services, then two publishers.
    pub(crate) slots: [Option<ConnId>; SLOTS],
    pub(crate) incarnations: [u64; INSTANCES],
    connections: u64,
    requests: u64,
    pub(crate) fresh: u64,
    /// Every batch ever sent, with its guards.
    pub(crate) sent: Vec<(Vec<NewEvent>, Vec<Guard>)>,
    /// Every delivery ever received, with the slot.
    pub(crate) received: Vec<(usize, Position, Token)>,
    look_ups: Vec<Open<LookUp, Found>>,
    reads: Vec<Open<Read, Page>>,
    terms_asked: usize,
    /// Connections that the bus closed; the driver tells it that they ended.
    closing: Vec<ConnId>,
    /// Outputs until the bus dies, and what becomes of the commit under way.
    fuse: Option<(u8, bool)>,
    transcript: Option<Vec<String>>,
}

/// Tiny limits, so that every window, cache and list overflows all the time.
fn limits(setup: Setup) -> Limits {
    let quick = Limits {
        heartbeat_deadline: Duration::from_millis(400),
        grace: Duration::from_millis(20),
        delivery_deadline: Duration::from_millis(100),
        backoff_first: Duration::from_millis(10),
        backoff_max: Duration::from_millis(80),
        lane_open_max: usize::from(setup.lane_open_max.max(1)),
        failures_max: if setup.tiny { 2 } else { 3 },
        disconnects_max: if setup.tiny { 3 } else { 5 },
        credit_max: 4,
        ..Limits::default()
    };
    if !setup.tiny {
        return quick;
    }
    Limits {
        services_max: 4,
        instances_per_service_max: 6,
        service_pending_max: 4,
        lane_pending_max: 2,
        frontier_lag_max: 4,
        idle_lanes_max: 1,
        idle_lanes_moved_max: 1,
        heads_max: 2,
        recent_events_max: 2,
        commit_events_max: 3,
        publishes_waiting_max: 4,
        read_page_events: 2,
        streams_per_connection_max: 2,
        ..quick
    }
}

impl World {
    pub(crate) fn new(setup: Setup, planted: Planted) -> Self {
        let config = Config { limits: limits(setup), planted, record: setup.record };
        let mut model = Model::new(config.limits.clone());
        let now = Now { monotonic: Timestamp(1_000), wall: WallTime(1_000_000) };
        let recovered = model.recover(now.monotonic);
        let bus = Bus::new(config.clone(), recovered, now);
        let mut world = Self {
            config,
            bus,
            model,
            system: setup.system,
            now,
            wall_offset: 1_000_000,
            slots: [None; SLOTS],
            incarnations: [1; INSTANCES],
            connections: 0,
            requests: 0,
            fresh: 0,
            sent: vec![],
            received: vec![],
            look_ups: vec![],
            reads: vec![],
            terms_asked: 0,
            closing: vec![],
            fuse: None,
            transcript: None,
        };
        let begun = world.begin().and_then(|()| world.join_all(setup.joined));
        assert_eq!(begun, Ok(()));
        world
    }

    /// Writes down everything that is said, for people.
    pub(crate) fn with_transcript(mut self) -> Self {
        self.transcript = Some(vec![]);
        self
    }

    /// What was written down.
    pub(crate) fn transcript(&self) -> String {
        self.transcript.iter().flatten().fold(String::new(), |all, line| all + line + "\n")
    }

    /// The digest of the bus's state.
    pub(crate) fn digest(&self) -> u64 {
        self.bus.digest()
    }

    fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(transcript) = &mut self.transcript {
            transcript.push(line());
        }
    }

    /// Outputs of a fresh bus, then the publishers' connections.
    fn begin(&mut self) -> Judged {
        self.drain()?;
        for slot in INSTANCES..SLOTS {
            self.connect(slot)?;
        }
        Ok(())
    }

    /// So many instances of each service are there.
    fn join_all(&mut self, joined: u8) -> Judged {
        for slot in (0..joined.min(3)).flat_map(|index| [index, index + 3]) {
            self.act(&Transition::Join { slot, credit: 2 })?;
            self.settle()?;
        }
        Ok(())
    }

    /// Does one thing; a panic of the machine counts as a broken promise.
    pub(crate) fn step(&mut self, transition: &Transition) -> Judged {
        self.say(|| format!("── {transition:?}"));
        caught(AssertUnwindSafe(|| {
            self.hang_up()?;
            self.act(transition)?;
            self.bus.check_invariants();
            Ok(())
        }))
    }

    /// Lets everything heal and checks that all that is owed comes.
    pub(crate) fn finish(&mut self) -> Judged {
        self.say(|| "── the end: everything heals".to_owned());
        self.fuse = None;
        caught(AssertUnwindSafe(|| self.heal()))
    }

    pub(crate) fn marks(&self) -> &Marks {
        self.model.marks()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }

    pub(crate) fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// Tells the bus that the connections which it closed have ended.
    pub(crate) fn hang_up(&mut self) -> Judged {
        for conn in std::mem::take(&mut self.closing) {
            if self.model.connections().get(&conn).is_some_and(|connection| !connection.gone) {
                self.feed(Input::Disconnected { conn })?;
            }
        }
        Ok(())
    }

    /// Hands the bus one input, and carries out what it says.
    pub(crate) fn feed(&mut self, input: Input) -> Judged {
        self.say(|| format!("{} > {input:?}", self_time(&input)));
        self.model.input(self.now.monotonic, &input);
        self.bus.handle_input(self.now, input);
        self.drain()
    }

    fn drain(&mut self) -> Judged {
        let mut count = 0;
        while let Some(output) = self.bus.poll_output() {
            self.say(|| format!("    < {output:?}"));
            self.model.output(&output)?;
            self.carry_out(output);
            count += 1;
            if count > 10_000 {
                return Err(Broken { rule: "bounded", what: "10,000 outputs follow one input".to_owned() });
            }
            if let Some((left, applied)) = &mut self.fuse {
                *left -= 1;
                if *left == 0 {
                    let applied = *applied;
                    if self.bus.poll_output().is_some() {
                        self.model.reach(Mark::CrashBetweenOutputs);
                    }
                    return self.crash(applied);
                }
            }
        }
        if self.model.has_stopped() {
            let applied = self.model.under_way().is_some_and(|(commit, _)| commit.sequence % 2 == 0);
            return self.crash(applied);
        }
        self.model.drained();
        Ok(())
    }

    fn carry_out(&mut self, output: Output) {
        let asked_at = self.model.log().position();
        match output {
            Output::LookUp { id, look_up } => {
                let early = self.model.log().look_up(&look_up);
                self.look_ups.push(Open { id, question: look_up, early, asked_at });
            }
            Output::Read { id, read } => {
                let early = self.model.log().read(&read);
                self.reads.push(Open { id, question: read, early, asked_at });
            }
            Output::CheckTerm => self.terms_asked += 1,
            Output::Close { conn } | Output::Answer { conn, .. } => self.closing.push(conn),
            Output::Send { conn, frame: FromBus::Deliver(deliver) } => {
                if let Some(slot) = self.slots.iter().position(|slot| *slot == Some(conn)) {
                    self.received.push((slot, deliver.event.position, deliver.token));
                }
            }
            Output::Send { .. } | Output::Commit(_) | Output::Record(_) | Output::Stop { .. } => {}
        }
    }

    /// The bus dies; what the store was asked to commit is applied or lost; another bus recovers.
    pub(crate) fn crash(&mut self, applied: bool) -> Judged {
        self.say(|| format!("    the bus dies; a commit under way is applied: {applied}"));
        if let Some((_, done)) = self.model.under_way() {
            let survives = (*done || applied) && !self.model.is_usurped();
            self.model.reach(if survives { Mark::CrashApplied } else { Mark::CrashNotApplied });
            if survives {
                self.model.apply_commit()?;
            }
        }
        self.fuse = None;
        self.look_ups.clear();
        self.reads.clear();
        self.terms_asked = 0;
        self.closing.clear();
        self.slots = [None; SLOTS];
        let recovered = self.model.recover(self.now.monotonic);
        self.bus = Bus::new(self.config.clone(), recovered, self.now);
        self.begin()
    }

    pub(crate) fn crash_after(&mut self, after: u8, applied: bool) -> Judged {
        if after == 0 {
            return self.crash(applied);
        }
        self.fuse = Some((after, applied));
        Ok(())
    }

    pub(crate) fn connect(&mut self, slot: usize) -> Judged {
        let conn = self.connect_unseen()?;
        if self.model.connections().contains_key(&conn) {
            self.slots[slot] = Some(conn);
        }
        Ok(())
    }

    /// A connection of no slot: an administrator's, or one that the end brings.
    pub(crate) fn connect_unseen(&mut self) -> Result<ConnId, Broken> {
        self.connections += 1;
        let conn = ConnId(self.connections);
        self.feed(Input::Connected { conn })?;
        Ok(conn)
    }

    /// Says something on a connection, if the bus has not lost it.
    pub(crate) fn frame(&mut self, conn: ConnId, frame: impl Into<ToBus>) -> Judged {
        if self.model.connections().get(&conn).is_some_and(|connection| !connection.gone) {
            self.feed(Input::Frame { conn, frame: frame.into() })?;
        }
        Ok(())
    }

    /// The slot's connection, if it is one.
    pub(crate) fn conn(&self, slot: u8) -> Option<ConnId> {
        let conn = self.slots[usize::from(slot) % SLOTS]?;
        self.model.connections().get(&conn).is_some_and(|connection| !connection.gone).then_some(conn)
    }

    // The store.

    pub(crate) fn commit_applied(&mut self, say: bool) -> Judged {
        let Some((commit, _)) = self.model.under_way() else { return Ok(()) };
        let sequence = commit.sequence;
        if self.model.is_usurped() {
            let error = StoreError::Fenced { mine: commit.term, current: self.model.log().term() };
            return self.commit_failed(sequence, error);
        }
        self.model.apply_commit()?;
        if say { self.feed(Input::Committed { sequence }) } else { Ok(()) }
    }

    pub(crate) fn commit_fails(&mut self, how: Failure) -> Judged {
        let Some((commit, applied)) = self.model.under_way() else { return Ok(()) };
        let (sequence, applied) = (commit.sequence, *applied);
        let error = match how {
            Failure::Full if !applied => StoreError::Full("no space".to_owned()),
            _ => StoreError::Io("who knows".to_owned()),
        };
        if how == Failure::IoApplied && !self.model.is_usurped() {
            self.model.apply_commit()?;
        }
        self.model.reach(Mark::CommitFailed);
        self.commit_failed(sequence, error)
    }

    fn commit_failed(&mut self, sequence: u64, error: StoreError) -> Judged {
        let term = self.model.log().term();
        let usurped = self.model.is_usurped();
        self.feed(Input::CommitFailed { sequence, error })?;
        self.must_have_stopped(term, usurped)
    }

    /// A bus that stopped was replaced by one of a newer term.
    fn must_have_stopped(&mut self, term: dacapo_core::Term, usurped: bool) -> Judged {
        if self.model.log().term() == term {
            let what = "a commit failed, or a newer term was told, and the bus goes on".to_owned();
            return Err(Broken { rule: "stopping", what });
        }
        if usurped {
            self.model.reach(Mark::Usurped);
        }
        Ok(())
    }

    pub(crate) fn look_up_answered(&mut self, pick: u8, late: bool) -> Judged {
        if self.look_ups.is_empty() {
            return Ok(());
        }
        let open = self.look_ups.remove(usize::from(pick) % self.look_ups.len());
        if late && open.asked_at < self.model.log().position() {
            self.model.reach(Mark::AnsweredLate);
        }
        let found = if late { open.early } else { self.model.log().look_up(&open.question) };
        self.feed(Input::LookedUp { id: open.id, found: Ok(found) })
    }

    pub(crate) fn read_answered(&mut self, pick: u8, late: bool) -> Judged {
        if self.reads.is_empty() {
            return Ok(());
        }
        let open = self.reads.remove(usize::from(pick) % self.reads.len());
        if late && open.asked_at < self.model.log().position() {
            self.model.reach(Mark::AnsweredLate);
        }
        let page = if late { open.early } else { self.model.log().read(&open.question) };
        self.feed(Input::ReadDone { id: open.id, page: Ok(page) })
    }

    pub(crate) fn store_fails(&mut self, pick: u8) -> Judged {
        let error = StoreError::Io("cannot read".to_owned());
        if !self.look_ups.is_empty() {
            let open = self.look_ups.remove(usize::from(pick) % self.look_ups.len());
            self.model.reach(Mark::StoreFailed);
            self.feed(Input::LookedUp { id: open.id, found: Err(error) })
        } else if !self.reads.is_empty() {
            let open = self.reads.remove(usize::from(pick) % self.reads.len());
            self.model.reach(Mark::StoreFailed);
            self.feed(Input::ReadDone { id: open.id, page: Err(error) })
        } else {
            Ok(())
        }
    }

    pub(crate) fn term_told(&mut self) -> Judged {
        if self.terms_asked == 0 {
            return Ok(());
        }
        self.terms_asked -= 1;
        let term = self.model.log().term();
        let usurped = self.model.is_usurped();
        self.feed(Input::TermIs { term: Ok(term) })?;
        if usurped { self.must_have_stopped(term, usurped) } else { Ok(()) }
    }

    /// Whether the store has something to answer.
    fn store_is_busy(&self) -> bool {
        self.model.under_way().is_some()
            || !self.look_ups.is_empty()
            || !self.reads.is_empty()
            || self.terms_asked > 0
            || !self.closing.is_empty()
    }

    /// The store answers everything, in order, until nothing is under way.
    pub(crate) fn settle(&mut self) -> Judged {
        for _ in 0..2_000 {
            if !self.store_is_busy() {
                return if self.is_due() { Ok(()) } else { self.model.nothing_lies_idle() };
            }
            self.hang_up()?;
            self.look_up_answered(0, false)?;
            self.read_answered(0, false)?;
            self.term_told()?;
            self.commit_applied(true)?;
        }
        Err(Broken { rule: "liveness", what: "the bus asks its store for ever".to_owned() })
    }

    // Time.

    fn set_time(&mut self, to: Timestamp) {
        self.now.monotonic = self.now.monotonic.max(to);
        self.now.wall = WallTime(self.now.monotonic.0 + self.wall_offset);
    }

    pub(crate) fn clock_jumps(&mut self, to: u8) {
        self.wall_offset = u64::from(to) * 10_000;
        self.set_time(self.now.monotonic);
    }

    /// Everyone who is connected shows that they live.
    pub(crate) fn ping_all(&mut self) -> Judged {
        let living = self.model.connections().iter().filter(|(_, connection)| connection.lives());
        for conn in living.map(|(conn, _)| *conn).collect::<Vec<_>>() {
            self.frame(conn, dacapo_core::wire::Ping { nonce: conn.0 })?;
        }
        Ok(())
    }

    pub(crate) fn advance(&mut self, by: Duration, late: bool) -> Judged {
        let target = self.now.monotonic + by;
        self.say(|| format!("    time goes to {target}"));
        if late {
            self.set_time(target);
        }
        for _ in 0..200 {
            match self.bus.poll_timeout() {
                Some(due) if due <= target => {
                    self.set_time(due);
                    self.feed(Input::Timeout)?;
                    // A driver closes what it was told to close before time goes on.
                    self.hang_up()?;
                }
                _ => {
                    self.set_time(target);
                    return Ok(());
                }
            }
        }
        let what = format!("200 time-outs within {by:?}, the next at {:?}", self.bus.poll_timeout());
        Err(Broken { rule: "liveness", what })
    }

    /// Whether time has passed that the bus was not told of.
    fn is_due(&self) -> bool {
        self.bus.poll_timeout().is_some_and(|due| due <= self.now.monotonic)
    }

    /// How long until the bus wants to be woken.
    pub(crate) fn idle_time(&self) -> Option<Duration> {
        self.bus.poll_timeout().map(|due| due.since(self.now.monotonic))
    }
}

fn self_time(input: &Input) -> &'static str {
    if matches!(input, Input::Timeout) { "time" } else { "" }
}

fn caught(work: AssertUnwindSafe<impl FnOnce() -> Judged>) -> Judged {
    catch_unwind(work).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Broken { rule: "the machine's own invariants", what: text.unwrap_or_default() })
    })
}
