//! UmaDB over its gRPC interface, which is written down here as far as it is used: its own client needs a protocol
//! compiler to be built.
//!
//! Compare-and-swap is its append condition: nothing of this key after the position that the writer knows. There is no
//! consumer side but a recorded position for each reader, which an append can move in the same act: with it one reader
//! for each half of the keys handles each event once, and keeps its order by itself.

use std::{collections::BTreeMap, process::Command, sync::OnceLock, time::Duration};

use anyhow::{Context as _, Result};
use prost::Message;
use tokio::runtime::Runtime;
use tonic::{Code, Request, Status, Streaming, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;

use crate::{
    contract::{Behind, Client, Consumer, Delivery, Event, Failure, Peer, Place, Publisher, Receipt, Source},
    server,
};

pub(crate) struct UmaDb;

impl Peer for UmaDb {
    fn name(&self) -> &'static str {
        "UmaDB"
    }

    fn version(&self) -> Option<String> {
        let text = server::run(Command::new("umadb").arg("--version")).ok()?;
        text.split_whitespace().nth(1).map(str::to_owned)
    }

    fn how_to_get(&self) -> &'static str {
        "python3 -m venv target/compare/venv && target/compare/venv/bin/pip install umadb"
    }

    fn note(&self) -> &'static str {
        "no consumer side: a position that the client records, by the batch or with an effect; an event that fails holds up its half \
         of the keys"
    }

    fn failures(&self) -> &'static [Failure] {
        &[Failure::Nack]
    }

    fn initialise(&self, _place: &Place) -> Result<()> {
        Ok(())
    }

    fn commands(&self, place: &Place) -> Result<Vec<Command>> {
        let mut command = Command::new("umadb");
        command.args(["--listen", &format!("127.0.0.1:{}", place.port()), "--db-path"]);
        command.arg(place.directory.join("uma.db"));
        Ok(vec![command])
    }

    fn client(&self, port: u16) -> Result<Box<dyn Client>> {
        Connection::open(port)?.call::<_, HeadResponse>("Head", HeadRequest {})?;
        Ok(Box::new(Clients { port }))
    }
}

#[derive(Clone, PartialEq, Message)]
struct WireEvent {
    #[prost(string, tag = "1")]
    event_type: String,
    #[prost(string, repeated, tag = "2")]
    tags: Vec<String>,
    #[prost(bytes = "vec", tag = "3")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct SequencedEvent {
    #[prost(uint64, tag = "1")]
    position: u64,
    #[prost(message, optional, tag = "2")]
    event: Option<WireEvent>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryItem {
    #[prost(string, repeated, tag = "2")]
    tags: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Query {
    #[prost(message, repeated, tag = "1")]
    items: Vec<QueryItem>,
}

#[derive(Clone, PartialEq, Message)]
struct AppendCondition {
    #[prost(message, optional, tag = "1")]
    fail_if_events_match: Option<Query>,
    #[prost(uint64, optional, tag = "2")]
    after: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadRequest {
    #[prost(message, optional, tag = "1")]
    query: Option<Query>,
    #[prost(uint64, optional, tag = "2")]
    start: Option<u64>,
    #[prost(bool, optional, tag = "3")]
    backwards: Option<bool>,
    #[prost(uint32, optional, tag = "4")]
    limit: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    batch_size: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    events: Vec<SequencedEvent>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackingInfo {
    #[prost(string, tag = "1")]
    source: String,
    #[prost(uint64, tag = "2")]
    position: u64,
}

#[derive(Clone, PartialEq, Message)]
struct AppendRequest {
    #[prost(message, repeated, tag = "1")]
    events: Vec<WireEvent>,
    #[prost(message, optional, tag = "2")]
    condition: Option<AppendCondition>,
    #[prost(message, optional, tag = "3")]
    tracking_info: Option<TrackingInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct AppendResponse {
    #[prost(uint64, tag = "1")]
    position: u64,
}

#[derive(Clone, PartialEq, Message)]
struct HeadRequest {}

#[derive(Clone, PartialEq, Message)]
struct HeadResponse {
    #[prost(uint64, optional, tag = "1")]
    position: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackingRequest {
    #[prost(string, tag = "1")]
    source: String,
}

#[derive(Clone, PartialEq, Message)]
struct TrackingResponse {
    #[prost(uint64, optional, tag = "1")]
    position: Option<u64>,
}

/// What the connections' tasks run on.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("the system has two threads left")
    })
}

fn path(method: &str) -> PathAndQuery {
    PathAndQuery::try_from(format!("/umadb.v1.DCB/{method}")).expect("names of methods are paths")
}

struct Connection(Grpc<Channel>);

impl Connection {
    fn open(port: u16) -> Result<Self> {
        let endpoint = Channel::from_shared(format!("http://127.0.0.1:{port}"))?.tcp_nodelay(true);
        let channel = runtime().block_on(endpoint.connect())?;
        Ok(Self(Grpc::new(channel).max_decoding_message_size(64 << 20)))
    }

    fn call<Q: Message + Default + 'static, A: Message + Default + 'static>(
        &mut self,
        method: &str,
        request: Q,
    ) -> Result<A, Status> {
        runtime().block_on(async {
            self.0.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = ProstCodec::<Q, A>::default();
            Ok(self.0.unary(Request::new(request), path(method), codec).await?.into_inner())
        })
    }

    fn read(&mut self, request: ReadRequest) -> Result<Streaming<ReadResponse>> {
        runtime().block_on(async {
            self.0.ready().await?;
            let codec = ProstCodec::<ReadRequest, ReadResponse>::default();
            Ok(self.0.server_streaming(Request::new(request), path("Read"), codec).await?.into_inner())
        })
    }
}

/// Everything with this tag.
fn query(tag: &str) -> Query {
    Query { items: vec![QueryItem { tags: vec![tag.to_owned()] }] }
}

fn tag_of(source: Source) -> String {
    match source {
        Source::Half(half) => format!("half:{half}"),
        Source::Effects => "effects".to_owned(),
    }
}

fn wire(event: &Event, source: Source) -> WireEvent {
    let tags = vec![format!("key:{}", event.key), tag_of(source)];
    WireEvent { event_type: "Event".to_owned(), tags, data: event.body().into_bytes() }
}

struct Clients {
    port: u16,
}

impl Client for Clients {
    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    fn publisher(&self) -> Result<Box<dyn Publisher>> {
        Ok(Box::new(Writer { connection: Connection::open(self.port)?, heads: BTreeMap::new() }))
    }

    fn consumer(&self, source: Source, window: u32) -> Result<Box<dyn Consumer>> {
        let mut connection = Connection::open(self.port)?;
        let tag = tag_of(source);
        let asked: TrackingResponse = connection.call("GetTrackingInfo", TrackingRequest { source: tag.clone() })?;
        let done = asked.position.unwrap_or(0);
        Ok(Box::new(Reader { connection, tag, window, next: done + 1, stream: None }))
    }
}

struct Writer {
    connection: Connection,
    /// Where the head of a key lies.
    heads: BTreeMap<String, u64>,
}

impl Publisher for Writer {
    fn publish(&mut self, event: &Event) -> Result<Receipt> {
        let query = query(&format!("key:{}", event.key));
        let condition =
            AppendCondition { fail_if_events_match: Some(query), after: self.heads.get(&event.key).copied() };
        let events = vec![wire(event, Source::Half(event.half()))];
        let request = AppendRequest { events, condition: Some(condition), tracking_info: None };
        match self.connection.call::<_, AppendResponse>("Append", request) {
            Ok(AppendResponse { position }) => {
                self.heads.insert(event.key.clone(), position);
                Ok(Receipt::Accepted)
            }
            Err(status) if status.code() == Code::FailedPrecondition => Ok(Receipt::Stale),
            Err(status) => Err(status.into()),
        }
    }

    fn catch_up(&mut self, key: &str) -> Result<()> {
        let query = Some(query(&format!("key:{key}")));
        let request = ReadRequest { query, backwards: Some(true), limit: Some(1), ..ReadRequest::default() };
        let mut stream = self.connection.read(request)?;
        let last = runtime().block_on(stream.message())?.and_then(|page| page.events.last().map(|it| it.position));
        if let Some(position) = last {
            self.heads.insert(key.to_owned(), position);
        }
        Ok(())
    }
}

struct Reader {
    connection: Connection,
    tag: String,
    window: u32,
    /// Where to read on.
    next: u64,
    stream: Option<Streaming<ReadResponse>>,
}

impl Reader {
    fn append(&mut self, events: Vec<WireEvent>, last: &Delivery) -> Result<()> {
        let tracking_info = Some(TrackingInfo { source: self.tag.clone(), position: last.tag.parse()? });
        let request = AppendRequest { events, condition: None, tracking_info };
        match self.connection.call::<_, AppendResponse>("Append", request) {
            // Refused as a whole: the last word of a consumer that was killed came first, its effect with it.
            Err(status) if status.code() == Code::FailedPrecondition => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }
}

impl Consumer for Reader {
    fn receive(&mut self) -> Result<Vec<Delivery>> {
        if self.stream.is_none() {
            let request = ReadRequest {
                query: Some(query(&self.tag)),
                start: Some(self.next),
                batch_size: Some(self.window),
                ..ReadRequest::default()
            };
            self.stream = Some(self.connection.read(request)?);
        }
        let stream = self.stream.as_mut().context("was opened")?;
        let Some(page) = runtime().block_on(stream.message())?.filter(|page| !page.events.is_empty()) else {
            // It ends where the log ended when it began.
            self.stream = None;
            std::thread::sleep(Duration::from_millis(5));
            return Ok(Vec::new());
        };
        page.events
            .into_iter()
            .map(|sequenced| {
                self.next = sequenced.position + 1;
                let event = sequenced.event.context("a position has an event")?;
                let event = Event::of_body(std::str::from_utf8(&event.data)?)?;
                Ok(Delivery { event, tag: sequenced.position.to_string() })
            })
            .collect()
    }

    fn acknowledge(&mut self, deliveries: &[Delivery]) -> Result<()> {
        deliveries.last().map_or(Ok(()), |last| self.append(Vec::new(), last))
    }

    fn answer(&mut self, delivery: &Delivery, effect: &Event) -> Result<()> {
        self.append(vec![wire(effect, Source::Effects)], delivery)
    }

    fn refuse(&mut self, delivery: &Delivery, _failure: Failure) -> Result<Behind> {
        // The recorded position stands before it: read on from there.
        self.next = delivery.tag.parse()?;
        self.stream = None;
        Ok(Behind::Withdrawn)
    }
}
