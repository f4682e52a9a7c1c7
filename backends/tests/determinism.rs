//! Two runs of one script leave the same records, through the real server and real sockets: on one thread, with
//! a clock and a network that are no one else's.

use std::{
    future::ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::serve::Listener;
use dacapo_backends::{
    MemoryStore,
    port::{Pending, StorePort},
    recording::RecordingStore,
    server::{Parts, ServerConfig, Trigger, serve},
};
use dacapo_core::{
    hooks::{Clock, Entropy, Hooks, World},
    names::{NodeName, Position, Term},
    store::{Answer, Commit, Completion, Found, LookUp, Page, Query, Read, Reader, Recovered, Store, StoreError},
    time::Now,
    trace::{Fingerprint, What},
    wire::FromBus,
};
use futures_util::{SinkExt, StreamExt, future::join_all};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    task::yield_now,
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

/// A network of pipes.
struct Pipes(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for Pipes {
    type Io = DuplexStream;
    type Addr = ();
    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(pipe) => (pipe, ()),
            None => std::future::pending().await,
        }
    }
    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs the store at once, and answers a few turns later.
struct Inline(Mutex<RecordingStore<MemoryStore>>);

impl Inline {
    fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut RecordingStore<MemoryStore>) -> Result<T, StoreError>,
    ) -> Pending<T> {
        let answer = ask(&mut self.0.lock().expect("nobody panicked"));
        Box::pin(async move {
            for _ in 0..5 {
                yield_now().await;
            }
            ready(answer).await
        })
    }
}

impl StorePort for Inline {
    fn recover(&self) -> Pending<Recovered> {
        self.ask(Store::recover)
    }
    fn commit(&self, commit: Arc<Commit>) -> Pending<()> {
        self.ask(|store| store.commit(&commit))
    }
    fn look_up(&self, look_up: Arc<LookUp>) -> Pending<Found> {
        self.ask(|store| store.look_up(&look_up))
    }
    fn read(&self, read: Arc<Read>) -> Pending<Page> {
        self.ask(|store| store.read(&read))
    }
    fn query(&self, query: Query) -> Pending<Answer> {
        self.ask(|store| store.query(&query))
    }
    fn completions(&self, positions: Vec<Position>) -> Pending<Vec<Completion>> {
        self.ask(|store| store.completions(&positions))
    }
    fn current_term(&self) -> Pending<Term> {
        self.ask(Reader::current_term)
    }
}

#[derive(Default)]
struct Recorder(Mutex<Vec<What>>);

impl Hooks for Recorder {
    fn recording(&self) -> bool {
        true
    }
    fn record(&self, _node: &NodeName, _now: Now, what: What) {
        self.0.lock().expect("nobody panicked").push(what);
    }
}

struct Standing;

impl Clock for Standing {
    fn now(&self) -> Now {
        Now::default()
    }
}

#[derive(Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// An instance that completes what it is delivered, until it has seen so many.
async fn work(pipe: DuplexStream, name: String, deliveries: &AtomicU64, all: u64) {
    let mut request = "ws://bus/v1/bus".into_client_request().expect("is a request");
    request.headers_mut().insert("sec-websocket-protocol", "dacapo.v1+json".parse().expect("is a header"));
    let (mut socket, _) = client_async(request, pipe).await.expect("upgrades");
    let hello =
        json!({"kind": "hello", "service": "s", "instance": name, "incarnation": 1, "types": ["T"], "credit": 3});
    socket.send(Message::Text(json!([hello, {"kind": "ready"}]).to_string().into())).await.expect("is sent");
    while deliveries.load(Ordering::Relaxed) < all {
        let Some(Ok(Message::Text(text))) = socket.next().await else { return };
        for frame in FromBus::decode(&text).expect("are frames") {
            match frame {
                FromBus::Deliver(deliver) => {
                    let produced =
                        json!({"id": format!("{}/0", deliver.event.id), "type": "U", "key": deliver.event.key});
                    let complete = json!({
                        "kind": "complete", "position": deliver.event.position, "token": deliver.token, "events": [produced],
                    });
                    socket.send(Message::Text(complete.to_string().into())).await.expect("is sent");
                }
                FromBus::Completed(_) => {
                    deliveries.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
        }
    }
}

/// A customer that publishes by HTTP, one event after the other.
async fn publish(network: mpsc::UnboundedSender<DuplexStream>, customer: u32, events: u32) {
    for n in 0..events {
        let (mine, theirs) = duplex(4_096);
        network.send(theirs).expect("the network is up");
        let body = json!({"id": format!("c{customer}-{n}"), "type": "T", "key": format!("k-{}", n % 3), "source": "c"});
        let (mut reading, mut writing) = tokio::io::split(mine);
        let body = body.to_string();
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: b\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        writing.write_all(format!("{head}{body}").as_bytes()).await.expect("is sent");
        let mut answer = String::new();
        reading.read_to_string(&mut answer).await.expect("is answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

fn run() -> Vec<What> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("starts");
    let recorder = Arc::new(Recorder::default());
    let world = World {
        node: NodeName::of("bus"),
        clock: Arc::new(Standing),
        entropy: Arc::new(Counting::default()),
        hooks: Arc::clone(&recorder) as Arc<dyn Hooks>,
    };
    runtime.block_on(async {
        let (network, pipes) = mpsc::unbounded_channel();
        let port = Arc::new(Inline(Mutex::new(RecordingStore::new(MemoryStore::new(), world.clone()))));
        let (trigger, shutdown) = Trigger::new();
        let parts = Parts { listener: Pipes(pipes), port, world, config: ServerConfig::default(), shutdown };
        let server = tokio::spawn(serve(parts));
        // Until the bus has recovered.
        for _ in 0..100 {
            yield_now().await;
        }
        let deliveries = AtomicU64::new(0);
        let instances = (0..3).map(|n| {
            let (mine, theirs) = duplex(4_096);
            network.send(theirs).expect("the network is up");
            work(mine, format!("i-{n}"), &deliveries, 60)
        });
        let instances = join_all(instances);
        let customers = join_all((0..4).map(|customer| publish(network.clone(), customer, 15)));
        // Instances that wait for more when all is done are dropped.
        tokio::select! {
            biased;
            _ = async { tokio::join!(instances, customers) } => {}
            () = async {
                while deliveries.load(Ordering::Relaxed) < 60 {
                    yield_now().await;
                }
            } => {}
        }
        trigger.pull();
        server.await.expect("does not panic").expect("ends well");
    });
    let mut records = recorder.0.lock().expect("nobody panicked");
    std::mem::take(&mut *records)
}

#[test]
fn two_runs_of_one_script_leave_the_same_records() {
    let (one, other) = (run(), run());
    let first_difference = one.iter().zip(&other).position(|(one, other)| one != other);
    assert_eq!(first_difference, None, "{:?}", first_difference.map(|at| (&one[at], &other[at])));
    assert_eq!(one.len(), other.len());
    let completed =
        one.iter().filter(|what| matches!(what, What::CommitDurable { commit } if !commit.completions.is_empty()));
    assert!(completed.count() > 10, "the script does what it is for: {}", one.len());
    let fingerprint = |records: &[What]| records.iter().fold(Fingerprint::default(), Fingerprint::then);
    assert_eq!(fingerprint(&one), fingerprint(&other));
}
