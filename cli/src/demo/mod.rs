//! `dacapo demo`: the whole bank in one process, on a SQLite file, with customers at work.
//!
//! Nothing is simulated here: the bus listens on TCP, each service runs as the instances that its scenario asks for, and
//! the first instance of each answers HTTP on a port of its own. The bank's page asks them, and follows the bus. Kill it at
//! any moment and start it again: the log goes on where it ended. With `--chaos`, parts of it are killed while it runs; at
//! the end the log is audited.

mod audit;
mod chaos;
mod customers;
mod instances;
mod line;
mod page;
mod process;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use dacapo_backends::server::{self, ServerConfig, Trigger};
use dacapo_web::{Books, weather::weather};
use serde::Serialize;
use tokio::{
    task::{JoinSet, LocalSet},
    time::sleep,
};

use self::{audit::Audit, chaos::Chaos, instances::Instances, page::Page};
use crate::{
    arguments::DemoArguments,
    exit::Exit,
    http,
    interrupt::Interrupt,
    logging, production,
    settings::{self, SettingArguments},
    terminal::{Terminal, count, faint, label, strong},
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
    page: String,
    bus: String,
    viewer: String,
    db: String,
    services: Vec<(String, String)>,
}

/// Runs until Ctrl-C, or for the time that was asked for.
pub(crate) fn run(terminal: &Terminal, arguments: &DemoArguments) -> anyhow::Result<Exit> {
    if !arguments.db.exists() {
        forget(&arguments.db)?;
    }
    let settings = settings::read(&SettingArguments {
        set: arguments.set.clone(),
        store_cache_kib: arguments.store_cache_kib,
        ..SettingArguments::default()
    })?;
    let store = production::open(&arguments.db, false, settings.store_cache_kib)?;
    logging::start();
    let interrupt = Interrupt::listen()?;
    let runtime = production::shared_runtime()?;
    // The bus's and the services' own tasks stay on this thread; connections use the others.
    LocalSet::new().block_on(&runtime, async {
        let listener = production::listen(arguments.listen).await?;
        let bus = listener.local_addr()?;
        let (trigger, shutdown) = Trigger::new();
        let mut bus_task = tokio::task::spawn_local(production::serve(
            server::tcp(listener),
            store,
            ServerConfig { limits: settings.limits, hosts: Some(settings.hosts), ..ServerConfig::default() },
            shutdown,
        ));
        tokio::select! {
            biased;
            ended = &mut bus_task => {
                ended??;
                anyhow::bail!("the bus ended before it was ready; its log stands above");
            }
            ready = ready(bus) => ready?,
        }
        let books = Books::new();
        let mut instances = Instances::start(&books, bus, arguments)?;
        let (viewer, at) = view::spawn_beside(&arguments.db, arguments.viewer).await?;
        let seen = format!("http://{at}");
        let (weather, maker) = weather();
        let weather = arguments.chaos.then_some(weather);
        let page =
            Page::serve(books, &instances, bus.to_string(), &arguments.db, arguments.page, seen.clone(), weather)
                .await?;
        tell(
            terminal,
            arguments,
            &Links {
                page: format!("{}/", page.link),
                bus: format!("http://{bus}"),
                viewer: format!("{seen}/"),
                db: arguments.db.display().to_string(),
                services: instances.links.clone(),
            },
        );

        let mut at_work = JoinSet::new();
        for number in 0..arguments.customers {
            at_work.spawn(customers::work(number, customers::Doors::of(&instances)?));
        }
        let time = async {
            match arguments.time {
                Some(time) => sleep(time).await,
                None => std::future::pending().await,
            }
        };
        let seed = arguments.chaos_seed.map_or_else(|| production::world("chaos").entropy.next_u64(), |seed| seed.0);
        if arguments.chaos {
            terminal.note(faint(format_args!("chaos: seed {seed}; again with --chaos-seed {seed}")));
        }
        let mut chaos = Chaos::new(terminal, &mut instances, Arc::clone(&page.site), maker, bus.to_string(), seed);
        tokio::select! {
            biased;
            ended = &mut bus_task => {
                ended??;
                anyhow::bail!("the bus ended by itself; its log stands above");
            }
            () = interrupt.wait() => {}
            () = time => {}
            failed = chaos.run(), if arguments.chaos => failed?,
        }
        chaos.heal()?;
        page.close();
        viewer.abort();
        at_work.shutdown().await;
        let mut audit: Audit = chaos.into_audit();
        let is_right = audit.conclude(terminal).await?;
        instances.stop(FAREWELL).await;
        trigger.pull();
        bus_task.await??;
        terminal.line(format_args!(
            "ended; the log is in {}: `dacapo events --db {} --tree`",
            arguments.db.display(),
            arguments.db.display()
        ));
        Ok(if is_right { Exit::Passed } else { Exit::Violated })
    })
}

/// What is kept beside a log (states, names and passwords) belongs to that log: a new one begins without.
fn forget(db: &Path) -> anyhow::Result<()> {
    let directory = db.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(stem) = db.file_stem().map(|stem| format!("{}.", stem.to_string_lossy())) else { return Ok(()) };
    let Ok(files) = directory.read_dir() else { return Ok(()) };
    for file in files {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        let is_kept = |of: &str| name.starts_with(&stem) && name.contains(of);
        if is_kept(".state.db") || is_kept(".web.db") {
            std::fs::remove_file(file.path())
                .with_context(|| format!("cannot remove {name}, which belongs to a former log"))?;
        }
    }
    Ok(())
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

fn tell(terminal: &Terminal, arguments: &DemoArguments, links: &Links) {
    terminal.line(format_args!("{} {}", label("page", WIDTH), strong(&links.page)));
    terminal.line(format_args!("{} {}", label("viewer", WIDTH), links.viewer));
    terminal.line(format_args!("{} {}/v1/services", label("bus", WIDTH), links.bus));
    for (name, link) in &links.services {
        terminal.line(format_args!("{} {link}", label(name, WIDTH)));
    }
    terminal.line(format_args!("{} {}", label("log", WIDTH), links.db));
    terminal.line(faint(format_args!(
        "{} at work; look on with `dacapo events --bus {} --follow`; Ctrl-C ends",
        count(u64::from(arguments.customers), "customer", "customers"),
        links.bus
    )));
    terminal.object("listening", links);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_beside_a_former_log_goes_and_nothing_else() {
        let directory = std::env::temp_dir().join(format!("dacapo-forget-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let kept = ["demo.web.db", "demo.web.db-wal", "demo.nectar-1.state.db"];
        let others = ["other.web.db", "demo.txt", "demo.backup.db"];
        for name in kept.iter().chain(&others) {
            std::fs::write(directory.join(name), "x").unwrap();
        }
        forget(&directory.join("demo.db")).unwrap();
        let mut left: Vec<_> = directory.read_dir().unwrap().map(|file| file.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["demo.backup.db", "demo.txt", "other.web.db"]);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
