//! The driver against a bus that is played by the test, with WebSocket on in-memory pipes.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::serve::Listener;
use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, InstanceName, Key, NodeName, Now, Position, Receipt, ServiceName,
    Source, Term, Timestamp, Version, WallTime,
    hooks::{Clock, Entropy, Hooks, Identity, Point, Verdict, World},
    trace::What,
    wire::{self, Completed, Deliver, Events, FromBus, Head, ReadWhat, Receipts, ToBus, Token, Welcome},
};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request as Upgrade, Response as Upgraded},
    },
};

use super::*;
use crate::{
    instance::{Context, Instance, InstanceConfig},
    service::{Interrupt, Method, Request, Response, Route, Service},
};

/// Counts ticks; a tick makes a tock.
#[derive(Debug, Clone)]
struct Clockwork;

impl Service for Clockwork {
    type State = u64;

    fn name(&self) -> ServiceName {
        ServiceName::of("clockwork")
    }

    fn types(&self) -> Vec<EventType> {
        vec![EventType::of("Tick")]
    }

    fn apply(&self, _: &Key, state: &mut u64, _: &Event) {
        *state += 1;
    }

    fn handle(&self, event: &Event, context: &mut Context<'_, u64>) -> Result<(), Interrupt> {
        context.emit(EventType::of("Tock"), event.key.clone(), "tock");
        Ok(())
    }

    fn routes(&self) -> Vec<Route> {
        vec![Route { method: Method::Get, path: "/ticks/{key}" }, Route { method: Method::Post, path: "/ticks/{key}" }]
    }

    fn request(&self, request: &Request, context: &mut Context<'_, u64>) -> Result<Response, Interrupt> {
        let key = Key::of(request.parameter("key"));
        let ticks = *context.state(&key)?;
        if request.method == Method::Post {
            context.emit(EventType::of("Tick"), key, &request.body);
        }
        Ok(Response::json(200, &ticks))
    }
}

struct Pipes {
    streams: mpsc::UnboundedSender<DuplexStream>,
    refusals: AtomicU32,
}

impl Connect for Pipes {
    type Io = DuplexStream;

    async fn connect(&self) -> io::Result<DuplexStream> {
        if self.refusals.load(Ordering::Relaxed) > 0 {
            self.refusals.fetch_sub(1, Ordering::Relaxed);
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = duplex(64 << 10);
        self.streams.send(theirs).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(ours)
    }

    fn host(&self) -> &'static str {
        "bus"
    }
}

struct PipeListener(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for PipeListener {
    type Io = DuplexStream;
    type Addr = &'static str;

    async fn accept(&mut self) -> (DuplexStream, &'static str) {
        match self.0.recv().await {
            Some(stream) => (stream, "a customer"),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<&'static str> {
        Ok("the service")
    }
}

struct TestClock(tokio::time::Instant);

impl Clock for TestClock {
    fn now(&self) -> Now {
        let us = u64::try_from(self.0.elapsed().as_micros()).expect("a test is short");
        Now { monotonic: Timestamp(us), wall: WallTime(us) }
    }
}

struct Counting(AtomicU64);

impl Entropy for Counting {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Dies or loses at one point, and listens.
#[derive(Default)]
struct Saboteur {
    at: Option<(&'static str, Verdict)>,
    records: Mutex<Vec<What>>,
}

impl Hooks for Saboteur {
    fn before(&self, point: Point) -> Verdict {
        match &self.at {
            Some((name, verdict)) if *name == point.name => verdict.clone(),
            _ => Verdict::Go,
        }
    }

    fn recording(&self) -> bool {
        true
    }

    fn record(&self, _: &NodeName, _: Now, what: What) {
        self.records.lock().expect("nobody panics with it").push(what);
    }
}

/// A running driver and its surroundings.
struct Stage {
    streams: mpsc::UnboundedReceiver<DuplexStream>,
    customers: mpsc::UnboundedSender<DuplexStream>,
    shutdown: watch::Sender<bool>,
    hooks: Arc<Saboteur>,
    driver: JoinHandle<Result<(), DriverError>>,
}

fn stage(refusals: u32, at: Option<(&'static str, Verdict)>) -> Stage {
    let (streams_in, streams) = mpsc::unbounded_channel();
    let (customers, customers_out) = mpsc::unbounded_channel();
    let (shutdown, asked) = watch::channel(false);
    let hooks = Arc::new(Saboteur { at, ..Saboteur::default() });
    let config = InstanceConfig {
        reconnect_first: Duration::from_millis(1),
        reconnect_max: Duration::from_millis(4),
        ..InstanceConfig::new(InstanceName::of("clockwork-1"), 5)
    };
    let world = World {
        node: NodeName::of("clockwork-1"),
        clock: Arc::new(TestClock(tokio::time::Instant::now())),
        entropy: Arc::new(Counting(AtomicU64::new(0))),
        hooks: hooks.clone(),
    };
    let connector = Pipes { streams: streams_in, refusals: AtomicU32::new(refusals) };
    let machine = Box::new(Instance::new(Clockwork, config));
    let driver = tokio::spawn(run(machine, connector, Some(PipeListener(customers_out)), world, asked));
    Stage { streams, customers, shutdown, hooks, driver }
}

/// The bus's end of a connection.
struct Bus(WebSocketStream<DuplexStream>);

impl Stage {
    /// Accepts the next connection.
    async fn accept(&mut self) -> Bus {
        let stream = self.streams.recv().await.expect("the driver connects");
        #[expect(clippy::result_large_err, reason = "the library's own type")]
        let greet = |request: &Upgrade, mut response: Upgraded| {
            assert_eq!(request.uri().path(), wire::PATH);
            let protocol = request.headers()["sec-websocket-protocol"].clone();
            assert_eq!(protocol, wire::SUBPROTOCOL);
            response.headers_mut().insert("sec-websocket-protocol", protocol);
            Ok(response)
        };
        Bus(accept_hdr_async(stream, greet).await.expect("it speaks WebSocket"))
    }

    /// Accepts the next connection and grants a session; returns what was said besides pings until `ready`.
    async fn welcome(&mut self) -> Bus {
        let mut bus = self.accept().await;
        let hello = bus.hear().await;
        assert!(matches!(&hello, ToBus::Hello(hello) if hello.incarnation == 5), "{hello:?}");
        bus.say(Welcome {
            term: Term(1),
            session: 1,
            position: Position(0),
            heartbeat_deadline_ms: 60_000,
            delivery_deadline_ms: 60_000,
            credit: 8,
        })
        .await;
        assert_eq!(bus.hear().await.kind(), "ready");
        bus
    }

    /// Sends a request as text; the whole answer as text.
    async fn http(&self, request: &str, headers: &str, body: &str) -> String {
        let mut stream = self.ask(request, headers, body).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it is text");
        answer
    }

    async fn ask(&self, request: &str, headers: &str, body: &str) -> DuplexStream {
        let (mut ours, theirs) = duplex(4 << 20);
        self.customers.send(theirs).expect("the service listens");
        let length = body.len();
        let text = format!(
            "{request} HTTP/1.1\r\nhost: service\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        ours.write_all(text.as_bytes()).await.expect("it reads");
        ours
    }

    async fn end(self) -> Vec<What> {
        self.shutdown.send(true).expect("the driver listens");
        self.driver.await.expect("no panic").expect("it was asked to end");
        std::mem::take(&mut *self.hooks.records.lock().expect("nobody panics with it"))
    }
}

impl Bus {
    async fn hear(&mut self) -> ToBus {
        let message = self.0.next().await.expect("the instance speaks").expect("the connection holds");
        let mut frames = ToBus::decode(message.to_text().expect("it is text")).expect("it is a frame");
        assert_eq!(frames.len(), 1);
        frames.remove(0)
    }

    async fn say(&mut self, frame: impl Into<FromBus>) {
        self.0.send(Message::text(frame.into().encode())).await.expect("the connection holds");
    }

    async fn deliver_tick(&mut self) {
        let event = Arc::new(Event {
            position: Position(1),
            id: EventId::of("tick-1"),
            event_type: EventType::of("Tick"),
            key: Key::of("k"),
            version: Version(1),
            correlation: CorrelationId::of("c"),
            causation: None,
            time: WallTime(0),
            source: Source::of("test"),
            data: Data::null(),
            attributes: dacapo_core::Attributes::default(),
        });
        let token = Token { term: Term(1), session: 1, epoch: 1, attempt: 1 };
        self.say(Deliver { token, previous: Version(0), event }).await;
    }

    /// Answers a read of a key that has no event.
    async fn answer_read(&mut self) {
        let frame = self.hear().await;
        let ToBus::Read(wire::Read { request, what: ReadWhat::Key { key, .. } }) = frame else {
            panic!("no read of a key: {frame:?}");
        };
        let heads = vec![Head { key, version: Version(0) }];
        self.say(Events { request, events: Vec::new(), heads, position: Position(9), more: false }).await;
    }
}

#[tokio::test]
async fn a_delivery_is_completed_over_a_websocket() {
    let mut stage = stage(0, None);
    let mut bus = stage.welcome().await;
    bus.deliver_tick().await;
    let frame = bus.hear().await;
    let ToBus::Complete(complete) = frame else { panic!("no completion: {frame:?}") };
    assert_eq!(complete.events.len(), 1);
    bus.say(Completed { position: complete.position, already: true, produced: Vec::new() }).await;
    let records = {
        let records = stage.end().await;
        assert_eq!(bus.hear().await.kind(), "bye");
        records
    };
    assert_eq!(records.first(), Some(&What::Started { incarnation: 5 }));
    assert!(matches!(records.last(), Some(What::Stopped { .. })));
    let frames = |sent: bool| {
        records
            .iter()
            .filter(|what| match what {
                What::FrameSent { .. } => sent,
                What::FrameReceived { .. } => !sent,
                _ => false,
            })
            .count()
    };
    assert_eq!((frames(true), frames(false)), (4, 2), "hello, ready, complete, bye; welcome, deliver");
}

#[tokio::test]
async fn it_comes_back_whenever_the_bus_goes_away() {
    let mut stage = stage(3, None);
    for _ in 0..3 {
        let bus = stage.welcome().await;
        drop(bus);
    }
    let mut bus = stage.accept().await;
    bus.hear().await;
    bus.0.send(Message::text("this is no frame")).await.expect("the connection holds");
    let bus = stage.welcome().await;
    drop(bus);
    assert!(!stage.driver.is_finished());
    stage.end().await;
}

#[tokio::test]
async fn it_stops_dead_where_a_hook_says() {
    let mut stage = stage(0, Some(("instance send complete", Verdict::Die)));
    let mut bus = stage.welcome().await;
    bus.deliver_tick().await;
    let died = stage.driver.await.expect("no panic");
    let identity = Identity::Delivery(Position(1), 1);
    assert_eq!(died, Err(DriverError::Died { point: Point { name: "instance send complete", identity } }));
    assert!(!matches!(bus.0.next().await, Some(Ok(Message::Text(_)))), "nothing was sent");
}

#[tokio::test]
async fn what_a_hook_loses_is_not_sent() {
    let mut stage = stage(0, Some(("instance send complete", Verdict::Lose)));
    let mut bus = stage.welcome().await;
    bus.deliver_tick().await;
    bus.say(wire::Resume {}).await;
    // The read shows that the completion before it was passed over.
    let _customer = stage.ask("GET /ticks/other", "", "").await;
    assert_eq!(bus.hear().await.kind(), "read");
    stage.end().await;
}

#[tokio::test]
async fn a_request_is_published_and_answered_with_its_position() {
    let mut stage = stage(0, None);
    let mut bus = stage.welcome().await;
    let customer = stage.http("POST /ticks/a%20b", "idempotency-key: op-1\r\n", "now");
    let served = async {
        bus.answer_read().await;
        bus.answer_read().await;
        let frame = bus.hear().await;
        let ToBus::Publish(publish) = frame else { panic!("no publish: {frame:?}") };
        assert_eq!(publish.events[0].key.as_str(), "a b");
        let receipt = |n: u64| Receipt::Accepted { position: Position(40 + n), version: Version(1), time: WallTime(0) };
        bus.say(Receipts { request: publish.request, receipts: vec![receipt(1), receipt(2)] }).await;
    };
    let (answer, ()) = tokio::join!(customer, served);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("dacapo-position: 42"), "{answer}");
    assert!(answer.contains("content-type: application/json"), "{answer}");
    stage.end().await;
}

#[tokio::test]
async fn http_mistakes_get_a_sentence() {
    let mut stage = stage(0, None);
    let bus = stage.accept().await;
    let large = "x".repeat(dacapo_core::limits::DATA_BYTES_MAX + 1);
    for (request, headers, body, status, sentence) in [
        ("GET /healthz", "", "", 503, "goes on trying"),
        ("GET /nowhere", "", "", 404, "POST /ticks/{key}"),
        ("DELETE /ticks/a", "", "", 405, "allow: GET, POST"),
        ("PATCH /ticks/a", "", "", 405, "this path takes"),
        ("GET /ticks/%ff", "", "", 400, "encode it"),
        ("GET /ticks/a?x=%", "", "", 400, "encode it"),
        ("GET /ticks/a", "dacapo-position: soon\r\n", "", 400, "whole number"),
        ("POST /ticks/a", "idempotency-key: \r\n", "", 400, "is empty"),
        ("POST /ticks/a", "", large.as_str(), 413, "send less"),
    ] {
        let answer = stage.http(request, headers, body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
        assert!(answer.contains(sentence), "{request}: {answer}");
    }
    drop(bus);
    let _bus = stage.welcome().await;
    // The welcome is taken in before `ready` is said.
    assert!(stage.http("GET /healthz", "", "").await.starts_with("HTTP/1.1 200"));
    stage.end().await;
}

#[tokio::test]
async fn a_graceful_end_answers_what_is_open() {
    let mut stage = stage(0, None);
    let mut bus = stage.welcome().await;
    let mut customer = stage.ask("GET /ticks/a", "", "").await;
    assert_eq!(bus.hear().await.kind(), "read");
    stage.end().await;
    let mut answer = String::new();
    customer.read_to_string(&mut answer).await.expect("it is text");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("shutting down"), "{answer}");
}
