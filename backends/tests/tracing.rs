//! A trace goes through the bus: it is stored with the event, delivered, goes on in what the handling produced, and its spans
//! reach a collector.

mod common;

use common::{PATIENCE, Server};
use dacapo_backends::server::{
    ServerConfig,
    spans::{Collector, Spans, export},
};
use dacapo_core::wire::FromBus;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-b7ad6b7169203331-{flags}")
}

/// A collector that takes requests until it has so many spans.
async fn collect(listener: TcpListener, wanted: usize) -> Vec<Value> {
    let mut spans = Vec::new();
    while spans.len() < wanted {
        let (mut stream, _) = listener.accept().await.expect("comes");
        let mut request = Vec::new();
        let body = loop {
            let mut piece = [0; 4_096];
            let read = stream.read(&mut piece).await.expect("can be read");
            request.extend_from_slice(&piece[..read]);
            let text = String::from_utf8_lossy(&request).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
            let length = head
                .to_ascii_lowercase()
                .split("content-length: ")
                .nth(1)
                .map(|rest| rest.split("\r\n").next().unwrap_or_default().parse::<usize>().expect("is a number"));
            if body.len() >= length.expect("has a length") {
                break body.to_owned();
            }
        };
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.expect("can be sent");
        let body: Value = serde_json::from_str(&body).expect("is JSON");
        let resource = &body["resourceSpans"][0];
        assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "dacapo");
        spans.extend(resource["scopeSpans"][0]["spans"].as_array().expect("are spans").clone());
    }
    spans
}

#[tokio::test]
async fn a_trace_goes_through_publish_delivery_and_completion_and_its_spans_reach_a_collector() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let endpoint = format!("http://{}", listener.local_addr().expect("is bound"));
    let (spans, exported) = Spans::channel();
    tokio::spawn(export(exported, Collector::of(&endpoint).expect("is an endpoint")));
    let collected = tokio::spawn(collect(listener, 3));

    let server = Server::with(ServerConfig { spans: Some(spans), ..ServerConfig::default() }).await;
    let mut socket = server.socket().await;
    let hello = json!({"kind": "hello", "service": "accounts", "instance": "one", "incarnation": 1, "types": ["Paid"], "credit": 4});
    socket.text(hello.to_string()).await;
    socket.text(json!({"kind": "ready"}).to_string()).await;

    // By the header of the request, as a proxy or a client library sends it.
    let body = json!({"id": "e-1", "type": "Paid", "key": "acc-3", "source": "till"}).to_string();
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nhost: test\r\ntraceparent: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        traceparent("01"),
        body.len()
    );
    assert!(server.raw(request.as_bytes()).await.starts_with("HTTP/1.1 200"));
    // One that is not sampled leaves no span, and one that is no traceparent is left out.
    for (id, trace) in [("e-2", traceparent("00")), ("e-3", "nonsense".to_owned())] {
        let event =
            json!({"id": id, "type": "Other", "key": "k", "source": "till", "attributes": {"traceparent": trace}});
        assert_eq!(server.post("/v1/events", &event.to_string()).await.0, 200);
    }
    let deliver = loop {
        if let Some(FromBus::Deliver(deliver)) = socket.next().await {
            break deliver;
        }
    };
    assert_eq!(deliver.event.attributes.get("traceparent"), Some(&*traceparent("01")));
    let complete = json!({"kind": "complete", "position": deliver.event.position, "token": deliver.token,
        "events": [{"id": "e-1/0", "type": "Booked", "key": "acc-3"}]});
    socket.text(complete.to_string()).await;
    while !matches!(socket.next().await, Some(FromBus::Completed(_))) {}
    let (_, page) = server.get("/v1/events?id=e-1/0").await;
    assert_eq!(page["events"][0]["attributes"]["traceparent"], traceparent("01"), "it goes on in what came of it");

    let spans = timeout(PATIENCE, collected).await.expect("come in time").expect("does not panic");
    let named = |name: &str| -> Vec<&Value> { spans.iter().filter(|span| span["name"] == name).collect() };
    let (publish, delivered) = (named("publish"), named("deliver"));
    assert_eq!((publish.len(), delivered.len()), (2, 1), "{spans:?}");
    for span in &spans {
        assert_eq!((&span["traceId"], &span["parentSpanId"]), (&json!(TRACE), &json!("b7ad6b7169203331")));
        let nanos = |name: &str| span[name].as_str().and_then(|text| text.parse::<u64>().ok()).expect("is a number");
        assert!(nanos("startTimeUnixNano") <= nanos("endTimeUnixNano"));
        assert_eq!(span["status"]["code"], 1);
    }
    let attributes = delivered[0]["attributes"].to_string();
    assert!(attributes.contains("accounts") && attributes.contains("acc-3"), "{attributes}");
    server.shut_down().await;
}
