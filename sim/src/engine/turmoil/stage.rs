//! What all hosts of a run share, and what outlives them: the recorder, the faults, the store, the book of operations,
//! and who is alive.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use dacapo_core::{
    NodeName, ServiceName, Timestamp,
    hooks::{Identity, Point},
    trace::What,
};
use turmoil::net::TcpStream;

use super::net::Breaker;
use crate::{
    cast,
    engine::{
        book::Book,
        chance::Chance,
        faults::{Down, FaultTable},
        phases::simulator,
        store::{Ending, Passed, RunStore},
        times,
    },
    fault::points,
    liveness::LogProgress,
    marks,
    plan::Plan,
    recorder::Recorder,
};

/// One life of a host.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) host: NodeName,
    /// From 1.
    pub(super) number: u64,
    dead: AtomicBool,
    silent: AtomicBool,
}

impl Life {
    pub(super) fn new(host: NodeName, number: u64) -> Self {
        Self { host, number, dead: AtomicBool::new(false), silent: AtomicBool::new(false) }
    }

    /// Nothing that it does counts any more.
    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Its sockets end without a word.
    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    pub(super) fn die(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
        self.dead.store(true, Ordering::Relaxed);
    }
}

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

/// Shared by everything in a run.
pub(super) struct Stage {
    pub(super) plan: Arc<Plan>,
    pub(super) chance: Chance,
    /// The time at the last tick, in microseconds.
    tick_us: AtomicU64,
    /// Whether hosts are running, so that turmoil knows the time within the tick.
    running: AtomicBool,
    recorder: Mutex<Option<Recorder>>,
    faults: Mutex<FaultTable>,
    store: Mutex<RunStore>,
    progress: Mutex<LogProgress>,
    book: Mutex<Book>,
    addresses: BTreeMap<NodeName, IpAddr>,
    names: BTreeMap<IpAddr, NodeName>,
    reachable: Mutex<BTreeMap<NodeName, Reachable>>,
    /// Connections that can be broken off from outside: (one host, the other, the breaker of one end).
    breakers: Mutex<Vec<(NodeName, NodeName, Weak<Breaker>)>>,
    /// Streams of hosts that died silently. They are dropped outside of the simulated world, which then says nothing.
    graveyard: Mutex<Vec<TcpStream>>,
    /// How many standing instances each service has.
    instances: BTreeMap<ServiceName, u64>,
    /// Set when all is done and customers only look.
    pub(super) inspecting: AtomicBool,
    /// Set when all faults have ended; handler faults look here.
    pub(super) healed: Arc<AtomicBool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A host that panicked fails the run anyway; its locks must not hide why.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    pub(super) fn new(
        plan: Arc<Plan>,
        recorder: Recorder,
        store: RunStore,
        progress: LogProgress,
        addresses: BTreeMap<NodeName, IpAddr>,
        instances: BTreeMap<ServiceName, u64>,
    ) -> Self {
        let chance = Chance::new(plan.seed, None);
        let names = addresses.iter().map(|(name, address)| (*address, name.clone())).collect();
        Self {
            tick_us: AtomicU64::new(0),
            running: AtomicBool::new(false),
            recorder: Mutex::new(Some(recorder)),
            faults: Mutex::new(FaultTable::new(chance.clone(), &plan.faults)),
            store: Mutex::new(store),
            progress: Mutex::new(progress),
            book: Mutex::new(Book::new(&plan.operations)),
            names,
            addresses,
            reachable: Mutex::default(),
            breakers: Mutex::default(),
            graveyard: Mutex::default(),
            instances,
            inspecting: AtomicBool::new(false),
            healed: Arc::new(AtomicBool::new(false)),
            plan,
            chance,
        }
    }

    /// The run's time. Within a tick each host has its own, which turmoil knows.
    pub(super) fn now(&self) -> Timestamp {
        let within = self.running.load(Ordering::Relaxed).then(turmoil::sim_elapsed).flatten();
        let us = within.map_or_else(|| self.tick_us.load(Ordering::Relaxed), |within| within.as_micros() as u64);
        Timestamp(us)
    }

    pub(super) fn set_tick(&self, us: u64) {
        self.tick_us.store(us, Ordering::Relaxed);
    }

    pub(super) fn set_running(&self, running: bool) {
        self.running.store(running, Ordering::Relaxed);
    }

    pub(super) fn record(&self, node: &NodeName, what: What) {
        let now = self.now();
        if let Some(recorder) = lock(&self.recorder).as_mut() {
            recorder.record(now, node, what);
        }
    }

    pub(super) fn mark(&self, node: &NodeName, name: &str) {
        self.record(node, What::Mark { name: name.to_owned() });
    }

    /// Looks at the recorder. It is there until [`take_recorder`](Self::take_recorder).
    pub(super) fn with_recorder<R>(&self, look: impl FnOnce(&mut Recorder) -> R) -> Option<R> {
        lock(&self.recorder).as_mut().map(look)
    }

    pub(super) fn take_recorder(&self) -> Option<Recorder> {
        lock(&self.recorder).take()
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, FaultTable> {
        lock(&self.faults)
    }

    pub(super) fn store(&self) -> MutexGuard<'_, RunStore> {
        lock(&self.store)
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, LogProgress> {
        lock(&self.progress)
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    /// The standing instances of a service that a customer may ask: all, or, for those who only look at the end, the
    /// ones that run.
    pub(super) fn instances_of(&self, service: &ServiceName) -> Vec<NodeName> {
        let count = self.instances.get(service).copied().unwrap_or(1);
        let mut hosts: Vec<NodeName> = (0..count).map(|n| cast::instance(service, n as usize)).collect();
        if self.inspecting.load(Ordering::Relaxed) {
            hosts.retain(|host| self.reachable(host) == Reachable::Runs);
        }
        hosts
    }

    pub(super) fn address(&self, host: &NodeName) -> Option<IpAddr> {
        self.addresses.get(host).copied()
    }

    pub(super) fn name(&self, address: IpAddr) -> Option<NodeName> {
        self.names.get(&address).cloned()
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = (&NodeName, IpAddr)> {
        self.addresses.iter().map(|(name, address)| (name, *address))
    }

    pub(super) fn reachable(&self, host: &NodeName) -> Reachable {
        lock(&self.reachable).get(host).copied().unwrap_or(Reachable::Gone)
    }

    pub(super) fn set_reachable(&self, host: &NodeName, reachable: Reachable) {
        lock(&self.reachable).insert(host.clone(), reachable);
    }

    /// Calls the store with the disk as the faults have it, and tells what the call has met.
    pub(super) fn call_store<T>(&self, call: impl FnOnce(&mut RunStore) -> T) -> (T, Passed) {
        let disk = self.faults().disk(&cast::bus());
        let now_us = self.now().0;
        let mut store = self.store();
        store.prepare(&disk, now_us);
        let answer = call(&mut store);
        (answer, store.passed())
    }

    /// A life of the bus is over.
    pub(super) fn end_store(&self, ending: Ending) {
        let ((), passed) = self.call_store(|store| store.end(ending));
        for mark in passed.marks {
            self.mark(&cast::bus(), mark);
        }
    }

    /// A life of the bus hears of what a call of its store has met; whether it goes on.
    pub(super) fn pass(&self, life: &Life, passed: Passed) -> bool {
        for mark in passed.marks {
            self.mark(&life.host, mark);
        }
        for commit in passed.proved {
            self.progress().observe(&commit);
            self.record(&life.host, What::CommitDurable { commit });
        }
        let point = |name| Point { name, identity: Identity::None };
        self.reach_times(life, point(points::DISK_WRITE), passed.writes)
            && self.reach_times(life, point(points::DISK_SYNC), passed.syncs)
    }

    /// A life reaches a point. Faults that begin there begin; whether the life goes on.
    pub(super) fn reach(&self, life: &Life, point: Point) -> bool {
        self.reach_times(life, point, 1)
    }

    fn reach_times(&self, life: &Life, point: Point, times: u64) -> bool {
        if life.is_dead() {
            return false;
        }
        let now_us = self.now().0;
        let (begun, down) = {
            let mut faults = self.faults();
            let begun = faults.reach_times(&life.host, point, times, now_us);
            let down = if begun.is_empty() { None } else { faults.down(&life.host, now_us) };
            (begun, down)
        };
        for fault in begun {
            self.record(&simulator(), What::FaultBegun { fault });
        }
        match down {
            Some(down @ (Down::Killed | Down::Silent)) => {
                let mark = if point.name == crate::fault::points::COMMIT_DURABLE {
                    marks::COMMIT_UNHEARD
                } else {
                    marks::DIED_AT_POINT
                };
                self.mark(&life.host, mark);
                life.die(down == Down::Silent);
                false
            }
            Some(Down::Leaving) | None => true,
        }
    }

    /// A link's latency, one way, from all that acts on it.
    pub(super) fn latency_us(&self, one: &NodeName, other: &NodeName) -> u64 {
        times::link_us(&self.plan.settings, &self.chance, one, other) + self.faults().extra_latency_us(one, other)
    }

    pub(super) fn register_breaker(&self, one: &NodeName, other: &NodeName, breaker: &Arc<Breaker>) {
        let mut breakers = lock(&self.breakers);
        breakers.retain(|(_, _, breaker)| breaker.strong_count() > 0);
        breakers.push((one.clone(), other.clone(), Arc::downgrade(breaker)));
    }

    /// Breaks off all connections between two hosts.
    pub(super) fn break_connections(&self, a: &NodeName, b: &NodeName) {
        let broken: Vec<Arc<Breaker>> = lock(&self.breakers)
            .iter()
            .filter(|(one, other, _)| (one, other) == (a, b) || (one, other) == (b, a))
            .filter_map(|(_, _, breaker)| breaker.upgrade())
            .collect();
        for breaker in broken {
            breaker.break_off();
        }
    }

    pub(super) fn bury(&self, stream: TcpStream) {
        lock(&self.graveyard).push(stream);
    }

    /// Drops what silent hosts left behind. Only outside of a tick.
    pub(super) fn empty_graveyard(&self) {
        let buried = std::mem::take(&mut *lock(&self.graveyard));
        drop(buried);
    }
}
