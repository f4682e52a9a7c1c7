//! The routes. Each answers in JSON; errors are problem details (RFC 9457) with a `help` that says what to do.
//! `documents/openapi.json` describes them all; a test holds it against this router.
//!
//! A route only translates. What changes the log or a lane is put to the bus as a connection of its own
//! ([`Shared::publish`], [`Shared::admin`]); what only reads is asked of the store, so that a flood of questions costs
//! the bus nothing.

mod backup;
mod browsers;
mod cloudevents;
mod conditional;
mod documents;
pub(super) mod error;
mod events;
mod fields;
mod follow;
mod identify;
mod keys;
mod publish;
mod services;
mod tokens;
mod wall_time;
mod why;

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, FromRequest, Request, State, WebSocketUpgrade, path::Path, rejection::PathRejection,
        ws::rejection::WebSocketUpgradeRejection,
    },
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use dacapo_core::{limits, names::NameError, wire};
use serde::Serialize;
use tokio::time::timeout;

use self::error::HttpError;
pub use self::{cloudevents::structured, publish::understood};
use super::{
    accept::Permit,
    metrics,
    shared::{Phase, Shared},
    socket,
};

/// The read buffer of a WebSocket. Tungstenite's own default of 128 KiB costs 2 GiB at the limit of connections.
const SOCKET_BUFFER_BYTES: usize = 4 << 10;

/// Every route, as it stands in the answer to an unknown one.
const ROUTES: &[&str] = &[
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /openapi.json",
    "GET /asyncapi.json",
    "GET /try",
    "GET /try.css",
    "GET /try.js",
    "GET /v1/bus (WebSocket)",
    "GET /v1/cloudevents (WebSocket)",
    "POST /v1/events",
    "GET /v1/events",
    "GET /v1/events/{position}",
    "GET /v1/backup",
    "GET /v1/keys",
    "GET /v1/keys/{key}",
    "GET /v1/services",
    "GET /v1/services/{service}/lanes",
    "GET /v1/services/{service}/lanes/{key}/why",
    "POST /v1/services/{service}/lanes/{key}/retry",
    "POST /v1/services/{service}/lanes/{key}/skip",
    "PUT /v1/services/{service}/types",
    "GET /v1/tokens",
    "POST /v1/tokens",
    "DELETE /v1/tokens/{name}",
];

/// All routes.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    let bus = Router::new()
        .route(wire::PATH, get(open_socket))
        .route("/v1/cloudevents", get(cloudevents::socket::open))
        .route("/v1/events", get(events::list).post(publish::publish))
        .route("/v1/events/{position}", get(events::one))
        .route("/v1/backup", get(backup::send))
        .route("/v1/keys", get(keys::list))
        .route("/v1/keys/{key}", get(keys::one))
        .route("/v1/services", get(services::list))
        .route("/v1/services/{service}/lanes", get(services::lanes))
        .route("/v1/services/{service}/lanes/{key}/why", get(why::why))
        .route("/v1/services/{service}/lanes/{key}/retry", post(services::retry))
        .route("/v1/services/{service}/lanes/{key}/skip", post(services::skip))
        .route("/v1/services/{service}/types", put(services::change_types))
        .route("/v1/tokens", get(tokens::list).post(tokens::make))
        .route("/v1/tokens/{name}", delete(tokens::revoke))
        .route_layer(middleware::from_fn(conditional::tag))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&shared), identify::identify))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&shared), gate));
    let told = Router::new()
        .route("/metrics", get(metrics))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&shared), identify::identify));
    Router::new()
        .route("/healthz", get(async || json(StatusCode::OK, &Health { status: "ok" })))
        .route("/readyz", get(ready))
        .route("/openapi.json", get(documents::openapi))
        .route("/asyncapi.json", get(documents::asyncapi))
        .route("/try", get(documents::page))
        .route("/try.css", get(documents::style))
        .route("/try.js", get(documents::script))
        .merge(told)
        .merge(bus)
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::max(limits::FRAME_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), browsers::admit))
        .with_state(shared)
}

/// What whoever asks is told while a bus recovers. Nothing has been done for them then, and they may ask again.
pub const RECOVERING: &str = "the bus is recovering from its store";

/// Lets a request in while the bus runs, and not while the process is stopped.
async fn gate(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    shared.pause().await;
    if let Err(error) = running(&shared) {
        return error.into_response();
    }
    let response = next.run(request).await;
    shared.pause().await;
    response
}

fn running(shared: &Shared) -> Result<(), HttpError> {
    match shared.phase() {
        Phase::Ready { .. } | Phase::Draining | Phase::Full => Ok(()),
        Phase::Recovering => Err(HttpError::unavailable(RECOVERING)),
        Phase::Closing | Phase::Dead => Err(HttpError::unavailable("the bus is shutting down")),
    }
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

async fn ready(State(shared): State<Arc<Shared>>) -> Result<Response, HttpError> {
    #[derive(Serialize)]
    struct Ready {
        status: &'static str,
        term: dacapo_core::Term,
        position: dacapo_core::Position,
    }
    shared.pause().await;
    running(&shared)?;
    match shared.phase() {
        Phase::Ready { term } => {
            let position = shared.position.get();
            Ok(json(StatusCode::OK, &Ready { status: "ready", term, position }))
        }
        Phase::Full => Err(HttpError::unavailable("the disk is full; free some space")),
        Phase::Draining => Err(HttpError::unavailable("the bus is about to end")),
        Phase::Recovering | Phase::Closing | Phase::Dead => Err(HttpError::unavailable("the bus is not running")),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>, Extension(permit): Extension<Permit>) -> Response {
    let text = metrics::text(&shared, permit).await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn open_socket(
    State(shared): State<Arc<Shared>>,
    Extension(permit): Extension<Permit>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, HttpError> {
    let upgrade = upgrade
        .map_err(|rejection| {
            HttpError::new(StatusCode::UPGRADE_REQUIRED, rejection.body_text(), "open this path as a WebSocket")
        })?
        .protocols([wire::SUBPROTOCOL]);
    if headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) && upgrade.selected_protocol().is_none() {
        return Err(HttpError::bad(
            "none of the sub-protocols that were offered is spoken here",
            "offer dacapo.v1+json",
        ));
    }
    Ok(upgrade
        .read_buffer_size(SOCKET_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(limits::FRAME_BYTES_MAX)
        .max_frame_size(limits::FRAME_BYTES_MAX)
        .on_upgrade(move |socket| socket::run(socket, shared, permit)))
}

async fn unknown_route(uri: Uri) -> HttpError {
    let help = format!("the routes are: {}", ROUTES.join(", "));
    HttpError::new(StatusCode::NOT_FOUND, format!("there is no route {}", uri.path()), help)
}

async fn unknown_method(method: Method, uri: Uri) -> HttpError {
    let help = format!("the routes are: {}", ROUTES.join(", "));
    HttpError::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path()), help)
}

/// A JSON answer.
fn json<T: Serialize + ?Sized>(status: StatusCode, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => {
            (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
        }
        // All bodies are plain data with text keys.
        Err(error) => unreachable!("an answer that is no JSON: {error}"),
    }
}

/// The whole body, within the limit and the deadline.
async fn body(shared: &Shared, request: Request) -> Result<Bytes, HttpError> {
    match timeout(shared.config.request_deadline, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(HttpError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body has more than {} bytes", limits::FRAME_BYTES_MAX),
            "split the batch",
        )),
        Ok(Err(rejection)) => Err(HttpError::bad(rejection.body_text(), "send the whole body")),
        Err(_) => Err(HttpError::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not come within {:?}", shared.config.request_deadline),
            "send it faster, or in smaller batches",
        )),
    }
}

/// Reads JSON; the error names line and column.
fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8], help: &str) -> Result<T, HttpError> {
    serde_json::from_slice(body).map_err(|error| HttpError::bad(format!("the body cannot be read: {error}"), help))
}

/// A name from the path, percent-decoded.
fn name<T: TryFrom<String, Error = NameError>>(text: String) -> Result<T, HttpError> {
    T::try_from(text).map_err(|error| HttpError::bad(error.to_string(), "see the path"))
}

/// What stood in the path.
fn path<T>(path: Result<Path<T>, PathRejection>) -> Result<T, HttpError> {
    path.map(|Path(parts)| parts)
        .map_err(|rejection| HttpError::bad(rejection.body_text(), "percent-encode keys as UTF-8"))
}
