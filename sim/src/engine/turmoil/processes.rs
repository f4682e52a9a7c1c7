//! What runs on a host: the very start-up functions that production calls, with the simulated world passed in.

use std::sync::Arc;

use dacapo_backends::server::{self, Parts, Shutdown};
use dacapo_properties::ServiceSpec;
use dacapo_service::driver;
use tokio::sync::watch;

use super::{
    net::{BUS_PORT, SERVICE_PORT, SimConnector, SimListener},
    port::SimPort,
    stage::{Life, Stage},
    world,
};
use crate::engine::setup;

/// Runs a life of the bus. The reason, if it ended without being asked to.
pub(super) async fn bus(stage: Arc<Stage>, life: Arc<Life>, shutdown: Shutdown) -> Option<String> {
    let config = setup::server_config(&stage.plan);
    let listener = match SimListener::bind(&stage, &life, BUS_PORT) {
        Ok(listener) => listener,
        Err(error) => return Some(format!("the port is taken: {error}")),
    };
    let port = Arc::new(SimPort::new(&stage, &life));
    let world = world::world(&stage, &life, None);
    server::serve(Parts { listener, port, world, config, shutdown }).await.err().map(|error| error.to_string())
}

/// Runs a life of an instance. The reason, if it ended without being asked to.
pub(super) async fn instance(
    stage: Arc<Stage>,
    life: Arc<Life>,
    service: &ServiceSpec,
    rebuild: bool,
    shutdown: watch::Receiver<bool>,
) -> Option<String> {
    let listener = match SimListener::bind(&stage, &life, SERVICE_PORT) {
        Ok(listener) => listener,
        Err(error) => return Some(format!("the port is taken: {error}")),
    };
    let handler_faults = setup::handler_faults(&stage.plan, &stage.chance, &service.name, &stage.healed);
    let identity = (&life.host, life.number);
    let config = setup::instance_config(&stage.plan, &stage.chance, identity, rebuild, handler_faults);
    let machine = (service.make)(config);
    let connector = SimConnector::new(&stage, &life);
    let world = world::world(&stage, &life, Some(service.name.clone()));
    // It records its own end.
    let _ = driver::run(machine, connector, Some(listener), world, shutdown).await;
    None
}
