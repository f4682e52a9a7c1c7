//! The bus, its store and its peers at one point of a branch, and what each choice makes of them.

use std::{hash::Hash as _, hash::Hasher as _, sync::Arc, time::Duration};

use dacapo_backends::MemoryStore;
use dacapo_core::{
    Key, Now, Timestamp, WallTime,
    bus::{Admin, Bus, Config, ConnId, Input, Output},
    digest::StableHasher,
    hashed::Hashed,
    store::{Commit, LookUp, Read, Reader as _, Recovered, Store as _, StoreError},
    trace::{Frame, What},
    wire::{FromBus, Publish, Ready, Rebuild, ToBus},
};
use dacapo_properties::{Promise, Verdict, Violation};

use super::{
    jury::Jury,
    peers::{self, PUBLISHER, Peer, READER, service_name},
    scope::{Budget, HORIZON, Scope},
    step::{Step, Taken, When},
    story::Story,
};

/// What a store refuses by itself is the last line; a bus must never come to it.
const LAST_LINE: Promise = Promise {
    name: "last_line_holds",
    sentence: "the store never has to refuse what the bus of the newest term commits, nor the bus to contradict itself",
    source: "ARCHITECTURE.md, the rules of the bus",
};

/// A question that the store has not answered, with its contents as of when it was asked.
#[derive(Clone)]
struct Question<Q> {
    id: u64,
    question: Arc<Q>,
    asked: Contents,
}

/// What a store holds: shared between branches until one of them commits.
#[derive(Clone)]
struct Contents {
    store: Arc<MemoryStore>,
    digest: u64,
}

impl Contents {
    fn new(store: MemoryStore) -> Self {
        Self { digest: store.digest(), store: Arc::new(store) }
    }
}

/// The commit that the store was handed.
#[derive(Clone)]
struct UnderWay {
    commit: Arc<Commit>,
    /// It is durable, and the bus has not been told.
    applied: bool,
}

/// One state of a branch.
#[derive(Clone)]
pub(super) struct World {
    pub(super) scope: Arc<Scope>,
    config: Arc<Config>,
    pub(super) now: Timestamp,
    bus: Bus,
    contents: Contents,
    under_way: Option<UnderWay>,
    look_up: Option<Question<LookUp>>,
    reads: Vec<Question<Read>>,
    pub(super) peers: Vec<Peer>,
    /// Events that were sent.
    published: usize,
    /// Administrators that came.
    admins: u64,
    /// Somebody follows the log.
    follows: bool,
    pub(super) left: Budget,
    pub(super) jury: Jury,
    /// Why the bus stopped itself, if it did.
    stopped: Option<String>,
    /// What is told of it, if anybody listens.
    pub(super) story: Story,
}

impl World {
    /// A bus over an empty store, with every instance connected and ready.
    pub(super) fn begin(scope: &Arc<Scope>) -> Result<Self, Box<Violation>> {
        let limits = scope.limits();
        let jury = Jury::new(&limits);
        let config = Arc::new(Config { limits, planted: scope.planted, record: false });
        let store = MemoryStore::new();
        let now = Timestamp(1_000_000);
        let mut world = Self {
            scope: Arc::clone(scope),
            // Replaced at once by one that begins from the store.
            bus: Bus::new((*config).clone(), Recovered::default(), at(now)),
            config,
            now,
            contents: Contents::new(store),
            under_way: None,
            look_up: None,
            reads: Vec::new(),
            peers: (0..scope.instances).map(Peer::new).collect(),
            published: 0,
            admins: 0,
            follows: false,
            left: Budget::default(),
            jury,
            stopped: None,
            story: Story::default(),
        };
        world.start_bus()?;
        for index in 0..scope.instances {
            world.act(&Step::Join(index))?;
            world.settle()?;
            world.act(&Step::Ready(index))?;
            world.settle()?;
        }
        world.left = scope.budget;
        Ok(world)
    }

    /// What may happen next, in an order that never changes.
    pub(super) fn choices(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        self.store_choices(&mut steps);
        for index in 0..self.peers.len() {
            self.peer_choices(index, &mut steps);
        }
        if self.published < self.scope.events {
            steps.push(Step::Publish);
        }
        if self.left.repeats > 0 {
            steps.extend((0..self.published).map(Step::Repeat));
        }
        if self.left.timeouts > 0 && self.next_timeout().is_some() {
            steps.push(Step::TimePasses);
        }
        if self.left.retries > 0 {
            for key in self.parked() {
                steps.extend([Step::Retry(key.clone()), Step::Skip(key)]);
            }
        }
        if self.left.rebuilds > 0 && !self.follows {
            steps.push(Step::Rebuild);
        }
        if self.left.crashes > 0 {
            steps.push(Step::Crash { applied: false });
            if self.under_way.as_ref().is_some_and(|commit| !commit.applied) {
                steps.push(Step::Crash { applied: true });
            }
        }
        steps
    }

    fn store_choices(&self, steps: &mut Vec<Step>) {
        let open = self.under_way.as_ref();
        if let Some(UnderWay { applied, .. }) = open {
            steps.push(Step::Confirm);
            if self.left.failed_commits > 0 {
                steps.push(Step::CommitFails { applied: true });
                if !applied {
                    steps.push(Step::CommitFails { applied: false });
                }
            }
        }
        let whens = |asked: &Contents| {
            let earlier = (asked.digest != self.contents.digest).then_some(When::Asked);
            let committed = open.is_some_and(|commit| !commit.applied).then_some(When::Committed);
            [Some(When::Now), earlier, committed].into_iter().flatten()
        };
        if let Some(look_up) = &self.look_up {
            steps.extend(whens(&look_up.asked).map(Step::LookedUp));
        }
        for (index, read) in self.reads.iter().enumerate() {
            steps.extend(whens(&read.asked).map(|when| Step::ReadDone(index, when)));
        }
    }

    fn peer_choices(&self, index: usize, steps: &mut Vec<Step>) {
        let peer = &self.peers[index];
        if peer.conn.is_none() {
            return steps.push(Step::Join(index));
        }
        if peer.welcomed && !peer.ready {
            steps.push(Step::Ready(index));
        }
        if peer.welcomed {
            for (which, held) in peer.held.iter().enumerate() {
                if held.stale && self.left.late == 0 {
                    continue;
                }
                steps.push(Step::Complete(index, which));
                if self.left.nacks > 0 {
                    steps.push(Step::Nack(index, which));
                }
            }
        }
        if self.left.drops > 0 {
            steps.extend([Step::Drop(index), Step::Die(index)]);
        }
    }

    /// Everything that may come of a step: the bus does all that it wants done, or crashes in between.
    pub(super) fn take(&self, step: &Step) -> Vec<(Taken, Result<Self, Box<Violation>>)> {
        let mut whole = self.clone();
        let taken = |crash_after| Taken { step: step.clone(), crash_after };
        let outputs = match whole.begin_step(step) {
            Ok(outputs) => outputs,
            Err(violation) => return vec![(taken(None), Err(violation))],
        };
        let mut all = Vec::new();
        if whole.left.crashes > 0 && outputs.iter().any(|output| !matches!(output, Output::Stop { .. })) {
            let mut partial = whole.clone();
            for (done, output) in outputs.iter().enumerate() {
                let mut crashed = partial.clone();
                crashed.left.crashes -= 1;
                let crashed = crashed.crash(false).map(|()| crashed);
                all.push((taken(Some(done)), crashed));
                if partial.carry_out(output.clone()).is_err() {
                    break; // The whole step says so too.
                }
            }
        }
        let done = whole.finish_step(outputs).map(|()| whole);
        all.insert(0, (taken(None), done));
        all
    }

    /// Takes one of the outcomes again, to tell of it; what is broken comes beside the world in which it broke.
    pub(super) fn retake(&self, taken: &Taken) -> (Self, Verdict) {
        let mut world = self.clone();
        let verdict = world.take_again(taken);
        (world, verdict)
    }

    fn take_again(&mut self, taken: &Taken) -> Verdict {
        let outputs = self.begin_step(&taken.step)?;
        let Some(count) = taken.crash_after else { return self.finish_step(outputs) };
        let all = outputs.len();
        outputs.into_iter().take(count).try_for_each(|output| self.carry_out(output))?;
        self.left.crashes = self.left.crashes.saturating_sub(1);
        self.story.say(|| format!("the bus crashes: of {all} things that it wanted done, {count} are done"));
        self.crash(false)
    }

    /// Takes a step whole.
    pub(super) fn act(&mut self, step: &Step) -> Verdict {
        let outputs = self.begin_step(step)?;
        self.finish_step(outputs)
    }

    /// The store answers all that is asked, until nothing is.
    pub(super) fn settle(&mut self) -> Verdict {
        while let Some(step) = self.first_of_store() {
            self.act(&step)?;
        }
        Ok(())
    }

    /// What the store would do first.
    pub(super) fn first_of_store(&self) -> Option<Step> {
        if self.under_way.is_some() {
            Some(Step::Confirm)
        } else if self.look_up.is_some() {
            Some(Step::LookedUp(When::Now))
        } else {
            (!self.reads.is_empty()).then_some(Step::ReadDone(0, When::Now))
        }
    }

    /// The next time-out, if it lies within what a search looks at.
    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.bus.poll_timeout().filter(|due| due.since(self.now) < HORIZON)
    }

    /// The keys whose lanes are parked, by the log.
    fn parked(&self) -> Vec<Key> {
        let log = self.jury.known.log();
        let Some(service) = log.service(&service_name()) else { return Vec::new() };
        let keys = (0..self.scope.keys).map(|index| peers::key(&self.scope, index));
        keys.filter(|key| service.behind(key).is_some_and(|behind| behind.record.parked.is_some())).collect()
    }

    /// What happens outside of the bus, and the bus's taking notice of it; its outputs are still to be carried out.
    fn begin_step(&mut self, step: &Step) -> Result<Vec<Output>, Box<Violation>> {
        self.story.begin(step, self.now);
        let Some(input) = self.outside(step)? else { return Ok(Vec::new()) };
        Ok(self.hand_in(input))
    }

    fn hand_in(&mut self, input: Input) -> Vec<Output> {
        self.bus.handle_input(at(self.now), input);
        if !cfg!(debug_assertions) {
            self.bus.check_invariants();
        }
        std::iter::from_fn(|| self.bus.poll_output()).collect()
    }

    fn finish_step(&mut self, outputs: Vec<Output>) -> Verdict {
        for output in outputs {
            self.carry_out(output)?;
        }
        if let Some(reason) = self.stopped.take() {
            self.story.say(|| format!("the bus stops ({reason}), and another begins"));
            self.crash(false)?;
        }
        if self.left.late == 0 {
            self.peers.iter_mut().for_each(Peer::forget_stale);
        }
        Ok(())
    }

    /// The part of a step that happens before the bus knows; what it is told then.
    fn outside(&mut self, step: &Step) -> Result<Option<Input>, Box<Violation>> {
        let input = match step {
            Step::Join(index) => {
                let conn = self.peers[*index].connect();
                self.open(conn)?;
                let hello = self.peers[*index].hello(&self.scope);
                self.frame(conn, hello)?
            }
            Step::Ready(index) => {
                self.peers[*index].ready = true;
                let conn = self.conn_of(*index);
                self.frame(conn, Ready {})?
            }
            Step::Publish => {
                self.published += 1;
                self.publish(self.published - 1)?
            }
            Step::Repeat(index) => {
                self.left.repeats -= 1;
                self.publish(*index)?
            }
            Step::Complete(index, which) => {
                let held = self.answered(*index, *which);
                let conn = self.conn_of(*index);
                self.story.say(|| format!("it completes {}", told(&held)));
                self.frame(conn, held.complete())?
            }
            Step::Nack(index, which) => {
                self.left.nacks = self.left.nacks.saturating_sub(1);
                let held = self.answered(*index, *which);
                let conn = self.conn_of(*index);
                self.story.say(|| format!("it nacks {}", told(&held)));
                self.frame(conn, held.nack())?
            }
            Step::Drop(index) | Step::Die(index) => {
                self.left.drops -= 1;
                let conn = self.conn_of(*index);
                if matches!(step, Step::Die(_)) {
                    self.peers[*index].die()
                } else {
                    self.peers[*index].disconnected()
                }
                self.disconnected(conn)?
            }
            Step::Confirm => {
                self.apply()?;
                let sequence = self.under_way.take().map_or(0, |open| open.commit.sequence);
                Input::Committed { sequence }
            }
            Step::CommitFails { applied } => {
                self.left.failed_commits -= 1;
                if *applied {
                    self.apply()?;
                }
                let sequence = self.under_way.take().map_or(0, |open| open.commit.sequence);
                let error = StoreError::Io("nobody knows what became of the commit".to_owned());
                self.observe(What::CommitFailed { sequence, error: error.to_string() })?;
                Input::CommitFailed { sequence, error }
            }
            Step::LookedUp(when) => {
                let Some(look_up) = self.look_up.take() else { return Ok(None) };
                let found = self.contents_of(*when, &look_up.asked)?.look_up(&look_up.question);
                Input::LookedUp { id: look_up.id, found }
            }
            Step::ReadDone(index, when) => {
                let read = self.reads.remove(*index);
                let page = self.contents_of(*when, &read.asked)?.read(&read.question);
                Input::ReadDone { id: read.id, page }
            }
            Step::TimePasses => {
                self.left.timeouts = self.left.timeouts.saturating_sub(1);
                self.now = self.now.max(self.bus.poll_timeout().unwrap_or(self.now));
                Input::Timeout
            }
            Step::Retry(key) => self.admin(Admin::Retry { service: service_name(), key: key.clone() }),
            Step::Skip(key) => self.admin(Admin::Skip { service: service_name(), key: key.clone() }),
            Step::Rebuild => {
                self.left.rebuilds -= 1;
                self.follows = true;
                self.open(READER)?;
                self.frame(
                    READER,
                    Rebuild {
                        request: 1,
                        after: dacapo_core::Position::ZERO,
                        types: Vec::new(),
                        follow: true,
                        credit: 64,
                    },
                )?
            }
            Step::Crash { applied } => {
                self.left.crashes -= 1;
                self.crash(*applied)?;
                return Ok(None);
            }
        };
        Ok(Some(input))
    }

    fn conn_of(&self, index: usize) -> ConnId {
        self.peers[index].conn.unwrap_or(ConnId(0))
    }

    /// A delivery that is being answered; to answer it again would be late.
    fn answered(&mut self, index: usize, which: usize) -> peers::Held {
        let held = &mut self.peers[index].held[which];
        if held.stale {
            self.left.late = self.left.late.saturating_sub(1);
        }
        held.stale = true;
        held.clone()
    }

    fn open(&mut self, conn: ConnId) -> Verdict {
        self.observe(What::Connected { connection: conn.0 })?;
        let outputs = self.hand_in(Input::Connected { conn });
        outputs.into_iter().try_for_each(|output| self.carry_out(output))
    }

    fn frame(&mut self, conn: ConnId, frame: impl Into<ToBus>) -> Result<Input, Box<Violation>> {
        let frame = frame.into();
        self.observe(What::FrameReceived { connection: conn.0, frame: Frame::ToBus(Hashed::new(frame.clone())) })?;
        Ok(Input::Frame { conn, frame })
    }

    fn disconnected(&mut self, conn: ConnId) -> Result<Input, Box<Violation>> {
        self.observe(What::Disconnected { connection: conn.0 })?;
        Ok(Input::Disconnected { conn })
    }

    fn publish(&mut self, index: usize) -> Result<Input, Box<Violation>> {
        let events = vec![peers::event(&self.scope, index)];
        self.frame(PUBLISHER, Publish { request: index as u64 + 1, events, guards: Vec::new() })
    }

    fn admin(&mut self, admin: Admin) -> Input {
        self.left.retries -= 1;
        self.admins += 1;
        Input::Admin { conn: ConnId(1_000 + self.admins), admin }
    }

    fn observe(&mut self, what: What) -> Verdict {
        self.jury.observe(self.now, what)
    }

    /// The store as of then.
    fn contents_of(&mut self, when: When, asked: &Contents) -> Result<MemoryStore, Box<Violation>> {
        if when == When::Committed {
            self.apply()?;
        }
        let contents = if when == When::Asked { asked } else { &self.contents };
        Ok((*contents.store).clone())
    }

    /// The commit under way becomes durable, if it is not.
    fn apply(&mut self) -> Verdict {
        let Some(open) = self.under_way.as_mut().filter(|open| !open.applied) else { return Ok(()) };
        open.applied = true;
        let commit = Arc::clone(&open.commit);
        let mut store = self.contents.store.fork();
        if let Err(error) = store.commit(&commit) {
            return Err(self.last_line(&error.to_string()));
        }
        self.contents = Contents::new(store);
        self.story.durable(&commit);
        self.observe(What::CommitDurable { commit })
    }

    /// Does one thing that the bus wants done.
    fn carry_out(&mut self, output: Output) -> Verdict {
        self.story.output(&output);
        match output {
            Output::Send { conn, frame } => {
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.conn == Some(conn)) {
                    peer.heard(&frame);
                }
                self.sent(conn, frame)
            }
            Output::Close { conn } => {
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.conn == Some(conn)) {
                    peer.disconnected();
                }
                self.observe(What::Disconnected { connection: conn.0 })
            }
            Output::Commit(commit) => {
                let (events, completions) = (commit.events.len(), commit.completions.len());
                let submitted = What::CommitSubmitted { sequence: commit.sequence, events, completions };
                self.under_way = Some(UnderWay { commit, applied: false });
                self.observe(submitted)
            }
            Output::LookUp { id, look_up } => {
                self.look_up = Some(Question { id, question: look_up, asked: self.contents.clone() });
                Ok(())
            }
            Output::Read { id, read } => {
                self.reads.push(Question { id, question: read, asked: self.contents.clone() });
                Ok(())
            }
            Output::Stop { reason } => {
                self.stopped = Some(reason);
                Ok(())
            }
            // The term is checked behind the horizon; an administrator's answer is for people.
            Output::CheckTerm | Output::Answer { .. } | Output::Record(_) => Ok(()),
        }
    }

    fn sent(&mut self, conn: ConnId, frame: FromBus) -> Verdict {
        self.observe(What::FrameSent { connection: conn.0, frame: Frame::FromBus(Hashed::new(frame)) })
    }

    /// The bus is gone, with all that it had not done; another begins from the store.
    fn crash(&mut self, applied: bool) -> Verdict {
        if applied {
            self.apply()?;
        }
        self.under_way = None;
        self.look_up = None;
        self.reads.clear();
        self.stopped = None;
        self.peers.iter_mut().for_each(Peer::bus_restarted);
        self.follows = false;
        self.admins = 0;
        self.start_bus()?;
        if self.left.late == 0 {
            self.peers.iter_mut().for_each(Peer::forget_stale);
        }
        Ok(())
    }

    /// A bus that begins from the store, with the publisher's connection.
    fn start_bus(&mut self) -> Verdict {
        let mut store = self.contents.store.fork();
        let recovered = match store.recover() {
            Ok(recovered) => recovered,
            Err(error) => return Err(self.last_line(&error.to_string())),
        };
        self.contents = Contents::new(store);
        self.observe(What::Started { incarnation: recovered.term.0 })?;
        self.observe(What::Recovered { recovered: Box::new(recovered.clone()) })?;
        self.bus = Bus::new((*self.config).clone(), recovered, at(self.now));
        let outputs: Vec<Output> = std::iter::from_fn(|| self.bus.poll_output()).collect();
        outputs.into_iter().try_for_each(|output| self.carry_out(output))?;
        self.open(PUBLISHER)
    }

    /// The store, or the bus itself, had to refuse what the bus did.
    pub(super) fn last_line(&self, what: &str) -> Box<Violation> {
        Box::new(Violation {
            property: LAST_LINE.name,
            sentence: LAST_LINE.sentence,
            step: self.jury.step(),
            message: what.to_owned(),
            steps: Vec::new(),
        })
    }

    /// A digest of all that anything may depend on from here.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = StableHasher::new(self.bus.digest());
        let to = &mut hasher;
        let Budget { crashes, nacks, timeouts, drops, repeats, late, failed_commits, retries, rebuilds } = self.left;
        (crashes, nacks, timeouts, drops, repeats, late, failed_commits, retries, rebuilds).hash(to);
        (self.contents.digest, self.published, self.follows, &self.peers).hash(to);
        self.under_way.as_ref().map(|open| open.applied).hash(to);
        let earlier = |asked: &Contents| (asked.digest != self.contents.digest).then_some(asked.digest);
        self.look_up.as_ref().map(|open| (&open.question, earlier(&open.asked))).hash(to);
        for read in &self.reads {
            (&read.question, earlier(&read.asked)).hash(to);
        }
        self.jury.memory(self.now, to);
        hasher.finish()
    }

    /// Nothing is asked of the store.
    pub(super) fn is_quiet(&self) -> bool {
        self.under_way.is_none() && self.look_up.is_none() && self.reads.is_empty()
    }

    /// How long until the next time-out.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.next_timeout().map(|due| due.since(self.now))
    }
}

fn told(held: &peers::Held) -> String {
    let attempt = held.token.attempt;
    format!("version {} of {} (attempt {attempt}, epoch {})", held.version, held.key, held.token.epoch)
}

/// Both clocks. The wall clock stands still: nothing is decided by it, and states meet more often.
fn at(now: Timestamp) -> Now {
    Now { monotonic: now, wall: WallTime(1) }
}
