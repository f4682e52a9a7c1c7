//! The server over real sockets: routes, frames, shutdown, recovery.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use common::{PATIENCE, Server, world};
use dacapo_backends::{
    MemoryStore,
    recording::RecordingStore,
    server::{ServeError, ServerConfig},
};
use dacapo_core::{
    hooks::{Hooks, NoHooks, Point, Verdict},
    limits::Limits,
    names::{NodeName, Position, Term},
    store::{Answer, Commit, Completion, Found, LookUp, Page, Query, Read, Reader, Recovered, Store, StoreError},
    time::{Now, Timestamp},
    trace::What,
    wire::{ErrorCode, FromBus, ToBus},
};
use serde_json::json;
use std::sync::Mutex;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

fn event(id: &str, key: &str) -> String {
    json!({"id": id, "type": "Deposited", "key": key, "source": "teller", "data": {"pence": 5}}).to_string()
}

#[tokio::test]
async fn publishing_by_http_is_answered_with_receipts_and_the_status_that_they_mean() {
    let server = Server::start().await;
    let (status, body) = server.post("/v1/events", &event("e-1", "acc-1")).await;
    assert_eq!((status, &body["receipts"][0]["status"]), (200, &json!("accepted")), "{body}");
    assert_eq!((&body["receipts"][0]["position"], &body["receipts"][0]["version"]), (&json!(1), &json!(1)));

    let (status, body) = server.post("/v1/events", &event("e-1", "acc-1")).await;
    assert_eq!((status, &body["receipts"][0]["status"]), (200, &json!("duplicate")), "{body}");

    let stale = json!({"id": "e-2", "type": "T", "key": "acc-1", "expectation": 0, "source": "teller"}).to_string();
    let (status, body) = server.post("/v1/events", &stale).await;
    assert_eq!((status, &body["receipts"][0]["head"], &body["receipts"][0]["id"]), (409, &json!(1), &json!("e-1")));

    let other = json!({"id": "e-1", "type": "Other", "key": "acc-1", "source": "teller"}).to_string();
    let (status, body) = server.post("/v1/events", &other).await;
    assert_eq!((status, &body["receipts"][0]["reason"]), (422, &json!("id_has_other_content")), "{body}");
    server.shut_down().await;
}

#[tokio::test]
async fn the_log_is_queried_by_page_key_and_position() {
    let server = Server::start().await;
    let batch: Vec<serde_json::Value> = (1..=5)
        .map(|n| serde_json::from_str(&event(&format!("e-{n}"), &format!("acc/{}", n % 2))).expect("is JSON"))
        .collect();
    assert_eq!(server.post("/v1/events", &json!(batch).to_string()).await.0, 200);

    let (_, page) = server.get("/v1/events?limit=2").await;
    let positions = |page: &serde_json::Value| -> Vec<u64> {
        let events = page["events"].as_array().expect("is an array");
        events.iter().map(|event| event["position"].as_u64().expect("is a number")).collect()
    };
    assert_eq!((positions(&page), &page["next"], &page["position"]), (vec![1, 2], &json!(2), &json!(5)));
    let (_, page) = server.get("/v1/events?limit=4&cursor=2").await;
    assert_eq!((positions(&page), &page["next"]), (vec![3, 4, 5], &json!(null)));
    let (_, page) = server.get("/v1/events?order=desc&limit=2").await;
    assert_eq!((positions(&page), &page["next"]), (vec![5, 4], &json!(4)));
    let (_, page) = server.get("/v1/events?key=acc%2F1&type=Deposited,Other&from=1970-01-01T00:00:00Z").await;
    assert_eq!(positions(&page), vec![1, 3, 5]);

    let (status, one) = server.get("/v1/events/3").await;
    assert_eq!((status, &one["event"]["id"], &one["completions"]), (200, &json!("e-3"), &json!([])));
    assert_eq!(server.get("/v1/events/6").await.0, 404);
    assert_eq!(server.get("/v1/events/0").await.0, 404);
    assert_eq!(server.get("/v1/events/e-3").await.0, 400);

    let (_, keys) = server.get("/v1/keys?limit=1").await;
    assert_eq!((&keys["keys"], &keys["next"]), (&json!([{"key": "acc/0", "version": 2}]), &json!("acc/0")));
    let (status, key) = server.get("/v1/keys/acc%2F1?after=1&limit=1").await;
    assert_eq!((status, &key["version"], positions(&key), &key["next"]), (200, &json!(3), vec![3], &json!(2)));
    assert_eq!(server.get("/v1/keys/unknown").await.0, 404);
    server.shut_down().await;
}

#[tokio::test]
async fn an_instance_is_delivered_to_and_completes_and_the_log_tells_of_it() {
    let server = Server::start().await;
    let mut socket = server.socket().await;
    socket
        .text(json!([
            {"kind": "hello", "service": "accounts", "instance": "a-1", "incarnation": 7, "types": ["Deposited"], "credit": 4},
            {"kind": "ready"},
        ]).to_string())
        .await;
    assert_eq!(socket.json().await["kind"], "welcome");
    assert_eq!(server.post("/v1/events", &event("e-1", "acc-1")).await.0, 200);

    let delivery = socket.json().await;
    assert_eq!((&delivery["kind"], &delivery["event"]["id"]), (&json!("deliver"), &json!("e-1")));
    let produced = json!({"id": "accounts/e-1/0", "type": "BalanceChanged", "key": "acc-1", "expectation": 1});
    let position = &delivery["event"]["position"];
    let complete = json!({"kind": "complete", "position": position, "token": delivery["token"], "events": [produced]});
    socket.text(complete.to_string()).await;
    let completed = socket.json().await;
    assert_eq!((&completed["kind"], &completed["already"]), (&json!("completed"), &json!(false)), "{completed}");

    let (_, one) = server.get(&format!("/v1/events/{position}")).await;
    assert_eq!(one["completions"][0]["service"], "accounts", "{one}");
    let (_, caused) = server.get("/v1/events?causation=e-1").await;
    assert_eq!(caused["events"][0]["correlation"], "e-1", "{caused}");

    let (_, services) = server.get("/v1/services").await;
    assert_eq!(services["services"][0]["instances"][0]["ready"], json!(true), "{services}");
    let (status, lanes) = server.get("/v1/services/accounts/lanes").await;
    assert_eq!((status, &lanes["next"]), (200, &json!(null)), "{lanes}");
    assert_eq!(server.get("/v1/services/nobody/lanes").await.0, 404);
    assert_eq!(server.post("/v1/services/accounts/lanes/acc-1/retry", "").await.0, 404, "it is not parked");
    let change = json!({"types": ["Deposited", "Withdrawn"], "start": "now"}).to_string();
    assert_eq!(server.http("PUT", "/v1/services/accounts/types", &change).await.0, 200);
    let words = socket.last_words().await;
    assert!(matches!(words.last(), Some(FromBus::Closing(_))), "{words:?}");

    let (_, metrics) = server.get("/metrics").await;
    let metrics = metrics.as_str().expect("is text");
    for line in ["dacapo_ready 1", "dacapo_deliveries_total 1", "dacapo_receipts_total{status=\"accepted\"} 1"] {
        assert!(metrics.lines().any(|it| it == line), "{line} is missing in {metrics}");
    }
    server.shut_down().await;
}

#[tokio::test]
async fn a_parked_lane_is_retried_and_skipped_by_http() {
    let limits = Limits { failures_max: 1, ..Limits::default() };
    let server = Server::with(ServerConfig { limits, ..ServerConfig::default() }).await;
    let mut socket = server.socket().await;
    let hello = json!({"kind": "hello", "service": "s", "instance": "i", "incarnation": 1, "types": ["Deposited"], "credit": 4});
    socket.text(json!([hello, {"kind": "ready"}]).to_string()).await;
    socket.json().await;
    server.post("/v1/events", &event("e-1", "a/b")).await;
    for how in ["retry", "skip"] {
        let delivery = socket.json().await;
        let nack = json!({"kind": "nack", "position": delivery["event"]["position"], "token": delivery["token"], "reason": "no"});
        socket.text(nack.to_string()).await;
        let parked = async {
            loop {
                let (_, lanes) = server.get("/v1/services/s/lanes?parked=true").await;
                if lanes["lanes"][0]["key"] == "a/b" {
                    break;
                }
            }
        };
        timeout(PATIENCE, parked).await.expect("is parked in time");
        let (status, body) = server.post(&format!("/v1/services/s/lanes/a%2Fb/{how}"), "").await;
        assert_eq!(status, 200, "{body}");
    }
    let (_, one) = server.get("/v1/events/2").await;
    assert_eq!(one["completions"][0]["ended"], "skipped", "{one}");
    server.shut_down().await;
}

/// Reads server-sent events as (id, data).
async fn follow(server: &Server, path: &str, header: &str) -> impl AsyncFnMut() -> (u64, serde_json::Value) + use<> {
    let mut stream = TcpStream::connect(server.address).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\naccept: text/event-stream\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.expect("is sent");
    let mut lines = BufReader::new(stream).lines();
    async move || {
        let mut id = 0;
        loop {
            let line = timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("reads").expect("goes on");
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.parse().expect("is a position");
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (id, serde_json::from_str(data).expect("is JSON"));
            }
        }
    }
}

#[tokio::test]
async fn a_follower_sees_every_event_once_from_where_it_left() {
    let server = Server::start().await;
    for n in 1..=3 {
        server.post("/v1/events", &event(&format!("e-{n}"), "acc-1")).await;
    }
    let mut from_start = follow(&server, "/v1/events?cursor=0", "").await;
    let mut resumed = follow(&server, "/v1/events", "last-event-id: 2\r\n").await;
    let mut other_key = follow(&server, "/v1/events?cursor=0&key=acc-2", "").await;
    assert_eq!(resumed().await.0, 3);
    for position in 1..=3 {
        assert_eq!(from_start().await.0, position);
    }
    server.post("/v1/events", &event("e-4", "acc-2")).await;
    assert_eq!(from_start().await.1["id"], "e-4");
    assert_eq!(resumed().await.1["id"], "e-4");
    assert_eq!(other_key().await.1["id"], "e-4", "the others were passed over");
    assert_eq!(server.get("/v1/events?follow=true&limit=5").await.0, 400);
    server.shut_down().await;
}

#[tokio::test]
async fn what_is_not_understood_is_told_what_would_be() {
    let server = Server::start().await;
    for (method, path, status, hint) in [
        ("GET", "/v1/nothing", 404, "GET /v1/events"),
        ("DELETE", "/v1/events", 405, "POST /v1/events"),
        ("GET", "/v1/events?kye=a", 400, "known are: key"),
        ("GET", "/v1/events?limit=0", 400, "1 to 1000"),
        ("GET", "/v1/events?order=up", 400, "asc or desc"),
        ("GET", "/v1/events?from=yesterday", 400, "2026-03-01T12:00:00Z"),
        ("GET", "/v1/keys/%FF", 400, "UTF-8"),
        ("GET", "/v1/services?x=1", 400, "takes no fields"),
        ("GET", "/v1/bus", 426, "WebSocket"),
        ("POST", "/v1/events", 400, "send one event"),
    ] {
        let (got, body) = server.http(method, path, "").await;
        assert_eq!(got, status, "{method} {path}: {body}");
        let help = body["help"].as_str().unwrap_or_default();
        assert!(help.contains(hint), "{method} {path}: {body}");
    }
    server.shut_down().await;
}

#[tokio::test]
async fn a_shutdown_says_closing_to_everyone_and_flushes_what_is_under_way() {
    let server = Server::start().await;
    let mut socket = server.socket().await;
    socket.text(format!("{{\"kind\":\"publish\",\"request\":1,\"events\":[{}]}}", event("e-1", "k"))).await;
    assert_eq!(socket.json().await["kind"], "receipts");
    server.trigger.pull();
    let words = socket.last_words().await;
    assert!(matches!(&*words, [FromBus::Closing(_)]), "{words:?}");
    timeout(PATIENCE, server.ended).await.expect("in time").expect("no panic").expect("ends well");
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

/// A memory store that fails as it is told to.
struct Failing {
    inner: MemoryStore,
    commits_left: Arc<AtomicU64>,
    error: StoreError,
}

impl Reader for Failing {
    fn look_up(&mut self, look_up: &LookUp) -> Result<Found, StoreError> {
        self.inner.look_up(look_up)
    }
    fn read(&mut self, read: &Read) -> Result<Page, StoreError> {
        self.inner.read(read)
    }
    fn query(&mut self, query: &Query) -> Result<Answer, StoreError> {
        self.inner.query(query)
    }
    fn completions(&mut self, positions: &[Position]) -> Result<Vec<Completion>, StoreError> {
        self.inner.completions(positions)
    }
    fn current_term(&mut self) -> Result<Term, StoreError> {
        self.inner.current_term()
    }
}

impl Store for Failing {
    fn recover(&mut self) -> Result<Recovered, StoreError> {
        self.inner.recover()
    }
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let left = self.commits_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left == Ok(1) { Err(self.error.clone()) } else { self.inner.commit(commit) }
    }
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.inner.reader()
    }
}

#[tokio::test]
async fn a_failed_commit_stops_the_bus_which_recovers_and_loses_nothing_that_was_told() {
    let commits_left = Arc::new(AtomicU64::new(2));
    let error = StoreError::Io("unplugged".to_owned());
    let store = Failing { inner: MemoryStore::new(), commits_left, error };
    let server = Server::on(store, ServerConfig::default(), Arc::new(NoHooks)).await;
    let mut idle = server.socket().await;
    assert_eq!(server.post("/v1/events", &event("e-1", "k")).await.0, 200);
    let (status, body) = server.post("/v1/events", &event("e-2", "k")).await;
    assert_eq!(status, 503, "the outcome is unknown: {body}");
    let words = idle.last_words().await;
    assert!(matches!(&*words, [FromBus::Closing(_)]), "{words:?}");
    server.until_ready().await;
    let (_, body) = server.post("/v1/events", &event("e-1", "k")).await;
    assert_eq!(body["receipts"][0]["status"], "duplicate");
    let (_, body) = server.post("/v1/events", &event("e-2", "k")).await;
    assert_eq!((&body["receipts"][0]["status"], &body["receipts"][0]["version"]), (&json!("accepted"), &json!(2)));
    server.shut_down().await;
}

#[tokio::test]
async fn a_bus_that_was_taken_over_ends_instead_of_taking_the_store_back() {
    let error = StoreError::Fenced { mine: Term(1), current: Term(2) };
    let store = Failing { inner: MemoryStore::new(), commits_left: Arc::new(AtomicU64::new(1)), error };
    let server = Server::on(store, ServerConfig::default(), Arc::new(NoHooks)).await;
    assert_eq!(server.post("/v1/events", &event("e-1", "k")).await.0, 503);
    let ended = timeout(PATIENCE, server.ended).await.expect("in time").expect("no panic");
    assert!(matches!(ended, Err(ServeError::TakenOver(_))), "{ended:?}");
}

/// Records, and dies at the n-th time that a point of this name is reached.
#[derive(Default)]
struct Script {
    records: Mutex<Vec<What>>,
    die_at: Option<&'static str>,
    lose: Option<&'static str>,
    paused_until: Mutex<Option<Timestamp>>,
}

impl Hooks for Script {
    fn before(&self, point: Point) -> Verdict {
        match () {
            () if self.die_at == Some(point.name) => Verdict::Die,
            () if self.lose == Some(point.name) => Verdict::Lose,
            () => Verdict::Go,
        }
    }
    fn paused_until(&self) -> Option<Timestamp> {
        *self.paused_until.lock().expect("nobody panicked")
    }
    fn recording(&self) -> bool {
        true
    }
    fn record(&self, _node: &NodeName, _now: Now, what: What) {
        self.records.lock().expect("nobody panicked").push(what);
    }
}

#[tokio::test]
async fn a_bus_that_dies_between_commit_and_receipt_has_committed_and_says_nothing() {
    let script = Arc::new(Script { die_at: Some("bus send receipts"), ..Script::default() });
    let store = RecordingStore::new(MemoryStore::new(), world(Arc::clone(&script) as Arc<dyn Hooks>));
    let server = Server::on(store, ServerConfig::default(), Arc::clone(&script) as Arc<dyn Hooks>).await;
    let mut socket = server.socket().await;
    socket.text(format!("{{\"kind\":\"publish\",\"request\":1,\"events\":[{}]}}", event("e-1", "k"))).await;
    assert_eq!(socket.last_words().await, Vec::new(), "no receipts, no closing");
    let ended = timeout(PATIENCE, server.ended).await.expect("in time").expect("no panic");
    assert!(matches!(ended, Err(ServeError::Died)), "{ended:?}");
    let records = script.records.lock().expect("nobody panicked");
    let place = |wanted: fn(&What) -> bool| records.iter().position(wanted);
    let submitted = place(|what| matches!(what, What::CommitSubmitted { sequence: 1, events: 1, .. }));
    let durable = place(|what| matches!(what, What::CommitDurable { .. }));
    assert!(submitted.is_some() && submitted < durable, "{records:?}");
    assert_eq!(place(|what| matches!(what, What::FrameSent { .. } | What::Stopped { .. })), None, "{records:?}");
    assert!(place(|what| matches!(what, What::FrameReceived { .. })) < submitted);
    assert!(place(|what| matches!(what, What::Started { .. })) < place(|what| matches!(what, What::Recovered { .. })));
}

#[tokio::test]
async fn a_lost_frame_is_lost_alone() {
    let script = Arc::new(Script { lose: Some("bus send pong"), ..Script::default() });
    let server = Server::on(MemoryStore::new(), ServerConfig::default(), script).await;
    let mut socket = server.socket().await;
    socket.text(json!([{"kind": "ping", "nonce": 1}, {"kind": "ready"}]).to_string()).await;
    let answer = socket.next().await;
    assert!(matches!(&answer, Some(FromBus::Error(error)) if error.code == ErrorCode::OutOfTurn), "{answer:?}");
    server.shut_down().await;
}

#[tokio::test]
async fn a_stopped_process_takes_nothing_until_it_goes_on() {
    let script = Arc::new(Script::default());
    let server = Server::on(MemoryStore::new(), ServerConfig::default(), Arc::clone(&script) as Arc<dyn Hooks>).await;
    let mut socket = server.socket().await;
    socket.text(r#"{"kind":"ping","nonce":1}"#).await;
    assert_eq!(socket.json().await["nonce"], 1);
    // The server's clock began a moment ago; it goes on when a second of it has passed.
    *script.paused_until.lock().expect("nobody panicked") = Some(Timestamp(1_000_000));
    socket.text(r#"{"kind":"ping","nonce":2}"#).await;
    let meanwhile = timeout(Duration::from_millis(100), socket.json()).await;
    assert!(meanwhile.is_err(), "{meanwhile:?}");
    assert_eq!(socket.json().await["nonce"], 2);
    server.shut_down().await;
}

#[tokio::test]
async fn a_silent_connection_is_told_and_closed() {
    let limits = Limits { heartbeat_deadline: Duration::from_millis(60), ..Limits::default() };
    let server = Server::with(ServerConfig { limits, ..ServerConfig::default() }).await;
    let mut socket = server.socket().await;
    let words = socket.last_words().await;
    assert!(
        matches!(&*words, [FromBus::Error(error), FromBus::Closing(_)] if error.code == ErrorCode::Silent),
        "{words:?}"
    );
    server.shut_down().await;
}

#[tokio::test]
async fn frames_may_come_one_by_one_or_as_an_array_and_are_answered_in_order() {
    let server = Server::start().await;
    let mut socket = server.socket().await;
    let pings: Vec<_> = (0..100).map(|nonce| json!({"kind": "ping", "nonce": nonce})).collect();
    socket.text(json!(pings).to_string()).await;
    for nonce in 0..100 {
        assert_eq!(socket.json().await, json!({"kind": "pong", "nonce": nonce}));
    }
    socket.text("[]").await;
    socket.send(ToBus::Ping(dacapo_core::wire::Ping { nonce: 7 })).await;
    assert_eq!(socket.json().await["nonce"], 7);
    server.shut_down().await;
}
