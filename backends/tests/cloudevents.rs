//! CloudEvents over the real server, held against the SDKs of others: the official Rust one, and the Python one where it is
//! installed (`DACAPO_PYTHON` names the interpreter to ask; if it has none, that test says that it was skipped).

mod common;

use std::process::Command;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use cloudevents::{
    AttributesReader as _, Data, Event, EventBuilder as _, EventBuilderV10, binding::http::to_event,
    event::ExtensionValue,
};
use common::{PATIENCE, Server};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

/// Status, headers and body of one request.
async fn exchange(server: &Server, method: &str, path: &str, headers: &str, body: &str) -> (u16, HeaderMap, String) {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let answer = server.raw(request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("has a head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("has a status");
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| {
            (HeaderName::try_from(name).expect("is a name"), HeaderValue::try_from(value).expect("is a value"))
        })
        .collect();
    (status, headers, body.to_owned())
}

fn of_the_sdk(id: &str) -> Event {
    EventBuilderV10::new()
        .id(id)
        .ty("com.example.Paid")
        .source("https://shop.example/till")
        .subject("acc-3")
        .time("2018-04-05T03:56:24Z")
        .extension("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .extension("comexample", "Euro € \"5%\"")
        .data("application/json", json!({"pence": 500}))
        .build()
        .expect("is a CloudEvent")
}

/// What the bus keeps is there again, and what the bus sets is there.
fn is_the_same(event: &Event, id: &str, position: u64, version: u64) {
    let sent = of_the_sdk(id);
    assert_eq!((event.id(), event.ty()), (sent.id(), sent.ty()));
    assert_eq!((event.source(), event.subject()), (sent.source(), sent.subject()));
    assert_eq!((event.time(), event.datacontenttype()), (sent.time(), sent.datacontenttype()));
    let data = match event.data().expect("has data") {
        Data::Json(data) => data.clone(),
        Data::Binary(bytes) => serde_json::from_slice(bytes).expect("is JSON"),
        Data::String(text) => serde_json::from_str(text).expect("is JSON"),
    };
    assert_eq!(data, json!({"pence": 500}));
    for (name, value) in sent.iter_extensions() {
        assert_eq!(event.extension(name), Some(value), "{name}");
    }
    let text = |name: &str| match event.extension(name) {
        Some(ExtensionValue::String(text)) => text.clone(),
        other => panic!("{name} is {other:?}"),
    };
    assert_eq!(text("sequence"), format!("{position:020}"));
    assert_eq!((text("keyversion"), text("partitionkey")), (version.to_string(), "acc-3".to_owned()));
}

#[tokio::test]
async fn what_the_rust_sdk_sends_in_each_mode_it_reads_again_in_each_mode() {
    let server = Server::start().await;
    let structured = serde_json::to_string(&of_the_sdk("structured")).expect("is JSON");
    let (status, _, body) =
        exchange(&server, "POST", "/v1/events", "content-type: application/cloudevents+json\r\n", &structured).await;
    assert_eq!(status, 200, "{body}");

    let batch = serde_json::to_string(&[of_the_sdk("batch-1"), of_the_sdk("batch-2")]).expect("is JSON");
    let (status, _, body) =
        exchange(&server, "POST", "/v1/events", "content-type: application/cloudevents-batch+json\r\n", &batch).await;
    assert_eq!(status, 200, "{body}");

    let binary = "ce-specversion: 1.0\r\nce-id: binary\r\nce-type: com.example.Paid\r\nce-source: https://shop.example/till\r\n\
                  ce-subject: acc-3\r\nce-time: 2018-04-05T03:56:24Z\r\ncontent-type: application/json\r\n\
                  ce-traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
                  ce-comexample: Euro%20%E2%82%AC%20%225%25%22\r\n";
    let (status, _, body) = exchange(&server, "POST", "/v1/events", binary, r#"{"pence":500}"#).await;
    assert_eq!(status, 200, "{body}");

    let ids = ["structured", "batch-1", "batch-2", "binary"];
    for (id, position) in ids.into_iter().zip(1..) {
        let path = format!("/v1/events/{position}");
        let (_, headers, body) = exchange(&server, "GET", &path, "accept: application/cloudevents+json\r\n", "").await;
        assert_eq!(headers["content-type"], "application/cloudevents+json");
        is_the_same(&serde_json::from_str(&body).expect("the SDK reads it"), id, position, position);
        let event = to_event(&headers, body.into_bytes()).expect("the SDK reads the response");
        is_the_same(&event, id, position, position);

        let (_, mut headers, body) = exchange(&server, "GET", &format!("{path}?mode=binary"), "", "").await;
        // The Rust SDK takes a header's value as it is; decoding it is what the specification demands of a reader.
        assert_eq!(headers["ce-comexample"], "Euro%20%E2%82%AC%20%225%25%22");
        headers.remove("ce-comexample");
        let event = to_event(&headers, body.into_bytes()).expect("the SDK reads it");
        assert_eq!((event.id(), event.subject(), event.time()), (id, Some("acc-3"), of_the_sdk(id).time()));
    }
    let (_, headers, body) =
        exchange(&server, "GET", "/v1/events", "accept: application/cloudevents-batch+json\r\n", "").await;
    assert_eq!(headers["content-type"], "application/cloudevents-batch+json");
    let events: Vec<Event> = serde_json::from_str(&body).expect("the SDK reads them");
    assert_eq!(events.iter().map(cloudevents::AttributesReader::id).collect::<Vec<_>>(), ids);
    server.shut_down().await;
}

#[tokio::test]
async fn what_cannot_enter_is_a_problem_that_says_why() {
    let server = Server::start().await;
    let post = async |content_type: &str, body: &str| {
        let header = format!("content-type: {content_type}\r\n");
        let (status, headers, body) = exchange(&server, "POST", "/v1/events", &header, body).await;
        assert_eq!(headers["content-type"], "application/problem+json");
        (status, serde_json::from_str::<Value>(&body).expect("is JSON")["detail"].as_str().expect("is text").to_owned())
    };
    let (status, detail) = post("application/cloudevents+json", r#"{"specversion":"1.0","id":"e"}"#).await;
    assert!(status == 400 && detail.contains("source is missing"), "{status} {detail}");
    let bytes = r#"{"specversion":"1.0","id":"e","source":"s","type":"T","data_base64":"AAEC"}"#;
    let (status, detail) = post("application/cloudevents+json", bytes).await;
    assert!(status == 415 && detail.contains("neither JSON nor text"), "{status} {detail}");
    let (status, detail) = post("application/cloudevents+avro", "").await;
    assert!(status == 400 && detail.contains("avro"), "{status} {detail}");
    let stale = r#"{"specversion":"1.0","id":"e","source":"s","type":"T","subject":"k","expectedversion":3}"#;
    let (status, detail) = post("application/cloudevents+json", stale).await;
    assert!(status == 409 && detail.contains("did not hold"), "{status} {detail}");
    server.shut_down().await;
}

#[tokio::test]
async fn a_socket_of_cloudevents_publishes_in_order_and_follows_the_log() {
    let server = Server::start().await;
    let open = async |protocol: &'static str, query: &str| {
        let mut request =
            format!("ws://{}/v1/cloudevents{query}", server.address).into_client_request().expect("is an address");
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
        let stream = TcpStream::connect(server.address).await.expect("connects");
        client_async(request, stream).await.map(|(socket, _)| socket)
    };
    assert!(open("dacapo.v1+json", "").await.is_err(), "another protocol is not spoken here");
    let mut follower = open("cloudevents.json", "?cursor=0&type=com.example.Paid").await.expect("opens");
    let mut publisher = open("cloudevents.json", "?follow=false").await.expect("opens");
    for id in ["first", "second", "first"] {
        let text = serde_json::to_string(&of_the_sdk(id)).expect("is JSON");
        publisher.send(Message::text(text)).await.expect("is sent");
    }
    for (id, position) in [("first", 1), ("second", 2)] {
        let message =
            timeout(PATIENCE, follower.next()).await.expect("comes in time").expect("is open").expect("is one");
        let event: Event = serde_json::from_str(message.to_text().expect("is text")).expect("the SDK reads it");
        is_the_same(&event, id, position, position);
    }
    let stale = r#"{"specversion":"1.0","id":"e","source":"s","type":"T","subject":"acc-3","expectedversion":9}"#;
    publisher.send(Message::text(stale)).await.expect("is sent");
    let end = timeout(PATIENCE, publisher.next()).await.expect("comes in time").expect("says why").expect("is a frame");
    let Message::Close(Some(close)) = end else { panic!("{end:?} is no end") };
    assert_eq!(u16::from(close.code), 1_008);
    assert!(close.reason.contains("acc-3, which is at 2"), "{}", close.reason);
    server.shut_down().await;
}

/// Sends one event in each mode, and reads all of them again.
const PYTHON: &str = r#"
import json, sys, urllib.request
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
bus = sys.argv[1]
def ask(path, headers={}, body=None):
    with urllib.request.urlopen(urllib.request.Request(bus + path, data=body, headers=headers)) as answer:
        return HTTPMessage(headers={name.lower(): value for name, value in answer.headers.items()}, body=answer.read())
for number, to in enumerate((to_binary_event, to_structured_event), 1):
    sent = CloudEvent({"id": f"py-{number}", "source": "/python", "type": "Noted", "subject": "acc 3", "specversion": "1.0",
                       "datacontenttype": "application/json", "note": "Euro € \"5%\""}, {"pence": number})
    message = to(sent)
    ask("/v1/events", message.headers, message.body)
    for path, headers in ((f"/v1/events/{number}?mode=binary", {}), (f"/v1/events/{number}", {"accept": "application/cloudevents+json"})):
        got = from_http_event(ask(path, headers))
        assert got.get_id() == sent.get_id() and got.get_source() == "/python" and got.get_type() == "Noted", path
        assert got.get_subject() == "acc 3" and got.get_data() == {"pence": number}, (path, got.get_data())
        assert got.get_extension("note") == "Euro € \"5%\"", (path, got.get_extension("note"))
        assert got.get_extension("sequence") == f"{number:020}" and got.get_extension("keyversion") == str(number), path
print("both modes there and back")
"#;

#[expect(clippy::disallowed_methods, reason = "a real process is waited for, and nothing is simulated")]
#[tokio::test]
async fn what_the_python_sdk_sends_it_reads_again() {
    let python = std::env::var("DACAPO_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_it = Command::new(&python).args(["-c", "import cloudevents.core.bindings.http"]).output();
    if !has_it.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} has no cloudevents 2; pip install cloudevents, and name it in DACAPO_PYTHON");
        return;
    }
    let server = Server::start().await;
    let bus = format!("http://{}", server.address);
    let asked = tokio::task::spawn_blocking(move || Command::new(python).args(["-c", PYTHON, &bus]).output());
    let output = asked.await.expect("does not panic").expect("can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "both modes there and back");
    server.shut_down().await;
}
