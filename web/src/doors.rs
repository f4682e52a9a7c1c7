//! Requests to the bank's services, and questions to the bus.
//!
//! A request bears an idempotency key, so that it may be repeated until its outcome is known: a service that is being
//! restarted, or says "ask again", is asked again. When the time is over, nobody knows what became of it, and that is what
//! the caller is told.

use std::time::Duration;

use dacapo_bank::ids::UserId;
use dacapo_core::Position;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, body::Bytes, client::conn::http1, http::response::Parts};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

/// One attempt: a service answers within milliseconds, and one that died never does.
const ATTEMPT: Duration = Duration::from_secs(3);
/// All attempts: longer than a restart takes, shorter than a person waits.
const ALTOGETHER: Duration = Duration::from_secs(8);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(120);
/// A page of an account's events, with room to spare.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Where the services answer, each as `host:port`.
#[derive(Debug, Clone)]
pub struct Doors {
    /// The users service.
    pub users: String,
    /// The accounts service.
    pub accounts: String,
    /// The transactions service.
    pub transactions: String,
    /// The bus; it is asked for what is long ago.
    pub bus: String,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    /// Of which service.
    pub(crate) door: &'a str,
    /// The path.
    pub(crate) path: String,
    /// The body.
    pub(crate) body: Value,
    /// The idempotency key.
    pub(crate) key: &'a str,
    /// In whose name.
    pub(crate) caller: &'a UserId,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The HTTP status, below 500.
    pub(crate) status: u16,
    /// Where what it changed ends in the log.
    pub(crate) position: Option<Position>,
}

/// Asks until there is an answer; none if there is none in time, and its outcome is unknown.
pub(crate) async fn ask(ask: &Ask<'_>) -> Option<Answer> {
    let attempts = async {
        loop {
            match timeout(ATTEMPT, attempt(ask)).await {
                Ok(Ok(answer)) if answer.status < 500 => return answer,
                Ok(Ok(answer)) => tracing::debug!(status = answer.status, path = ask.path, "asks again"),
                Ok(Err(error)) => tracing::debug!(%error, path = ask.path, "asks again"),
                Err(_) => tracing::debug!(path = ask.path, "no answer; asks again"),
            }
            sleep(PAUSE).await;
        }
    };
    timeout(ALTOGETHER, attempts).await.ok()
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn attempt(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(&ask.path)
        .header("host", ask.door)
        .header("content-type", "application/json")
        .header("idempotency-key", ask.key)
        .header("caller", ask.caller.as_str())
        .body(Full::new(Bytes::from(ask.body.to_string())))?;
    let (parts, _) = exchange(ask.door, request).await?;
    let position = parts.headers.get(dacapo_service::driver::POSITION_HEADER);
    let position = position.and_then(|text| text.to_str().ok()?.parse().ok()).map(Position);
    Ok(Answer { status: parts.status.as_u16(), position })
}

/// Reads something of the bus, once; none if it does not show it.
pub(crate) async fn read<T: DeserializeOwned>(bus: &str, path: &str) -> Option<T> {
    let request = Request::builder().uri(path).header("host", bus).body(Full::new(Bytes::new())).ok()?;
    match timeout(ATTEMPT, exchange(bus, request)).await.ok()? {
        Ok((parts, body)) if parts.status.is_success() => serde_json::from_slice(&body).ok(),
        Ok((parts, _)) => {
            tracing::warn!(status = parts.status.as_u16(), path, "the bus does not show it");
            None
        }
        Err(error) => {
            tracing::debug!(%error, path, "the bus is not there");
            None
        }
    }
}

async fn exchange(door: &str, request: Request<Full<Bytes>>) -> Result<(Parts, Bytes), Failure> {
    let stream = TcpStream::connect(door).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _connection = Connection(tokio::spawn(connection));
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let bytes = Limited::new(body, BODY_BYTES_MAX).collect().await?.to_bytes();
    Ok((parts, bytes))
}

/// The task that moves a connection's bytes; it ends with whoever waits for them.
struct Connection(tokio::task::JoinHandle<Result<(), hyper::Error>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}
