//! What a stranger's page can make a browser do to a bus on this machine: nothing.

mod common;

use std::time::Duration;

use common::Server;
use dacapo_backends::server::ServerConfig;

/// What a browser sends from a page without asking first.
fn simple_post(server: &Server, host: &str, origin: &str) -> String {
    let event = r#"{"id":"evil","type":"T","key":"k","source":"s"}"#;
    format!(
        "POST /v1/events HTTP/1.1\r\nhost: {}\r\norigin: {}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{event}",
        host.replace("PORT", &server.address.port().to_string()),
        origin.replace("PORT", &server.address.port().to_string()),
        event.len()
    )
}

fn socket(server: &Server, origin: &str) -> String {
    format!(
        "GET /v1/bus HTTP/1.1\r\nhost: {}\r\norigin: {origin}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: dacapo.v1+json\r\n\r\n",
        server.address
    )
}

async fn status(server: &Server, request: &str) -> u16 {
    let answer = server.raw(request.as_bytes()).await;
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn a_form_of_another_site_publishes_nothing() {
    let server = Server::start().await;
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil.example:PORT"] {
        assert_eq!(status(&server, &simple_post(&server, "127.0.0.1:PORT", origin)).await, 403, "{origin}");
    }
    assert_eq!(server.get("/v1/events").await.1["events"].as_array().map(Vec::len), Some(0));
    // The page to try the routes is the bus's own.
    assert_eq!(status(&server, &simple_post(&server, "127.0.0.1:PORT", "http://127.0.0.1:PORT")).await, 200);
    server.shut_down().await;
}

#[tokio::test]
async fn a_socket_of_another_site_is_not_opened() {
    // The connection stays open for other requests, for as long as their headers may take.
    let header_deadline = Duration::from_millis(300);
    let server = Server::with(ServerConfig { header_deadline, ..ServerConfig::default() }).await;
    assert_eq!(status(&server, &socket(&server, "https://evil.example")).await, 403);
    // Whoever is no browser names no origin, and some libraries name the bus's own.
    let mut own = server.socket().await;
    own.text(r#"{"kind":"ping","nonce":1}"#).await;
    assert_eq!(own.json().await["kind"], "pong");
    server.shut_down().await;
}

#[tokio::test]
async fn a_name_that_a_stranger_had_point_here_is_refused_where_no_token_is_demanded() {
    let hosts = Some(vec!["bus.example".to_owned()]);
    let server = Server::with(ServerConfig { hosts, ..ServerConfig::default() }).await;
    // The browser takes the page for the bus's own: its name is the same.
    let rebound = simple_post(&server, "evil.example:PORT", "http://evil.example:PORT");
    assert_eq!(status(&server, &rebound).await, 421);
    let read = "GET /v1/events HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&server, read).await, 421);
    for ours in ["127.0.0.1:7171", "localhost", "bus.example:80"] {
        assert_eq!(status(&server, &read.replace("evil.example", ours)).await, 200, "{ours}");
    }
    server.shut_down().await;
}
