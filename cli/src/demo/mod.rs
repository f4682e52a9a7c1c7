//! `dacapo demo`: the whole bank in one process, on a SQLite file, with customers at work.
//!
//! Nothing is simulated here: the bus listens on TCP, each service runs as the instances that its scenario asks for, and
//! the first instance of each answers HTTP on a port of its own. Kill it at any moment and start it again: the log goes on
//! where it ended.

mod customers;
mod instances;

use std::{net::SocketAddr, time::Duration};

use dacapo_backends::server::{ServerConfig, Trigger};
use dacapo_properties::Scenario as _;
use serde::Serialize;
use tokio::{
    task::{JoinSet, LocalSet},
    time::sleep,
};

use crate::{
    arguments::DemoArguments,
    exit::Exit,
    http,
    interrupt::Interrupt,
    logging, production,
    terminal::{Terminal, count, faint, label},
    view,
};

/// The column of names.
const WIDTH: usize = 14;
/// Between two looks whether the bus is ready.
const READY_EVERY: Duration = Duration::from_millis(20);
/// How long the services get to say good-bye to the bus.
const FAREWELL: Duration = Duration::from_secs(3);

#[derive(Serialize)]
struct Links {
    bus: String,
    viewer: String,
    db: String,
    services: Vec<(String, String)>,
}

/// Runs until Ctrl-C, or for the time that was asked for.
pub(crate) fn run(terminal: &Terminal, arguments: &DemoArguments) -> anyhow::Result<Exit> {
    let store = production::open(&arguments.db)?;
    logging::start();
    let interrupt = Interrupt::listen()?;
    let runtime = production::runtime()?;
    // The bus's and the services' own tasks stay on this thread; connections use the others.
    LocalSet::new().block_on(&runtime, async {
        let listener = production::listen(arguments.listen).await?;
        let bus = listener.local_addr()?;
        let (trigger, shutdown) = Trigger::new();
        let mut bus_task =
            tokio::task::spawn_local(production::serve(listener, store, ServerConfig::default(), shutdown));
        tokio::select! {
            biased;
            ended = &mut bus_task => {
                ended??;
                anyhow::bail!("the bus ended before it was ready; its log stands above");
            }
            ready = ready(bus) => ready?,
        }
        let services = instances::start(&dacapo_bank::bank().services(), bus, arguments.service_port).await?;
        let (viewer, at) = view::spawn_beside(&arguments.db, arguments.viewer).await?;
        links(terminal, arguments, &format!("http://{bus}"), &format!("http://{at}/"), &services.links);

        let mut at_work = JoinSet::new();
        for number in 0..arguments.customers {
            at_work.spawn(customers::work(number, customers::Doors::of(&services.links)?));
        }
        let time = async {
            match arguments.time {
                Some(time) => sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = &mut bus_task => {
                ended??;
                anyhow::bail!("the bus ended by itself; its log stands above");
            }
            () = interrupt.wait() => {}
            () = time => {}
        }
        viewer.abort();
        at_work.shutdown().await;
        services.stop(FAREWELL).await;
        trigger.pull();
        bus_task.await??;
        terminal.line(format_args!(
            "ended; the log is in {}: `dacapo events --db {} --tree`",
            arguments.db.display(),
            arguments.db.display()
        ));
        Ok(Exit::Passed)
    })
}

/// Services look for the bus as soon as they start; one that is still reading its store would only turn them away.
async fn ready(bus: SocketAddr) -> anyhow::Result<()> {
    let authority = bus.to_string();
    loop {
        if http::send(&authority, "GET", "/readyz", &[], String::new()).await?.status == 200 {
            return Ok(());
        }
        sleep(READY_EVERY).await;
    }
}

fn links(terminal: &Terminal, arguments: &DemoArguments, bus: &str, viewer: &str, services: &[(String, String)]) {
    terminal.line(format_args!("{} {viewer}", label("viewer", WIDTH)));
    terminal.line(format_args!("{} {bus}/v1/services", label("bus", WIDTH)));
    for (name, link) in services {
        terminal.line(format_args!("{} {link}", label(name, WIDTH)));
    }
    terminal.line(format_args!("{} {}", label("log", WIDTH), arguments.db.display()));
    terminal.line(faint(format_args!(
        "{} at work; look on with `dacapo events --bus {bus} --follow`; Ctrl-C ends",
        count(u64::from(arguments.customers), "customer", "customers")
    )));
    let db = arguments.db.display().to_string();
    terminal.object(
        "listening",
        &Links { bus: bus.to_owned(), viewer: viewer.to_owned(), db, services: services.to_vec() },
    );
}
