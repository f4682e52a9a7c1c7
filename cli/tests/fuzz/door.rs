//! A whole server, in this process and on a memory store, whose connections are pipes: what a stranger writes to it.

use std::{
    cell::RefCell,
    future::pending,
    io, panic,
    sync::{
        Arc, Once,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::serve::Listener;
use dacapo_backends::{
    MemoryStore,
    clock::{SystemClock, SystemEntropy},
    server::{Parts, ServerConfig, Trigger, serve},
    threaded::ThreadedStore,
};
use dacapo_core::{
    hooks::{NoHooks, World},
    names::NodeName,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    runtime::{Builder, Runtime},
    sync::mpsc,
    time::timeout,
};

/// Then another server takes its place, so that its log does not grow for ever.
const REQUESTS_MAX: u64 = 10_000;
/// Whoever hears nothing for so long has heard all, or will wait for ever: what is half said, or follows the log.
const QUIET: Duration = Duration::from_millis(20);
/// How often it is asked whether it still serves, and how often in vain before that is a failure.
const LOOK_EVERY: u64 = 64;
const LOOKS_MAX: u32 = 1_000;

/// How often anything panicked; a task that does is otherwise only a connection that broke off.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Writes the bytes to a server, whatever they are, and reads what it answers; it must go on serving.
pub(crate) fn requests(bytes: &[u8]) {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            before(panicked);
        }));
    });
    thread_local! {
        static DOOR: RefCell<Option<Door>> = const { RefCell::new(None) };
    }
    let panics = PANICS.load(Ordering::Relaxed);
    DOOR.with_borrow_mut(|door| {
        if door.as_ref().is_some_and(|door| door.asked >= REQUESTS_MAX) {
            *door = None;
        }
        door.get_or_insert_with(Door::open).ask(bytes);
    });
    assert_eq!(PANICS.load(Ordering::Relaxed), panics, "the server panicked");
}

/// See the module.
struct Door {
    runtime: Runtime,
    lines: mpsc::Sender<DuplexStream>,
    asked: u64,
    /// Dropped, it would end the server.
    _trigger: Trigger,
}

impl Door {
    fn open() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("can be made");
        let (lines, incoming) = mpsc::channel(1);
        let (trigger, shutdown) = Trigger::new();
        let port = Arc::new(ThreadedStore::start(MemoryStore::new(), 1).expect("starts"));
        let world = World {
            node: NodeName::of("bus"),
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SystemEntropy::new()),
            hooks: Arc::new(NoHooks),
        };
        let parts = Parts { listener: Pipes(incoming), port, world, config: ServerConfig::default(), shutdown };
        runtime.spawn(serve(parts));
        let mut door = Self { runtime, lines, asked: 0, _trigger: trigger };
        door.look();
        door
    }

    fn look(&mut self) {
        let asks = b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let ready = (0..LOOKS_MAX).any(|_| self.exchange(asks).starts_with("HTTP/1.1 200"));
        assert!(ready, "the server serves no more");
    }

    fn ask(&mut self, bytes: &[u8]) {
        self.asked += 1;
        self.exchange(bytes);
        if self.asked.is_multiple_of(LOOK_EVERY) {
            self.look();
        }
    }

    fn exchange(&mut self, bytes: &[u8]) -> String {
        let exchange = async {
            let (mut ours, theirs) = duplex(64 << 10);
            self.lines.send(theirs).await.expect("the server goes on");
            // It may answer and close before it has read everything.
            let _ = timeout(QUIET, ours.write_all(bytes)).await;
            let mut answer = Vec::new();
            while let Ok(Ok(1..)) = timeout(QUIET, ours.read_buf(&mut answer)).await {}
            String::from_utf8_lossy(&answer).into_owned()
        };
        self.runtime.block_on(exchange)
    }
}

/// Connections that never were on a network.
struct Pipes(mpsc::Receiver<DuplexStream>);

impl Listener for Pipes {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(line) => (line, ()),
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}
