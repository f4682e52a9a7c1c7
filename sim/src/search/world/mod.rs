//! The bus, its store and its peers at one point of a branch, and what each choice makes of them.

mod choices;
mod outside;
mod store;

use std::{
    hash::{Hash as _, Hasher as _},
    sync::Arc,
};

use dacapo_core::{
    Now, Timestamp, WallTime,
    bus::{Bus, Config, ConnId, Input, Output},
    digest::StableHasher,
    hashed::Hashed,
    store::Recovered,
    trace::{Frame, What},
    wire::FromBus,
};
use dacapo_properties::{Promise, Verdict, Violation};
use dacapo_service::Input as NodeInput;

use self::{
    outside::Customer,
    store::{Asked, Contents, Question, UnderWay},
};
use super::{
    jury::Jury,
    nodes::Node,
    peers::{PUBLISHER, Peer},
    scope::{Budget, HORIZON, Scope, limits},
    step::{Step, Taken},
    story::Story,
};

/// What a store refuses by itself is the last line; a bus must never come to it.
const LAST_LINE: Promise = Promise {
    name: "last_line_holds",
    sentence: "the store never has to refuse what the bus of the newest term commits, nor the bus to contradict itself",
    source: "ARCHITECTURE.md, the rules of the bus",
};

/// All that may come of a step.
pub(super) type Outcomes = Vec<(Taken, Result<World, Box<Violation>>)>;

/// One state of a branch.
#[derive(Clone)]
pub(super) struct World {
    pub(super) scope: Arc<Scope>,
    config: Arc<Config>,
    pub(super) now: Timestamp,
    bus: Bus,
    store: Asked,
    /// Scripted instances; none where there are real ones.
    pub(super) peers: Vec<Peer>,
    /// Real instances; none where there are scripted ones.
    pub(super) nodes: Vec<Node>,
    /// Who asks the real ones.
    pub(super) customers: Vec<Customer>,
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
        let limits = limits();
        let jury = Jury::new(&limits);
        let config = Arc::new(Config { limits, planted: scope.planted, record: false });
        let now = Timestamp(1_000_000);
        let scripted = if scope.requests == 0 { scope.instances } else { 0 };
        let mut world = Self {
            scope: Arc::clone(scope),
            // Replaced at once by one that begins from the store.
            bus: Bus::new((*config).clone(), Recovered::default(), at(now)),
            config,
            now,
            store: Asked::new(),
            peers: (0..scripted).map(Peer::new).collect(),
            nodes: Vec::new(),
            customers: vec![Customer::default(); scope.requests],
            published: 0,
            admins: 0,
            follows: false,
            left: Budget::default(),
            jury,
            stopped: None,
            story: Story::default(),
        };
        world.start_bus()?;
        for index in scripted..scope.instances {
            let (node, came) = Node::start(scope, index, 1, at(now));
            world.nodes.push(node);
            world.came(index, came)?;
        }
        while let Some(step) = world.duty(None) {
            world.act(&step)?;
        }
        world.left = scope.budget;
        Ok(world)
    }

    /// Everything that may come of a step: the bus does all that it wants done, or crashes in between.
    pub(super) fn take(&self, step: &Step) -> Outcomes {
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

    /// The next time-out of anybody, if it lies within what a search looks at.
    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        let next = self.nodes.iter().filter_map(Node::due).chain(self.bus.poll_timeout()).min()?;
        Some(next).filter(|due| due.since(self.now) < HORIZON)
    }

    /// What happens outside of the bus, and the bus's taking notice of it; its outputs are still to be carried out.
    fn begin_step(&mut self, step: &Step) -> Result<Vec<Output>, Box<Violation>> {
        self.story.begin(step);
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

    fn observe(&mut self, what: What) -> Verdict {
        self.jury.observe(self.now, what)
    }

    /// Does one thing that the bus wants done.
    fn carry_out(&mut self, output: Output) -> Verdict {
        self.story.output(&output);
        match output {
            Output::Send { conn, frame } => {
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.conn == Some(conn)) {
                    peer.heard(&frame);
                }
                if let Some(node) = self.nodes.iter_mut().find(|node| node.conn == Some(conn) && !node.closing) {
                    node.from_bus.push_back(frame.clone());
                }
                self.sent(conn, frame)
            }
            Output::Close { conn } => {
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.conn == Some(conn)) {
                    peer.disconnected();
                }
                if let Some(index) = self.nodes.iter().position(|node| node.conn == Some(conn)) {
                    let told = self.nodes[index].closing;
                    self.nodes[index].cut();
                    if !told {
                        self.tell(index, NodeInput::Disconnected)?;
                    }
                }
                self.observe(What::Disconnected { connection: conn.0 })
            }
            Output::Commit(commit) => {
                let (events, completions) = (commit.events.len(), commit.completions.len());
                let submitted = What::CommitSubmitted { sequence: commit.sequence, events, completions };
                self.store.under_way = Some(UnderWay { commit, applied: false });
                self.observe(submitted)
            }
            Output::LookUp { id, look_up } => {
                let asked = self.store.contents.clone();
                self.store.look_up = Some(Question { id, what: look_up, asked });
                Ok(())
            }
            Output::Read { id, read } => {
                let asked = self.store.contents.clone();
                self.store.reads.push(Question { id, what: read, asked });
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
        self.store.forget();
        self.stopped = None;
        self.peers.iter_mut().for_each(Peer::bus_restarted);
        self.follows = false;
        self.admins = 0;
        self.start_bus()?;
        for index in 0..self.nodes.len() {
            let told = self.nodes[index].conn.is_none() || self.nodes[index].closing;
            self.nodes[index].bus_restarted();
            if !told {
                self.tell(index, NodeInput::Disconnected)?;
            }
        }
        if self.left.late == 0 {
            self.peers.iter_mut().for_each(Peer::forget_stale);
        }
        Ok(())
    }

    /// A bus that begins from the store, with the publisher's connection.
    fn start_bus(&mut self) -> Verdict {
        let recovered = self.recover()?;
        self.observe(What::Started { incarnation: recovered.term.0 })?;
        self.observe(What::Recovered { recovered: Box::new(recovered.clone()) })?;
        self.bus = Bus::new((*self.config).clone(), recovered, at(self.now));
        let outputs: Vec<Output> = std::iter::from_fn(|| self.bus.poll_output()).collect();
        outputs.into_iter().try_for_each(|output| self.carry_out(output))?;
        self.open(PUBLISHER)
    }

    /// The store, or the bus itself, had to refuse what the bus did.
    pub(super) fn last_line(&self, what: &str) -> Violation {
        Violation {
            property: LAST_LINE.name,
            sentence: LAST_LINE.sentence,
            step: self.jury.step(),
            message: what.to_owned(),
            steps: Vec::new(),
        }
    }

    /// A digest of all that anything may depend on from here.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = StableHasher::new(self.bus.digest());
        let to = &mut hasher;
        let Budget { crashes, nacks, timeouts, drops, repeats, late, failed_commits, retries, rebuilds } = self.left;
        (crashes, nacks, timeouts, drops, repeats, late, failed_commits, retries, rebuilds).hash(to);
        let contents = self.store.contents.digest;
        (contents, self.published, self.follows, &self.peers, &self.customers).hash(to);
        self.store.under_way.as_ref().map(|open| open.applied).hash(to);
        let earlier = |asked: &Contents| (asked.digest != contents).then_some(asked.digest);
        self.store.look_up.as_ref().map(|open| (&open.what, earlier(&open.asked))).hash(to);
        for read in &self.store.reads {
            (&read.what, earlier(&read.asked)).hash(to);
        }
        if !self.nodes.is_empty() {
            // Their histories hold absolute times.
            self.now.hash(to);
            self.nodes.iter().for_each(|node| node.digest(to));
        }
        self.jury.memory(self.now, to);
        hasher.finish()
    }

    /// Nothing is asked of the store, and nothing is on its way.
    pub(super) fn is_quiet(&self) -> bool {
        let idle = |node: &Node| node.to_bus.is_empty() && node.from_bus.is_empty() && !node.closing;
        self.store.is_quiet() && self.nodes.iter().all(idle)
    }
}

/// Both clocks. The wall clock stands still: nothing is decided by it, and states meet more often.
fn at(now: Timestamp) -> Now {
    Now { monotonic: now, wall: WallTime(1) }
}
