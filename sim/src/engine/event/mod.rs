//! The event engine: the same machines and the same plan, in a loop that jumps from event to event.
//!
//! There is no network library, no task and no tick: whatever is to happen lies in a heap by its time, and the run's time
//! is that of the event at hand. So idle time costs nothing, and seeds can be counted by the hundred thousand. What stands
//! between the machines is modelled after the drivers: one input in, all outputs out in order, each shown to the faults
//! before; the same records at the same places, so that all properties judge alike.
//!
//! It refuses to speak HTTP or WebSocket: what a byte can do wrong is for the full stack to find. In one run of eight
//! every frame goes through its JSON all the same.
//!
//! | module | what lives there |
//! |---|---|
//! | `queue` | what is to happen, by time |
//! | `stage` | what all hosts share, and what outlives them |
//! | `net` | virtual connections |
//! | `wire` | frames through their encoding |
//! | `answers` | the store, with simulated time |
//! | `hosts` | lives: kill, ask to end, start again |
//! | `bus`, `instance`, `customer`, `administrator`, `stranger`, `operator` | the processes |

mod administrator;
mod answers;
mod bus;
mod customer;
mod hosts;
mod instance;
mod net;
mod operator;
mod queue;
mod stage;
mod stranger;
mod wire;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
};

use dacapo_core::{NodeName, ServiceName, trace::What};
use dacapo_properties::{Judge, Scenario};

pub use self::wire::ENCODED_ONE_IN;
use self::{
    hosts::{Hosts, Role},
    queue::{Event, HostId},
    stage::Stage,
};
use crate::{
    cast::{self, Cast},
    engine::{
        Carried,
        chance::Chance,
        panics::Watch,
        phases::{self, Phase, SETTLE_US},
    },
    fault::Harm,
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
    let mut run = Run::new(scenario, plan, recorder, options);
    let finished = catch_unwind(AssertUnwindSafe(|| run.go(scenario)));
    if finished.is_err() {
        run.panicked = true;
        let message = watch.first().unwrap_or_else(|| "a process panicked".to_owned());
        let step = run.stage.recorder.step();
        run.stage.recorder.accuse(phases::panicked(step, message));
    }
    let Run { stage, hosts, panicked, stuck, .. } = run;
    // Dropping a machine that has panicked must not end the process.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(hosts)));
    Carried {
        simulated_us: stage.now_us,
        events: stage.progress.position().0,
        operations: stage.book.counts(),
        recorded: stage.recorder.into_parts(),
        panicked,
        stuck,
    }
}

struct Run {
    stage: Stage,
    hosts: Hosts,
    services: Vec<ServiceName>,
    phase: Phase,
    /// When the faults are looked at next.
    change_us: Option<u64>,
    panicked: bool,
    stuck: bool,
}

impl Run {
    fn new(scenario: &dyn Scenario, plan: &Plan, recorder: Recorder, options: &RunOptions) -> Self {
        let mut hosts = Hosts::default();
        let mut names: Vec<NodeName> = vec![cast::bus()];
        hosts.add(Role::Bus);
        let services = scenario.services();
        let mut standing = std::collections::BTreeMap::new();
        for service in &services {
            let mut of_service: Vec<HostId> = Vec::new();
            for n in 0..service.instances {
                of_service.push(names.len());
                names.push(cast::instance(&service.name, n));
                hosts.add(Role::Instance { service: service.clone(), extra: false, first: n == 0 });
            }
            standing.insert(service.name.clone(), of_service);
        }
        for number in 0..plan.settings.customers {
            names.push(cast::customer(number));
            hosts.add(Role::Customer { number });
        }
        names.push(cast::administrator());
        hosts.add(Role::Administrator);
        for (name, host) in plan.extra_instances() {
            if let Some(service) = services.iter().find(|service| service.name == name) {
                names.push(host);
                hosts.add(Role::Instance { service: service.clone(), extra: true, first: false });
            }
        }
        debug_assert_eq!(
            Cast::of(scenario, plan.settings.customers).hosts()[..],
            names[..names.len() - 1 - plan.extra_instances().len()]
        );
        if plan.wants_stranger() {
            names.push(cast::stranger());
            hosts.add(Role::Stranger);
        }
        if plan.wants_operator() {
            names.push(cast::operator());
            hosts.add(Role::Operator);
        }
        let chance = Chance::new(plan.seed, options.branch);
        let mut stage = Stage::new(Arc::new(plan.clone()), chance, recorder, names, standing);
        stage.progress = liveness::LogProgress::new(scenario.may_be_skipped());
        let services = services.into_iter().map(|service| service.name).collect();
        Self { stage, hosts, services, phase: Phase::Faults, change_us: None, panicked: false, stuck: false }
    }

    fn go(&mut self, scenario: &dyn Scenario) {
        if let Some(commit) = self.stage.plan.older_content() {
            self.stage.found(commit);
        }
        self.stage.queue.put(0, Event::Faults);
        self.stage.queue.put(self.stage.plan.settings.duration_us, Event::Phase);
        while !self.stage.recorder.is_closed() {
            let Some((at_us, event)) = self.stage.queue.take() else {
                // Machines have heartbeats, so this is the end of a run that nobody lives in.
                return self.give_up();
            };
            self.stage.set_now(at_us);
            self.happen(scenario, event);
            while std::mem::take(&mut self.stage.faults_stirred) {
                self.change_faults();
            }
            while std::mem::take(&mut self.stage.progressed) {
                if std::mem::take(&mut self.stage.operation_ended) {
                    self.hosts.tell_customers(&mut self.stage);
                }
                self.look_whether_done();
            }
        }
    }

    fn happen(&mut self, scenario: &dyn Scenario, event: Event) {
        let Self { stage, hosts, .. } = self;
        match event {
            Event::Faults => self.change_faults(),
            Event::Wake(host) => {
                if stage.is_due(host) {
                    hosts.run(stage, host);
                }
            }
            Event::Start(host) => hosts.tend(stage, host),
            Event::Arrive(connection, way) => {
                if let Some((host, heard)) = stage.arrive(connection, way) {
                    hosts.hear(stage, host, connection, heard);
                }
            }
            Event::Answer(slot) => hosts.answer(stage, slot),
            Event::Phase => self.end_phase(scenario),
        }
    }

    /// Faults begin, end, and change within, by the time.
    fn change_faults(&mut self) {
        let now_us = self.stage.now_us;
        let begun = self.stage.faults.begin_due(now_us);
        let ended = self.stage.faults.end_due(now_us);
        for fault in begun {
            self.stage.record_own(What::FaultBegun { fault });
            self.strike_once(fault);
        }
        for fault in ended {
            self.stage.record_own(What::FaultEnded { fault });
        }
        if let Some(at_us) = self.stage.faults.next_change_us(now_us)
            && self.change_us != Some(at_us)
        {
            self.change_us = Some(at_us);
            self.stage.queue.put(at_us, Event::Faults);
        }
        self.stage.resume_links();
        self.hosts.tend_all(&mut self.stage);
    }

    /// What a fault does when it begins, and not while it lasts.
    fn strike_once(&mut self, fault: u32) {
        let what = self.stage.faults.fault(fault).map(|fault| fault.what.clone());
        let told = match what {
            Some(Harm::Reset { a, b }) => {
                let (Some(a), Some(b)) = (self.stage.id(&a), self.stage.id(&b)) else { return };
                self.stage.break_off(a, b)
            }
            Some(Harm::HalfOpen { unaware, other }) => {
                let (Some(unaware), Some(other)) = (self.stage.id(&unaware), self.stage.id(&other)) else { return };
                self.stage.forget_at(other, unaware)
            }
            Some(Harm::Backup { .. }) => return self.hosts.back_up(&mut self.stage),
            _ => return,
        };
        for (host, connection) in told {
            self.hosts.hear(&mut self.stage, host, connection, net::Heard::Ended);
        }
    }

    fn look_whether_done(&mut self) {
        let stage = &mut self.stage;
        match self.phase {
            Phase::Healed { .. } if phases::is_done(&stage.book, &stage.progress, &self.services) => {
                let until_us = stage.now_us + SETTLE_US;
                self.phase = Phase::Settling { until_us };
                stage.queue.put(until_us, Event::Phase);
            }
            // A service with timers sends by itself: a run ends between two of its events, and not in the midst of one.
            Phase::Inspecting { .. } if phases::is_done(&stage.book, &stage.progress, &self.services) => {
                stage.recorder.finish();
            }
            _ => {}
        }
    }

    fn end_phase(&mut self, scenario: &dyn Scenario) {
        let now_us = self.stage.now_us;
        match self.phase {
            Phase::Faults => {
                let until_us = now_us + self.heal();
                self.phase = Phase::Healed { until_us };
                self.stage.queue.put(until_us, Event::Phase);
                self.stage.resume_links();
                self.hosts.tend_all(&mut self.stage);
                self.look_whether_done();
            }
            Phase::Settling { until_us } if until_us <= now_us => self.inspect(scenario),
            Phase::Healed { until_us } | Phase::Inspecting { until_us } if until_us <= now_us => self.give_up(),
            // The end of an earlier phase that was over before.
            Phase::Healed { .. } | Phase::Settling { .. } | Phase::Inspecting { .. } => {}
        }
    }

    fn heal(&mut self) -> u64 {
        self.stage.healed.store(true, Ordering::Relaxed);
        let mut told = Vec::new();
        let Stage { plan, now_us, faults, progress, book, .. } = &mut self.stage;
        let bound_us = phases::heal(&plan.settings, *now_us, faults, progress, book, |what| told.push(what));
        for what in told {
            self.stage.record_own(what);
        }
        bound_us
    }

    fn inspect(&mut self, scenario: &dyn Scenario) {
        let stage = &mut self.stage;
        let inspections = phases::inspections(scenario, &stage.plan);
        let until_us = stage.now_us + liveness::bound_us(&stage.plan.settings, inspections.len() as u64);
        for inspection in inspections {
            stage.book.add(inspection);
        }
        stage.inspecting = true;
        self.phase = Phase::Inspecting { until_us };
        stage.queue.put(until_us, Event::Phase);
        self.hosts.wake_customers(stage);
        self.look_whether_done();
    }

    /// The bound is over: the properties say what is missing, and if they see nothing, the engine does.
    fn give_up(&mut self) {
        self.stuck = true;
        let stage = &mut self.stage;
        stage.recorder.finish();
        if stage.recorder.violation().is_none() {
            stage.recorder.accuse(phases::stuck(&stage.book, &stage.progress));
        }
    }
}
