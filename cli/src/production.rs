//! The bus as it is deployed: a SQLite file, a TCP port, the system's clocks, and hooks that are nothing.
//!
//! The start-up function is the server's own; the simulator passes other things into the very same one.

use std::{net::SocketAddr, num::NonZero, path::Path, sync::Arc};

use anyhow::Context as _;
use axum::serve::Listener;
use dacapo_backends::{
    SqliteStore,
    clock::{SystemClock, SystemEntropy},
    server::{self, Parts, ServerConfig, Shutdown},
    sqlite::Options,
    threaded::ThreadedStore,
};
use dacapo_core::{
    NodeName,
    hooks::{Clock as _, NoHooks, World},
    store::StoreError,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

use crate::{exit::Usage, token};

/// Threads that read for the bus, and as many for questions from outside: SQLite reads in parallel, and a laptop has four
/// cores.
const READERS: usize = 2;

/// Opens the store, or makes a new one, of which each connection keeps so many KiB in memory. If tokens are demanded, somebody must
/// be able to show one.
pub(crate) fn open(path: &Path, demands_tokens: bool, cache_kib: u32) -> anyhow::Result<ThreadedStore> {
    let options = Options { writer_cache_kib: cache_kib, reader_cache_kib: cache_kib, ..Options::default() };
    let mut store = SqliteStore::open_with(path, options).map_err(|error| match error {
        StoreError::NotAStore(sentence) => Usage::error(sentence),
        error => anyhow::Error::new(error).context(format!("cannot open the store {}", path.display())),
    })?;
    if demands_tokens && !token::somebody_administers(&mut store, SystemClock::new().now().wall)? {
        let shown = path.display();
        return Err(Usage::error(format!(
            "nobody could do anything on this bus: tokens are demanded, and none in {shown} allows to administer; \
             make one with `dacapo token new ops --administer --db {shown}`"
        )));
    }
    let store = ThreadedStore::start(store, READERS).context("cannot start the store's threads")?;
    Ok(store.at(path))
}

/// Takes the port.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen at {address}; end what listens there, or choose another address"))
}

/// The real world, seen by the process of this name.
pub(crate) fn world(node: &str) -> World {
    World {
        node: NodeName::of(node),
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy::new()),
        hooks: Arc::new(NoHooks),
    }
}

/// Serves until it is asked to end, or must.
pub(crate) async fn serve<L: Listener>(
    listener: L,
    store: ThreadedStore,
    config: ServerConfig,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    server::serve(Parts { listener, port: Arc::new(store), world: world("bus"), config, shutdown }).await?;
    Ok(())
}

/// The runtime of a bus: its machine is one task, its connections are many. The store's threads do the rest, so that where
/// there are two cores, one thread is enough: handing each frame from thread to thread costs more there than it gains.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut builder = if cores <= 2 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.enable_all().build().context("cannot start the threads of the runtime")
}

/// The runtime of a bus with all its services in one process.
pub(crate) fn shared_runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build().context("cannot start the threads of the runtime")
}
