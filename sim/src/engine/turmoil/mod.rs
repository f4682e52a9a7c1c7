//! The full-stack engine: everything that is deployed, over a simulated network. On the command line it is called `turmoil`,
//! after the library that it stood on first.
//!
//! Bus, instances and customers are hosts: the real server, the real WebSocket clients, the real routes, the real store.
//! All of them live on one paused runtime of one thread, whose time jumps to whatever is next: a parcel that arrives, a
//! deadline of a process, a fault. Nothing happens between two such moments, and nothing is paid for it.
//!
//! Time goes in whole milliseconds, since the runtime's timers do. What is sent over the network arrives at a multiple of
//! the plan's `tick_us`.
//!
//! | module | what lives there |
//! |---|---|
//! | `stage` | what all hosts share, what outlives them, and whom to wake |
//! | `hosts` | lives: kill, ask to end, start again |
//! | `processes` | the start-up functions of bus and instance |
//! | `world` | clock, entropy and hooks of a process |
//! | `network` | connections, and what is on its way on them |
//! | `links` | what the active faults make of each link |
//! | `net` | the network as processes see it |
//! | `port` | the store, with simulated time |
//! | `customer`, `http` | what customers do |
//! | `stranger` | who tries what nobody may |
//! | `operator` | who wants a backup, and looks after a full disk |
//! | `administrator` | what a person mends at the end |
//!
//! # Why the network is our own
//!
//! The `turmoil` crate gives each host a runtime and drives all of them tick by tick: it pays for every host at every
//! tick, whether anything happens or not (7 runs a second at a tick of 5 ms). `turmoil-net`, the clock-free socket stack of
//! the same family, was tried: every pass looks at every socket of every host, each segment brings an acknowledgement that
//! is a packet of its own, and the packets of one standard run took some 40 ms, which is twice what a whole run may take.
//! Besides, its hosts can neither be added nor crash once it is entered, and it sends lost segments again after so many
//! *passes*, which has no meaning where time jumps.

mod administrator;
mod customer;
mod hosts;
mod http;
mod links;
mod net;
mod network;
mod operator;
mod port;
mod processes;
mod stage;
mod stranger;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
};

use dacapo_core::{NodeName, ServiceName, trace::What};
use dacapo_properties::{Judge, Scenario};
use tokio::runtime::{Builder, Runtime};

use self::{
    hosts::{Hosts, Role},
    stage::Stage,
};
use crate::{
    cast::{self, Cast},
    engine::{
        Carried,
        chance::Chance,
        panics::Watch,
        phases::{self, Phase, SETTLE_US, simulator},
    },
    liveness,
    plan::Plan,
    recorder::Recorder,
    run::RunOptions,
};

/// Carries a plan out.
pub(crate) fn carry_out(scenario: &dyn Scenario, plan: &Plan, options: &RunOptions) -> Carried {
    let watch = Watch::begin();
    let judge = Judge::new(&plan.settings.limits, scenario.properties());
    let recorder =
        Recorder::new(judge, options.keep, options.until, options.tamper.clone()).tapped_by(options.tap.clone());
    let chance = Chance::new(plan.seed, options.branch);
    let runtime = runtime();
    let stage = {
        let _within = runtime.enter();
        let cast = Cast::of(scenario, plan.settings.customers);
        let instances = cast.services.iter().map(|(service, count)| (service.clone(), *count as u64)).collect();
        let progress = liveness::LogProgress::new(scenario.may_be_skipped());
        Arc::new(Stage::new(Arc::new(plan.clone()), chance, recorder, progress, names(&cast, plan), instances))
    };
    let mut run = Run { stage: Arc::clone(&stage), now_us: 0, panicked: false, stuck: false };
    let finished = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            run.go(scenario, &watch).await;
            stage.end_time();
        });
    }));
    if finished.is_err() {
        run.accuse_panic(&watch);
    }
    // Dropping the runtime drops all processes; nothing of that is a record any more.
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(runtime)));
    if dropped.is_err() {
        run.accuse_panic(&watch);
    }
    let (events, operations) = (stage.progress().position().0, stage.book().counts());
    let recorder = stage.take_recorder();
    let recorded = recorder.map(Recorder::into_parts);
    let recorded = recorded.unwrap_or_else(|| panic!("the recorder is taken once, here"));
    Carried { recorded, simulated_us: run.now_us, events, operations, panicked: run.panicked, stuck: run.stuck }
}

/// One thread, and a clock that stands still while there is anything to do.
fn runtime() -> Runtime {
    let built = Builder::new_current_thread().enable_time().start_paused(true).build();
    built.unwrap_or_else(|error| panic!("a runtime without threads and sockets needs nothing: {error}"))
}

/// All hosts: those of the cast, and extra instances last, so that taking an extra instance out of the plan leaves all
/// others where they were.
fn names(cast: &Cast, plan: &Plan) -> Vec<NodeName> {
    let extra = plan.extra_instances().into_iter().map(|(_, host)| host);
    let stranger = plan.wants_stranger().then(cast::stranger);
    let operator = plan.wants_operator().then(cast::operator);
    cast.hosts().into_iter().chain([cast::administrator()]).chain(extra).chain(stranger).chain(operator).collect()
}

fn add_hosts(scenario: &dyn Scenario, plan: &Plan, hosts: &mut Hosts) {
    hosts.add(cast::bus(), Role::Bus);
    let services = scenario.services();
    for service in &services {
        for n in 0..service.instances {
            let role = Role::Instance { service: service.clone(), extra: false, first: n == 0 };
            hosts.add(cast::instance(&service.name, n), role);
        }
    }
    for number in 0..plan.settings.customers {
        hosts.add(cast::customer(number), Role::Customer { number });
    }
    hosts.add(cast::administrator(), Role::Administrator);
    for (name, host) in plan.extra_instances() {
        if let Some(service) = services.iter().find(|service| service.name == name) {
            hosts.add(host, Role::Instance { service: service.clone(), extra: true, first: false });
        }
    }
    if plan.wants_stranger() {
        hosts.add(cast::stranger(), Role::Stranger);
    }
    if plan.wants_operator() {
        hosts.add(cast::operator(), Role::Operator);
    }
}

struct Run {
    stage: Arc<Stage>,
    now_us: u64,
    panicked: bool,
    stuck: bool,
}

impl Run {
    /// Looks after the run whenever something needs it, until it is over.
    async fn go(&mut self, scenario: &dyn Scenario, watch: &Watch) {
        let stage = Arc::clone(&self.stage);
        let plan = Arc::clone(&stage.plan);
        let services: Vec<ServiceName> = scenario.services().into_iter().map(|service| service.name).collect();
        let mut hosts = Hosts::new(&stage);
        add_hosts(scenario, &plan, &mut hosts);
        if let Some(commit) = plan.older_content() {
            stage.observe(&commit);
            stage.record(&cast::bus(), What::Found { commit });
        }
        let mut phase = Phase::Faults;
        // When faults and hosts must be looked after, and the faults' count of changes when they were.
        let mut due_us = 0;
        let mut seen = None;
        loop {
            self.now_us = stage.now().0;
            if phase == Phase::Faults && self.now_us >= plan.settings.duration_us {
                phase = Phase::Healed { until_us: self.now_us + self.heal() };
            }
            if self.now_us >= due_us {
                self.change_faults();
            }
            stage.network(network::Network::arrive);
            let changes = stage.faults().changes();
            if stage.take_hosts_changed() || self.now_us >= due_us || seen != Some(changes) {
                hosts.tend(self.now_us);
                let faults = stage.faults();
                seen = Some(faults.changes());
                let due = faults.next_change_us(self.now_us).into_iter().chain(hosts.due_us(self.now_us));
                due_us = due.min().unwrap_or(u64::MAX);
            }
            if watch.first().is_some() {
                self.accuse_panic(watch);
            }
            if stage.with_recorder(|recorder| recorder.is_closed()).unwrap_or(true) {
                return;
            }
            let (next, until_us) = match phase {
                Phase::Faults => (phase, plan.settings.duration_us),
                Phase::Healed { .. } if stage.take_work_changed() && self.is_done(&services) => {
                    let until_us = self.now_us + SETTLE_US;
                    (Phase::Settling { until_us }, until_us)
                }
                Phase::Settling { until_us } if self.now_us >= until_us => {
                    let until_us = self.inspect(scenario);
                    hosts.wake_customers();
                    due_us = self.now_us;
                    (Phase::Inspecting { until_us }, self.now_us)
                }
                // A service with timers sends by itself: a run ends between two of its events, and not in the midst of one.
                Phase::Inspecting { .. } if stage.take_work_changed() && self.is_done(&services) => {
                    stage.with_recorder(Recorder::finish);
                    return;
                }
                Phase::Healed { until_us } | Phase::Inspecting { until_us } if self.now_us >= until_us => {
                    self.give_up();
                    return;
                }
                Phase::Healed { until_us } | Phase::Settling { until_us } | Phase::Inspecting { until_us } => {
                    (phase, until_us)
                }
            };
            phase = next;
            let arrives_us = stage.network(|network, _| network.due_us()).unwrap_or(u64::MAX);
            let next_us = until_us.min(due_us).min(arrives_us);
            if next_us > self.now_us {
                stage.attention(next_us).await;
            }
        }
    }

    /// The customers look at everything. When they must be done.
    fn inspect(&self, scenario: &dyn Scenario) -> u64 {
        let stage = &self.stage;
        let inspections = phases::inspections(scenario, &stage.plan);
        let bound_us = liveness::bound_us(&stage.plan.settings, inspections.len() as u64);
        stage.write(|book| inspections.into_iter().for_each(|inspection| book.add(inspection)));
        stage.inspecting.store(true, Ordering::Relaxed);
        self.now_us + bound_us
    }

    fn is_done(&self, services: &[ServiceName]) -> bool {
        phases::is_done(&self.stage.book(), &self.stage.progress(), services)
    }

    /// Faults begin and end by the time.
    fn change_faults(&self) {
        let (begun, ended) = {
            let mut faults = self.stage.faults();
            (faults.begin_due(self.now_us), faults.end_due(self.now_us))
        };
        for fault in begun {
            self.stage.begin(fault);
        }
        for fault in ended {
            self.stage.record(&simulator(), What::FaultEnded { fault });
        }
    }

    /// Ends all faults; the bound within which everything must be done.
    fn heal(&self) -> u64 {
        let stage = &self.stage;
        stage.healed.store(true, Ordering::Relaxed);
        let (mut faults, progress, book) = (stage.faults(), stage.progress(), stage.book());
        phases::heal(&stage.plan.settings, self.now_us, &mut faults, &progress, &book, |what| {
            stage.record(&simulator(), what);
        })
    }

    /// The bound is over: the properties say what is missing, and if they see nothing, the engine does.
    fn give_up(&mut self) {
        self.stuck = true;
        let stage = &self.stage;
        stage.with_recorder(Recorder::finish);
        let violation = phases::stuck(&stage.book(), &stage.progress());
        stage.with_recorder(|recorder| {
            if recorder.violation().is_none() {
                recorder.accuse(violation);
            }
        });
    }

    fn accuse_panic(&mut self, watch: &Watch) {
        self.panicked = true;
        let message = watch.first().unwrap_or_else(|| "a host ended with an error".to_owned());
        self.stage.with_recorder(|recorder| recorder.accuse(phases::panicked(recorder.step(), message)));
    }
}
