//! What all hosts of a run share, and what outlives them: the time, the recorder, the faults, the network, the store, the
//! book of operations, and who is alive. Also whom to wake when something changes, so that nobody has to look again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use dacapo_core::{
    NodeName, ServiceName, Timestamp,
    hooks::{Identity, Point},
    store::Commit,
    trace::What,
};
use dacapo_properties::Violation;
use tokio::{sync::Notify, time::Instant};

use super::{
    links::Links,
    network::{HostId, Moment, Network, Reachable},
};
use crate::{
    cast,
    engine::{
        book::Book,
        chance::Chance,
        faults::{Down, FaultTable},
        phases::simulator,
        store::{Accusation, Ending, Passed, RunStore},
        times,
    },
    fault::{Harm, points},
    liveness::LogProgress,
    marks,
    plan::{Plan, StoreKind},
    recorder::Recorder,
};

/// One life of a host. Whatever a process of it holds of the simulated world holds the life, too.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) host: NodeName,
    pub(super) id: HostId,
    /// From 1.
    pub(super) number: u64,
    dead: AtomicBool,
    silent: AtomicBool,
}

impl Life {
    pub(super) fn new(host: NodeName, id: HostId, number: u64) -> Self {
        Self { host, id, number, dead: AtomicBool::new(false), silent: AtomicBool::new(false) }
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

/// Shared by everything in a run.
pub(super) struct Stage {
    pub(super) plan: Arc<Plan>,
    pub(super) chance: Chance,
    began: Instant,
    /// The run's time once it is over; until then [`u64::MAX`].
    ended_us: AtomicU64,
    recorder: Mutex<Option<Recorder>>,
    faults: Mutex<FaultTable>,
    network: Mutex<Network>,
    store: Mutex<RunStore>,
    progress: Mutex<LogProgress>,
    book: Mutex<Book>,
    /// By host id.
    names: Arc<[NodeName]>,
    ids: BTreeMap<NodeName, HostId>,
    /// How many standing instances each service has.
    instances: BTreeMap<ServiceName, u64>,
    /// Wakes the engine.
    attention: Notify,
    /// When the engine looks in any case.
    armed_us: AtomicU64,
    /// A process has ended, or died at a point of the plan.
    hosts_changed: AtomicBool,
    /// The log or the book has changed.
    work_changed: AtomicBool,
    /// Wakes each customer, by number.
    customers: Vec<Notify>,
    /// Wakes the administrator.
    administrator: Notify,
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
    /// Sets the stage. Within the run's runtime, for its time begins now.
    pub(super) fn new(
        plan: Arc<Plan>,
        chance: Chance,
        recorder: Recorder,
        progress: LogProgress,
        names: Vec<NodeName>,
        instances: BTreeMap<ServiceName, u64>,
    ) -> Self {
        let names: Arc<[NodeName]> = names.into();
        let (settings, drawn) = (plan.settings.clone(), chance.clone());
        let links = Links::new(&names, Box::new(move |one, other| times::link_us(&settings, &drawn, one, other)));
        Self {
            began: Instant::now(),
            ended_us: AtomicU64::new(u64::MAX),
            recorder: Mutex::new(Some(recorder)),
            faults: Mutex::new(FaultTable::new(chance.clone(), &plan.faults)),
            network: Mutex::new(Network::new(links, names.len(), plan.settings.tick_us)),
            store: Mutex::new(RunStore::new(&plan)),
            progress: Mutex::new(progress),
            book: Mutex::new(Book::new(&plan.operations)),
            ids: names.iter().cloned().zip((0..).map(HostId)).collect(),
            names,
            instances,
            attention: Notify::new(),
            armed_us: AtomicU64::new(0),
            hosts_changed: AtomicBool::new(true),
            work_changed: AtomicBool::new(true),
            customers: (0..plan.settings.customers).map(|_| Notify::new()).collect(),
            administrator: Notify::new(),
            inspecting: AtomicBool::new(false),
            healed: Arc::new(AtomicBool::new(false)),
            plan,
            chance,
        }
    }

    /// The run's time.
    pub(super) fn now(&self) -> Timestamp {
        match self.ended_us.load(Ordering::Relaxed) {
            u64::MAX => Timestamp(self.began.elapsed().as_micros() as u64),
            ended_us => Timestamp(ended_us),
        }
    }

    /// The time stands still from now on: what is dropped after the run may ask for it, without a runtime.
    pub(super) fn end_time(&self) {
        self.ended_us.store(self.now().0, Ordering::Relaxed);
    }

    /// This time of the run, as the runtime counts.
    pub(super) fn instant(&self, us: u64) -> Instant {
        self.began + Duration::from_micros(us)
    }

    pub(super) fn record(&self, node: &NodeName, what: What) {
        let now = self.now();
        if let Some(recorder) = lock(&self.recorder).as_mut() {
            recorder.record(now, node, what);
            self.chance.set_step(recorder.step());
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

    /// Looks into the book of operations.
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    /// Writes into the book of operations. Whoever waits for an operation looks again.
    pub(super) fn write<R>(&self, change: impl FnOnce(&mut Book) -> R) -> R {
        let written = change(&mut lock(&self.book));
        for customer in &self.customers {
            customer.notify_one();
        }
        self.note_work();
        written
    }

    /// Returns when the book has changed since the customer last waited.
    pub(super) async fn book_changed(&self, customer: u32) {
        self.customers[customer as usize].notified().await;
    }

    /// A commit is durable.
    pub(super) fn observe(&self, commit: &Commit) {
        self.progress().observe(commit);
        self.faults().observe(commit);
        self.note_work();
    }

    fn note_work(&self) {
        self.work_changed.store(true, Ordering::Relaxed);
        if self.healed.load(Ordering::Relaxed) {
            self.administrator.notify_one();
            self.attention.notify_one();
        }
    }

    /// Returns when the log or the book has changed, once all is healed.
    pub(super) async fn work_changed(&self) {
        self.administrator.notified().await;
    }

    /// Whether the log or the book has changed since the engine last asked.
    pub(super) fn take_work_changed(&self) -> bool {
        self.work_changed.swap(false, Ordering::Relaxed)
    }

    /// A process has ended, or died: the engine looks after the hosts.
    pub(super) fn note_host(&self) {
        self.hosts_changed.store(true, Ordering::Relaxed);
        self.attention.notify_one();
    }

    /// Whether a process has ended or died since the engine last asked.
    pub(super) fn take_hosts_changed(&self) -> bool {
        self.hosts_changed.swap(false, Ordering::Relaxed)
    }

    /// Returns at this time, or when something needs the engine before.
    pub(super) async fn attention(&self, until_us: u64) {
        self.armed_us.store(until_us, Ordering::Relaxed);
        tokio::select! {
            biased;
            () = self.attention.notified() => {}
            () = tokio::time::sleep_until(self.instant(until_us)) => {}
        }
    }

    /// Acts on the network, or looks at it. The engine is woken in time for what was sent.
    pub(super) fn network<R>(&self, act: impl FnOnce(&mut Network, Moment<'_>) -> R) -> R {
        let now_us = self.now().0;
        let faults = self.faults();
        let mut network = lock(&self.network);
        let result = act(&mut network, Moment { now_us, faults: &faults });
        if let Some(due_us) = network.due_us()
            && due_us < self.armed_us.load(Ordering::Relaxed)
        {
            self.armed_us.store(due_us, Ordering::Relaxed);
            self.attention.notify_one();
        }
        result
    }

    /// The standing instances of a service that a customer may ask: all, or, for those who only look at the end, the
    /// ones that run.
    pub(super) fn instances_of(&self, service: &ServiceName) -> Vec<NodeName> {
        let count = self.instances.get(service).copied().unwrap_or(1);
        let mut hosts: Vec<NodeName> = (0..count).map(|n| cast::instance(service, n as usize)).collect();
        if self.inspecting.load(Ordering::Relaxed) {
            let network = lock(&self.network);
            hosts.retain(|host| self.id(host).is_some_and(|id| network.reachable(id) == Reachable::Runs));
        }
        hosts
    }

    pub(super) fn id(&self, host: &NodeName) -> Option<HostId> {
        self.ids.get(host).copied()
    }

    pub(super) fn name(&self, host: HostId) -> &NodeName {
        &self.names[host.0]
    }

    /// Calls the store with the disk as the faults have it, and tells what the call has met.
    pub(super) fn call_store<T>(&self, call: impl FnOnce(&mut RunStore) -> T) -> (T, Passed) {
        let has_disk = self.plan.settings.store == StoreKind::Disk;
        let disk = has_disk.then(|| self.faults().disk(&cast::bus()));
        let now_us = self.now().0;
        let mut store = self.store();
        if let Some(disk) = disk {
            store.prepare(&disk, now_us);
        }
        let answer = call(&mut store);
        (answer, store.passed())
    }

    /// A life of the bus is over.
    pub(super) fn end_store(&self, ending: Ending) {
        let ((), passed) = self.call_store(|store| store.end(ending));
        for mark in passed.marks {
            self.mark(&cast::bus(), mark);
        }
        if let Some(accusation) = passed.broken {
            self.accuse(accusation);
        }
    }

    /// Something that no property can see.
    pub(super) fn accuse(&self, accusation: Accusation) {
        let Accusation { property, sentence, message } = accusation;
        self.with_recorder(|recorder| {
            let step = recorder.step();
            recorder.accuse(Violation { property, sentence, step, message, steps: Vec::new() });
        });
        self.attention.notify_one();
    }

    /// A life of the bus hears of what a call of its store has met; whether it goes on.
    pub(super) fn pass(&self, life: &Life, passed: Passed) -> bool {
        for mark in passed.marks {
            self.mark(&life.host, mark);
        }
        for commit in passed.proved {
            self.observe(&commit);
            self.record(&life.host, What::CommitDurable { commit });
        }
        if let Some(accusation) = passed.broken {
            self.accuse(accusation);
        }
        let point = |name| Point { name, identity: Identity::None };
        self.reach_times(life, point(points::DISK_WRITE), passed.writes)
            && self.reach_times(life, point(points::DISK_SYNC), passed.syncs)
            && self.reach_times(life, point(points::BACKUP_WRITE), passed.backup_writes)
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
        if begun.is_empty() {
            return true;
        }
        for fault in begun {
            self.begin(fault);
        }
        // Whatever began changes links and hosts, and will end.
        self.attention.notify_one();
        match down {
            Some(down @ (Down::Killed | Down::Silent)) => {
                let mark = if point.name == crate::fault::points::COMMIT_DURABLE {
                    marks::COMMIT_UNHEARD
                } else {
                    marks::DIED_AT_POINT
                };
                self.mark(&life.host, mark);
                life.die(down == Down::Silent);
                self.note_host();
                false
            }
            Some(Down::Leaving) | None => true,
        }
    }

    /// A fault begins.
    pub(super) fn begin(&self, fault: u32) {
        self.record(&simulator(), What::FaultBegun { fault });
        let reset = match self.faults().fault(fault).map(|fault| &fault.what) {
            Some(Harm::Reset { a, b }) => self.id(a).zip(self.id(b)),
            _ => None,
        };
        if let Some((a, b)) = reset {
            self.network(|network, _| network.break_off(a, b));
        }
    }
}
