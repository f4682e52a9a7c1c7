//! The documents tell the truth: OpenAPI names the routes that the router has and describes what they answer, AsyncAPI
//! describes the frames that the wire encodes; errors are problem details; pages are tagged; other origins are refused.

mod common;
#[path = "common/schema.rs"]
mod schema;

use std::collections::{BTreeMap, BTreeSet};

use common::Server;
use dacapo_backends::server::ServerConfig;
use dacapo_core::wire::{FromBus, ToBus};
use serde_json::{Value, json};

const ROUTER: &str = include_str!("../src/server/http/mod.rs");
const PROTOCOL: &str = include_str!("../../docs/PROTOCOL.md");
const METHODS: [&str; 4] = ["get", "post", "put", "delete"];

/// Status, headers in lower case, and body of one request.
async fn exchange(server: &Server, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let answer = server.raw(request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

async fn document(server: &Server, path: &str) -> Value {
    let (status, document) = server.get(path).await;
    assert_eq!(status, 200);
    document
}

#[tokio::test]
async fn the_document_names_exactly_the_routes_and_methods_of_the_router() {
    let server = Server::start().await;
    let document = document(&server, "/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    let documented: BTreeSet<&str> =
        document["paths"].as_object().expect("has paths").keys().map(String::as_str).collect();
    let of_router = |rest: &'static str| match rest.strip_prefix("wire::PATH") {
        Some(_) => "/v1/bus",
        None => rest.trim_start().trim_start_matches('"').split('"').next().expect("is a path"),
    };
    let routed: BTreeSet<&str> = ROUTER.split(".route(").skip(1).map(of_router).collect();
    assert_eq!(documented, routed, "documented on the left, routed on the right");
    let mut operations = BTreeSet::new();
    for (path, described) in document["paths"].as_object().expect("has paths") {
        let path =
            path.replace("{position}", "1").replace("{service}", "s").replace("{key}", "k").replace("{name}", "t");
        for method in METHODS {
            let (status, _, _) = exchange(&server, &method.to_uppercase(), &path, "", "").await;
            assert_eq!(status != 405, described.get(method).is_some(), "{method} {path} is answered with {status}");
            if let Some(operation) = described.get(method) {
                let id = operation["operationId"].as_str().expect("has a name");
                assert!(operations.insert(id.to_owned()), "{id} stands twice");
                assert!(operation["summary"].is_string(), "{id} says what it does");
            }
        }
    }
    server.shut_down().await;
}

/// One request and what its answer must fit.
struct Asked {
    method: &'static str,
    path: &'static str,
    template: &'static str,
    headers: &'static str,
    body: String,
    status: u16,
}

fn asked(method: &'static str, path: &'static str, template: &'static str, status: u16) -> Asked {
    Asked { method, path, template, headers: "", body: String::new(), status }
}

#[tokio::test]
async fn every_answer_fits_what_is_said_of_it() {
    let server = Server::start().await;
    let document = document(&server, "/openapi.json").await;
    let mut socket = server.socket().await;
    let hello = json!({"kind": "hello", "service": "accounts", "instance": "one", "incarnation": 1, "types": ["Paid"], "credit": 4});
    socket.text(hello.to_string()).await;
    socket.text(json!({"kind": "ready"}).to_string()).await;
    let event = |id: &str, more: Value| {
        let mut event =
            json!({"id": id, "type": "Paid", "key": "acc-3", "source": "till", "attributes": {"traceparent": "t"}});
        event.as_object_mut().expect("is one").extend(more.as_object().expect("is one").clone());
        event.to_string()
    };
    let publish = |body: String, status| Asked { body, ..asked("POST", "/v1/events", "/v1/events", status) };
    let cloud = json!({"specversion": "1.0", "id": "c-1", "source": "s", "type": "T"}).to_string();
    let requests = [
        publish(event("e-1", json!({})), 200),
        publish(event("e-2", json!({"expectation": 7})), 409),
        publish(event("$e", json!({})), 422),
        publish("{".to_owned(), 400),
        Asked { headers: "content-type: application/cloudevents+json\r\n", ..publish(cloud, 200) },
        Asked { headers: "content-type: application/cloudevents+json\r\n", ..publish("{}".to_owned(), 400) },
        asked("GET", "/healthz", "/healthz", 200),
        asked("GET", "/readyz", "/readyz", 200),
        asked("GET", "/v1/events?limit=1", "/v1/events", 200),
        asked("GET", "/v1/events?limit=0", "/v1/events", 400),
        Asked {
            headers: "accept: application/cloudevents-batch+json\r\n",
            ..asked("GET", "/v1/events", "/v1/events", 200)
        },
        asked("GET", "/v1/events/2", "/v1/events/{position}", 200),
        Asked {
            headers: "accept: application/cloudevents+json\r\n",
            ..asked("GET", "/v1/events/2", "/v1/events/{position}", 200)
        },
        asked("GET", "/v1/events/99", "/v1/events/{position}", 404),
        asked("GET", "/v1/keys?limit=1", "/v1/keys", 200),
        asked("GET", "/v1/keys/acc-3", "/v1/keys/{key}", 200),
        asked("GET", "/v1/keys/none", "/v1/keys/{key}", 404),
        asked("GET", "/v1/services", "/v1/services", 200),
        asked("GET", "/v1/services/accounts/lanes", "/v1/services/{service}/lanes", 200),
        asked("GET", "/v1/services/none/lanes", "/v1/services/{service}/lanes", 404),
        asked("GET", "/v1/services/accounts/lanes/acc-3/why", "/v1/services/{service}/lanes/{key}/why", 200),
        asked("POST", "/v1/services/accounts/lanes/acc-3/retry", "/v1/services/{service}/lanes/{key}/retry", 404),
        asked("POST", "/v1/services/accounts/lanes/acc-3/skip", "/v1/services/{service}/lanes/{key}/skip", 404),
        Asked {
            body: json!({"types": ["Paid", "Sent"], "start": "now"}).to_string(),
            ..asked("PUT", "/v1/services/accounts/types", "/v1/services/{service}/types", 200)
        },
        asked("GET", "/v1/tokens", "/v1/tokens", 200),
        Asked { body: "{}".to_owned(), ..asked("POST", "/v1/tokens", "/v1/tokens", 400) },
        asked("DELETE", "/v1/tokens/none", "/v1/tokens/{name}", 404),
        asked("GET", "/v1/backup", "/v1/backup", 501),
        asked("GET", "/v1/bus", "/v1/bus", 426),
        asked("GET", "/v1/cloudevents", "/v1/cloudevents", 426),
    ];
    for Asked { method, path, template, headers, body, status } in requests {
        let (answered, head, text) = exchange(&server, method, path, headers, &body).await;
        assert_eq!(answered, status, "{method} {path}: {text}");
        let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: ")).expect("has a type");
        let operation = &document["paths"][template][method.to_ascii_lowercase()];
        let mut response = &operation["responses"][status.to_string()];
        if let Some(path) = response["$ref"].as_str() {
            response = document.pointer(path.trim_start_matches('#')).expect("is there");
        }
        let schema = &response["content"][content_type]["schema"];
        assert!(schema.is_object(), "{method} {path}: {status} as {content_type} is not described: {response}");
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {path}: {error}: {text}"));
        let misfits = schema::misfits(&document, schema, &value, "answer");
        assert!(misfits.is_empty(), "{method} {path} {status}: {misfits:?}");
        if status >= 400 {
            assert_eq!(content_type, "application/problem+json", "{method} {path}");
            assert_eq!(value["status"], status);
        }
    }
    server.shut_down().await;
}

#[tokio::test]
async fn every_frame_of_the_protocol_fits_the_asyncapi_document_and_no_kind_is_missing() {
    let server = Server::start().await;
    let document = document(&server, "/asyncapi.json").await;
    server.shut_down().await;
    assert_eq!(document["asyncapi"], "3.0.0");
    let kinds: BTreeSet<&str> = ToBus::KINDS.iter().chain(FromBus::KINDS.iter()).copied().collect();
    let messages: BTreeMap<&str, &Value> = document["components"]["messages"]
        .as_object()
        .expect("has messages")
        .iter()
        .map(|(kind, message)| (kind.as_str(), &message["payload"]))
        .collect();
    assert_eq!(messages.keys().copied().collect::<BTreeSet<_>>(), kinds);
    let mut shown = 0;
    let mut fits = |frame: Value, kind: &str| {
        let misfits = schema::misfits(&document, messages[kind], &frame, kind);
        assert!(misfits.is_empty(), "{frame}: {misfits:?}");
        shown += 1;
    };
    // What the wire encodes, after it has decoded the protocol's examples.
    for (opening, to_bus) in [("json to-bus", true), ("json from-bus", false)] {
        let opening = format!("```{opening}\n");
        for text in PROTOCOL.split(&*opening).skip(1).map(|rest| rest.split("```").next().expect("is closed").trim()) {
            if to_bus {
                for frame in ToBus::decode(text).expect("is a frame") {
                    fits(serde_json::from_str(&frame.encode()).expect("is JSON"), frame.kind());
                }
            } else {
                for frame in FromBus::decode(text).expect("is a frame") {
                    fits(serde_json::from_str(&frame.encode()).expect("is JSON"), frame.kind());
                }
            }
        }
    }
    assert!(shown >= kinds.len(), "each kind has an example: {shown}");
    let wrong = json!({"kind": "ping", "nonce": -1});
    assert!(!schema::misfits(&document, messages["ping"], &wrong, "ping").is_empty(), "the validator can say no");
}

#[tokio::test]
async fn what_is_read_again_and_has_not_changed_is_not_sent_again() {
    let server = Server::start().await;
    for id in ["a", "b", "c"] {
        server.post("/v1/events", &json!({"id": id, "type": "T", "key": "k/1", "source": "s"}).to_string()).await;
    }
    let (status, head, body) = exchange(&server, "GET", "/v1/events?limit=2&key=k%2F1", "", "").await;
    assert_eq!(status, 200);
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let tag = header("etag: ").expect("is tagged");
    assert_eq!(header("link: ").as_deref(), Some("</v1/events?cursor=2&key=k%2f1&limit=2>; rel=\"next\""));
    let known = format!("if-none-match: \"other\", {tag}\r\n");
    let (status, head, again) = exchange(&server, "GET", "/v1/events?limit=2&key=k%2F1", &known, "").await;
    assert_eq!((status, again.as_str()), (304, ""), "{head}");
    assert!(head.contains(&tag), "{head}");
    let (status, _, next) = exchange(&server, "GET", "/v1/events?cursor=2&key=k%2F1&limit=2", &known, "").await;
    assert_eq!(status, 200);
    assert_ne!(next, body, "another page has another tag");
    server.shut_down().await;
}

#[tokio::test]
async fn other_origins_are_refused_unless_they_are_named() {
    let closed = Server::start().await;
    let asks = "origin: https://console.example\r\naccess-control-request-method: POST\r\n";
    let (status, head, _) = exchange(&closed, "OPTIONS", "/v1/events", asks, "").await;
    assert_eq!(status, 403);
    assert!(!head.contains("access-control"), "{head}");
    closed.shut_down().await;

    let cors_origins = vec!["https://console.example".to_owned()];
    let open = Server::with(ServerConfig { cors_origins, ..ServerConfig::default() }).await;
    let (status, head, _) = exchange(&open, "OPTIONS", "/v1/events", asks, "").await;
    assert_eq!(status, 204, "{head}");
    assert!(head.contains("access-control-allow-origin: https://console.example"), "{head}");
    assert!(head.contains("access-control-allow-methods: get, post, put"), "{head}");
    let (_, head, _) = exchange(&open, "GET", "/v1/keys", "origin: https://console.example\r\n", "").await;
    assert!(head.contains("access-control-allow-origin: https://console.example"), "{head}");
    let (status, head, _) = exchange(&open, "GET", "/v1/keys", "origin: https://evil.example\r\n", "").await;
    assert_eq!(status, 403);
    assert!(!head.contains("access-control"), "{head}");
    open.shut_down().await;
}

#[tokio::test]
async fn the_page_to_try_the_routes_runs_nothing_but_its_own_script() {
    let server = Server::start().await;
    let (status, head, page) = exchange(&server, "GET", "/try", "", "").await;
    assert_eq!(status, 200);
    assert!(head.contains("script-src 'self'") && head.contains("default-src 'none'"), "{head}");
    assert!(page.contains("src=\"/try.js\"") && !page.contains("style=") && !page.contains("onclick"), "{page}");
    let (status, head, _) = exchange(&server, "GET", "/try.js", "", "").await;
    assert!(status == 200 && head.contains("content-type: text/javascript"), "{head}");
    server.shut_down().await;
}
