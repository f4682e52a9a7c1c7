//! The turmoil engine: the full stack over a simulated network.
//!
//! Bus, instances and customers are turmoil hosts: the real server, the real WebSocket clients, the real routes, the real
//! store. turmoil gives each host a paused runtime and drives all of them tick by tick; everything on the network takes
//! at least one tick. Within a tick hosts run one after the other, each through the whole tick, so records of different
//! hosts may be out of order by less than a tick in *time*; in *step* cause always precedes effect.
//!
//! | module | what lives there |
//! |---|---|
//! | `stage` | what all hosts share, and what outlives them |
//! | `links` | telling turmoil of the links |
//! | `hosts` | lives: kill, ask to end, start again |
//! | `processes` | the start-up functions of bus and instance |
//! | `world` | clock, entropy and hooks of a process |
//! | `net` | streams that can break, vanish and fall silent |
//! | `port` | the store, with simulated time |
//! | `customer`, `http` | what customers do |
//! | `administrator` | what a person mends at the end |

mod administrator;
mod customer;
mod hosts;
mod http;
mod links;
mod net;
mod port;
mod processes;
mod stage;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use dacapo_core::{ServiceName, trace::What};
use dacapo_properties::{Judge, Scenario};
use turmoil::{Builder, Sim};

use self::{
    hosts::{Hosts, Role},
    links::Links,
    stage::Stage,
};
use crate::{
    cast::{self, Cast},
    engine::{
        Carried,
        clock::EPOCH_US,
        panics::Watch,
        phases::{self, Phase, SETTLE_US, simulator},
        store::RunStore,
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
    let mut sim = builder(plan).build();
    let stage = Arc::new(set(scenario, plan, recorder, &sim));
    let mut run = Run { stage: Arc::clone(&stage), now_us: 0, panicked: false, stuck: false };
    let finished = catch_unwind(AssertUnwindSafe(|| run.go(scenario, &mut sim, &watch)));
    if finished.is_err() {
        run.accuse_panic(&watch);
    }
    // Dropping hosts drops what they hold; nothing of that is a record any more.
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(sim)));
    if dropped.is_err() {
        run.accuse_panic(&watch);
    }
    stage.empty_graveyard();
    let (events, operations) = (stage.progress().position().0, stage.book().counts());
    let recorder = stage.take_recorder();
    let recorded = recorder.map(Recorder::into_parts);
    let recorded = recorded.unwrap_or_else(|| panic!("the recorder is taken once, here"));
    Carried { recorded, simulated_us: run.now_us, events, operations, panicked: run.panicked, stuck: run.stuck }
}

fn builder(plan: &Plan) -> Builder {
    let mut builder = Builder::new();
    let tick = Duration::from_micros(plan.settings.tick_us);
    builder
        .epoch(SystemTime::UNIX_EPOCH + Duration::from_micros(EPOCH_US))
        .rng_seed(plan.seed)
        .tick_duration(tick)
        // The engine ends runs; turmoil's own limit is out of the way.
        .simulation_duration(Duration::from_secs(1 << 30))
        .min_message_latency(tick)
        .max_message_latency(tick)
        .fail_rate(0.0)
        .tcp_capacity(4_096);
    builder
}

/// Makes what all hosts share. Addresses are given in the order of the cast, extra instances last, so that taking an
/// extra instance out of the plan leaves all others where they were.
fn set(scenario: &dyn Scenario, plan: &Plan, recorder: Recorder, sim: &Sim<'_>) -> Stage {
    let cast = Cast::of(scenario, plan.settings.customers);
    let extra = plan.extra_instances().into_iter().map(|(_, host)| host);
    let names = cast.hosts().into_iter().chain([cast::administrator()]).chain(extra);
    let addresses = names.map(|name| (name.clone(), sim.lookup(name.as_str()))).collect();
    let instances = cast.services.iter().map(|(service, count)| (service.clone(), *count as u64)).collect();
    let progress = liveness::LogProgress::new(scenario.may_be_skipped());
    Stage::new(Arc::new(plan.clone()), recorder, RunStore::new(plan), progress, addresses, instances)
}

fn add_hosts(scenario: &dyn Scenario, plan: &Plan, hosts: &mut Hosts, sim: &mut Sim<'_>) {
    hosts.add(sim, &cast::bus(), Role::Bus);
    let services = scenario.services();
    for service in &services {
        for n in 0..service.instances {
            let role = Role::Instance { service: service.clone(), extra: false, first: n == 0 };
            hosts.add(sim, &cast::instance(&service.name, n), role);
        }
    }
    for number in 0..plan.settings.customers {
        hosts.add(sim, &cast::customer(number), Role::Customer { number });
    }
    hosts.add(sim, &cast::administrator(), Role::Administrator);
    for (name, host) in plan.extra_instances() {
        if let Some(service) = services.iter().find(|service| service.name == name) {
            hosts.add(sim, &host, Role::Instance { service: service.clone(), extra: true, first: false });
        }
    }
}

struct Run {
    stage: Arc<Stage>,
    now_us: u64,
    panicked: bool,
    stuck: bool,
}

impl Run {
    fn go(&mut self, scenario: &dyn Scenario, sim: &mut Sim<'_>, watch: &Watch) {
        let stage = Arc::clone(&self.stage);
        let plan = Arc::clone(&stage.plan);
        let services: Vec<ServiceName> = scenario.services().into_iter().map(|service| service.name).collect();
        let mut hosts = Hosts::new(&stage);
        add_hosts(scenario, &plan, &mut hosts, sim);
        let mut links = Links::default();
        let mut phase = Phase::Faults;
        loop {
            stage.set_tick(self.now_us);
            if phase == Phase::Faults && self.now_us >= plan.settings.duration_us {
                phase = Phase::Healed { until_us: self.now_us + self.heal() };
            }
            self.change_faults();
            links.apply(sim, &stage);
            hosts.tend(sim, self.now_us);
            // A host that went down may have left streams; its peers must not hear of them.
            stage.empty_graveyard();

            stage.set_running(true);
            let stepped = sim.step();
            stage.set_running(false);
            self.now_us += plan.settings.tick_us;
            stage.set_tick(self.now_us);

            if stepped.is_err() || watch.first().is_some() {
                self.accuse_panic(watch);
            }
            if stage.with_recorder(|recorder| recorder.is_closed()).unwrap_or(true) {
                return;
            }
            phase = match phase {
                Phase::Healed { .. } if self.is_done(&services) => {
                    Phase::Settling { until_us: self.now_us + SETTLE_US }
                }
                Phase::Settling { until_us } if self.now_us >= until_us => {
                    let inspections = phases::inspections(scenario, &plan);
                    let until_us = self.now_us + liveness::bound_us(&plan.settings, inspections.len() as u64);
                    for inspection in inspections {
                        stage.book().add(inspection);
                    }
                    stage.inspecting.store(true, Ordering::Relaxed);
                    hosts.wake_customers();
                    Phase::Inspecting { until_us }
                }
                Phase::Inspecting { .. } if stage.book().open() == 0 => {
                    stage.with_recorder(Recorder::finish);
                    return;
                }
                Phase::Healed { until_us } | Phase::Inspecting { until_us } if self.now_us >= until_us => {
                    self.give_up();
                    return;
                }
                other => other,
            };
        }
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
            self.stage.record(&simulator(), What::FaultBegun { fault });
            let broken = match self.stage.faults().fault(fault).map(|fault| fault.what.clone()) {
                Some(crate::fault::Harm::Reset { a, b }) => Some((a, b)),
                _ => None,
            };
            if let Some((a, b)) = broken {
                self.stage.break_connections(&a, &b);
            }
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
        phases::heal(&stage.plan.settings, &mut faults, &progress, &book, |what| stage.record(&simulator(), what))
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
