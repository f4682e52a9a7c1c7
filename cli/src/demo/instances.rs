//! The services of the demo, each instance connected to the bus over TCP as any other process would be.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use dacapo_backends::server;
use dacapo_core::InstanceName;
use dacapo_properties::ServiceSpec;
use dacapo_service::{
    InstanceConfig,
    driver::{self, DriverError, TcpConnect},
};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::production;

/// Running instances.
pub(super) struct Instances {
    /// Each service, and where its first instance answers.
    pub(super) links: Vec<(String, String)>,
    shutdown: watch::Sender<bool>,
    tasks: JoinSet<Result<(), DriverError>>,
}

/// Starts them on this thread's local set.
pub(super) async fn start(specs: &[ServiceSpec], bus: SocketAddr, first_port: u16) -> anyhow::Result<Instances> {
    let (shutdown, asked) = watch::channel(false);
    let mut instances = Instances { links: Vec::new(), shutdown, tasks: JoinSet::new() };
    for (spec, next) in specs.iter().zip(0..) {
        // 0 stands for any free port, for each.
        let port = if first_port == 0 { 0 } else { first_port.saturating_add(next) };
        let door = production::listen(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port)).await?;
        instances.links.push((spec.name.to_string(), format!("http://{}", door.local_addr()?)));
        let mut door = Some(door);
        for number in 1..=spec.instances {
            let name = format!("{}-{number}", spec.name);
            let world = production::world(&name);
            let machine = (spec.make)(InstanceConfig::new(InstanceName::of(name), world.entropy.next_u64()));
            let connector = TcpConnect::new(bus.to_string());
            let listener = door.take().map(server::tcp);
            instances.tasks.spawn_local(driver::run(machine, connector, listener, world, asked.clone()));
        }
    }
    Ok(instances)
}

impl Instances {
    /// Asks them to say good-bye, and waits a little for it.
    pub(super) async fn stop(mut self, within: Duration) {
        self.shutdown.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(within, all).await.is_err() {
            tracing::warn!("some services did not say good-bye in time");
        }
    }
}
