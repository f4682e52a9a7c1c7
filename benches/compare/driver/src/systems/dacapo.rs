//! Dacapo, over its documented WebSocket protocol, with threads that wait as in the other drivers: no code of it is
//! linked here.

use std::{
    collections::BTreeMap,
    env, io,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tungstenite::{Error, Message, WebSocket, client::IntoClientRequest as _, http::HeaderValue};

use crate::{
    contract::{
        Behind, Client, Consumer, Delivery, Event, Failure, Peer, Place, Publisher, REDELIVERY, Receipt, Source,
    },
    server,
};

pub(crate) const NAME: &str = "Dacapo";
/// A consumer that has nothing to say says this often that it lives.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a consumer waits for something new.
const WAIT: Duration = Duration::from_millis(50);

pub(crate) struct Dacapo;

/// The binary that `run` has built, or the one that DACAPO names.
pub(crate) fn program() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/release/dacapo");
    Some(env::var_os("DACAPO").map_or(built, PathBuf::from)).filter(|path| path.exists())
}

impl Peer for Dacapo {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> Option<String> {
        let text = server::run(Command::new(program()?).arg("--version")).ok()?;
        text.split_whitespace().nth(1).map(str::to_owned)
    }

    fn how_to_get(&self) -> &'static str {
        "cargo build --release"
    }

    fn note(&self) -> &'static str {
        "an event that fails holds up its key alone; completions and what they produced are one commit"
    }

    fn failures(&self) -> &'static [Failure] {
        &[Failure::Nack, Failure::Silence]
    }

    fn initialise(&self, _place: &Place) -> Result<()> {
        Ok(())
    }

    fn commands(&self, place: &Place) -> Result<Vec<Command>> {
        let mut command = Command::new(program().context("dacapo is not built")?);
        command
            .args(["serve", "--listen", &format!("127.0.0.1:{}", place.port())])
            .args(["--set", &format!("delivery_deadline={}", REDELIVERY.as_millis()), "--db"])
            .arg(place.directory.join("bus.db"));
        Ok(vec![command])
    }

    fn client(&self, port: u16) -> Result<Box<dyn Client>> {
        // A read is answered once the bus has recovered.
        let mut connection = Connection::open(port)?;
        connection.send(r#"{"kind":"read","request":1,"what":{"keys":{}}}"#)?;
        connection.wait_for(|frame| (frame.kind == "events").then_some(()))?;
        Ok(Box::new(Clients { port }))
    }
}

struct Clients {
    port: u16,
}

impl Client for Clients {
    fn prepare(&self) -> Result<()> {
        // Services register when their first instance comes; both must know of every event from the beginning.
        Ok(())
    }

    fn publisher(&self) -> Result<Box<dyn Publisher>> {
        Ok(Box::new(Writer { connection: Connection::open(self.port)?, name: unique() }))
    }

    fn consumer(&self, source: Source, window: u32) -> Result<Box<dyn Consumer>> {
        let mut connection = Connection::open(self.port)?;
        let (service, kind) = match source {
            // The bus shares the keys out by itself.
            Source::Half(_) => ("compare", "Event"),
            Source::Effects => ("effects", "Effect"),
        };
        let hello = json!({ "kind": "hello", "service": service, "instance": unique(), "incarnation": 1,
            "types": [kind], "start": "beginning", "credit": window });
        connection.send(&hello.to_string())?;
        connection.wait_for(|frame| (frame.kind == "welcome").then_some(()))?;
        // Only now, for a delivery must not come with the welcome.
        connection.send(r#"{"kind":"ready"}"#)?;
        connection.socket.get_ref().set_read_timeout(Some(WAIT))?;
        Ok(Box::new(Reader { connection, arrived: Vec::new(), open: BTreeMap::new(), refused: BTreeMap::new() }))
    }
}

/// A name that no other connection has had.
fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", process::id(), NEXT.fetch_add(1, SeqCst))
}

/// What is read of a frame, of whatever kind.
#[derive(Deserialize)]
struct Frame<'a> {
    kind: &'a str,
    #[serde(default)]
    position: u64,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
    event: Option<Data<'a>>,
    #[serde(default)]
    receipts: Vec<Answer<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    position: u64,
    data: &'a str,
}

#[derive(Deserialize)]
struct Answer<'a> {
    status: &'a str,
}

struct Connection {
    socket: WebSocket<TcpStream>,
    spoke: Instant,
}

impl Connection {
    fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://127.0.0.1:{port}/v1/bus").into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("dacapo.v1+json"));
        let (socket, _) = tungstenite::client(request, stream).context("no bus answers")?;
        Ok(Self { socket, spoke: Instant::now() })
    }

    fn send(&mut self, text: &str) -> Result<()> {
        self.spoke = Instant::now();
        Ok(self.socket.send(Message::text(text))?)
    }

    /// The next message of frames; none if none comes in time.
    fn receive(&mut self) -> Result<Option<Message>> {
        if self.spoke.elapsed() > HEARTBEAT {
            self.send(r#"{"kind":"ping","nonce":1}"#)?;
        }
        match self.socket.read() {
            Ok(message) => Ok(Some(message)),
            Err(Error::Io(error)) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads on until a frame answers the question.
    fn wait_for<T>(&mut self, answer: impl Fn(&Frame<'_>) -> Option<T>) -> Result<T> {
        loop {
            let message = self.receive()?.context("the bus does not answer")?;
            for frame in frames(&message)? {
                if let Some(answer) = answer(&frame) {
                    return Ok(answer);
                }
            }
        }
    }
}

fn frames(message: &Message) -> Result<Vec<Frame<'_>>> {
    let Message::Text(text) = message else { return Ok(Vec::new()) };
    let frames: Vec<Frame<'_>> =
        if text.starts_with('[') { serde_json::from_str(text)? } else { vec![serde_json::from_str(text)?] };
    for frame in &frames {
        ensure!(!matches!(frame.kind, "error" | "closing" | "rejected"), "the bus says {}: {text}", frame.kind);
    }
    Ok(frames)
}

struct Writer {
    connection: Connection,
    name: String,
}

impl Publisher for Writer {
    fn publish(&mut self, event: &Event) -> Result<Receipt> {
        let Event { key, version } = event;
        // Two writers' events are two events, even if both would be the same version. Ids begin with the time, as the
        // protocol's document recommends.
        let millis = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let (writer, expectation, body) = (&self.name, version - 1, event.body());
        self.connection.send(&format!(
            r#"{{"kind":"publish","request":1,"events":[{{"id":"{millis:012x}-{key}-{version}-{writer}","type":"Event","key":"{key}","expectation":{expectation},"source":"compare","data":"{body}"}}]}}"#
        ))?;
        self.connection
            .wait_for(|frame| {
                Some(match frame.receipts.first()?.status {
                    "accepted" => Ok(Receipt::Accepted),
                    "inconsistent" => Ok(Receipt::Stale),
                    other => Err(other.to_owned()),
                })
            })?
            .map_err(|status| anyhow::anyhow!("{event:?} was {status}"))
    }
}

/// A delivery that this connection may complete.
struct Open {
    key: String,
    tag: String,
    /// Its completion is on the way.
    sent: bool,
}

struct Reader {
    connection: Connection,
    /// Not handed to the handler yet.
    arrived: Vec<Delivery>,
    /// By position.
    open: BTreeMap<u64, Open>,
    /// Keys whose handling failed, and at which position: what is behind it is withdrawn until it comes again.
    refused: BTreeMap<String, u64>,
}

impl Reader {
    /// Takes the next message in; false if none came.
    fn read(&mut self) -> Result<bool> {
        let Some(message) = self.connection.receive()? else { return Ok(false) };
        for frame in frames(&message)? {
            match frame.kind {
                "deliver" => {
                    let (token, data) = frame.token.zip(frame.event).context("a delivery has a token and an event")?;
                    self.delivered(data.position, token.get(), Event::of_body(data.data)?);
                }
                "completed" => drop(self.open.remove(&frame.position)),
                "fenced" => {
                    if let Some(open) = self.open.remove(&frame.position) {
                        self.refused.remove(&open.key);
                        self.withdraw(&open.key, frame.position);
                    }
                }
                _ => {}
            }
        }
        Ok(true)
    }

    fn delivered(&mut self, position: u64, token: &str, event: Event) {
        match self.refused.get(&event.key) {
            Some(first) if position > *first => return,
            Some(_) => drop(self.refused.remove(&event.key)),
            None => {}
        }
        let tag = format!(r#""position":{position},"token":{token}"#);
        self.open.insert(position, Open { key: event.key.clone(), tag: tag.clone(), sent: false });
        self.arrived.push(Delivery { event, tag });
    }

    /// A lane's deliveries from this position on are not this connection's any more.
    fn withdraw(&mut self, key: &str, from: u64) {
        self.open.retain(|position, open| open.key != key || *position < from);
        let open = &self.open;
        self.arrived.retain(|delivery| open.values().any(|open| open.tag == delivery.tag));
    }

    fn complete(&mut self, deliveries: &[Delivery], events: &str) -> Result<()> {
        let mut frames = Vec::new();
        for delivery in deliveries {
            match self.open.get_mut(&position(delivery)?) {
                Some(open) if open.tag == delivery.tag => {
                    open.sent = true;
                    frames.push(format!(r#"{{"kind":"complete",{},"events":[{events}]}}"#, delivery.tag));
                }
                // It was withdrawn while it waited for the handler.
                _ => {}
            }
        }
        if frames.is_empty() { Ok(()) } else { self.connection.send(&format!("[{}]", frames.join(","))) }
    }
}

fn position(delivery: &Delivery) -> Result<u64> {
    let number = delivery.tag.trim_start_matches(r#""position":"#).split(',').next();
    Ok(number.context("a tag of another system")?.parse()?)
}

impl Consumer for Reader {
    fn receive(&mut self) -> Result<Vec<Delivery>> {
        while self.arrived.is_empty() && self.read()? {}
        Ok(std::mem::take(&mut self.arrived))
    }

    fn acknowledge(&mut self, deliveries: &[Delivery]) -> Result<()> {
        self.complete(deliveries, "")
    }

    fn answer(&mut self, delivery: &Delivery, effect: &Event) -> Result<()> {
        let (id, key, body) = (effect.id(), &effect.key, effect.body());
        let event = format!(r#"{{"id":"effect-{id}","type":"Effect","key":"{key}","expectation":0,"data":"{body}"}}"#);
        self.complete(std::slice::from_ref(delivery), &event)?;
        self.settle()
    }

    fn refuse(&mut self, delivery: &Delivery, failure: Failure) -> Result<Behind> {
        let (key, position) = (&delivery.event.key, position(delivery)?);
        self.refused.insert(key.clone(), position);
        match failure {
            Failure::Nack => {
                self.connection
                    .send(&format!(r#"{{"kind":"nack",{},"reason":"the check wants it"}}"#, delivery.tag))?;
                self.withdraw(key, position);
            }
            // A lane's deliveries are answered in order: those behind wait with it until the bus takes all of them back.
            Failure::Silence => self.withdraw(key, position + 1),
        }
        Ok(Behind::Withdrawn)
    }

    fn settle(&mut self) -> Result<()> {
        while self.open.values().any(|open| open.sent) {
            self.read()?;
        }
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Its lanes may move at once. If the bus is gone already, nobody needs to know.
        let _ = self.connection.send(r#"{"kind":"bye"}"#);
    }
}
