//! `dacapo service`: a script as a process on a bus, until Ctrl-C.
//!
//! The bus going away ends nothing: the machine goes on trying. A script that is saved again takes its own place, on the
//! same port, with its state made again from the log; one that does not load leaves the running one alone.

mod rust;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use dacapo_backends::server;
use dacapo_core::{InstanceName, access::Secret};
use dacapo_service::{
    InstanceConfig, Service as _,
    driver::{self, BusConnect, Connect as _},
    lua::{LuaLimits, LuaMachine, LuaService, LuaSettings, Script, ScriptError, StateAt},
};
use serde::Serialize;
use tokio::{sync::watch, time::sleep};

use crate::{
    arguments::ServiceArguments,
    exit::{Exit, Usage},
    interrupt::Interrupt,
    logging, production,
    terminal::{Terminal, strong},
};

/// How often it is looked whether the script has changed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The longest that one call of a handler may take: a third of the bus's default deadline of a delivery.
const CALL_MAX: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Running {
    service: String,
    instance: String,
    script: String,
    bus: String,
    http: Option<String>,
    state: String,
}

/// Runs the script.
pub(crate) fn run(terminal: &Terminal, arguments: &ServiceArguments) -> anyhow::Result<Exit> {
    if let Some(service) = arguments.script.to_str().and_then(|name| name.strip_prefix(rust::PREFIX)) {
        return rust::run(terminal, arguments, service);
    }
    let connector = arguments.client.connector(&arguments.bus)?;
    logging::start();
    let interrupt = Interrupt::listen()?;
    let listener = arguments.listen.map(bind).transpose()?;
    let mut script = Script::read(&arguments.script).map_err(usage)?;
    let mut first = true;
    loop {
        let process = Process::of(arguments, &script, &connector)?;
        if first {
            process.tell(terminal, listener.as_ref())?;
        }
        first = false;
        match process.run(listener.as_ref(), &arguments.script, &interrupt)? {
            Some(changed) => {
                tracing::info!("the script has changed; its state is made again from the log");
                script = changed;
            }
            None => return Ok(Exit::Passed),
        }
    }
}

/// The listener outlives the lives of the script.
fn bind(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("cannot listen at {address}; end what listens there, or choose another address"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed over by `map_err`")]
fn usage(error: ScriptError) -> anyhow::Error {
    Usage::error(error.to_string())
}

/// The script with this text as a process.
struct Process {
    service: LuaService,
    name: InstanceName,
    state: StateAt,
    bus: BusConnect,
    bearer: Option<Secret>,
    states_max: Option<usize>,
}

impl Process {
    fn of(arguments: &ServiceArguments, script: &Script, bus: &BusConnect) -> anyhow::Result<Self> {
        let world = production::world("service");
        let limits = LuaLimits { time: Some((Arc::clone(&world.clock), CALL_MAX)), ..LuaLimits::default() };
        let settings = LuaSettings { limits, ..LuaSettings::default() };
        let service = LuaService::load(script, &settings).map_err(usage)?;
        let name = arguments.instance.clone().unwrap_or_else(|| format!("{}-1", service.name()));
        let name = InstanceName::new(name).map_err(|error| Usage::error(format!("--instance: {error}")))?;
        let state = arguments.state.clone().unwrap_or_else(|| {
            let file: PathBuf = arguments.script.with_file_name(format!("{name}.state.db"));
            StateAt::Sqlite(file)
        });
        let bearer = arguments.client.secret()?;
        let states_max = arguments.states_max.map(|states_max| states_max as usize);
        Ok(Self { service, name, state, bus: bus.clone(), bearer, states_max })
    }

    fn tell(&self, terminal: &Terminal, listener: Option<&TcpListener>) -> anyhow::Result<()> {
        let http = listener.map(TcpListener::local_addr).transpose()?.map(|address| format!("http://{address}"));
        let running = Running {
            service: self.service.name().to_string(),
            instance: self.name.to_string(),
            script: self.service.script().file().to_owned(),
            bus: self.bus.host().to_owned(),
            http: http.clone(),
            state: self.state.to_string(),
        };
        terminal.object("running", &running);
        terminal.line(format_args!(
            "{} {} of {}  bus {}  {}  state {}  (Ctrl-C ends)",
            strong("service"),
            self.name,
            running.script,
            self.bus.host(),
            http.unwrap_or_else(|| "no HTTP".to_owned()),
            self.state,
        ));
        Ok(())
    }

    /// Runs until Ctrl-C, or until there is a new script that loads.
    fn run(self, listener: Option<&TcpListener>, file: &Path, interrupt: &Interrupt) -> anyhow::Result<Option<Script>> {
        let Self { service, name, state, bus, bearer, states_max } = self;
        let code = service.code();
        let opened = state.open(service.name().as_str(), name.as_str(), code)?;
        let service = match opened {
            Some(opened) => service.kept_in(opened.snapshot, opened.store),
            None => service,
        };
        let world = production::world(name.as_str());
        let config = InstanceConfig { bearer, ..InstanceConfig::new(name, world.entropy.next_u64()) };
        let states_max = states_max.unwrap_or(config.states_max);
        let config = InstanceConfig { states_max, ..config };
        let machine = LuaMachine::new(service, config);
        let (shutdown, asked) = watch::channel(false);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
        runtime.block_on(async {
            let listener = match listener {
                Some(listener) => Some(server::tcp(tokio::net::TcpListener::from_std(listener.try_clone()?)?)),
                None => None,
            };
            let running = driver::run(Box::new(machine), bus, listener, world, asked);
            let mut running = std::pin::pin!(running);
            let changed = tokio::select! {
                biased;
                result = &mut running => {
                    result?;
                    return Ok(None);
                }
                () = interrupt.wait() => None,
                script = changed(file, code) => Some(script),
            };
            shutdown.send_replace(true);
            running.await?;
            Ok(changed)
        })
    }
}

/// Waits for another script that loads.
async fn changed(file: &Path, code: u32) -> Script {
    let mut refused = code;
    loop {
        sleep(LOOK_EVERY).await;
        // While it is being saved there may be no file, or half of one.
        let Ok(script) = Script::read(file) else { continue };
        if script.code() == code || script.code() == refused {
            continue;
        }
        match LuaService::load(&script, &LuaSettings::default()) {
            Ok(_) => return script,
            Err(error) => {
                refused = script.code();
                tracing::error!(%error, "the changed script does not load; the running one goes on");
            }
        }
    }
}
