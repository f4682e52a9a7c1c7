//! What connections and routes know of the driver: where to put what arrives, and in which phase the bus is.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dacapo_core::{
    access::Speaker,
    bus::{self, Admin, AdminAnswer, ConnId},
    hooks::World,
    names::{Position, Term, TokenName},
    wire::{self, ErrorCode, FromBus, Publish, Receipts, ToBus},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{
    accept::Permit,
    access::Access,
    config::ServerConfig,
    metrics::Metrics,
    outbox::{Item, Outbox},
    told::Told,
};
use crate::port::StorePort;

/// What the server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is no bus; one is being recovered from the store.
    Recovering,
    /// The bus runs.
    Ready {
        /// Its term.
        term: Term,
    },
    /// The server ends and takes nothing new.
    Closing,
    /// The server is gone. Nothing may be said any more.
    Dead,
}

/// What a connection hands to the driver. One of each connection comes in the order in which it was sent.
pub(super) enum Arrival {
    Connected {
        conn: ConnId,
        outbox: Arc<Outbox>,
        speaker: Speaker,
    },
    Frame {
        conn: ConnId,
        frame: ToBus,
        /// Room in the inbox, given back when the driver takes the frame.
        room: Option<OwnedSemaphorePermit>,
    },
    Admin {
        conn: ConnId,
        admin: Admin,
        by: Option<TokenName>,
    },
    Disconnected {
        conn: ConnId,
    },
}

/// Known to every connection and route.
pub(super) struct Shared {
    pub(super) config: ServerConfig,
    pub(super) world: World,
    pub(super) port: Arc<dyn StorePort>,
    pub(super) metrics: Metrics,
    pub(super) access: Access,
    pub(super) phase: Told<Phase>,
    /// The end of what is durable, as the driver has heard.
    pub(super) position: Told<Position>,
    inbox: mpsc::Sender<Arrival>,
    inbox_room: Arc<Semaphore>,
    conns: AtomicU64,
    sockets: Told<usize>,
}

/// The driver is gone: the server is ending.
#[derive(Debug)]
pub(super) struct Gone;

/// Why the bus gave no answer to an HTTP request.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The connection was closed, because the bus stopped or the server ends.
    Closed,
    /// The deadline passed.
    TimedOut,
}

/// The bus's answer to a publish by HTTP.
pub(super) enum Published {
    Receipts(Receipts),
    Error(wire::Error),
}

impl Shared {
    pub(super) fn new(
        config: ServerConfig,
        world: World,
        port: Arc<dyn StorePort>,
        inbox: mpsc::Sender<Arrival>,
    ) -> Self {
        let inbox_room = Arc::new(Semaphore::new(config.inbox_bytes_max.min(Semaphore::MAX_PERMITS)));
        Self {
            config,
            world,
            port,
            metrics: Metrics::default(),
            access: Access::default(),
            phase: Told::new(Phase::Recovering),
            position: Told::new(Position::ZERO),
            inbox,
            inbox_room,
            conns: AtomicU64::new(1),
            sockets: Told::new(0),
        }
    }

    pub(super) fn bus_config(&self) -> bus::Config {
        bus::Config {
            limits: self.config.limits.clone(),
            planted: self.config.planted,
            record: self.world.hooks.recording(),
        }
    }

    /// A number that no connection of this server had before, over all lives of its bus.
    pub(super) fn next_conn(&self) -> ConnId {
        ConnId(self.conns.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// How many arrivals wait for the driver.
    pub(super) fn inbox_len(&self) -> usize {
        self.inbox.max_capacity() - self.inbox.capacity()
    }

    /// Hands something to the driver, waiting for room.
    pub(super) async fn hand_in(&self, arrival: Arrival) -> Result<(), Gone> {
        self.inbox.send(arrival).await.map_err(|_| Gone)
    }

    /// Waits until a message of so many bytes has room in the inbox.
    pub(super) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Gone> {
        let bytes = bytes.clamp(1, self.config.inbox_bytes_max);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.inbox_room).acquire_many_owned(permits).await.map_err(|_| Gone)
    }

    /// Returns at once unless the hooks have stopped this process; then when it goes on.
    pub(super) async fn pause(&self) {
        while let Some(until) = self.world.hooks.paused_until() {
            let left = until.since(self.world.clock.now().monotonic);
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }

    /// Returns when the server takes nothing new; never if it died without a word.
    pub(super) async fn closing(&self) {
        self.phase.until(|phase| *phase == Phase::Closing).await;
    }

    /// Returns when the server is dead: it was dropped, and nothing may be said any more.
    pub(super) async fn dead(&self) {
        self.phase.until(|phase| *phase == Phase::Dead).await;
    }

    /// Counts a socket until the guard is dropped.
    pub(super) fn count_socket(self: &Arc<Self>) -> SocketGuard {
        self.sockets.change(|sockets| *sockets += 1);
        SocketGuard(Arc::clone(self))
    }

    pub(super) fn sockets(&self) -> usize {
        self.sockets.get()
    }

    pub(super) async fn sockets_gone(&self) {
        self.sockets.until(|sockets| *sockets == 0).await;
    }

    /// Publishes as a connection of its own.
    pub(super) async fn publish(self: &Arc<Self>, permit: Permit, publish: Publish) -> Result<Published, Unanswered> {
        let request = publish.request;
        let bytes = publish.events.iter().map(|event| event.data.as_str().len()).sum();
        let pick = move |item| match item {
            Item::Frame(FromBus::Receipts(receipts)) if receipts.request == request => {
                Some(Ok(Published::Receipts(receipts)))
            }
            Item::Frame(FromBus::Error(error)) => Some(unless_silent(error).map(Published::Error)),
            Item::Frame(FromBus::Closing(_)) => Some(Err(Unanswered::Closed)),
            Item::Frame(_) | Item::Answer(_) => None,
        };
        let frame = ToBus::from(publish);
        self.ask(permit, bytes, move |conn, room| Arrival::Frame { conn, frame, room: Some(room) }, pick).await
    }

    /// Asks as a connection of its own.
    pub(super) async fn admin(self: &Arc<Self>, permit: Permit, admin: Admin) -> Result<AdminAnswer, Unanswered> {
        let pick = |item| match item {
            Item::Answer(answer) => Some(Ok(answer)),
            Item::Frame(FromBus::Error(error)) => Some(unless_silent(error).map(AdminAnswer::Error)),
            Item::Frame(FromBus::Closing(_)) => Some(Err(Unanswered::Closed)),
            Item::Frame(_) => None,
        };
        let by = permit.speaker.name().cloned();
        self.ask(permit, 0, move |conn, _room| Arrival::Admin { conn, admin, by }, pick).await
    }

    /// Runs on a task of its own: a client that goes away must not leave half a connection behind.
    async fn ask<A: Send + 'static>(
        self: &Arc<Self>,
        permit: Permit,
        bytes: usize,
        arrival: impl FnOnce(ConnId, OwnedSemaphorePermit) -> Arrival + Send + 'static,
        mut pick: impl FnMut(Item) -> Option<Result<A, Unanswered>> + Send + 'static,
    ) -> Result<A, Unanswered> {
        let shared = Arc::clone(self);
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            let conn = shared.next_conn();
            let outbox = Arc::new(Outbox::new(shared.config.limits.send_queue_bytes_max));
            let exchange = async {
                shared
                    .hand_in(Arrival::Connected { conn, outbox: Arc::clone(&outbox), speaker: permit.speaker.clone() })
                    .await?;
                let room = shared.room(bytes).await?;
                shared.hand_in(arrival(conn, room)).await?;
                while let Some(items) = outbox.next(usize::MAX).await {
                    if let Some(answer) = items.into_iter().find_map(&mut pick) {
                        return Ok::<_, Gone>(answer);
                    }
                }
                Ok(Err(Unanswered::Closed))
            };
            let exchanged = tokio::select! {
                biased;
                () = shared.dead() => return,
                exchanged = timeout(shared.config.request_deadline, exchange) => exchanged,
            };
            let result = match exchanged {
                Ok(Ok(result)) => result,
                Ok(Err(Gone)) => Err(Unanswered::Closed),
                Err(_) => Err(Unanswered::TimedOut),
            };
            // Whoever asked may be gone; the bus must hear of the end in any case.
            let _ = answer.send(result);
            let _ = shared.hand_in(Arrival::Disconnected { conn }).await;
        });
        answered.await.unwrap_or(Err(Unanswered::Closed))
    }
}

/// The bus gives up a connection that waits silently for longer than the heartbeat deadline.
fn unless_silent(error: wire::Error) -> Result<wire::Error, Unanswered> {
    if error.code == ErrorCode::Silent { Err(Unanswered::TimedOut) } else { Ok(error) }
}

/// See [`Shared::count_socket`].
pub(super) struct SocketGuard(Arc<Shared>);

impl Drop for SocketGuard {
    fn drop(&mut self) {
        self.0.sockets.change(|sockets| *sockets -= 1);
    }
}
