//! `/v1/tokens`: making, listing and revoking bearer tokens. A secret never comes here: its holder draws it, and sends its
//! hash.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use dacapo_core::{
    access::{self, Rights, SecretHash},
    bus::{Admin, AdminAnswer},
    limits::TOKENS_MAX,
    names::{Position, TokenName, Version},
    store::SystemEvent,
    time::WallTime,
};
use serde::{Deserialize, Serialize};

use super::{HttpError, Permit, body, json, name, parse, path, services::Parts};
use crate::server::shared::Shared;

const HELP: &str = "send {\"name\": …, \"hash\": the SHA-256 of the token in hexadecimal digits, \"rights\": \
                    {\"publish\": [{\"types\": …, \"keys\": …}], \"services\": […], \"read\": true, \"administer\": true}, \
                    \"expires\": microseconds since 1970, or left out}";

/// All tokens, without what would help to guess one.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    #[derive(Serialize)]
    struct Shown<'a> {
        name: &'a TokenName,
        rights: &'a Rights,
        made: WallTime,
        expires: Option<WallTime>,
        revoked: bool,
    }
    #[derive(Serialize)]
    struct Tokens<'a> {
        tokens: Vec<Shown<'a>>,
    }
    let book = shared.access.book();
    let tokens = book.tokens().map(|token| Shown {
        name: &token.name,
        rights: &token.rights,
        made: token.made,
        expires: token.expires,
        revoked: token.revoked,
    });
    json(StatusCode::OK, &Tokens { tokens: tokens.collect() })
}

/// Makes one.
pub(super) async fn make(
    State(shared): State<Arc<Shared>>,
    Extension(permit): Extension<Permit>,
    request: Request,
) -> Result<Response, HttpError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct New {
        name: TokenName,
        hash: SecretHash,
        rights: Rights,
        #[serde(default)]
        expires: Option<WallTime>,
    }
    let text = body(&shared, request).await?;
    let New { name, hash, rights, expires } = parse(&text, HELP)?;
    let by = permit.speaker.name().map(ToString::to_string);
    let event = {
        let book = shared.access.book();
        let former = book.get(&name);
        if former.is_some_and(|token| !token.revoked) {
            let error = format!("there is a token {name} already");
            return Err(HttpError::new(StatusCode::CONFLICT, error, "revoke it first, or choose another name"));
        }
        if former.is_none() && book.len() >= TOKENS_MAX {
            let error = format!("there are {TOKENS_MAX} names of tokens, which is the limit");
            return Err(HttpError::new(StatusCode::TOO_MANY_REQUESTS, error, "use the name of a revoked one again"));
        }
        let head = former.map_or(Version::ZERO, |token| token.version);
        access::made(&name, hash, rights, expires, by, head)
    };
    ask(&shared, permit, event).await
}

/// Revokes one: with the answer it counts no more.
pub(super) async fn revoke(
    State(shared): State<Arc<Shared>>,
    Extension(permit): Extension<Permit>,
    token: Parts<String>,
) -> Result<Response, HttpError> {
    let wanted: TokenName = name(path(token)?)?;
    let by = permit.speaker.name().map(ToString::to_string);
    let event = match shared.access.book().get(&wanted).filter(|token| !token.revoked) {
        Some(token) => access::revoked(token, by),
        None => {
            let error = format!("there is no token {wanted} that counts");
            return Err(HttpError::not_found(error, "GET /v1/tokens lists them"));
        }
    };
    ask(&shared, permit, event).await
}

async fn ask(shared: &Arc<Shared>, permit: Permit, event: SystemEvent) -> Result<Response, HttpError> {
    #[derive(Serialize)]
    struct Done {
        position: Position,
    }
    match shared.admin(permit, Admin::Audit(event)).await? {
        AdminAnswer::Done(position) => Ok(json(StatusCode::OK, &Done { position })),
        AdminAnswer::Error(error) => Err(error.into()),
        AdminAnswer::Services(_) | AdminAnswer::Lanes(_) => {
            Err(HttpError::unavailable("the bus answered another question than was asked"))
        }
    }
}
