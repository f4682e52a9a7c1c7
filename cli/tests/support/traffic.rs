//! Traffic for a real bus: a publisher and an instance that know what they were told, and a judge who reads the file.
//!
//! The publisher demands versions and repeats what it has no answer for; the instance completes each event with one that
//! it produced. Neither minds what becomes of the bus meanwhile.

#![allow(dead_code, reason = "each suite uses its own part of this")]

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use dacapo_backends::SqliteReader;
use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, Expectation, InstanceName, Key, NewEvent, Position, Receipt,
    ServiceName, Source, Version,
    store::{Ended, Query, Reader as _},
    wire::{self, Complete, Deliver, FromBus, Hello, Ping, Publish, Ready, Start, ToBus},
};
use futures_util::{SinkExt as _, StreamExt as _};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue},
};

const KEYS: usize = 8;
/// Longer than anything here takes; a test that hangs says less than one that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Bus = watch::Receiver<Option<SocketAddr>>;

/// A connection to whatever bus lives at the moment.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Tries until it works.
    async fn open(bus: &mut Bus) -> Self {
        loop {
            let address = *bus.wait_for(Option::is_some).await.expect("the test goes on");
            if let Some(address) = address
                && let Some(socket) = Self::try_open(address).await
            {
                return socket;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn try_open(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let mut request = format!("ws://{address}{}", wire::PATH).into_client_request().expect("is an address");
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(wire::SUBPROTOCOL));
        client_async(request, stream).await.ok().map(|(socket, _)| Self(socket))
    }

    /// None: the connection is gone.
    async fn send(&mut self, frame: impl Into<ToBus>) -> Option<()> {
        self.0.send(Message::text(frame.into().encode())).await.ok()
    }

    /// None: the connection is gone.
    async fn receive(&mut self) -> Option<Vec<FromBus>> {
        loop {
            match self.0.next().await?.ok()? {
                Message::Text(text) => return Some(FromBus::decode(&text).expect("the bus speaks its protocol")),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }
}

/// What the publisher was told, by event id.
pub(crate) type Accepted = BTreeMap<EventId, (Position, Version)>;

fn payment(number: u64, key: usize, head: u64) -> NewEvent {
    NewEvent {
        id: EventId::of(format!("payment-{number}")),
        event_type: EventType::of("Paid"),
        key: Key::of(format!("acc-{key}")),
        expectation: Expectation::Version(Version(head)),
        correlation: None,
        causation: None,
        source: Some(Source::of("till")),
        data: Data::of(&number),
        attributes: dacapo_core::Attributes::default(),
    }
}

/// Publishes one event on each key at a time until it is told to stop; then what is open is brought to its end.
pub(crate) async fn publisher(mut bus: Bus, stop: watch::Receiver<bool>) -> Accepted {
    let mut accepted = Accepted::new();
    let mut heads = [0; KEYS];
    let mut number = 0;
    let mut socket = Socket::open(&mut bus).await;
    while !*stop.borrow() {
        let mut open: BTreeMap<u64, NewEvent> = BTreeMap::new();
        for (key, head) in heads.iter().enumerate() {
            open.insert(number, payment(number, key, *head));
            number += 1;
        }
        while !open.is_empty() {
            if exchange(&mut socket, &mut open, &mut accepted).await.is_none() {
                socket = Socket::open(&mut bus).await;
            }
        }
        for head in &mut heads {
            *head += 1;
        }
    }
    accepted
}

/// Sends what is open and takes receipts until nothing is; none: the connection is gone.
async fn exchange(socket: &mut Socket, open: &mut BTreeMap<u64, NewEvent>, accepted: &mut Accepted) -> Option<()> {
    for (request, event) in open.iter() {
        socket.send(Publish { request: *request, events: vec![event.clone()], guards: vec![] }).await?;
    }
    while !open.is_empty() {
        for frame in socket.receive().await? {
            let FromBus::Receipts(receipts) = frame else { continue };
            let event = open.remove(&receipts.request).expect("one answer for each publish of a connection");
            match &receipts.receipts[..] {
                // A duplicate is the first answer, which a killed bus could not send.
                [Receipt::Accepted { position, version, .. } | Receipt::Duplicate { position, version, .. }] => {
                    let Expectation::Version(head) = event.expectation else { unreachable!("all demand a version") };
                    assert_eq!(*version, head.next(), "{} has the version that it demanded", event.id);
                    accepted.insert(event.id, (*position, *version));
                }
                other => panic!("{} was answered with {other:?}, and nobody else writes its key", event.id),
            }
        }
    }
    Some(())
}

/// Where a lane stands, as far as the instance knows.
#[derive(Default)]
struct Lane {
    /// Completed, for all we were told.
    done: u64,
    /// The last version that was delivered; up to there completions may be without an answer.
    delivered: u64,
    /// What has no answer may have been committed, or comes again.
    unknown: bool,
}

/// What the instance knows.
#[derive(Default)]
pub(crate) struct Auditor {
    lanes: BTreeMap<Key, Lane>,
    done: BTreeSet<Position>,
    /// Completions without an answer: after a reconnect they are sent again, to learn what became of them.
    open: BTreeMap<Position, Complete>,
    /// How often the answer was that it had been completed before.
    pub(crate) already: usize,
    /// Deliveries that were not the first of their event.
    pub(crate) delivered_again: usize,
    /// Positions that were delivered, over all lives of the bus.
    seen: BTreeSet<Position>,
}

/// Completes whatever is delivered, until so many are done.
pub(crate) async fn instance(mut bus: Bus, until: watch::Receiver<Option<usize>>) -> Auditor {
    let mut auditor = Auditor::default();
    loop {
        let mut socket = Socket::open(&mut bus).await;
        // The connection is gone, or all is done.
        let _ = serve_lanes(&mut socket, &mut auditor, &until).await;
        if until.borrow().is_some_and(|total| auditor.done.len() >= total) {
            return auditor;
        }
        auditor.lanes.values_mut().for_each(|lane| lane.unknown = true);
    }
}

fn hello() -> Hello {
    Hello {
        service: ServiceName::of("auditor"),
        instance: InstanceName::of("auditor-1"),
        incarnation: 1,
        types: vec![EventType::of("Paid")],
        start: Start::Beginning,
        credit: 64,
        bearer: None,
    }
}

/// Returns when all is done; none: the connection is gone.
async fn serve_lanes(socket: &mut Socket, auditor: &mut Auditor, until: &watch::Receiver<Option<usize>>) -> Option<()> {
    socket.send(hello()).await?;
    socket.send(Ready {}).await?;
    for complete in auditor.open.values() {
        socket.send(complete.clone()).await?;
    }
    loop {
        if until.borrow().is_some_and(|total| auditor.done.len() >= total) {
            return Some(());
        }
        let frames = tokio::select! {
            biased;
            frames = socket.receive() => frames?,
            () = sleep(Duration::from_secs(1)) => {
                socket.send(Ping { nonce: 1 }).await?;
                continue;
            }
        };
        for frame in frames {
            match frame {
                FromBus::Deliver(deliver) => {
                    let lane = auditor.lanes.entry(deliver.event.key.clone()).or_default();
                    check_order(lane, &deliver);
                    auditor.delivered_again += usize::from(!auditor.seen.insert(deliver.event.position));
                    let complete = completion(&deliver);
                    auditor.open.insert(complete.position, complete.clone());
                    socket.send(complete).await?;
                }
                FromBus::Completed(completed) => {
                    let audit = completed.produced.first().expect("each completion produces one event");
                    let lane = auditor.lanes.entry(audited(&audit.key)).or_default();
                    lane.done = lane.done.max(audit.version.0);
                    auditor.already += usize::from(completed.already);
                    auditor.open.remove(&completed.position);
                    auditor.done.insert(completed.position);
                }
                // It was not committed, and comes again, or has come again already under another token.
                FromBus::Fenced(fenced) => {
                    if let Entry::Occupied(open) = auditor.open.entry(fenced.position)
                        && open.get().token == fenced.token
                    {
                        let audit = &open.remove().events[0];
                        auditor.lanes.entry(audited(&audit.key)).or_default().unknown = true;
                    }
                }
                FromBus::Conflict(_) | FromBus::Rejected(_) => panic!("nothing contradicts an audit: {frame:?}"),
                _ => {}
            }
        }
    }
}

/// The version after the last one that was delivered; or, where answers are missing, one that is not known to be done.
fn check_order(lane: &mut Lane, deliver: &Deliver) {
    let version = deliver.event.version.0;
    let next = lane.delivered + 1;
    let fits = version == next || (lane.unknown && version > lane.done && version < next);
    let Lane { done, delivered, .. } = lane;
    assert!(fits, "{}@{version} was delivered after {delivered} when {done} was done", deliver.event.key);
    lane.delivered = version;
    lane.unknown = false;
}

fn completion(deliver: &Deliver) -> Complete {
    let audit = NewEvent {
        id: EventId::of(format!("audit-of-{}", deliver.event.id)),
        event_type: EventType::of("Audited"),
        key: Key::of(format!("audit-{}", deliver.event.key)),
        expectation: Expectation::Any,
        correlation: None,
        causation: None,
        source: None,
        data: Data::of(&deliver.event.version),
        attributes: dacapo_core::Attributes::default(),
    };
    Complete { position: deliver.event.position, token: deliver.token, events: vec![audit], guards: vec![] }
}

/// The key whose event an audit is about.
fn audited(audit: &Key) -> Key {
    Key::of(audit.as_str().replacen("audit-", "", 1))
}

/// A bus on the file, which dies with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(directory: &Path) -> Self {
        let mut command = crate::support::dacapo(directory);
        command.args(["serve", "--db", "kill.db", "--listen", "127.0.0.1:0", "--json"]).env("RUST_LOG", "warn");
        Self::of(command)
    }

    /// What this command starts, as long as it says where it listens.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("is piped")).read_line(&mut line).expect("can be read");
        let line: serde_json::Value = serde_json::from_str(&line).expect("a bus says where it listens");
        let address = line["bus"].as_str().and_then(|url| url.strip_prefix("http://")).expect("says where");
        Self { child, address: address.parse().expect("is an address") }
    }
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Status and body of one request.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = std::net::TcpStream::connect(self.address).expect("the bus listens");
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).expect("can be sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("is answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("has a head");
        (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("has a status"), body.to_owned())
    }

    /// SIGTERM, as service managers do; its exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("can be asked");
        self.child.wait().expect("ends").code()
    }
}

impl Drop for Server {
    /// SIGKILL: it cannot be caught, and nothing is flushed.
    fn drop(&mut self) {
        // After `end` it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the file, as anybody may, and counts.
pub(crate) fn judge(path: &Path, accepted: &Accepted) {
    let mut reader = SqliteReader::open_read_only(path).expect("is a store");
    let mut log: Vec<Arc<Event>> = Vec::new();
    let mut query = Query::default();
    loop {
        let page = reader.query(&query).expect("can be read");
        log.extend(page.events);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    assert!(!accepted.is_empty(), "something was accepted");
    let mut ids = BTreeSet::new();
    let mut versions: BTreeMap<&Key, u64> = BTreeMap::new();
    for (event, position) in log.iter().zip(1..) {
        assert_eq!(event.position, Position(position), "positions are without gap");
        assert!(ids.insert(&event.id), "{} is in the log twice", event.id);
        let version = versions.entry(&event.key).or_default();
        *version += 1;
        assert_eq!(event.version, Version(*version), "versions of {} are without gap", event.key);
    }

    let payments: Vec<&Arc<Event>> = log.iter().filter(|event| event.event_type.as_str() == "Paid").collect();
    assert_eq!(payments.len(), accepted.len(), "what is in the log was accepted, and the other way round");
    for payment in &payments {
        assert_eq!(
            accepted.get(&payment.id),
            Some(&(payment.position, payment.version)),
            "{} is where it was told",
            payment.id
        );
    }

    let audits: BTreeMap<&EventId, &Arc<Event>> = log
        .iter()
        .filter(|event| event.event_type.as_str() == "Audited")
        .filter_map(|audit| audit.causation.as_ref().map(|cause| (cause, audit)))
        .collect();
    assert_eq!(log.iter().filter(|event| event.event_type.as_str() == "Audited").count(), payments.len());
    let auditor = ServiceName::of("auditor");
    for payment in &payments {
        let audit = audits.get(&payment.id).expect("each payment was audited");
        // Audits of a key were committed in the order of its payments, or their versions would differ.
        assert_eq!(audit.version, payment.version, "the lane of {} was completed in order", payment.key);
        assert_eq!(audit.data.to::<Version>().expect("is a version"), payment.version);
        assert_eq!(audit.correlation, CorrelationId::of(payment.id.as_str()), "the bus has set the correlation");
        let ended = reader.completions(&[payment.position]).expect("can be read");
        let [completion] = &ended[..] else { panic!("{} was completed {} times", payment.id, ended.len()) };
        assert_eq!((&completion.service, completion.ended), (&auditor, Ended::Completed));
        assert_eq!(completion.produced, [audit.position]);
    }
}

/// A publisher and an instance at work, whatever becomes of the bus.
pub(crate) struct Traffic {
    bus: watch::Sender<Option<SocketAddr>>,
    stop: watch::Sender<bool>,
    until: watch::Sender<Option<usize>>,
    publishing: JoinHandle<Accepted>,
    completing: JoinHandle<Auditor>,
}

impl Traffic {
    pub(crate) fn start() -> Self {
        let (bus, bus_seen) = watch::channel(None);
        let (stop, stop_seen) = watch::channel(false);
        let (until, until_seen) = watch::channel(None);
        let publishing = tokio::spawn(publisher(bus_seen.clone(), stop_seen));
        let completing = tokio::spawn(instance(bus_seen, until_seen));
        Self { bus, stop, until, publishing, completing }
    }

    pub(crate) fn meet(&mut self, server: &Server) {
        self.bus.send_replace(Some(server.address));
    }

    pub(crate) fn lose(&mut self) {
        self.bus.send_replace(None);
        assert!(!self.publishing.is_finished() && !self.completing.is_finished(), "both go on, whatever the bus does");
    }

    /// Brings everything to its end: what was accepted, and what the instance knows.
    pub(crate) async fn finish(self) -> (Accepted, Auditor) {
        self.stop.send_replace(true);
        let publishing = timeout(PATIENCE, self.publishing).await;
        let accepted = publishing.expect("what is open is answered").expect("nothing went wrong");
        self.until.send_replace(Some(accepted.len()));
        let completing = timeout(PATIENCE, self.completing).await;
        (accepted, completing.expect("everything is completed").expect("nothing went wrong"))
    }
}

/// Publishes one event, takes its delivery, and keeps it.
pub(crate) async fn hold_one(mut bus: Bus) -> Socket {
    let mut socket = Socket::open(&mut bus).await;
    socket.send(hello()).await.expect("is sent");
    socket.send(Ready {}).await.expect("is sent");
    let event = NewEvent { id: EventId::of("held-1"), key: Key::of("acc 1"), source: None, ..payment(1, 0, 0) };
    socket.send(Publish { request: 1, events: vec![event], guards: vec![] }).await.expect("is sent");
    loop {
        let frames = socket.receive().await.expect("the bus is there");
        if frames.iter().any(|frame| matches!(frame, FromBus::Deliver(_))) {
            return socket;
        }
    }
}
