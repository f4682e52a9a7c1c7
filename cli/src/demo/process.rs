//! An instance of a service as a process of its own, as far as the bus can tell: it connects over TCP, and can be killed
//! and started again.
//!
//! Its port outlives it, so that callers wait for its next life instead of being sent away by whoever took the port.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use dacapo_backends::server;
use dacapo_core::InstanceName;
use dacapo_service::{
    InstanceConfig, Machine,
    driver::{self, DriverError},
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::line::{Handle, Line};
use crate::production;

/// Makes an instance that has not started.
pub(super) type Make = Arc<dyn Fn(InstanceConfig) -> anyhow::Result<Box<dyn Machine>>>;

/// A process.
pub(super) struct Process {
    pub(super) service: String,
    pub(super) name: String,
    make: Make,
    /// What it keeps between two lives, if anything.
    state: Option<PathBuf>,
    /// States in memory; as many as instances keep by themselves if not said.
    states_max: Option<usize>,
    port: Option<TcpListener>,
    line: Line,
    life: Option<Life>,
}

struct Life {
    shutdown: watch::Sender<bool>,
    task: JoinHandle<Result<(), DriverError>>,
}

impl Process {
    /// One that has not started, of the bus at this `host:port`.
    pub(super) fn new(service: &str, name: String, make: Make, bus: SocketAddr) -> Self {
        let line = Line::new(bus.to_string());
        Self { service: service.to_owned(), name, make, state: None, states_max: None, port: None, line, life: None }
    }

    /// The same, with HTTP at this port.
    pub(super) fn listening(mut self, address: SocketAddr) -> anyhow::Result<Self> {
        let port = TcpListener::bind(address).with_context(|| {
            format!("cannot listen at {address}; end what listens there, or choose another address")
        })?;
        port.set_nonblocking(true)?;
        self.port = Some(port);
        Ok(self)
    }

    /// The same, with at most so many states in memory, if it is said.
    pub(super) fn keeping_at_most(mut self, states_max: Option<usize>) -> Self {
        self.states_max = states_max;
        self
    }

    /// The same, with a file that it keeps its state in.
    pub(super) fn keeping(mut self, state: PathBuf) -> Self {
        self.state = Some(state);
        self
    }

    /// Where it answers, as `host:port`.
    pub(super) fn door(&self) -> Option<String> {
        Some(self.port.as_ref()?.local_addr().ok()?.to_string())
    }

    /// For whoever makes trouble on its line.
    pub(super) fn line(&self) -> Handle {
        self.line.handle()
    }

    pub(super) fn is_alive(&self) -> bool {
        self.life.is_some()
    }

    /// Begins a life, on this thread's local set.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        assert!(self.life.is_none(), "{} lives already", self.name);
        let world = production::world(&self.name);
        let config = InstanceConfig::new(InstanceName::of(self.name.clone()), world.entropy.next_u64());
        let states_max = self.states_max.unwrap_or(config.states_max);
        let config = InstanceConfig { states_max, ..config };
        let machine = (self.make)(config)?;
        let port = self.port.as_ref().map(TcpListener::try_clone).transpose()?;
        let listener = port.map(tokio::net::TcpListener::from_std).transpose()?.map(server::tcp);
        let (shutdown, asked) = watch::channel(false);
        let task = tokio::task::spawn_local(driver::run(machine, self.line.clone(), listener, world, asked));
        self.life = Some(Life { shutdown, task });
        Ok(())
    }

    /// Ends it between two of its steps, without a word to anybody.
    pub(super) async fn kill(&mut self) {
        let Some(life) = self.life.take() else { return };
        life.task.abort();
        // A task that was aborted ends with an error, and nothing else does here.
        let _ = life.task.await;
    }

    /// Throws away what it keeps; it must not live.
    pub(super) fn destroy(&self) {
        assert!(self.life.is_none(), "{} lives", self.name);
        let Some(state) = &self.state else { return };
        for suffix in ["", "-wal", "-shm"] {
            let mut path = state.clone().into_os_string();
            path.push(suffix);
            // A file that is not there needs no destroying.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Asks it to say good-bye, and waits a little for it.
    pub(super) async fn stop(&mut self, within: Duration) {
        let Some(life) = self.life.take() else { return };
        life.shutdown.send_replace(true);
        let mut task = life.task;
        if timeout(within, &mut task).await.is_err() {
            tracing::warn!(name = self.name, "did not say good-bye in time");
            task.abort();
        }
    }
}
