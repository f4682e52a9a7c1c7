//! Peers that dawdle: each is closed in time, and holds up nobody meanwhile.

mod common;

use std::time::Duration;

use common::{PATIENCE, Server};
use dacapo_backends::server::ServerConfig;
use dacapo_core::limits::{Limits, PAGE_BYTES_MAX};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

const SHORT: Duration = Duration::from_millis(300);
/// Their answers are more than the system takes for a peer that does not read.
const QUESTIONS: usize = 16;

async fn turned_away(server: &Server) -> u64 {
    let (_, text) = server.get("/metrics").await;
    let text = text.as_str().expect("is text").to_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("dacapo_connections_refused_total "));
    line.and_then(|count| count.parse().ok()).expect("is counted")
}

/// How much comes until the server ends the connection.
async fn read_to_end(stream: &mut TcpStream) -> usize {
    let mut all = Vec::new();
    // It may be reset, which is an end as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("ends in time");
    all.len()
}

#[tokio::test]
async fn whoever_asks_for_much_and_reads_nothing_does_not_keep_his_place() {
    let limits = Limits { connections_max: 3, ..Limits::default() };
    let server = Server::with(ServerConfig { limits, write_deadline: SHORT, ..ServerConfig::default() }).await;
    let payload = "x".repeat(900_000);
    for id in 0..32 {
        let event = json!({"id": format!("e-{id}"), "type": "T", "key": "k", "source": "s", "data": payload});
        assert_eq!(server.post("/v1/events", &event.to_string()).await.0, 200);
    }
    // All places but one are taken by peers that ask for a large page over and over, and read none of it.
    let question = b"GET /v1/events?limit=32 HTTP/1.1\r\nhost: x\r\n\r\n".repeat(QUESTIONS);
    let mut idle = Vec::new();
    for _ in 0..2 {
        let socket = TcpSocket::new_v4().expect("can be made");
        socket.set_recv_buffer_size(4_096).expect("can be small");
        let mut stream = socket.connect(server.address).await.expect("connects");
        stream.write_all(&question).await.expect("is sent");
        idle.push(stream);
    }
    sleep(SHORT * 5).await;
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.expect("connects");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("is sent");
        let mut status = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut status)).await.expect("in time").expect("is answered");
        assert_eq!(&status, b"HTTP/1.1 200", "a place was given back");
        others.push(stream);
    }
    for mut stream in idle {
        let read = read_to_end(&mut stream).await;
        assert!(read < QUESTIONS * PAGE_BYTES_MAX / 2, "{read} bytes had been sent before the connection was cut");
    }
    drop(others);
    assert_eq!(turned_away(&server).await, 0);
    server.shut_down().await;
}

#[tokio::test]
async fn headers_and_bodies_that_trickle_end_the_connection() {
    let config = ServerConfig { header_deadline: SHORT, request_deadline: SHORT, ..ServerConfig::default() };
    let server = Server::with(config).await;
    for beginning in [
        "GET /v1/keys HTTP/1.1\r\nhost: x\r\n",
        "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 4000\r\n\r\n",
        "POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST /v1/tokens HTTP/1.1\r\nhost: x\r\ncontent-length: 4000\r\n\r\n",
        "POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 4000\r\n\r\n",
        "GET /v1/keys HTTP/1.1\r\nhost: x\r\ncontent-length: 4000\r\n\r\n",
    ] {
        let stream = TcpStream::connect(server.address).await.expect("connects");
        let (mut reading, mut writing) = stream.into_split();
        writing.write_all(beginning.as_bytes()).await.expect("is sent");
        let trickle = async {
            while writing.write_all(b"x").await.is_ok() {
                sleep(SHORT / 10).await;
            }
        };
        let mut answer = Vec::new();
        let ends = async {
            tokio::select! {
                biased;
                _ = reading.read_to_end(&mut answer) => {}
                () = trickle => {}
            }
        };
        timeout(SHORT * 10, ends).await.unwrap_or_else(|_| panic!("{beginning:?} is still open"));
    }
    server.shut_down().await;
}

#[tokio::test]
async fn what_is_nested_too_deep_or_packed_is_refused() {
    let server = Server::start().await;
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    for body in [
        deep.clone(),
        format!(r#"{{"id":"a","type":"T","key":"k","source":"s","data":{deep}}}"#),
        format!(r#"{{"id":"a","type":"T","key":"k","source":"s","unknown":{deep}}}"#),
        format!(r#"{{"events":{deep}}}"#),
        r#"{"a":"#.repeat(100_000),
    ] {
        let (status, answer) = server.post("/v1/events", &body).await;
        assert!((400..500).contains(&status), "{status} {answer} for {}…", &body[..40]);
    }
    // What is packed is not unpacked, so that it cannot grow.
    let packed = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let mut request = b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\ncontent-length: 10\r\n\
                        connection: close\r\n\r\n"
        .to_vec();
    request.extend(packed);
    assert!(server.raw(&request).await.starts_with("HTTP/1.1 400"));
    let (status, events) = server.get("/v1/events").await;
    assert_eq!((status, events["events"].as_array().map(Vec::len)), (200, Some(0)));
    server.shut_down().await;
}

#[tokio::test]
async fn headers_are_bounded_in_number_and_size() {
    let server = Server::start().await;
    let many = "x-many: y\r\n".repeat(2_000);
    let long = format!("x-long: {}\r\n", "y".repeat(64 << 10));
    let address = format!("/{}", "y".repeat(64 << 10));
    for (path, headers) in [("/healthz", &many), ("/healthz", &long), (&address, &String::new())] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n");
        let answer = server.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 4") || answer.is_empty(), "{}", &answer[..answer.len().min(80)]);
    }
    for path in
        ["/../etc/passwd", "/v1/events/../../etc/passwd", "/try.js/../../x", "/%2e%2e/etc/passwd", "//etc/passwd"]
    {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        assert!(server.raw(request.as_bytes()).await.starts_with("HTTP/1.1 4"), "{path}");
    }
    server.shut_down().await;
}
