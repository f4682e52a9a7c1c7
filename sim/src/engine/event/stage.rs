//! What all hosts of a run share, and what outlives them: time, events, recorder, faults, links, store, book, lives.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use dacapo_core::{
    NodeName, Now, ServiceName, Timestamp,
    hooks::{Point, Verdict},
    trace::What,
};
use dacapo_properties::Violation;

use super::{
    answers::Answers,
    net::Net,
    queue::{Event, HostId, Queue},
};
use crate::{
    engine::{
        book::Book,
        chance::Chance,
        clock,
        faults::{ClocksOff, Completing, Down, FaultTable, Way},
        phases::simulator,
        store::RunStore,
        times,
    },
    fault::points,
    liveness::LogProgress,
    marks,
    plan::Plan,
    recorder::Recorder,
};

/// Turns at one time after which something goes in a circle.
const TURNS_MAX: u64 = 1_000_000;

/// How a host is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reachable {
    /// Its process runs.
    Runs,
    /// Its process is gone, and the machine says so.
    Refuses,
    /// The machine is gone.
    Gone,
}

/// The present life of a host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    /// From 1; 0 before the first.
    pub(super) number: u64,
    /// How it died at a point of the plan, until the host is taken down.
    pub(super) died: Option<Down>,
    pub(super) reachable: Reachable,
    /// When its process is woken next.
    wake_us: Option<u64>,
    /// Numbers drawn by this life.
    drawn: u64,
    /// What its monotonic clock showed last.
    shown: Timestamp,
}

/// A directed link, from all that acts on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// The faults' count of changes that this was computed at.
    changes: Option<u64>,
    /// One way, before any fault.
    pub(super) standing_us: u64,
    /// One way, with all faults.
    pub(super) us: u64,
    pub(super) way: Way,
    pub(super) loss_permille: u32,
}

/// What the active faults mean to a host.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct View {
    changes: Option<u64>,
    paused_until: Option<Timestamp>,
    /// As of the time of the last change.
    clocks: ClocksOff,
    at_us: u64,
    /// It reads what is sent to it.
    pub(super) reads: bool,
    pub(super) refuses: Option<bool>,
    /// Some fault may strike what it completes.
    completing: bool,
}

/// Shared by everything in a run.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Stage {
    pub(super) plan: Arc<Plan>,
    pub(super) chance: Chance,
    pub(super) now_us: u64,
    /// Turns of machines since the time last moved.
    turns: u64,
    pub(super) queue: Queue,
    pub(super) recorder: Recorder,
    pub(super) faults: FaultTable,
    pub(super) store: RunStore,
    pub(super) answers: Answers,
    pub(super) progress: LogProgress,
    pub(super) book: Book,
    pub(super) net: Net,
    pub(super) names: Vec<NodeName>,
    pub(super) lives: Vec<Life>,
    ids: BTreeMap<NodeName, HostId>,
    links: Vec<Link>,
    views: Vec<View>,
    /// The standing instances of each service.
    instances: BTreeMap<ServiceName, Vec<HostId>>,
    /// A fault began at a point: hosts and links are to be looked at.
    pub(super) faults_stirred: bool,
    /// A commit or an answer came: the run may be done.
    pub(super) progressed: bool,
    /// An operation has ended: others may begin.
    pub(super) operation_ended: bool,
    /// Every frame goes through its encoding.
    pub(super) encodes: bool,
    pub(super) inspecting: bool,
    pub(super) healed: Arc<AtomicBool>,
    simulator: NodeName,
}

impl Stage {
    pub(super) fn new(
        plan: Arc<Plan>,
        chance: Chance,
        recorder: Recorder,
        names: Vec<NodeName>,
        instances: BTreeMap<ServiceName, Vec<HostId>>,
    ) -> Self {
        let life =
            Life { number: 0, died: None, reachable: Reachable::Gone, wake_us: None, drawn: 0, shown: Timestamp::ZERO };
        let settings = &plan.settings;
        let link = |from: &NodeName, to: &NodeName| {
            let standing_us = times::link_us(settings, &chance, from, to);
            Link { changes: None, standing_us, us: standing_us, way: Way::Open, loss_permille: 0 }
        };
        let links = names.iter().flat_map(|from| names.iter().map(move |to| link(from, to))).collect();
        Self {
            queue: Queue::default(),
            recorder,
            faults: FaultTable::new(chance.clone(), &plan.faults),
            store: RunStore::drawing_from(&plan, &chance),
            answers: Answers::default(),
            progress: LogProgress::default(),
            book: Book::new(&plan.operations),
            net: Net::new(names.len()),
            lives: vec![life; names.len()],
            ids: names.iter().enumerate().map(|(id, name)| (name.clone(), id)).collect(),
            links,
            views: vec![View::default(); names.len()],
            instances,
            names,
            faults_stirred: false,
            progressed: false,
            operation_ended: false,
            encodes: super::wire::encodes(&plan),
            inspecting: false,
            healed: Arc::new(AtomicBool::new(false)),
            simulator: simulator(),
            now_us: 0,
            turns: 0,
            chance,
            plan,
        }
    }

    pub(super) fn id(&self, name: &NodeName) -> Option<HostId> {
        self.ids.get(name).copied()
    }

    /// The standing instances of a service that a customer may ask: all, or, for those who only look at the end, the
    /// ones that run.
    pub(super) fn instances_of(&self, service: &ServiceName) -> Vec<NodeName> {
        let hosts = self.instances.get(service).map_or(&[][..], Vec::as_slice);
        let runs = |host: &&HostId| !self.inspecting || self.lives[**host].reachable == Reachable::Runs;
        hosts.iter().filter(runs).map(|host| self.names[*host].clone()).collect()
    }

    // Records.

    pub(super) fn record(&mut self, host: HostId, what: What) {
        self.recorder.record(Timestamp(self.now_us), &self.names[host], what);
        self.chance.set_step(self.recorder.step());
    }

    pub(super) fn record_own(&mut self, what: What) {
        self.recorder.record(Timestamp(self.now_us), &self.simulator, what);
        self.chance.set_step(self.recorder.step());
    }

    pub(super) fn mark(&mut self, host: HostId, name: &str) {
        self.record(host, What::Mark { name: name.to_owned() });
    }

    pub(super) fn accuse(&mut self, property: &'static str, sentence: &'static str, message: String) {
        let step = self.recorder.step();
        self.recorder.accuse(Violation { property, sentence, step, message, steps: Vec::new() });
    }

    // Time.

    pub(super) fn set_now(&mut self, now_us: u64) {
        assert!(now_us >= self.now_us, "time went back");
        if now_us > self.now_us {
            (self.now_us, self.turns) = (now_us, 0);
        }
    }

    /// A machine takes a turn.
    pub(super) fn count_turn(&mut self) {
        self.turns += 1;
        assert!(self.turns < TURNS_MAX, "time stands still at {} us: machines go on and on", self.now_us);
    }

    /// What the host's clocks show.
    pub(super) fn clock(&mut self, host: HostId) -> Now {
        let off = self.clocks(host);
        let mut now = clock::now(self.now_us, off);
        // Rounding at a change of the rate must not let it go back.
        let shown = &mut self.lives[host].shown;
        now.monotonic = now.monotonic.max(*shown);
        *shown = now.monotonic;
        now
    }

    fn clocks(&mut self, host: HostId) -> ClocksOff {
        let now_us = self.now_us;
        let View { clocks, at_us, .. } = *self.view(host);
        let gained_us = ((now_us - at_us) as i64).saturating_mul(clocks.ppm) / 1_000_000;
        ClocksOff { monotonic_us: clocks.monotonic_us + gained_us, ..clocks }
    }

    /// The host's process looks again at this time, or earlier.
    pub(super) fn wake_at(&mut self, host: HostId, at_us: u64) {
        let life = &mut self.lives[host];
        if life.wake_us.is_none_or(|wake_us| at_us < wake_us) {
            life.wake_us = Some(at_us);
            self.queue.put(at_us, Event::Wake(host));
        }
    }

    /// The same, by the host's own clock.
    pub(super) fn wake_at_local(&mut self, host: HostId, due: Timestamp) {
        let off = self.clocks(host);
        self.wake_at(host, clock::run_us(due, self.now_us, off));
    }

    /// Whether a wake-up counts: one that was put off earlier, or belongs to a former life, does not.
    pub(super) fn is_due(&mut self, host: HostId) -> bool {
        let life = &mut self.lives[host];
        let due = life.wake_us == Some(self.now_us);
        if due {
            life.wake_us = None;
        }
        due
    }

    /// A life begins.
    pub(super) fn begin_life(&mut self, host: HostId) -> u64 {
        let life = &mut self.lives[host];
        *life = Life {
            number: life.number + 1,
            died: None,
            reachable: Reachable::Runs,
            wake_us: None,
            drawn: 0,
            shown: Timestamp::ZERO,
        };
        life.number
    }

    /// A number that is the life's own.
    pub(super) fn entropy(&mut self, host: HostId) -> u64 {
        let life = &mut self.lives[host];
        let identity = (self.names[host].as_str(), life.number, life.drawn);
        life.drawn += 1;
        // JSON's numbers are exact up to 2^53 in every language, and incarnations travel as JSON.
        self.chance.number("entropy", &identity) >> 11
    }

    // Faults.

    /// What the active faults mean to the host.
    pub(super) fn view(&mut self, host: HostId) -> &View {
        if self.views[host].changes != Some(self.faults.changes()) {
            self.look_again(host);
        }
        &self.views[host]
    }

    /// The faults have changed since the host was looked at.
    fn look_again(&mut self, host: HostId) {
        let name = &self.names[host];
        self.views[host] = View {
            changes: Some(self.faults.changes()),
            paused_until: self.faults.paused_until(name),
            clocks: self.faults.clocks(name, self.now_us),
            at_us: self.now_us,
            reads: self.faults.reads(name),
            refuses: self.faults.refuses(name),
            completing: self.faults.may_strike_completions(),
        };
    }

    /// The link from one host to another.
    pub(super) fn link(&mut self, from: HostId, to: HostId) -> Link {
        let changes = Some(self.faults.changes());
        let link = &mut self.links[from * self.names.len() + to];
        if link.changes != changes {
            let (from, to) = (&self.names[from], &self.names[to]);
            link.changes = changes;
            link.us = link.standing_us + self.faults.extra_latency_us(from, to);
            link.way = self.faults.way(from, to);
            link.loss_permille = self.faults.loss_permille(from, to);
        }
        *link
    }

    /// Until when the host stands still, if it does.
    pub(super) fn paused_until_us(&mut self, host: HostId) -> Option<u64> {
        let now_us = self.now_us;
        self.view(host).paused_until.map(|until| until.0).filter(|until_us| *until_us > now_us)
    }

    /// A life reaches a point. Faults that begin there begin; whether the life goes on.
    pub(super) fn reach(&mut self, host: HostId, point: Point) -> bool {
        self.reach_times(host, point, 1)
    }

    pub(super) fn reach_times(&mut self, host: HostId, point: Point, times: u64) -> bool {
        if times == 0 || !self.faults.waits_for_points() {
            return true;
        }
        let begun = self.faults.reach_times(&self.names[host], point, times, self.now_us);
        if begun.is_empty() {
            return true;
        }
        self.faults_stirred = true;
        for fault in begun {
            self.record_own(What::FaultBegun { fault });
        }
        match self.faults.down(&self.names[host], self.now_us) {
            Some(down @ (Down::Killed | Down::Silent)) => {
                let unheard = point.name == points::COMMIT_DURABLE;
                self.mark(host, if unheard { marks::COMMIT_UNHEARD } else { marks::DIED_AT_POINT });
                self.lives[host].died = Some(down);
                false
            }
            Some(Down::Leaving) | None => true,
        }
    }

    /// What happens at a point of a process; `service` is set for instances.
    pub(super) fn before(&mut self, host: HostId, service: Option<&ServiceName>, point: Point) -> Verdict {
        if !self.reach(host, point) {
            return Verdict::Die;
        }
        match service {
            Some(service) if point.name == points::SEND_COMPLETE && self.view(host).completing => {
                match self.faults.completing(&self.names[host], service, point.identity) {
                    Some(Completing::Lost) => Verdict::Lose,
                    Some(Completing::Twice) => Verdict::Twice,
                    Some(Completing::Late(us)) => Verdict::Delay(Duration::from_micros(us)),
                    None => Verdict::Go,
                }
            }
            _ => Verdict::Go,
        }
    }
}
