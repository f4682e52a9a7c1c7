//! `dacapo service bank:accounts`: a service of the bank in Rust as a process of its own.
//!
//! It is the same machine on the same driver as a script's, so that the two can be held against each other on one bus.

use std::net::TcpListener;

use anyhow::Context as _;
use dacapo_backends::server;
use dacapo_core::InstanceName;
use dacapo_properties::Scenario as _;
use dacapo_service::{
    InstanceConfig,
    driver::{self, Connect as _},
};
use tokio::sync::watch;

use super::{Running, bind};
use crate::{
    arguments::ServiceArguments,
    exit::{Exit, Usage},
    interrupt::Interrupt,
    logging, production,
    terminal::{Terminal, strong},
};

/// How it is named where a script's file would stand.
pub(super) const PREFIX: &str = "bank:";

/// Runs the service of this name until Ctrl-C.
pub(super) fn run(terminal: &Terminal, arguments: &ServiceArguments, service: &str) -> anyhow::Result<Exit> {
    let specs = dacapo_bank::bank().services();
    let Some(spec) = specs.iter().find(|spec| spec.name.as_str() == service) else {
        let known: Vec<String> = specs.iter().map(|spec| format!("{PREFIX}{}", spec.name)).collect();
        let known = known.join(", ");
        return Err(Usage::error(format!("the bank has no service {service:?} in Rust; there are: {known}")));
    };
    if arguments.state.is_some() {
        return Err(Usage::error("a service in Rust keeps its state in memory; leave out --state"));
    }
    let bus = arguments.client.connector(&arguments.bus)?;
    logging::start();
    let interrupt = Interrupt::listen()?;
    let listener = arguments.listen.map(bind).transpose()?;
    let name = arguments.instance.clone().unwrap_or_else(|| format!("{service}-1"));
    let name = InstanceName::new(name).map_err(|error| Usage::error(format!("--instance: {error}")))?;
    let http = listener.as_ref().map(TcpListener::local_addr).transpose()?.map(|address| format!("http://{address}"));
    terminal.object(
        "running",
        &Running {
            service: service.to_owned(),
            instance: name.to_string(),
            script: format!("{PREFIX}{service}"),
            bus: bus.host().to_owned(),
            http: http.clone(),
            state: "memory".to_owned(),
        },
    );
    terminal.line(format_args!(
        "{} {name} in Rust  bus {}  {}  (Ctrl-C ends)",
        strong("service"),
        bus.host(),
        http.unwrap_or_else(|| "no HTTP".to_owned()),
    ));
    let world = production::world(name.as_str());
    let bearer = arguments.client.secret()?;
    let config = InstanceConfig { bearer, ..InstanceConfig::new(name, world.entropy.next_u64()) };
    let states_max = arguments.states_max.map_or(config.states_max, |states_max| states_max as usize);
    let config = InstanceConfig { states_max, ..config };
    let machine = (spec.make)(config);
    let (shutdown, asked) = watch::channel(false);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let listener = listener.map(tokio::net::TcpListener::from_std).transpose()?.map(server::tcp);
        let mut running = std::pin::pin!(driver::run(machine, bus, listener, world, asked));
        tokio::select! {
            biased;
            result = &mut running => {
                result?;
                return Ok(Exit::Passed);
            }
            () = interrupt.wait() => {}
        }
        shutdown.send_replace(true);
        running.await?;
        Ok(Exit::Passed)
    })
}
