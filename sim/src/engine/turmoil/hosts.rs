//! The hosts: who is up, who is down, and what happens at each change.
//!
//! A host's wanted state is computed from all active faults at every tick; this module brings it there: it kills, asks
//! to end, starts again, and restarts what ended by itself, as a supervisor would.

use std::{
    future::pending,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use dacapo_backends::server;
use dacapo_core::{NodeName, trace::What};
use dacapo_properties::ServiceSpec;
use tokio::sync::watch;
use turmoil::Sim;

use super::{
    administrator, customer, processes,
    stage::{Life, Reachable, Stage},
};
use crate::engine::{
    faults::Down,
    lives::{self, Kind},
    store::Ending,
    times,
};

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

/// What the process on a host and the engine know of each other.
struct Post {
    stage: Arc<Stage>,
    name: NodeName,
    role: Role,
    state: Mutex<PostState>,
}

/// How a process ended by itself.
#[derive(Clone)]
enum Returned {
    /// It was asked to, or had done its work.
    Quietly,
    /// It could not go on.
    Because(String),
}

struct PostState {
    /// Whether the next start begins a life, or only registers the host.
    armed: bool,
    lives: u64,
    rebuild: bool,
    life: Option<Arc<Life>>,
    trigger: Option<Trigger>,
    returned: Option<Returned>,
}

impl Post {
    fn state(&self) -> std::sync::MutexGuard<'_, PostState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a life, if one is wanted.
    fn begin(&self) -> Option<(Arc<Life>, Shutdown, bool)> {
        let mut state = self.state();
        if !state.armed {
            return None;
        }
        state.lives += 1;
        let life = Arc::new(Life::new(self.name.clone(), state.lives));
        let (trigger, shutdown) = Trigger::new();
        state.life = Some(Arc::clone(&life));
        state.trigger = Some(trigger);
        state.returned = None;
        Some((life, shutdown, std::mem::take(&mut state.rebuild)))
    }

    async fn run(self: Arc<Self>, life: Arc<Life>, shutdown: Shutdown, rebuild: bool) {
        let stage = Arc::clone(&self.stage);
        let reason = match &self.role {
            Role::Bus => processes::bus(stage, life, shutdown.bus).await,
            Role::Instance { service, .. } => {
                processes::instance(stage, life, service, rebuild, shutdown.instance).await
            }
            Role::Customer { number } => {
                customer::run(stage, life, *number).await;
                None
            }
            Role::Administrator => {
                administrator::run(stage, life).await;
                None
            }
        };
        self.state().returned = Some(reason.map_or(Returned::Quietly, Returned::Because));
        // The engine takes the host down, with everything that the process has left on it.
        pending::<()>().await;
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
    post: Arc<Post>,
    address: IpAddr,
    standing: Standing,
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
    pub(super) fn add(&mut self, sim: &mut Sim<'_>, name: &NodeName, role: Role) {
        let state = PostState { armed: false, lives: 0, rebuild: false, life: None, trigger: None, returned: None };
        let post =
            Arc::new(Post { stage: Arc::clone(&self.stage), name: name.clone(), role, state: Mutex::new(state) });
        let software = Arc::clone(&post);
        sim.host(name.as_str(), move || {
            let post = Arc::clone(&software);
            let begun = post.begin();
            async move {
                if let Some((life, shutdown, rebuild)) = begun {
                    post.run(life, shutdown, rebuild).await;
                }
                Ok(())
            }
        });
        let address = sim.lookup(name.as_str());
        sim.crash(address);
        post.state().armed = true;
        self.hosts.push(Host { post, address, standing: Standing::Down { restart_us: 0 } });
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
    pub(super) fn tend(&mut self, sim: &mut Sim<'_>, now_us: u64) {
        for host in &mut self.hosts {
            let wanted = wanted(&self.stage, &host.post, now_us);
            match host.standing {
                Standing::Up { leaving } => host.tend_up(sim, &self.stage, wanted, leaving, now_us),
                Standing::Down { restart_us } if wanted.is_none() && restart_us <= now_us => {
                    host.start(sim, &self.stage);
                }
                Standing::Down { .. } | Standing::Finished => {}
            }
        }
    }
}

/// How a host is to be down; none if it is to be up.
fn wanted(stage: &Stage, post: &Post, now_us: u64) -> Option<Down> {
    let kind = match &post.role {
        Role::Bus => Kind::Bus,
        Role::Instance { extra, first, .. } => Kind::Instance { extra: *extra, first: *first },
        Role::Customer { .. } => Kind::Customer,
        Role::Administrator => Kind::Administrator,
    };
    lives::wanted(&stage.faults(), stage.plan.settings.survivors, kind, &post.name, now_us)
}

impl Host {
    fn tend_up(&mut self, sim: &mut Sim<'_>, stage: &Stage, wanted: Option<Down>, leaving: bool, now_us: u64) {
        let (life, returned) = {
            let state = self.post.state();
            (state.life.clone(), state.returned.clone())
        };
        let Some(life) = life else { return };
        let name = &self.post.name;
        if life.is_dead() {
            // It died at a point within the last tick.
            let silent = life.is_silent();
            self.take_down(sim, stage, silent, "died at a point of the plan", now_us);
        } else if let Some(returned) = returned {
            let is_customer = matches!(self.post.role, Role::Customer { .. });
            let restart_us = if leaving || is_customer {
                now_us
            } else {
                now_us + times::restart_us(&stage.plan.settings, &stage.chance, name, life.number)
            };
            let ending = if matches!(returned, Returned::Quietly) { Ending::Orderly } else { Ending::Process };
            if let Returned::Because(reason) = returned {
                stage.record(name, What::Stopped { reason });
            }
            life.die(false);
            sim.crash(self.address);
            if matches!(self.post.role, Role::Bus) {
                stage.end_store(ending);
            }
            stage.set_reachable(name, Reachable::Refuses);
            self.standing = if is_customer { Standing::Finished } else { Standing::Down { restart_us } };
        } else {
            match wanted {
                Some(Down::Silent) => self.take_down(sim, stage, true, "power cut", now_us),
                Some(Down::Killed) => self.take_down(sim, stage, false, "killed", now_us),
                Some(Down::Leaving) if !leaving => {
                    self.standing = Standing::Up { leaving: true };
                    if let Some(trigger) = &self.post.state().trigger {
                        trigger.pull();
                    }
                }
                // Its time to end in peace is over.
                None if leaving => self.take_down(sim, stage, false, "killed, since it did not end", now_us),
                Some(Down::Leaving) | None => {}
            }
        }
    }

    fn take_down(&mut self, sim: &mut Sim<'_>, stage: &Stage, silent: bool, reason: &str, now_us: u64) {
        let name = &self.post.name;
        if let Some(life) = self.post.state().life.take() {
            life.die(silent);
        }
        sim.crash(self.address);
        if matches!(self.post.role, Role::Bus) {
            stage.end_store(if silent { Ending::Power } else { Ending::Process });
        }
        stage.set_reachable(name, if silent { Reachable::Gone } else { Reachable::Refuses });
        stage.record(name, What::Stopped { reason: reason.to_owned() });
        if stage.faults().destroys_state(name) {
            self.post.state().rebuild = true;
        }
        self.standing = Standing::Down { restart_us: now_us };
    }

    fn start(&mut self, sim: &mut Sim<'_>, stage: &Stage) {
        sim.bounce(self.address);
        stage.set_reachable(&self.post.name, Reachable::Runs);
        self.standing = Standing::Up { leaving: false };
    }
}
