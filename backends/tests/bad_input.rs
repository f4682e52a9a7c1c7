//! Whatever a stranger sends: a clear error each, nothing lost, and the server goes on.

mod common;

use std::time::Duration;

use common::{PATIENCE, Server, Socket};
use dacapo_backends::server::ServerConfig;
use dacapo_core::{
    limits::{FRAME_BYTES_MAX, Limits},
    wire::{ErrorCode, FromBus},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    Bytes, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

/// The server still does its main job.
async fn still_serves(server: &Server, id: &str) {
    let event = json!({"id": id, "type": "T", "key": "k", "source": "test"}).to_string();
    let (status, body) = server.post("/v1/events", &event).await;
    assert_eq!((status, &body["receipts"][0]["status"]), (200, &json!("accepted")), "{body}");
}

fn codes(words: &[FromBus]) -> Vec<ErrorCode> {
    words
        .iter()
        .filter_map(|frame| match frame {
            FromBus::Error(error) => {
                assert!(!error.message.is_empty() && !error.help.is_empty(), "{error:?}");
                Some(error.code)
            }
            _ => None,
        })
        .collect()
}

async fn pings(socket: &mut Socket) {
    socket.text(r#"{"kind":"ping","nonce":1}"#).await;
    assert_eq!(socket.json().await["kind"], "pong");
}

#[tokio::test]
async fn a_message_that_is_no_frame_is_told_so_and_the_connection_goes_on() {
    let server = Server::start().await;
    let mut socket = server.socket().await;
    for (text, code) in [
        ("", "malformed"),
        ("{", "malformed"),
        ("nonsense", "malformed"),
        ("null", "malformed"),
        ("[1]", "malformed"),
        ("{}", "malformed"),
        (r#"{"kind":7}"#, "malformed"),
        (r#"{"kind":"dance"}"#, "unknown_kind"),
        (r#"{"kind":"welcome"}"#, "unknown_kind"),
        (r#"{"kind":"ping"}"#, "malformed"),
        (r#"{"kind":"ping","nonce":-1}"#, "malformed"),
        (r#"{"kind":"ping","nonce":1e400}"#, "malformed"),
        (r#"{"kind":"publish","request":1,"events":"many"}"#, "malformed"),
        (r#"{"kind":"publish","request":1,"events":[{"id":"","type":"T","key":"k"}]}"#, "malformed"),
        (r#"{"kind":"publish","request":1,"events":[{"id":"a\u0000b","type":"T","key":"k"}]}"#, "malformed"),
        (r#"[{"kind":"ping","nonce":1},{"kind":"dance"}]"#, "unknown_kind"),
        (r#"{"kind":"complete","position":1,"token":{"term":1,"session":1,"epoch":1,"attempt":1}}"#, "out_of_turn"),
        (r#"{"kind":"credit","credit":1}"#, "out_of_turn"),
        (r#"{"kind":"credit","request":9,"credit":1}"#, "not_found"),
    ] {
        socket.text(text).await;
        let error = socket.json().await;
        assert_eq!((&error["kind"], &error["code"]), (&json!("error"), &json!(code)), "{text}: {error}");
        assert!(!error["help"].as_str().expect("is text").is_empty(), "{text}: {error}");
        pings(&mut socket).await;
    }
    // Deeper than any parser should follow.
    socket.text("[".repeat(100_000)).await;
    assert_eq!(socket.json().await["code"], "malformed");
    socket.text(format!(r#"{{"kind":"ping","nonce":1,"deep":{}{}}}"#, "[".repeat(9_999), "]".repeat(9_999))).await;
    let _ = socket.json().await;
    still_serves(&server, "e-1").await;
    server.shut_down().await;
}

#[tokio::test]
async fn a_peer_that_sends_only_nonsense_is_closed_after_some_of_it() {
    let server = Server::start().await;
    let mut socket = server.socket().await;
    for _ in 0..16 {
        socket.text("nonsense").await;
    }
    assert_eq!(codes(&socket.last_words().await), vec![ErrorCode::Malformed; 16]);
    still_serves(&server, "e-1").await;
    server.shut_down().await;
}

#[tokio::test]
async fn binary_and_bad_utf8_are_told_so_and_closed() {
    let server = Server::start().await;
    let mut socket = server.socket().await;
    socket.stream.send(Message::Binary(vec![1, 2, 3].into())).await.expect("is sent");
    assert_eq!(codes(&socket.last_words().await), [ErrorCode::Malformed]);

    let mut socket = server.socket().await;
    let frame = Frame::message(Bytes::from_static(&[0xff, 0xfe]), OpCode::Data(Data::Text), true);
    socket.stream.send(Message::Frame(frame)).await.expect("is sent");
    assert_eq!(codes(&socket.last_words().await), [ErrorCode::Malformed]);
    still_serves(&server, "e-1").await;
    server.shut_down().await;
}

#[tokio::test]
async fn a_frame_of_100_mb_is_refused_before_it_is_read() {
    let server = Server::start().await;
    let socket = server.socket().await;
    let (mut sink, stream) = socket.stream.split();
    let sending = tokio::spawn(async move {
        // The connection breaks under it, at the latest.
        let _ = sink.send(Message::Text("x".repeat(100 << 20).into())).await;
    });
    let messages: Vec<_> = timeout(PATIENCE, stream.take(2).collect()).await.expect("in time");
    let Some(Ok(Message::Text(text))) = messages.first() else { panic!("an error comes first: {messages:?}") };
    assert_eq!(codes(&FromBus::decode(text).expect("is a frame")), [ErrorCode::TooLarge]);
    timeout(PATIENCE, sending).await.expect("in time").expect("does not panic");
    still_serves(&server, "e-1").await;
    server.shut_down().await;
}

#[tokio::test]
async fn bad_bodies_are_told_where_they_are_wrong() {
    let server = Server::start().await;
    let large = format!(r#"{{"id":"e","type":"T","key":"k","source":"s","data":"{}"}}"#, "x".repeat(2 << 20));
    let many: Vec<_> =
        (0..1_025).map(|n| json!({"id": format!("e-{n}"), "type": "T", "key": "k", "source": "s"})).collect();
    for (body, status, told) in [
        ("{\n \"id\": oops}".to_owned(), 400, "line 2 column"),
        ("[]".to_owned(), 422, "empty_batch"),
        (r#"{"id":"e","type":"T","key":"k"}"#.to_owned(), 422, "source"),
        (r#"{"id":"e","type":"$T","key":"k","source":"s"}"#.to_owned(), 422, "reserved"),
        (r#"{"id":"e","type":"T","key":"k","source":"s","expectation":-1}"#.to_owned(), 400, "any"),
        (r#"{"id":"e","type":"T","key":"k","source":"s","causation":"nowhere"}"#.to_owned(), 422, "unknown_cause"),
        (format!(r#"{{"id":"{}","type":"T","key":"k"}}"#, "x".repeat(257)), 400, "257 bytes"),
        (large, 422, "data_too_large"),
        (json!(many).to_string(), 422, "batch_too_large"),
        ("x".repeat(FRAME_BYTES_MAX + 1), 413, "split the batch"),
    ] {
        let (got, answer) = server.post("/v1/events", &body).await;
        let shown: String = body.chars().take(60).collect();
        assert_eq!(got, status, "{shown}: {answer}");
        assert!(answer.to_string().contains(told), "{shown}: {answer}");
        assert!(answer["detail"].is_string() && answer["help"].is_string(), "{shown}: {answer}");
    }
    let bytes = b"POST /v1/events HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 2\r\n\r\n\xff\xfe";
    assert!(server.raw(bytes).await.starts_with("HTTP/1.1 400"));
    assert!(server.raw(b"\x16\x03\x01 this is not HTTP\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    let upgrade = b"GET /v1/bus HTTP/1.1\r\nhost: t\r\nconnection: close, upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        sec-websocket-protocol: soap\r\n\r\n";
    let answer = server.raw(upgrade).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("offer dacapo.v1+json"), "{answer}");
    let headers = format!("GET / HTTP/1.1\r\nhost: t\r\nx: {}\r\n\r\n", "x".repeat(64 << 10));
    assert!(server.raw(headers.as_bytes()).await.starts_with("HTTP/1.1 431"));
    still_serves(&server, "e-1").await;
    server.shut_down().await;
}

#[tokio::test]
async fn whoever_dawdles_over_headers_or_body_is_not_waited_for() {
    let deadline = Duration::from_millis(100);
    let config = ServerConfig { header_deadline: deadline, request_deadline: deadline, ..ServerConfig::default() };
    let server = Server::with(config).await;
    let mut silent = TcpStream::connect(server.address).await.expect("connects");
    let mut half = TcpStream::connect(server.address).await.expect("connects");
    half.write_all(b"GET /healthz HT").await.expect("is sent");
    for stream in [&mut silent, &mut half] {
        let closed = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_ok(), "it is closed in time");
    }
    let slow =
        server.raw(b"POST /v1/events HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 9\r\n\r\n{").await;
    assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
    still_serves(&server, "e-1").await;
    server.shut_down().await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_and_the_others_do_not_notice() {
    let limits = Limits { send_queue_bytes_max: 256 << 10, ..Limits::default() };
    let server = Server::with(ServerConfig { limits, ..ServerConfig::default() }).await;
    let payload = "x".repeat(200 << 10);
    for n in 0..4 {
        let event = json!({"id": format!("e-{n}"), "type": "T", "key": "k", "source": "s", "data": payload});
        assert_eq!(server.post("/v1/events", &event.to_string()).await.0, 200);
    }
    let mut deaf = server.socket().await;
    for request in 0..64 {
        // It asks for 50 MB and never looks at the answers; the server may have had enough before it has asked.
        let read = json!({"kind": "read", "request": request, "what": {"key": {"key": "k", "after": 0}}});
        if deaf.stream.send(Message::Text(read.to_string().into())).await.is_err() {
            break;
        }
    }
    let cut = async {
        loop {
            let (_, metrics) = server.get("/metrics").await;
            let metrics = metrics.as_str().expect("is text");
            if metrics.contains("dacapo_readers_slow_total 1\n") && metrics.contains("dacapo_connections 0\n") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, cut).await.expect("it is cut in time");
    pings(&mut server.socket().await).await;
    still_serves(&server, "e-last").await;
    server.shut_down().await;
}

/// 2,000 connections, or as many as this process may have: each takes two of its file descriptors.
fn connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    let files: usize = files.and_then(|files| files.parse().ok()).unwrap_or(1_024);
    (files.saturating_sub(256) / 2).min(2_000)
}

#[tokio::test]
async fn thousands_of_idle_connections_cost_nothing_but_their_sockets() {
    let server = Server::start().await;
    let mut idle = Vec::new();
    for n in 0..connections() {
        if n % 2 == 0 {
            let socket = server.socket().await;
            idle.push((Some(socket), None));
        } else {
            idle.push((None, Some(TcpStream::connect(server.address).await.expect("connects"))));
        }
    }
    still_serves(&server, "e-1").await;
    pings(&mut server.socket().await).await;
    drop(idle);
    still_serves(&server, "e-2").await;
    server.shut_down().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so() {
    let limits = Limits { connections_max: 2, ..Limits::default() };
    let server = Server::with(ServerConfig { limits, ..ServerConfig::default() }).await;
    let (one, two) = (server.socket().await, server.socket().await);
    let (status, body) = server.get("/healthz").await;
    assert_eq!(status, 503);
    assert!(body["detail"].as_str().expect("is text").contains("2 connections are open"), "{body}");
    assert!(server.try_socket().await.is_err());
    drop((one, two));
    server.until_ready().await;
    server.shut_down().await;
}

#[tokio::test]
async fn a_connection_that_vanishes_in_the_middle_of_anything_leaves_nothing_behind() {
    let server = Server::start().await;
    for n in 0..50_usize {
        let mut stream = TcpStream::connect(server.address).await.expect("connects");
        let body = json!({"id": format!("v-{n}"), "type": "T", "key": "v", "source": "s"}).to_string();
        let head = format!("POST /v1/events HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let cut = n * head.len() / 49;
        stream.write_all(&head.as_bytes()[..cut]).await.expect("is sent");
        drop(stream);
        let mut socket = server.socket().await;
        socket.text(format!(r#"{{"kind":"publish","request":1,"events":[{body}]}}"#)).await;
        drop(socket);
    }
    let gone = async {
        while !server.get("/metrics").await.1.as_str().expect("is text").contains("dacapo_connections 0\n") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("in time");
    let (_, key) = server.get("/v1/keys/v?limit=1000").await;
    let versions: Vec<_> =
        key["events"].as_array().expect("some came through").iter().map(|it| &it["version"]).collect();
    assert!((1..=50).contains(&versions.len()), "each id at most once: {}", versions.len());
    still_serves(&server, "e-1").await;
    server.shut_down().await;
}
