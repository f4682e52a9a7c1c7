//! A running server on a memory store, and clients as plain as can be.
#![allow(dead_code, unreachable_pub, reason = "each test file uses what it needs")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use dacapo_backends::{
    MemoryStore,
    clock::{SystemClock, SystemEntropy},
    server::{Parts, ServeError, ServerConfig, Shutdown, Trigger, serve, tcp},
    threaded::ThreadedStore,
};
use dacapo_core::{
    hooks::{Hooks, NoHooks, World},
    names::NodeName,
    wire::{FromBus, ToBus},
};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct Server {
    pub address: SocketAddr,
    pub trigger: Trigger,
    pub ended: JoinHandle<Result<(), ServeError>>,
}

pub fn world(hooks: Arc<dyn Hooks>) -> World {
    World {
        node: NodeName::of("bus"),
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy::new()),
        hooks,
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::with(ServerConfig::default()).await
    }

    pub async fn with(config: ServerConfig) -> Self {
        Self::on(MemoryStore::new(), config, Arc::new(NoHooks)).await
    }

    pub async fn on(
        store: impl dacapo_core::store::Store + 'static,
        config: ServerConfig,
        hooks: Arc<dyn Hooks>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("is bound");
        let port = Arc::new(ThreadedStore::start(store, 2).expect("starts"));
        let (trigger, shutdown): (_, Shutdown) = Trigger::new();
        let parts = Parts { listener: tcp(listener), port, world: world(hooks), config, shutdown };
        let ended = tokio::spawn(serve(parts));
        let server = Self { address, trigger, ended };
        server.until_ready().await;
        server
    }

    pub async fn until_ready(&self) {
        let ready = async {
            while self.get("/readyz").await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, ready).await.expect("the bus is ready in time");
    }

    pub async fn get(&self, path: &str) -> (u16, serde_json::Value) {
        self.http("GET", path, "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> (u16, serde_json::Value) {
        self.http("POST", path, body).await
    }

    /// Status, and body as JSON (as a JSON string if it is none).
    pub async fn http(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
        let answer = self.raw(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        (status, serde_json::from_str(body).unwrap_or_else(|_| body.into()))
    }

    /// Writes these bytes and reads until the server closes.
    pub async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("connects");
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("answers in time");
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub async fn socket(&self) -> Socket {
        self.try_socket().await.expect("upgrades")
    }

    pub async fn try_socket(&self) -> Result<Socket, tokio_tungstenite::tungstenite::Error> {
        let mut request = format!("ws://{}/v1/bus", self.address).into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "dacapo.v1+json".parse().expect("is a header"));
        let stream = TcpStream::connect(self.address).await?;
        Ok(Socket { stream: client_async(request, stream).await?.0, frames: Vec::new() })
    }

    pub async fn shut_down(self) {
        self.trigger.pull();
        timeout(PATIENCE, self.ended).await.expect("ends in time").expect("does not panic").expect("ends well");
    }
}

pub struct Socket {
    pub stream: WebSocketStream<TcpStream>,
    frames: Vec<FromBus>,
}

impl Socket {
    pub async fn text(&mut self, text: impl Into<String>) {
        self.stream.send(Message::Text(text.into().into())).await.expect("is sent");
    }

    pub async fn send(&mut self, frame: impl Into<ToBus>) {
        self.text(frame.into().encode()).await;
    }

    /// The next frame; none when the connection is closed.
    pub async fn next(&mut self) -> Option<FromBus> {
        while self.frames.is_empty() {
            match timeout(PATIENCE, self.stream.next()).await.expect("something comes in time")? {
                Ok(Message::Text(text)) => {
                    self.frames = FromBus::decode(&text).expect("the bus sends frames");
                    self.frames.reverse();
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
        self.frames.pop()
    }

    /// The next frame as the JSON that stands on the wire.
    pub async fn json(&mut self) -> serde_json::Value {
        let frame = self.next().await.expect("the connection is open");
        serde_json::from_str(&frame.encode()).expect("is JSON")
    }

    /// Reads until the connection is closed; what came last.
    pub async fn last_words(&mut self) -> Vec<FromBus> {
        let mut words = Vec::new();
        while let Some(frame) = self.next().await {
            words.push(frame);
        }
        words
    }
}
