//! Pages of other origins: none may ask, unless the configuration names it.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::server::shared::Shared;

/// What a page may send and see besides what every page may.
const METHODS: &str = "GET, POST, PUT, DELETE";
const HEADERS: &str = "authorization, content-type, if-none-match, last-event-id, traceparent, ce-specversion, ce-id, \
                       ce-source, ce-type, ce-subject, ce-time, ce-partitionkey, ce-expectedversion, ce-correlationid, \
                       ce-causationid";
const EXPOSED: &str = "etag, link, retry-after, dacapo-backup";

/// Answers a browser that asks first, and tells it that a named origin may see the answer.
pub(super) async fn allow(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let allowed = request.headers().get(header::ORIGIN).filter(|origin| {
        origin.to_str().is_ok_and(|origin| shared.config.cors_origins.iter().any(|allowed| allowed == origin))
    });
    let Some(origin) = allowed.cloned() else { return next.run(request).await };
    let asks_first =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks_first { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if asks_first {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    } else {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    response
}
