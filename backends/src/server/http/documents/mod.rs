//! What describes the bus to programs: OpenAPI for the routes, AsyncAPI for the frames, and a page to try the routes.
//!
//! All three are written by hand and compiled in. `backends/tests/documents.rs` holds them against the router, against real
//! answers and against the frames that the wire encodes.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};

const OPENAPI: &str = include_str!("openapi.json");
const ASYNCAPI: &str = include_str!("asyncapi.json");
const PAGE: &str = include_str!("try.html");
const STYLE: &str = include_str!("try.css");
const SCRIPT: &str = include_str!("try.js");

/// What the page may do: run its own script, wear its own style, ask this bus.
const PAGE_MAY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                        form-action 'none'; frame-ancestors 'none'";

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

pub(super) async fn asyncapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], ASYNCAPI).into_response()
}

pub(super) async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PAGE_MAY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, PAGE).into_response()
}

pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

pub(super) async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT).into_response()
}
