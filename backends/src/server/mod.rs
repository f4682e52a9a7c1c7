//! The production server: the bus machine, driven over axum on any listener, store, clock, entropy and hooks.
//!
//! [`serve`] is the one start-up function. `dacapo serve` and the simulator run it unchanged; what differs is what they
//! pass in.
//!
//! | module | what lives there |
//! |---|---|
//! | `driver` | the loop around the machine: one input in, then all outputs carried out in order |
//! | `accept` | connections: how many, how long they may dawdle |
//! | `access` | whose connection it is: tokens, and what they allow |
//! | `socket` | one WebSocket: frames in, frames out |
//! | `outbox` | what waits to be sent on a connection, bounded |
//! | `full` | who answers while the disk is full |
//! | `patient` | how long a peer may take nothing of what it is sent |
//! | `pace` | how fast a connection, and all of a token, may send |
//! | `http` | the routes |
//! | `shared` | what connections and routes know of the driver |
//! | `spans` | what the bus did for a sampled trace, for OpenTelemetry |
//! | `metrics` | counters for `/metrics` |
//!
//! The server refuses to decide anything: it judges no event, keeps no state of a lane, and retries no commit.
//! Everything here is deterministic on a paused single-threaded runtime.

mod accept;
mod access;
mod config;
mod driver;
mod full;
mod http;
mod metrics;
mod outbox;
mod pace;
mod patient;
pub mod points;
mod shared;
mod shutdown;
mod socket;
pub mod spans;
mod told;

use std::sync::Arc;

use axum::serve::Listener;
use dacapo_core::{
    bus::Bus,
    hooks::{Identity, Point, Verdict, World},
    store::{Recovered, StoreError},
    trace::What,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::port::StorePort;

pub use accept::tcp;
pub use config::{ServerConfig, Tokens};
pub use full::{answer_while_full, closing_while_full};
pub use http::{RECOVERING, structured, understood};
pub use outbox::weight_of;
pub use shutdown::{Shutdown, Trigger};

use driver::{Driver, Ended};
use full::Desk;
use outbox::End;
use shared::{Arrival, Phase, Shared};

/// Everything that a server is made of.
pub struct Parts<L> {
    /// Where connections come from.
    pub listener: L,
    /// The store.
    pub port: Arc<dyn StorePort>,
    /// Name, clock, entropy and hooks.
    pub world: World,
    /// Limits and patience.
    pub config: ServerConfig,
    /// When to end.
    pub shutdown: Shutdown,
}

/// Why a server ended that was not asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another bus writes this store now.
    #[error("{0}")]
    TakenOver(StoreError),
    /// The store cannot be opened or read, and trying again will not help.
    #[error("the bus cannot recover from its store: {0}")]
    Store(#[source] StoreError),
    /// The hooks let the process die.
    #[error("the process was stopped dead by its hooks")]
    Died,
}

/// Serves until it is asked to end, or until it must.
///
/// A bus that can go no further is dropped, with all its connections, and recovered from the store after a back-off;
/// meanwhile `/readyz` says 503. When asked to end, the server takes nothing new, waits for the commits under way,
/// says `closing` to everyone and returns. When a hook says [`Verdict::Die`] it returns at once and does nothing more
/// at all. Dropping the future ends the server the same way, like a kill.
pub async fn serve<L: Listener>(parts: Parts<L>) -> Result<(), ServeError> {
    let Parts { listener, port, world, config, mut shutdown } = parts;
    if world.hooks.recording() {
        world.record(What::Started { incarnation: world.entropy.next_u64() });
    }
    let (inbox_sender, mut inbox) = mpsc::channel::<Arrival>(config.inbox_max);
    let shared = Arc::new(Shared::new(config, world, port, inbox_sender));

    // Both are dropped on every way out: with the one go the listener and all connections that speak HTTP, at the other's
    // word everything else.
    let _presence = Presence(Arc::clone(&shared));
    let mut accepting = JoinSet::new();
    accepting.spawn(accept::run(listener, http::router(Arc::clone(&shared)), Arc::clone(&shared)));

    let mut back_off = BackOff::new(&shared.config);
    // There while the disk is full.
    let mut desk: Option<Desk<'_>> = None;
    let result = loop {
        shared.phase.tell(if desk.is_some() { Phase::Full } else { Phase::Recovering });
        let recovered = tokio::select! {
            biased;
            () = shutdown.requested() => break Ok(()),
            recovered = recover(&shared) => recovered,
        };
        let recovered = match recovered {
            Ok(recovered) => recovered,
            Err(ServeError::Store(error @ StoreError::Full(_))) => {
                if desk.is_none() {
                    tracing::warn!(%error, "nothing is accepted until there is space");
                }
                shared.phase.tell(Phase::Full);
                let desk = desk.get_or_insert_with(|| {
                    shared.world.record(What::Full {});
                    Desk::new(&shared)
                });
                if desk.answer(&mut inbox, back_off.next(), &mut shutdown).await {
                    continue;
                }
                break Ok(());
            }
            Err(ServeError::Store(error @ StoreError::Io(_))) => {
                tracing::warn!(%error, "the bus cannot recover yet and tries again");
                if back_off.wait(&mut shutdown).await {
                    continue;
                }
                break Ok(());
            }
            Err(error) => break Err(error),
        };
        if let Some(desk) = desk.take() {
            tracing::warn!("there is space again, and the bus goes on");
            desk.leave();
        }
        match shared.access.load(&shared).await {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, "the tokens cannot be read yet; the bus tries again");
                if back_off.wait(&mut shutdown).await {
                    continue;
                }
                break Ok(());
            }
        }
        tracing::info!(term = %recovered.term, position = %recovered.position, "the bus has recovered");
        shared.world.record(What::Recovered { recovered: Box::new(recovered.clone()) });
        shared.position.tell(recovered.position);
        let term = recovered.term;
        let began = shared.world.clock.now();
        let bus = Bus::new(shared.bus_config(), recovered, began);
        shared.phase.tell(Phase::Ready { term });
        match Driver::new(&shared, bus, term).run(&mut inbox, &mut shutdown).await {
            Ended::Stopped { reason } => {
                tracing::warn!(%reason, "the bus has stopped and recovers");
                shared.metrics.restarts.add(1);
                back_off.lived(shared.world.clock.now().monotonic.since(began.monotonic));
                shared.phase.tell(Phase::Recovering);
                if !back_off.wait(&mut shutdown).await {
                    break Ok(());
                }
            }
            Ended::TakenOver(error) => break Err(ServeError::TakenOver(error)),
            Ended::Died => break Err(ServeError::Died),
            Ended::ShutDown => break Ok(()),
        }
    };
    if let Some(desk) = desk.take() {
        desk.leave();
    }
    if !matches!(result, Err(ServeError::Died)) {
        shared.phase.tell(Phase::Closing);
        part(&shared, inbox, accepting).await;
        let reason = result.as_ref().map_or_else(ToString::to_string, |()| "it was asked to".to_owned());
        shared.world.record(What::Stopped { reason });
    }
    result
}

/// A server that is there. Dropped with it, however it ends: then nothing of it may act or speak any more.
struct Presence(Arc<Shared>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.phase.tell(Phase::Dead);
    }
}

/// What has been said is still written; whoever does not read in time is cut.
async fn part(shared: &Shared, mut inbox: mpsc::Receiver<Arrival>, mut accepting: JoinSet<()>) {
    inbox.close();
    while let Some(arrival) = inbox.recv().await {
        // It came too late for the bus; nobody waits for an answer that cannot come.
        if let Arrival::Connected { outbox, .. } = arrival {
            outbox.close(End { code: 1_001, reason: "closing" });
        }
    }
    let all_gone = async {
        while accepting.join_next().await.is_some() {}
        shared.sockets_gone().await;
    };
    if timeout(shared.config.shutdown_deadline, all_gone).await.is_err() {
        tracing::warn!("some connections did not end in time and were cut");
    }
}

async fn recover(shared: &Shared) -> Result<Recovered, ServeError> {
    shared.pause().await;
    match shared.world.hooks.before(Point { name: "bus recover", identity: Identity::None }) {
        Verdict::Die => return Err(ServeError::Died),
        Verdict::Delay(duration) => sleep(duration).await,
        Verdict::Go | Verdict::Lose | Verdict::Twice | Verdict::Fail(_) => {}
    }
    shared.port.recover().await.map_err(ServeError::Store)
}

/// How long to wait before recovering again: doubling, and from the start once a bus has lived for the longest wait.
struct BackOff {
    first: std::time::Duration,
    max: std::time::Duration,
    next: std::time::Duration,
}

impl BackOff {
    fn new(config: &ServerConfig) -> Self {
        Self { first: config.restart_first, max: config.restart_max, next: config.restart_first }
    }

    fn lived(&mut self, life: std::time::Duration) {
        if life > self.max {
            self.next = self.first;
        }
    }

    /// How long to wait this time.
    fn next(&mut self) -> std::time::Duration {
        let wait = self.next;
        self.next = (self.next * 2).min(self.max);
        wait
    }

    /// Whether to go on; not if a shutdown was requested meanwhile.
    async fn wait(&mut self, shutdown: &mut Shutdown) -> bool {
        let wait = self.next();
        tokio::select! {
            biased;
            () = shutdown.requested() => false,
            () = sleep(wait) => true,
        }
    }
}
