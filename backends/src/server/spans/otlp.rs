//! To an OpenTelemetry collector: OTLP over HTTP, in JSON.
//!
//! The crates of OpenTelemetry would bring a protobuf compiler's output, a second HTTP client and some forty packages into
//! every build, for one POST with a JSON body; so this is written out. Plain HTTP only: a collector runs beside the bus.

use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{Exported, Span};

/// Spans in one request.
const BATCH_MAX: usize = 512;
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How long a collector may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// A collector's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    authority: String,
}

impl Collector {
    /// From an endpoint such as `http://127.0.0.1:4318`; none if it is not one.
    pub fn of(endpoint: &str) -> Option<Self> {
        let authority = endpoint.strip_prefix("http://")?.trim_end_matches('/');
        let (host, port) = authority.rsplit_once(':')?;
        let is_one = !host.is_empty() && !authority.contains('/') && port.parse::<u16>().is_ok();
        is_one.then(|| Self { authority: authority.to_owned() })
    }
}

/// Sends spans until the server that makes them is gone. What a collector does not take is lost and logged: spans are no
/// record of anything.
pub async fn export(mut spans: Exported, collector: Collector) {
    while let Some(first) = spans.0.recv().await {
        let mut batch = vec![first];
        let over = sleep(GATHER);
        tokio::pin!(over);
        while batch.len() < BATCH_MAX {
            tokio::select! {
                biased;
                span = spans.0.recv() => match span {
                    Some(span) => batch.push(span),
                    None => break,
                },
                () = &mut over => break,
            }
        }
        let count = batch.len();
        match timeout(DEADLINE, send(&collector, &batch)).await {
            Ok(Ok(200)) => {}
            Ok(Ok(status)) => tracing::warn!(status, count, "the collector does not take spans"),
            Ok(Err(error)) => tracing::warn!(%error, count, "spans cannot be sent"),
            Err(_) => tracing::warn!(count, "the collector does not answer"),
        }
    }
}

/// One request; the status of its answer.
async fn send(collector: &Collector, spans: &[Span]) -> Result<u16, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(&collector.authority).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post("/v1/traces")
        .header(header::HOST, &collector.authority)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body(spans).to_string())))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status().as_u16();
    // The collector may tell which it did not take; nobody can do anything about it.
    answer.into_body().collect().await?;
    connection.abort();
    Ok(status)
}

fn body(spans: &[Span]) -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let spans: Vec<Value> = spans
        .iter()
        .map(|span| {
            let attributes: Vec<Value> = span.attributes.iter().map(|(key, value)| text(key, value)).collect();
            json!({
                "traceId": span.trace,
                "spanId": span.id,
                "parentSpanId": span.parent,
                "name": span.name,
                // The bus is told of an event, or tells of it.
                "kind": if span.name == "publish" { 5 } else { 4 },
                "startTimeUnixNano": (u128::from(span.began.0) * 1_000).to_string(),
                "endTimeUnixNano": (u128::from(span.ended.0) * 1_000).to_string(),
                "attributes": attributes,
                "status": {"code": if span.failed { 2 } else { 1 }},
            })
        })
        .collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": [text("service.name", "dacapo"), text("service.version", env!("CARGO_PKG_VERSION"))]},
        "scopeSpans": [{"scope": {"name": "dacapo"}, "spans": spans}],
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_endpoints_are_taken() {
        assert!(Collector::of("http://127.0.0.1:4318").is_some());
        assert!(Collector::of("http://otel:4318/").is_some());
        for endpoint in ["https://otel:4318", "otel:4318", "http://otel", "http://:1", "http://otel:4318/v1/traces"] {
            assert_eq!(Collector::of(endpoint), None, "{endpoint}");
        }
    }
}
