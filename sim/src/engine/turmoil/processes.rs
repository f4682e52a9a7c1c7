//! What runs on a host: the very start-up functions that production calls, with the simulated world passed in.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use dacapo_backends::server::{self, Parts, ServerConfig, Shutdown};
use dacapo_core::{Event, InstanceName, ServiceName, planted::Planted};
use dacapo_properties::ServiceSpec;
use dacapo_service::{HandlerFault, InstanceConfig, driver, instance::HandlerFaults};
use tokio::sync::watch;

use super::{
    net::{BUS_PORT, SERVICE_PORT, SimConnector, SimListener},
    port::SimPort,
    stage::{Life, Stage},
    world,
};
use crate::{
    draw::{stateless, stateless_chance},
    fault::Harm,
    plan::Plan,
};

fn planted(plan: &Plan) -> Planted {
    plan.bug.map_or(Planted::NONE, Planted::bug)
}

/// Runs a life of the bus. The reason, if it ended without being asked to.
pub(super) async fn bus(stage: Arc<Stage>, life: Arc<Life>, shutdown: Shutdown) -> Option<String> {
    let settings = &stage.plan.settings;
    let config = ServerConfig {
        limits: settings.limits.clone(),
        planted: planted(&stage.plan),
        request_deadline: Duration::from_micros(settings.request_deadline_us),
        header_deadline: Duration::from_secs(2),
        close_deadline: Duration::from_millis(200),
        shutdown_deadline: Duration::from_millis(400),
        restart_first: Duration::from_millis(20),
        restart_max: Duration::from_millis(300),
        ..ServerConfig::default()
    };
    let listener = match SimListener::bind(&stage, &life, BUS_PORT).await {
        Ok(listener) => listener,
        Err(error) => return Some(format!("the port is taken: {error}")),
    };
    let port = Arc::new(SimPort::new(&stage, &life));
    let world = world::world(&stage, &life, None);
    server::serve(Parts { listener, port, world, config, shutdown }).await.err().map(|error| error.to_string())
}

/// How an instance's life is set up.
pub(super) fn instance_config(stage: &Stage, life: &Life, service: &ServiceName, rebuild: bool) -> InstanceConfig {
    let (plan, settings) = (&stage.plan, &stage.plan.settings);
    let identity = (life.host.as_str(), life.number);
    let incarnation = stateless(plan.seed, "incarnation", &identity) >> 11;
    let drawn = stateless_chance(plan.seed, "rebuild at start", &identity, settings.rebuild_permille);
    InstanceConfig {
        credit: settings.credit,
        states_max: settings.states_max,
        request_deadline: Duration::from_micros(settings.request_deadline_us),
        reconnect_first: Duration::from_micros(settings.reconnect_first_us),
        reconnect_max: Duration::from_micros(settings.reconnect_max_us),
        rebuild_at_start: rebuild || drawn,
        reconcile_every: Some(Duration::from_micros(settings.reconcile_every_us)),
        record: true,
        planted: planted(plan),
        handler_faults: handler_faults(stage, service),
        ..InstanceConfig::new(InstanceName::of(life.host.as_str()), incarnation)
    }
}

/// The plan's handler faults of a service, as a function of event and attempt. None strikes after the healing.
fn handler_faults(stage: &Stage, service: &ServiceName) -> Option<HandlerFaults> {
    let of = |what: &Harm| match what {
        Harm::FailingHandler { service: of, share_permille, attempts } if of == service => {
            Some((*share_permille, *attempts))
        }
        _ => None,
    };
    let failing: Vec<(u32, u32, u32)> =
        stage.plan.faults.iter().filter_map(|fault| of(&fault.what).map(|(share, n)| (fault.id, share, n))).collect();
    if failing.is_empty() {
        return None;
    }
    let (seed, healed) = (stage.plan.seed, Arc::clone(&stage.healed));
    Some(Arc::new(move |event: &Event, attempt: u32| {
        if event.event_type.is_reserved() || healed.load(Ordering::Relaxed) {
            return None;
        }
        let strikes = |(id, share, attempts): &&(u32, u32, u32)| {
            attempt <= *attempts && stateless_chance(seed, "handler fault", &(*id, event.id.as_str()), *share)
        };
        failing.iter().find(strikes).map(|(id, ..)| HandlerFault::Fail(format!("fault {id} of the plan")))
    }))
}

/// Runs a life of an instance. The reason, if it ended without being asked to.
pub(super) async fn instance(
    stage: Arc<Stage>,
    life: Arc<Life>,
    service: &ServiceSpec,
    rebuild: bool,
    shutdown: watch::Receiver<bool>,
) -> Option<String> {
    let listener = match SimListener::bind(&stage, &life, SERVICE_PORT).await {
        Ok(listener) => listener,
        Err(error) => return Some(format!("the port is taken: {error}")),
    };
    let machine = (service.make)(instance_config(&stage, &life, &service.name, rebuild));
    let connector = SimConnector::new(&stage, &life);
    let world = world::world(&stage, &life, Some(service.name.clone()));
    // It records its own end.
    let _ = driver::run(machine, connector, Some(listener), world, shutdown).await;
    None
}
