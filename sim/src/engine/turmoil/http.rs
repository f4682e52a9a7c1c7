//! A customer's HTTP client: one request, one connection.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use dacapo_core::{NodeName, Position};
use dacapo_properties::Operation;
use dacapo_service::Method;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;

use super::{
    net::{SERVICE_PORT, connect},
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

/// Sends an operation to a host and reads the answer: status and body.
pub(super) async fn ask(
    stage: &Arc<Stage>,
    life: &Arc<Life>,
    to: &NodeName,
    operation: &Operation,
    at_least: Option<Position>,
) -> Result<(u16, String), NoAnswer> {
    let stream = connect(Arc::clone(stage), Arc::clone(life), to.clone(), SERVICE_PORT)
        .await
        .map_err(|error| NoAnswer::of("connecting", &error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| NoAnswer::of("connecting", &error))?;
    let driving = tokio::spawn(async move {
        // What becomes of the connection is told to whoever waits for the answer.
        let _ = connection.await;
    });
    let request = request(to, life, operation, at_least).map_err(|error| NoAnswer::of("asking", &error))?;
    let result = async {
        let response = sender.send_request(request).await.map_err(|error| NoAnswer::of("asking", &error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| NoAnswer::of("reading the answer", &error))?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    let result = result.await;
    driving.abort();
    result
}

fn request(
    to: &NodeName,
    life: &Life,
    operation: &Operation,
    at_least: Option<Position>,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let mut request = Request::builder()
        .method(name(operation.method))
        .uri(&operation.path)
        .header("host", to.as_str())
        .header("caller", life.host.as_str())
        .header("idempotency-key", format!("op-{}", operation.id));
    if !operation.body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    if let Some(position) = at_least {
        request = request.header("dacapo-position", position.to_string());
    }
    request.body(Full::new(Bytes::from(operation.body.clone())))
}

/// The method's name on the wire.
pub(super) fn name(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
    }
}
