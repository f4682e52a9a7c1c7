//! Answers that need not be sent again: an `ETag` on what is read, and 304 for whoever has it.
//!
//! The tag is a digest of the body, so that a page of the log that is full has the same one for ever.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use dacapo_core::digest::digest_of;

use super::HttpError;

/// Tags what is read as JSON. Streams, backups and answers to changes are passed on as they are.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    let is_get = request.method() == Method::GET;
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    if !is_get || response.status() != StatusCode::OK || !is_json(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // The whole body is in memory already.
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return HttpError::unavailable("the answer broke off").into_response();
    };
    let tag = format!("\"{:016x}\"", digest_of(0, &body[..]));
    let has_it = known.as_ref().and_then(|known| known.to_str().ok()).is_some_and(|known| {
        known.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    });
    if let Ok(tag) = HeaderValue::try_from(tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    // It may be kept, and is to be asked for again before it is used.
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if has_it {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(body))
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    content_type.starts_with(b"application/json") || content_type.starts_with(b"application/cloudevents")
}
