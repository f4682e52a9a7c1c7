//! Answers that several routes give.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use maud::Markup;
use serde_json::json;

use super::visitor::Visitor;
use crate::{page, site::visitor, vault::VaultError};

/// A page for this visitor alone.
pub(super) fn page(status: StatusCode, visitor: &Visitor, is_secure: bool, markup: Markup) -> Response {
    let mut response = (status, Html(markup.into_string())).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if visitor.is_new {
        visitor::give(&mut response, &visitor.secret, is_secure);
    }
    response
}

/// To another page, after a form.
pub(super) fn to(path: &str) -> Response {
    Redirect::to(path).into_response()
}

/// Why a visitor's request goes no further.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refused {
    /// Only a user may ask.
    LogInFirst {
        /// Whether the script asks.
        wants_json: bool,
    },
    /// The form was not made for this visitor.
    StaleForm {
        /// Whether the script asks.
        wants_json: bool,
    },
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::LogInFirst { wants_json: false } => to("/"),
            Self::LogInFirst { wants_json: true } => {
                error(StatusCode::UNAUTHORIZED, "Your session has ended. Log in again.")
            }
            Self::StaleForm { wants_json } => {
                let told = "This form was made for another session. Load the page again.";
                if wants_json {
                    return error(StatusCode::FORBIDDEN, told);
                }
                plain(StatusCode::FORBIDDEN, "Load the page again", told)
            }
        }
    }
}

/// An error for the script.
pub(super) fn error(status: StatusCode, sentence: &str) -> Response {
    (status, Json(json!({ "error": sentence }))).into_response()
}

/// A page with one sentence.
pub(super) fn plain(status: StatusCode, title: &str, sentence: &str) -> Response {
    (status, Html(page::plain(title, sentence).into_string())).into_response()
}

/// The vault does not work; what is wrong with it is for the log, not for visitors.
pub(super) fn vault(error: &VaultError) -> Response {
    tracing::error!(%error, "the vault does not answer");
    plain(StatusCode::SERVICE_UNAVAILABLE, "Not now", "The bank cannot look up its customers just now. Try again.")
}

/// The books are being made anew.
pub(super) fn reading(wants_json: bool) -> Response {
    let told = "The bank is reading its books from the beginning. Try again in a moment.";
    let mut response = if wants_json {
        error(StatusCode::SERVICE_UNAVAILABLE, told)
    } else {
        plain(StatusCode::SERVICE_UNAVAILABLE, "One moment", told)
    };
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
