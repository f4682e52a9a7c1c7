//! The HTTP client of customers and of the administrator: one request, one connection.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use dacapo_core::{NodeName, Position, access::Secret};
use dacapo_service::{Method, driver::routing::method_name};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::{
    net::connect,
    stage::{Life, Stage},
};

/// The largest answer that a customer reads.
const BODY_BYTES_MAX: usize = 8 << 20;

/// Why there is no answer, in words for the trace. Nothing that differs from run to run may be in it.
#[derive(Debug)]
pub(super) struct NoAnswer(pub(super) String);

impl NoAnswer {
    fn of(doing: &str, error: &dyn fmt::Display) -> Self {
        Self(format!("{doing}: {error}"))
    }
}

/// A request on its way to a host.
pub(super) struct Asking<'a> {
    pub(super) to: &'a NodeName,
    pub(super) port: u16,
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) body: &'a str,
    pub(super) idempotency_key: Option<String>,
    /// Only an answer that has seen this position will do.
    pub(super) at_least: Option<Position>,
    /// The token to show.
    pub(super) secret: Option<Secret>,
}

/// Sends a request and reads the answer: status and body.
pub(super) async fn ask(stage: &Arc<Stage>, life: &Arc<Life>, asking: &Asking<'_>) -> Result<(u16, String), NoAnswer> {
    let (status, body) = fetch(stage, life, asking).await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The same with a body that need not be text.
pub(super) async fn fetch(stage: &Arc<Stage>, life: &Arc<Life>, asking: &Asking<'_>) -> Result<(u16, Bytes), NoAnswer> {
    let stream = connect(Arc::clone(stage), Arc::clone(life), asking.to.clone(), asking.port)
        .await
        .map_err(|error| NoAnswer::of("connecting", &error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| NoAnswer::of("connecting", &error))?;
    let driving = tokio::spawn(async move {
        // What becomes of the connection is told to whoever waits for the answer.
        let _ = connection.await;
    });
    let _driving = Ends(driving);
    let request = request(life, asking).map_err(|error| NoAnswer::of("asking", &error))?;
    let response = sender.send_request(request).await.map_err(|error| NoAnswer::of("asking", &error))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| NoAnswer::of("reading the answer", &error))?;
    Ok((status, body.to_bytes()))
}

/// Ends a task when it is dropped, be it by a deadline.
struct Ends(JoinHandle<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn request(life: &Life, asking: &Asking<'_>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let mut request = Request::builder()
        .method(method_name(asking.method))
        .uri(asking.path)
        .header("host", asking.to.as_str())
        .header("caller", life.host.as_str());
    if let Some(key) = &asking.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    if let Some(secret) = &asking.secret {
        request = request.header("authorization", format!("Bearer {}", secret.reveal()));
    }
    if !asking.body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    if let Some(position) = asking.at_least {
        request = request.header("dacapo-position", position.to_string());
    }
    request.body(Full::new(Bytes::copy_from_slice(asking.body.as_bytes())))
}
