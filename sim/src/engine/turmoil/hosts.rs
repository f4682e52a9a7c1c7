//! The hosts: who is up, who is down, and what happens at each change.
//!
//! A host's wanted state is computed from all active faults; this module brings it there: it kills, asks to end, starts
//! again, and restarts what ended by itself, as a supervisor would.
//!
//! A life is one task and whatever that task has spawned, all of which end when it is dropped. That nothing is left of a
//! life is checked when the next one starts.

use std::sync::{Arc, OnceLock};

use dacapo_backends::server;
use dacapo_core::{NodeName, trace::What};
use dacapo_properties::ServiceSpec;
use tokio::{sync::watch, task::AbortHandle};

use super::{
    administrator, customer,
    network::{HostId, Reachable},
    operator, processes,
    stage::{Life, Stage},
    stranger,
};
use crate::engine::{
    faults::Down,
    lives::{self, Kind},
    store::Ending,
    times,
};

/// How long a machine needs at least until it runs another life.
const RESTART_US: u64 = 1_000;

/// What a host is for.
#[derive(Clone)]
pub(super) enum Role {
    /// The bus.
    Bus,
    /// An instance of a service.
    Instance {
        service: ServiceSpec,
        /// It is there only while a fault wants it.
        extra: bool,
        /// The first of its service, which is left when only one is.
        first: bool,
    },
    /// A customer.
    Customer { number: u32 },
    /// Comes when all is healed.
    Administrator,
    /// Tries what nobody may.
    Stranger,
    /// Wants a backup.
    Operator,
}

/// Asks a process to end: bus and instance hear it each in their own way.
struct Trigger {
    bus: server::Trigger,
    instance: watch::Sender<bool>,
}

struct Shutdown {
    bus: server::Shutdown,
    instance: watch::Receiver<bool>,
}

impl Trigger {
    fn new() -> (Self, Shutdown) {
        let ((bus, bus_hears), (instance, instance_hears)) = (server::Trigger::new(), watch::channel(false));
        (Self { bus, instance }, Shutdown { bus: bus_hears, instance: instance_hears })
    }

    fn pull(&self) {
        self.bus.pull();
        self.instance.send_replace(true);
    }
}

/// How a process ended by itself.
#[derive(Debug)]
enum Returned {
    /// It was asked to, or had done its work.
    Quietly,
    /// It could not go on.
    Because(String),
}

/// A life while it lasts.
struct Process {
    life: Arc<Life>,
    trigger: Trigger,
    task: AbortHandle,
    returned: Arc<OnceLock<Returned>>,
}

impl Process {
    /// Drops the process and everything that it has spawned: at once, as far as anybody can tell.
    fn kill(self, silent: bool) -> Arc<Life> {
        self.life.die(silent);
        self.task.abort();
        self.life
    }
}

/// Where a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Up {
        leaving: bool,
    },
    /// Down; it may start at this time if nothing keeps it down.
    Down {
        restart_us: u64,
    },
    /// It has done its work.
    Finished,
}

struct Host {
    name: NodeName,
    id: HostId,
    role: Role,
    standing: Standing,
    lives: u64,
    /// Whether the next life begins by playing the past.
    rebuild: bool,
    process: Option<Process>,
    former: Option<Arc<Life>>,
}

/// All hosts of a run.
pub(super) struct Hosts {
    stage: Arc<Stage>,
    hosts: Vec<Host>,
}

impl Hosts {
    pub(super) fn new(stage: &Arc<Stage>) -> Self {
        Self { stage: Arc::clone(stage), hosts: Vec::new() }
    }

    /// Adds a host, which is down until [`tend`](Self::tend) starts it.
    pub(super) fn add(&mut self, name: NodeName, role: Role) {
        let id = self.stage.id(&name).unwrap_or_else(|| panic!("{name} is on the stage"));
        self.hosts.push(Host {
            name,
            id,
            role,
            standing: Standing::Down { restart_us: 0 },
            lives: 0,
            rebuild: false,
            process: None,
            former: None,
        });
    }

    /// Starts the customers again that had done their work, since there is more.
    pub(super) fn wake_customers(&mut self) {
        for host in &mut self.hosts {
            if host.standing == Standing::Finished {
                host.standing = Standing::Down { restart_us: 0 };
            }
        }
    }

    /// Brings every host to where it is wanted.
    pub(super) fn tend(&mut self, now_us: u64) {
        for host in &mut self.hosts {
            let wanted = host.wanted(&self.stage, now_us);
            match host.standing {
                Standing::Up { leaving } => host.tend_up(&self.stage, wanted, leaving, now_us),
                Standing::Down { restart_us } if wanted.is_none() && restart_us <= now_us => host.start(&self.stage),
                Standing::Down { .. } | Standing::Finished => {}
            }
        }
    }

    /// When the next host may start.
    pub(super) fn due_us(&self, now_us: u64) -> Option<u64> {
        let restart = |host: &Host| match host.standing {
            Standing::Down { restart_us } if restart_us > now_us => Some(restart_us),
            _ => None,
        };
        self.hosts.iter().filter_map(restart).min()
    }
}

impl Host {
    /// How it is to be down; none if it is to be up.
    fn wanted(&self, stage: &Stage, now_us: u64) -> Option<Down> {
        let kind = match &self.role {
            Role::Bus => Kind::Bus,
            Role::Instance { extra, first, .. } => Kind::Instance { extra: *extra, first: *first },
            Role::Customer { .. } => Kind::Customer,
            Role::Stranger => Kind::Stranger,
            Role::Administrator => Kind::Administrator,
            Role::Operator => Kind::Operator,
        };
        lives::wanted(&stage.faults(), stage.plan.settings.survivors, kind, &self.name, now_us)
    }

    fn tend_up(&mut self, stage: &Stage, wanted: Option<Down>, leaving: bool, now_us: u64) {
        let Some(process) = &self.process else { return };
        if process.life.is_dead() {
            let silent = process.life.is_silent();
            self.take_down(stage, silent, "died at a point of the plan", now_us);
        } else if process.returned.get().is_some() {
            self.returned(stage, leaving, now_us);
        } else {
            match wanted {
                Some(Down::Silent) => self.take_down(stage, true, "power cut", now_us),
                Some(Down::Killed) => self.take_down(stage, false, "killed", now_us),
                Some(Down::Leaving) if !leaving => {
                    self.standing = Standing::Up { leaving: true };
                    process.trigger.pull();
                }
                // Its time to end in peace is over.
                None if leaving => self.take_down(stage, false, "killed, since it did not end", now_us),
                Some(Down::Leaving) | None => {}
            }
        }
    }

    /// Its process has ended by itself.
    fn returned(&mut self, stage: &Stage, leaving: bool, now_us: u64) {
        let Some(process) = self.process.take() else { return };
        let is_customer = matches!(self.role, Role::Customer { .. });
        let stays_down_us = if leaving || is_customer {
            0
        } else {
            times::restart_us(&stage.plan.settings, &stage.chance, &self.name, process.life.number)
        };
        let mut ending = Ending::Orderly;
        if let Some(Returned::Because(reason)) = process.returned.get() {
            stage.record(&self.name, What::Stopped { reason: reason.clone() });
            ending = Ending::Process;
        }
        self.former = Some(process.kill(false));
        if matches!(self.role, Role::Bus) {
            stage.end_store(ending);
        }
        stage.network(|network, _| network.set_reachable(self.id, Reachable::Refuses));
        self.standing = if is_customer {
            Standing::Finished
        } else {
            Standing::Down { restart_us: now_us + stays_down_us.max(RESTART_US) }
        };
    }

    fn take_down(&mut self, stage: &Stage, silent: bool, reason: &str, now_us: u64) {
        self.former = self.process.take().map(|process| process.kill(silent));
        if matches!(self.role, Role::Bus) {
            stage.end_store(if silent { Ending::Power } else { Ending::Process });
        }
        let reachable = if silent { Reachable::Gone } else { Reachable::Refuses };
        stage.network(|network, _| network.set_reachable(self.id, reachable));
        stage.record(&self.name, What::Stopped { reason: reason.to_owned() });
        self.rebuild |= stage.faults().destroys_state(&self.name);
        self.standing = Standing::Down { restart_us: now_us + RESTART_US };
    }

    fn start(&mut self, stage: &Arc<Stage>) {
        if let Some(former) = self.former.take() {
            // Whatever it had held of the simulated world would hold this.
            assert_eq!(Arc::strong_count(&former), 1, "a task of {}'s life {} outlived it", self.name, former.number);
        }
        self.lives += 1;
        let life = Arc::new(Life::new(self.name.clone(), self.id, self.lives));
        let (trigger, shutdown) = Trigger::new();
        let returned = Arc::new(OnceLock::new());
        stage.network(|network, _| network.set_reachable(self.id, Reachable::Runs));
        let lived = live(
            Arc::clone(stage),
            Arc::clone(&life),
            self.role.clone(),
            shutdown,
            std::mem::take(&mut self.rebuild),
            Arc::clone(&returned),
        );
        let task = tokio::spawn(lived).abort_handle();
        self.process = Some(Process { life, trigger, task, returned });
        self.standing = Standing::Up { leaving: false };
    }
}

/// A life, from the start of its process to its end.
async fn live(
    stage: Arc<Stage>,
    life: Arc<Life>,
    role: Role,
    shutdown: Shutdown,
    rebuild: bool,
    returned: Arc<OnceLock<Returned>>,
) {
    let at = Arc::clone(&stage);
    let reason = match role {
        Role::Bus => processes::bus(stage, life, shutdown.bus).await,
        Role::Instance { service, .. } => processes::instance(stage, life, &service, rebuild, shutdown.instance).await,
        Role::Customer { number } => {
            customer::run(stage, life, number).await;
            None
        }
        Role::Administrator => {
            administrator::run(stage, life).await;
            None
        }
        Role::Operator => {
            operator::run(stage, life).await;
            None
        }
        Role::Stranger => {
            stranger::run(stage, life).await;
            None
        }
    };
    // It is set once, here.
    let _ = returned.set(reason.map_or(Returned::Quietly, Returned::Because));
    at.note_host();
}
