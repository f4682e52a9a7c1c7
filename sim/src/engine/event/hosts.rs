//! The hosts: who is up, who is down, and what happens at each change.
//!
//! A host's wanted state is computed from all active faults whenever these change; this module brings it there: it kills,
//! asks to end, starts again, and restarts what ended by itself, as a supervisor would.

use dacapo_core::trace::What;
use dacapo_properties::ServiceSpec;

use super::{
    administrator::AdministratorProcess,
    bus::BusProcess,
    customer::CustomerProcess,
    instance::InstanceProcess,
    net::Heard,
    operator::OperatorProcess,
    queue::{ConnectionId, Event, HostId},
    stage::{Reachable, Stage},
    stranger::StrangerProcess,
};
use crate::engine::{
    faults::Down,
    lives::{self, Kind},
    store::Ending,
    times,
};

/// Machines are asked whether they broke a rule of their own once in so many turns, and after every turn in builds with
/// debug assertions.
pub(super) const INVARIANTS_EVERY: u64 = if cfg!(debug_assertions) { 1 } else { 16 };

/// The bus's place among the hosts: it is the first that is added.
pub(super) const BUS: HostId = 0;

/// What a host is for.
pub(super) enum Role {
    Bus,
    Instance { service: ServiceSpec, extra: bool, first: bool },
    Customer { number: u32 },
    Administrator,
    Stranger,
    Operator,
}

impl Role {
    fn kind(&self) -> Kind {
        match self {
            Self::Bus => Kind::Bus,
            Self::Instance { extra, first, .. } => Kind::Instance { extra: *extra, first: *first },
            Self::Customer { .. } => Kind::Customer,
            Self::Administrator => Kind::Administrator,
            Self::Stranger => Kind::Stranger,
            Self::Operator => Kind::Operator,
        }
    }
}

/// How a process ended by itself.
#[derive(Debug)]
pub(super) enum Returned {
    /// It was asked to, or had done its work.
    Quietly,
    /// It could not go on, and has said why.
    Because,
    /// It died at a point of the plan.
    Died,
}

enum Process {
    Bus(Box<BusProcess>),
    Instance(Box<InstanceProcess>),
    Customer(Box<CustomerProcess>),
    Administrator(Box<AdministratorProcess>),
    Stranger(Box<StrangerProcess>),
    Operator(Box<OperatorProcess>),
}

impl Process {
    fn run(&mut self, stage: &mut Stage) -> Option<Returned> {
        match self {
            Self::Bus(process) => process.run(stage),
            Self::Instance(process) => process.run(stage),
            Self::Customer(process) => process.run(stage),
            Self::Administrator(process) => {
                process.run(stage);
                None
            }
            Self::Stranger(process) => {
                process.run(stage);
                None
            }
            Self::Operator(process) => {
                process.run(stage);
                None
            }
        }
    }

    fn ask_to_end(&mut self) {
        match self {
            Self::Bus(process) => process.ask_to_end(),
            Self::Instance(process) => process.ask_to_end(),
            Self::Customer(_) | Self::Administrator(_) | Self::Stranger(_) | Self::Operator(_) => {}
        }
    }
}

/// Where a host is.
enum Standing {
    Up {
        process: Process,
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
    role: Role,
    standing: Standing,
    /// Its next life plays the past.
    rebuild: bool,
}

/// All hosts of a run.
#[derive(Default)]
pub(super) struct Hosts {
    hosts: Vec<Host>,
}

impl Hosts {
    /// Adds a host, which is down until [`tend`](Self::tend) starts it.
    pub(super) fn add(&mut self, role: Role) {
        self.hosts.push(Host { role, standing: Standing::Down { restart_us: 0 }, rebuild: false });
    }

    /// Starts the customers again that had done their work, since there is more.
    pub(super) fn wake_customers(&mut self, stage: &mut Stage) {
        for id in 0..self.hosts.len() {
            if matches!(self.hosts[id].standing, Standing::Finished) {
                self.hosts[id].standing = Standing::Down { restart_us: 0 };
                self.tend(stage, id);
            }
        }
    }

    /// Lets customers look again: an operation has ended that they may have waited for.
    pub(super) fn tell_customers(&mut self, stage: &mut Stage) {
        for id in 0..self.hosts.len() {
            if matches!(self.hosts[id].role, Role::Customer { .. }) {
                self.run(stage, id);
            }
        }
    }

    /// Brings every host to where it is wanted, and lets each look how it stands.
    pub(super) fn tend_all(&mut self, stage: &mut Stage) {
        for id in 0..self.hosts.len() {
            self.tend(stage, id);
            self.run(stage, id);
        }
    }

    /// A host hears something.
    pub(super) fn hear(&mut self, stage: &mut Stage, id: HostId, connection: ConnectionId, heard: Heard) {
        if let Standing::Up { process, .. } = &mut self.hosts[id].standing {
            match process {
                Process::Bus(process) => process.hear(stage, connection, heard),
                Process::Instance(process) => process.hear(stage, connection, heard),
                Process::Customer(process) => process.hear(connection, heard),
                Process::Administrator(process) => process.hear(stage, connection, &heard),
                Process::Stranger(process) => process.hear(stage, connection, &heard),
                Process::Operator(process) => process.hear(stage, connection, &heard),
            }
            self.run(stage, id);
        }
    }

    /// The store answers.
    pub(super) fn answer(&mut self, stage: &mut Stage, slot: usize) {
        let Some(answer) = stage.answers.take(slot) else { return };
        let id = answer.host;
        if stage.lives[id].number == answer.life
            && let Standing::Up { process: Process::Bus(process), .. } = &mut self.hosts[id].standing
        {
            process.answered(answer.bus, answer.what);
            self.run(stage, id);
        }
    }

    /// Lets a process go on.
    pub(super) fn run(&mut self, stage: &mut Stage, id: HostId) {
        let Standing::Up { process, leaving } = &mut self.hosts[id].standing else { return };
        let Some(returned) = process.run(stage) else { return };
        let leaving = *leaving;
        match returned {
            Returned::Died => {
                let silent = stage.lives[id].died == Some(Down::Silent);
                self.take_down(stage, id, silent, "died at a point of the plan");
            }
            Returned::Quietly | Returned::Because => {
                let is_customer = matches!(self.hosts[id].role, Role::Customer { .. });
                let life = stage.lives[id].number;
                let restart_us = if leaving || is_customer {
                    stage.now_us
                } else {
                    stage.now_us + times::restart_us(&stage.plan.settings, &stage.chance, &stage.names[id], life)
                };
                stage.abandon(id, false);
                if id == BUS {
                    let quietly = matches!(returned, Returned::Quietly);
                    stage.end_store(if quietly { Ending::Orderly } else { Ending::Process });
                }
                stage.lives[id].reachable = Reachable::Refuses;
                self.hosts[id].standing = if is_customer { Standing::Finished } else { Standing::Down { restart_us } };
                stage.queue.put(restart_us, Event::Start(id));
            }
        }
    }

    /// Somebody makes a backup, if the bus is at work.
    pub(super) fn back_up(&mut self, stage: &mut Stage) {
        let Standing::Up { process: Process::Bus(process), .. } = &self.hosts[BUS].standing else { return };
        if process.is_at_work() && !stage.store_backs_up(BUS) {
            let silent = stage.lives[BUS].died == Some(Down::Silent);
            self.take_down(stage, BUS, silent, "died at a point of the plan");
        }
    }

    /// Brings a host to where it is wanted.
    pub(super) fn tend(&mut self, stage: &mut Stage, id: HostId) {
        let host = &mut self.hosts[id];
        let survivors = stage.plan.settings.survivors;
        let wanted = lives::wanted(&stage.faults, survivors, host.role.kind(), &stage.names[id], stage.now_us);
        match (&mut host.standing, wanted) {
            (Standing::Up { .. }, Some(Down::Silent)) => self.take_down(stage, id, true, "power cut"),
            (Standing::Up { .. }, Some(Down::Killed)) => self.take_down(stage, id, false, "killed"),
            (Standing::Up { process, leaving }, Some(Down::Leaving)) if !*leaving => {
                *leaving = true;
                process.ask_to_end();
                self.run(stage, id);
            }
            // Its time to end in peace is over.
            (Standing::Up { leaving: true, .. }, None) => {
                self.take_down(stage, id, false, "killed, since it did not end");
            }
            (Standing::Down { restart_us }, None) if *restart_us <= stage.now_us => self.start(stage, id),
            _ => {}
        }
    }

    fn take_down(&mut self, stage: &mut Stage, id: HostId, silent: bool, reason: &str) {
        self.hosts[id].standing = Standing::Down { restart_us: stage.now_us };
        stage.abandon(id, silent);
        if id == BUS {
            stage.end_store(if silent { Ending::Power } else { Ending::Process });
        }
        stage.lives[id].reachable = if silent { Reachable::Gone } else { Reachable::Refuses };
        stage.record(id, What::Stopped { reason: reason.to_owned() });
        if stage.faults.destroys_state(&stage.names[id]) {
            self.hosts[id].rebuild = true;
        }
        stage.queue.put(stage.now_us, Event::Start(id));
    }

    fn start(&mut self, stage: &mut Stage, id: HostId) {
        stage.begin_life(id);
        let host = &mut self.hosts[id];
        let rebuild = std::mem::take(&mut host.rebuild);
        let process = match &host.role {
            Role::Bus => Process::Bus(Box::new(BusProcess::start(stage, id))),
            Role::Instance { service, .. } => {
                Process::Instance(Box::new(InstanceProcess::start(stage, id, service, rebuild)))
            }
            Role::Customer { number } => Process::Customer(Box::new(CustomerProcess::start(stage, id, *number))),
            Role::Administrator => Process::Administrator(Box::new(AdministratorProcess::start(id))),
            Role::Stranger => Process::Stranger(Box::new(StrangerProcess::start(id))),
            Role::Operator => Process::Operator(Box::new(OperatorProcess::start(id))),
        };
        host.standing = Standing::Up { process, leaving: false };
        self.run(stage, id);
    }
}
