//! Tokens over real sockets: who is let in, what he may do, and that it ends when he is told so.

mod common;

use common::{PATIENCE, Server};
use dacapo_backends::{
    MemoryStore,
    server::{ServerConfig, Tokens},
};
use dacapo_core::{
    access::{Glob, Rights, Secret, made},
    bus::{Bus, Config, ConnId, Input, Output},
    names::{TokenName, Version},
    store::Store as _,
    wire::{ErrorCode, FromBus},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

const OPS: [u8; 32] = [1; 32];
const TELLER: [u8; 32] = [2; 32];
const READER: [u8; 32] = [3; 32];
const ACCOUNTS: [u8; 32] = [4; 32];

/// A store in which these tokens were made, by a bus that is gone.
fn store_with(tokens: &[(&'static str, [u8; 32], Rights)]) -> MemoryStore {
    let mut store = MemoryStore::new();
    let recovered = store.recover().expect("is new");
    let config =
        Config { limits: dacapo_core::Limits::default(), planted: dacapo_core::planted::Planted::NONE, record: false };
    let mut bus = Bus::new(config, recovered, dacapo_core::Now::default());
    let conn = ConnId(1);
    bus.handle_input(dacapo_core::Now::default(), Input::Connected { conn });
    for (name, secret, rights) in tokens {
        let hash = Secret::of(*secret).hash();
        let event = made(&TokenName::of(*name), hash, rights.clone(), None, None, Version::ZERO);
        let admin = dacapo_core::bus::Admin::Audit(event);
        bus.handle_input(dacapo_core::Now::default(), Input::Admin { conn, admin, by: None });
        while let Some(output) = bus.poll_output() {
            let input = match output {
                Output::Commit(commit) => {
                    store.commit(&commit).expect("is its own");
                    Input::Committed { sequence: commit.sequence }
                }
                Output::LookUp { id, look_up } => {
                    let found = store.reader().and_then(|mut reader| reader.look_up(&look_up));
                    Input::LookedUp { id, found }
                }
                _ => continue,
            };
            bus.handle_input(dacapo_core::Now::default(), input);
        }
    }
    store
}

async fn guarded() -> Server {
    let publish = |text: &str| Rights { publish: vec![text.parse().expect("is a right")], ..Rights::default() };
    let store = store_with(&[
        ("ops", OPS, Rights { administer: true, ..Rights::default() }),
        ("teller", TELLER, publish("Deposited@acc-*")),
        ("reader", READER, Rights { read: true, ..Rights::default() }),
        (
            "accounts",
            ACCOUNTS,
            Rights { services: vec![Glob::new("accounts").expect("fits")], ..publish("Changed@acc-*") },
        ),
    ]);
    let config = ServerConfig { tokens: Tokens::Demanded, ..ServerConfig::default() };
    Server::on(store, config, std::sync::Arc::new(dacapo_core::hooks::NoHooks)).await
}

fn token(secret: [u8; 32]) -> String {
    Secret::of(secret).reveal().to_owned()
}

/// Status, headers and body.
async fn ask(server: &Server, secret: Option<[u8; 32]>, method: &str, path: &str, body: &str) -> (u16, String, Value) {
    let bearer = secret.map(|secret| format!("authorization: Bearer {}\r\n", token(secret))).unwrap_or_default();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n{bearer}", body.len());
    let answer = server.raw(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, head.to_lowercase(), serde_json::from_str(body).unwrap_or_else(|_| body.into()))
}

fn event(event_type: &str, key: &str) -> String {
    let id = format!("{event_type}-{key}");
    json!({"id": id, "type": event_type, "key": key, "source": "teller", "data": {"pence": 5}}).to_string()
}

fn hello(service: &str, bearer: Option<&str>) -> String {
    let mut hello = json!({"kind": "hello", "service": service, "instance": format!("{service}-1"), "incarnation": 7,
        "types": ["Deposited"], "credit": 4});
    if let Some(bearer) = bearer {
        hello["bearer"] = bearer.into();
    }
    hello.to_string()
}

#[tokio::test]
async fn nobody_is_let_in_without_a_token_that_counts_and_the_living_are_told_so() {
    let server = guarded().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(&server, None, "GET", path, "").await.0, 200, "{path} says nothing worth guarding");
    }
    for (method, path) in [
        ("GET", "/v1/events"),
        ("POST", "/v1/events"),
        ("GET", "/v1/keys"),
        ("GET", "/v1/services"),
        ("GET", "/metrics"),
        ("GET", "/v1/tokens"),
        ("POST", "/v1/tokens"),
        ("DELETE", "/v1/tokens/ops"),
        ("PUT", "/v1/services/s/types"),
        ("POST", "/v1/services/s/lanes/k/retry"),
        ("GET", "/v1/events/1"),
    ] {
        let (status, head, body) = ask(&server, None, method, path, &event("Deposited", "acc-1")).await;
        assert_eq!(status, 401, "{method} {path}: {body}");
        assert!(head.contains("www-authenticate: bearer"), "{head}");
        assert!(body["detail"].as_str().is_some_and(|error| error.contains("demands a token")), "{body}");
        assert_eq!(
            ask(&server, Some([9; 32]), method, path, "{}").await.0,
            401,
            "{method} {path} with an unknown token"
        );
    }
    server.shut_down().await;
}

#[tokio::test]
async fn a_token_does_what_its_rights_say_and_nothing_else_over_http() {
    let server = guarded().await;
    let publish = async |secret, event_type, key| {
        let (status, _, body) = ask(&server, Some(secret), "POST", "/v1/events", &event(event_type, key)).await;
        (status, body["receipts"][0]["reason"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(publish(TELLER, "Deposited", "acc-1").await, (200, String::new()));
    for (event_type, key) in [("Deposited", "user-1"), ("Withdrawn", "acc-1")] {
        assert_eq!(publish(TELLER, event_type, key).await, (403, "forbidden".to_owned()), "{event_type} on {key}");
    }
    assert_eq!(publish(READER, "Deposited", "acc-1").await.0, 403);
    assert_eq!(publish(OPS, "Deposited", "acc-1").await.0, 403, "who administers may not publish by that alone");

    let status = async |secret, method, path| ask(&server, Some(secret), method, path, "").await.0;
    for path in ["/v1/events", "/v1/keys", "/v1/services", "/metrics"] {
        assert_eq!(status(READER, "GET", path).await, 200, "{path}");
        assert_eq!(status(OPS, "GET", path).await, 200, "{path}");
        assert_eq!(status(TELLER, "GET", path).await, 403, "{path}");
    }
    assert_eq!(status(READER, "POST", "/v1/services/accounts/lanes/k/retry").await, 403);
    assert_eq!(status(OPS, "POST", "/v1/services/accounts/lanes/k/retry").await, 404, "let in, and there is none");
    assert_eq!(status(READER, "GET", "/v1/tokens").await, 403);
    let (_, _, log) = ask(&server, Some(READER), "GET", "/v1/events", "").await;
    let types: Vec<&str> =
        log["events"].as_array().expect("a page").iter().filter_map(|e| e["type"].as_str()).collect();
    assert_eq!(types, ["$TokenMade", "$TokenMade", "$TokenMade", "$TokenMade", "Deposited"], "nothing else entered");
    server.shut_down().await;
}

#[tokio::test]
async fn every_frame_of_a_websocket_is_judged() {
    let server = guarded().await;
    // In the hello, as an instance that cannot set headers.
    let mut socket = server.socket().await;
    socket.text(hello("accounts", Some(&token(ACCOUNTS)))).await;
    assert!(matches!(socket.next().await.expect("is open"), FromBus::Welcome(_)));
    socket
        .text(
            json!({"kind": "publish", "request": 1, "events": [{"id": "x", "type": "Changed", "key": "user-1"}]})
                .to_string(),
        )
        .await;
    let FromBus::Receipts(receipts) = socket.next().await.expect("is open") else {
        panic!("a publish is answered with receipts")
    };
    assert!(format!("{receipts:?}").contains("Forbidden"), "{receipts:?}");
    socket
        .text(
            json!({"kind": "publish", "request": 2, "events": [{"id": "x", "type": "Changed", "key": "acc-1"}]})
                .to_string(),
        )
        .await;
    let FromBus::Receipts(receipts) = socket.next().await.expect("is open") else {
        panic!("a publish is answered with receipts")
    };
    assert!(format!("{receipts:?}").contains("Accepted"), "{receipts:?}");

    // As another service; without any; with one that is none.
    for (shown, text, code) in [
        (Some(token(ACCOUNTS)), "users", ErrorCode::Forbidden),
        (None, "accounts", ErrorCode::Unauthorized),
        (Some(token([9; 32])), "accounts", ErrorCode::Unauthorized),
    ] {
        let mut socket = server.socket().await;
        socket.text(hello(text, shown.as_deref())).await;
        let FromBus::Error(error) = socket.next().await.expect("is open") else { panic!("it is told why") };
        assert_eq!(error.code, code, "{error:?}");
        assert!(matches!(socket.next().await.expect("is open"), FromBus::Closing(_)));
    }
    // Anything else before a hello.
    let mut socket = server.socket().await;
    socket.text(r#"{"kind":"ping","nonce":1}"#).await;
    assert!(
        matches!(socket.next().await.expect("is open"), FromBus::Error(error) if error.code == ErrorCode::Unauthorized)
    );
    server.shut_down().await;
}

#[tokio::test]
async fn browsers_show_the_token_as_a_sub_protocol_which_is_not_answered_back() {
    let server = guarded().await;
    let offer = async |secret: [u8; 32]| {
        let head = format!(
            "GET /v1/bus HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: dacapo.v1+json, dacapo.bearer.{}\r\n\r\n",
            token(secret)
        );
        let mut stream = TcpStream::connect(server.address).await.expect("connects");
        stream.write_all(head.as_bytes()).await.expect("writes");
        let mut lines = BufReader::new(stream).lines();
        let mut answer = String::new();
        while let Some(line) = timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("reads") {
            if line.is_empty() {
                break;
            }
            answer.push_str(&line.to_lowercase());
            answer.push('\n');
        }
        answer
    };
    let answer = offer(READER).await;
    assert!(answer.contains(" 101 ") && answer.contains("sec-websocket-protocol: dacapo.v1+json"), "{answer}");
    assert!(!answer.contains(&token(READER)), "{answer}");
    assert!(offer([9; 32]).await.contains(" 401 "), "an unknown token is told at once");
    server.shut_down().await;
}

#[tokio::test]
async fn what_is_revoked_counts_no_more_from_the_answer_on_and_its_connections_are_cut() {
    let server = guarded().await;
    let mut socket = server.socket().await;
    socket.text(hello("accounts", Some(&token(ACCOUNTS)))).await;
    assert!(matches!(socket.next().await.expect("is open"), FromBus::Welcome(_)));
    let mut follower = TcpStream::connect(server.address).await.expect("connects");
    let follow = format!(
        "GET /v1/events?follow=true HTTP/1.1\r\nhost: t\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
        token(READER)
    );
    follower.write_all(follow.as_bytes()).await.expect("writes");
    let mut follower = BufReader::new(follower);
    let mut line = String::new();
    timeout(PATIENCE, follower.read_line(&mut line)).await.expect("in time").expect("reads");
    assert!(line.contains(" 200 "), "{line}");

    for name in ["accounts", "reader"] {
        let (status, _, body) = ask(&server, Some(OPS), "DELETE", &format!("/v1/tokens/{name}"), "").await;
        assert_eq!(status, 200, "{body}");
    }
    assert_eq!(ask(&server, Some(READER), "GET", "/v1/events", "").await.0, 401);
    let FromBus::Error(error) = socket.next().await.expect("is open") else { panic!("it is told why") };
    assert_eq!(error.code, ErrorCode::Unauthorized);
    assert!(matches!(socket.next().await.expect("is open"), FromBus::Closing(_)));
    let ends = async {
        let mut line = String::new();
        while follower.read_line(&mut line).await.expect("reads") > 0 {}
        line
    };
    timeout(PATIENCE, ends).await.expect("a follower whose token was revoked is cut");

    let (_, _, again) = ask(&server, Some(OPS), "DELETE", "/v1/tokens/reader", "").await;
    assert!(again["detail"].as_str().is_some_and(|error| error.contains("no token reader that counts")), "{again}");
    let (_, _, list) = ask(&server, Some(OPS), "GET", "/v1/tokens", "").await;
    assert!(!list.to_string().contains("hash"), "a list tells no hashes: {list}");
    server.shut_down().await;
}

#[tokio::test]
async fn a_token_is_made_with_its_hash_and_the_audit_says_by_whom() {
    let server = guarded().await;
    let new = json!({"name": "new", "hash": Secret::of([5; 32]).hash(), "rights": {"read": true}}).to_string();
    assert_eq!(ask(&server, Some(READER), "POST", "/v1/tokens", &new).await.0, 403);
    assert_eq!(ask(&server, Some(OPS), "POST", "/v1/tokens", &new).await.0, 200);
    assert_eq!(ask(&server, Some(OPS), "POST", "/v1/tokens", &new).await.0, 409, "there is one of that name");
    let (status, _, log) = ask(&server, Some([5; 32]), "GET", "/v1/events?key=%24token%2Fnew", "").await;
    assert_eq!(status, 200, "it counts at once");
    assert_eq!(log["events"][0]["data"]["by"], "ops", "{log}");
    assert!(!log.to_string().contains(&token([5; 32])), "the secret is nowhere");
    let short = json!({"name": "x", "hash": "abc", "rights": {}}).to_string();
    assert_eq!(ask(&server, Some(OPS), "POST", "/v1/tokens", &short).await.0, 400);
    server.shut_down().await;
}
