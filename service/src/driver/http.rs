//! HTTP of a service: axum translates, the machine answers.
//!
//! A request becomes one message to the driver's loop, its answer comes back through a channel of its own. An answer that
//! was lost (a process that died) leaves the caller waiting, as a dead process would.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response as HttpResponse,
};
use dacapo_core::{Position, limits};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::routing::{Refused, list, other_methods, resolve};
use crate::service::{Method, Request, Response, Route};

/// HTTP requests in hand at once; beyond it they are answered with 503. The machine has its own, usually lower limit.
pub const HTTP_REQUESTS_MAX: usize = 4_096;

/// Carries a position: in an answer where the request's events end, in a request what a view must have seen.
pub const POSITION_HEADER: &str = "Dacapo-Position";

/// Longer idempotency keys and callers are mistakes.
const HEADER_BYTES_MAX: usize = limits::NAME_BYTES_MAX;

/// What axum's tasks tell the loop.
#[derive(Debug)]
pub(super) enum FromHttp {
    /// A request for the machine.
    Request { id: u64, request: Request, answer: oneshot::Sender<Response> },
    /// Who asked went away.
    Gone { id: u64 },
}

/// What axum's tasks share.
#[derive(Debug)]
pub(super) struct Door {
    routes: Vec<Route>,
    inbox: mpsc::UnboundedSender<FromHttp>,
    /// Bounds the inbox, too: a request and its going away are all that one can put there.
    permits: Semaphore,
    last_id: AtomicU64,
    /// Whether the bus has welcomed this instance.
    pub(super) welcomed: AtomicBool,
}

impl Door {
    pub(super) fn new(routes: Vec<Route>, inbox: mpsc::UnboundedSender<FromHttp>) -> Arc<Self> {
        Arc::new(Self {
            routes,
            inbox,
            permits: Semaphore::new(HTTP_REQUESTS_MAX),
            last_id: AtomicU64::new(0),
            welcomed: AtomicBool::new(false),
        })
    }

    /// One fallback takes everything: the machine's routes are data.
    pub(super) fn router(self: &Arc<Self>) -> Router {
        Router::new().fallback(handle).with_state(self.clone())
    }

    fn health(&self) -> HttpResponse {
        if self.welcomed.load(Ordering::Relaxed) {
            to_http(Response::json(200, "connected"))
        } else {
            to_http(Response::error(503, "the instance has no connection to the bus; it goes on trying"))
        }
    }
}

/// Tells the loop when the caller goes away: axum drops the handler then.
struct Waiting<'a> {
    door: &'a Door,
    id: u64,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.answered {
            // A loop that has ended needs not be told.
            let _ = self.door.inbox.send(FromHttp::Gone { id: self.id });
        }
    }
}

async fn handle(State(door): State<Arc<Door>>, http: axum::http::Request<Body>) -> HttpResponse {
    if matches!(http.uri().path(), "/healthz" | "/health_check") {
        return door.health();
    }
    let Ok(_permit) = door.permits.try_acquire() else {
        return to_http(Response::error(503, "too many requests are in hand; repeat the request later"));
    };
    let request = match translate(&door.routes, http).await {
        Ok(request) => request,
        Err(response) => return *response,
    };
    let id = door.last_id.fetch_add(1, Ordering::Relaxed) + 1;
    let mut waiting = Waiting { door: &door, id, answered: false };
    let (answer, answered) = oneshot::channel();
    let told = door.inbox.send(FromHttp::Request { id, request, answer });
    if let (Ok(()), Ok(response)) = (told, answered.await) {
        waiting.answered = true;
        to_http(response)
    } else {
        pending().await
    }
}

async fn translate(routes: &[Route], http: axum::http::Request<Body>) -> Result<Request, Box<HttpResponse>> {
    let refuse = |status: u16, sentence: &str| Box::new(to_http(Response::error(status, sentence)));
    let (parts, body) = http.into_parts();
    let method = match parts.method.as_str() {
        "GET" => Some(Method::Get),
        "POST" => Some(Method::Post),
        "PUT" => Some(Method::Put),
        "DELETE" => Some(Method::Delete),
        _ => None,
    };
    let query = parts.uri.query().unwrap_or_default();
    let (route, parameters) = match resolve(routes, method, parts.uri.path(), query) {
        Ok(found) => found,
        Err(Refused::OtherMethods(methods)) => return Err(Box::new(method_not_allowed(&methods))),
        Err(Refused::Answer(response)) => return Err(Box::new(to_http(response))),
    };
    let header = |name: &str| header_of(&parts.headers, name).map_err(|sentence| refuse(400, &sentence));
    let at_least = match header(POSITION_HEADER)?.map(|text| text.parse()) {
        None => None,
        Some(Ok(position)) => Some(Position(position)),
        Some(Err(_)) => return Err(refuse(400, "the Dacapo-Position header is no position; send a whole number")),
    };
    let idempotency_key = header("Idempotency-Key")?;
    let caller = header("Caller")?;
    let Ok(bytes) = to_bytes(body, limits::DATA_BYTES_MAX).await else {
        let sentence = format!("the body has more than {} bytes; send less", limits::DATA_BYTES_MAX);
        return Err(refuse(413, &sentence));
    };
    let Ok(body) = String::from_utf8(bytes.into()) else {
        return Err(refuse(400, "the body is not UTF-8; send JSON"));
    };
    Ok(Request { method: route.method, route: route.path, parameters, idempotency_key, caller, at_least, body })
}

fn header_of(headers: &HeaderMap, name: &str) -> Result<Option<String>, String> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    match value.to_str() {
        Ok("") => Err(format!("the {name} header is empty; leave it out or give it a value")),
        Ok(text) if text.len() > HEADER_BYTES_MAX => {
            Err(format!("the {name} header has {} bytes, the limit is {HEADER_BYTES_MAX}; shorten it", text.len()))
        }
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(format!("the {name} header is not ASCII; encode it")),
    }
}

fn method_not_allowed(methods: &[Method]) -> HttpResponse {
    let mut response = to_http(other_methods(methods));
    if let Ok(value) = HeaderValue::from_str(&list(methods)) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

fn to_http(response: Response) -> HttpResponse {
    let mut http = HttpResponse::new(Body::from(response.body));
    *http.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    http.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(position) = response.position {
        http.headers_mut().insert(POSITION_HEADER, HeaderValue::from(position.0));
    }
    http
}
