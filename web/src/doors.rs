//! Requests to the bank's services.
//!
//! A request bears an idempotency key, so that it may be repeated until its outcome is known: a service that is being
//! restarted, or says "ask again", is asked again. When the time is over, nobody knows what became of it, and that is what
//! the caller is told.

use std::time::Duration;

use dacapo_bank::ids::UserId;
use dacapo_core::Position;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
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
/// A service's answers are short.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Where the services answer, each as `host:port`.
#[derive(Debug, Clone)]
pub struct Doors {
    /// The users service.
    pub users: String,
    /// The accounts service.
    pub accounts: String,
    /// The transactions service.
    pub transactions: String,
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
    let stream = TcpStream::connect(ask.door).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = Connection(tokio::spawn(connection));
    let request = Request::builder()
        .method(Method::POST)
        .uri(&ask.path)
        .header("host", ask.door)
        .header("content-type", "application/json")
        .header("idempotency-key", ask.key)
        .header("caller", ask.caller.as_str())
        .body(Full::new(Bytes::from(ask.body.to_string())))?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let position = response.headers().get(dacapo_service::driver::POSITION_HEADER);
    let position = position.and_then(|text| text.to_str().ok()?.parse().ok()).map(Position);
    Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await?;
    drop(connection);
    Ok(Answer { status, position })
}

/// The task that moves a connection's bytes; it ends with whoever waits for them.
struct Connection(tokio::task::JoinHandle<Result<(), hyper::Error>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}
