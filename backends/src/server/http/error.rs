//! Errors as JSON, with the status that a client can act on.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use dacapo_core::{
    access::Denied,
    store::StoreError,
    wire::{self, ErrorCode},
};
use serde::Serialize;

use crate::server::{pace::TooMany, shared::Unanswered};

/// An answer that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct HttpError {
    status: StatusCode,
    error: String,
    help: String,
    retry_after: bool,
}

impl HttpError {
    pub(super) fn new(status: StatusCode, error: impl Into<String>, help: impl Into<String>) -> Self {
        let retry_after = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        Self { status, error: error.into(), help: help.into(), retry_after }
    }

    pub(super) fn bad(error: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, help)
    }

    pub(super) fn not_found(error: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error, help)
    }

    pub(super) fn unavailable(error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error, "try again in a second; /readyz says when")
    }

    pub(in crate::server) fn too_many_connections(connections_max: usize) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{connections_max} connections are open, which is the limit"),
            "close some, or try again later",
        )
    }

    /// The status, for tests and for the follower.
    pub(super) fn message(&self) -> &str {
        &self.error
    }
}

impl From<StoreError> for HttpError {
    fn from(error: StoreError) -> Self {
        Self::unavailable(error.to_string())
    }
}

impl From<Denied> for HttpError {
    fn from(denied: Denied) -> Self {
        denied.to_frame(None).into()
    }
}

impl From<TooMany> for HttpError {
    fn from(error: TooMany) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string(), "close some, or use a token for each program")
    }
}

impl From<Unanswered> for HttpError {
    fn from(unanswered: Unanswered) -> Self {
        let help = "send it again with the same ids: what is in the log already is answered as a duplicate";
        match unanswered {
            Unanswered::Closed => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the bus stopped before it answered; what became of the request is unknown",
                help,
            ),
            Unanswered::TimedOut => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "the bus did not answer in time; what became of the request is unknown",
                help,
            ),
        }
    }
}

impl From<wire::Error> for HttpError {
    fn from(error: wire::Error) -> Self {
        let status = match error.code {
            ErrorCode::Malformed | ErrorCode::UnknownKind | ErrorCode::Reserved => StatusCode::BAD_REQUEST,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::LimitReached => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            ErrorCode::Unavailable | ErrorCode::Silent | ErrorCode::SlowReader => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::OutOfTurn | ErrorCode::TypesDiffer | ErrorCode::InstanceAlive | ErrorCode::Superseded => {
                StatusCode::CONFLICT
            }
        };
        Self::new(status, error.message, error.help)
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a str,
            help: &'a str,
        }
        let mut response = super::json(self.status, &Body { error: &self.error, help: &self.help });
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
