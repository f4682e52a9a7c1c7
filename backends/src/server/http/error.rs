//! Errors as problem details (RFC 9457), with the status that a client can act on and a sentence on what to do.

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

use super::cloudevents::Unfit;
use crate::server::{pace::TooMany, shared::Unanswered};

/// The media type of problem details.
pub(super) const PROBLEM: &str = "application/problem+json";

/// What every problem says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    /// Which kind it is: a name to branch on.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What failed and why.
    detail: String,
    /// What to do.
    help: String,
}

impl Problem {
    /// A problem of a kind of its own.
    pub(super) fn new(kind: &str, title: &'static str, status: StatusCode, detail: &str, help: &str) -> Self {
        Self {
            kind: format!("urn:dacapo:problem:{kind}"),
            title,
            status: status.as_u16(),
            detail: detail.to_owned(),
            help: help.to_owned(),
        }
    }
}

/// An answer that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct HttpError {
    status: StatusCode,
    detail: String,
    help: String,
    retry_after: bool,
}

impl HttpError {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>, help: impl Into<String>) -> Self {
        let retry_after = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        Self { status, detail: detail.into(), help: help.into(), retry_after }
    }

    pub(super) fn bad(detail: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail, help)
    }

    pub(super) fn not_found(detail: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail, help)
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail, "try again in a second; /readyz says when")
    }

    pub(in crate::server) fn too_many_connections(connections_max: usize) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{connections_max} connections are open, which is the limit"),
            "close some, or try again later",
        )
    }

    /// What failed, for tests and for the follower.
    pub(super) fn message(&self) -> &str {
        &self.detail
    }
}

impl From<StoreError> for HttpError {
    fn from(error: StoreError) -> Self {
        Self::unavailable(error.to_string())
    }
}

impl From<Unfit> for HttpError {
    fn from(unfit: Unfit) -> Self {
        let help = "see the mapping of CloudEvents in the protocol";
        match &unfit {
            Unfit::NoCloudEvent(_) => Self::bad(unfit.to_string(), help),
            Unfit::Attribute(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, unfit.to_string(), help),
            Unfit::Data(_) => Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, unfit.to_string(), help),
        }
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
        let title = self.status.canonical_reason().unwrap_or("Error");
        let kind = title.to_ascii_lowercase().replace(' ', "-");
        let problem = Problem::new(&kind, title, self.status, &self.detail, &self.help);
        let mut response = super::json(self.status, &problem);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
