//! The processes of the demo: the bank's three services in Rust, nectar in Lua, and the page's follower.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use dacapo_bank::lua::NECTAR;
use dacapo_properties::Scenario as _;
use dacapo_service::{
    InstanceConfig, Machine,
    lua::{LuaMachine, LuaService, LuaSettings, StateAt},
};
use dacapo_web::{Books, follower};
use futures_util::future::join_all;

use super::process::{Make, Process};
use crate::arguments::DemoArguments;

/// Instances of nectar.
const POINTERS: u16 = 2;

/// The demo's processes.
pub(super) struct Instances {
    pub(super) processes: Vec<Process>,
    /// Each service, and where its first instance answers.
    pub(super) links: Vec<(String, String)>,
}

impl Instances {
    /// Starts them on this thread's local set. Files are kept beside the store.
    pub(super) fn start(books: &Arc<Books>, bus: SocketAddr, arguments: &DemoArguments) -> anyhow::Result<Self> {
        let DemoArguments { db, service_port: first_port, states_max, .. } = arguments;
        let states_max = states_max.map(|states_max| states_max as usize);
        let new = |service: &str, name: String, make: Make| {
            Process::new(service, name, make, bus).keeping_at_most(states_max)
        };
        let mut instances = Self { processes: Vec::new(), links: Vec::new() };
        let mut port = *first_port;
        // 0 stands for any free port, for each.
        let mut next = || {
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
            port = if port == 0 { 0 } else { port.saturating_add(1) };
            address
        };
        for spec in dacapo_bank::bank().services() {
            let address = next();
            for number in 1..=spec.instances {
                let make = Arc::clone(&spec.make);
                let make: Make = Arc::new(move |config| Ok(make(config)));
                let process = new(spec.name.as_str(), format!("{}-{number}", spec.name), make);
                instances.add(if number == 1 { process.listening(address)? } else { process })?;
            }
        }
        let address = next();
        for number in 1..=POINTERS {
            let name = format!("{NECTAR}-{number}");
            let state = db.with_extension(format!("{name}.state.db"));
            let kept = state.clone();
            let make: Make = Arc::new(move |config| nectar(&kept, config));
            let process = new(NECTAR, name, make).keeping(state);
            instances.add(if number == 1 { process.listening(address)? } else { process })?;
        }
        let books = Arc::clone(books);
        let make: Make = Arc::new(move |config| Ok(follower::machine(&books, config)));
        instances.add(new(follower::NAME, format!("{}-1", follower::NAME), make))?;
        Ok(instances)
    }

    fn add(&mut self, mut process: Process) -> anyhow::Result<()> {
        process.start()?;
        if let Some(door) = process.door() {
            self.links.push((process.service.clone(), format!("http://{door}")));
        }
        self.processes.push(process);
        Ok(())
    }

    /// The process of this name.
    ///
    /// # Panics
    /// When there is none: names come from here.
    pub(super) fn of(&mut self, name: &str) -> &mut Process {
        self.processes.iter_mut().find(|process| process.name == name).expect("names come from the processes")
    }

    /// Where a service answers, as `host:port`.
    pub(super) fn door(&self, service: &str) -> anyhow::Result<String> {
        let mut doors = self.processes.iter().filter(|process| process.service == service).filter_map(Process::door);
        doors.next().with_context(|| format!("the bank has no service {service}"))
    }

    /// Asks them to say good-bye, and waits a little for it.
    pub(super) async fn stop(&mut self, within: Duration) {
        join_all(self.processes.iter_mut().map(|process| process.stop(within))).await;
    }
}

/// The script, going on from what its file has kept.
fn nectar(state: &Path, config: InstanceConfig) -> anyhow::Result<Box<dyn Machine>> {
    let script = dacapo_bank::lua::script(NECTAR).context("the bank has this script")?;
    let service = LuaService::load(&script, &LuaSettings::default())?;
    let at = StateAt::Sqlite(state.to_owned());
    let service = match at.open(NECTAR, config.name.as_str(), dacapo_service::Service::code(&service))? {
        Some(opened) => service.kept_in(opened.snapshot, opened.store),
        None => service,
    };
    Ok(Box::new(LuaMachine::new(service, config)))
}
