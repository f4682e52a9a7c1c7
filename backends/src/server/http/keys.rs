//! `GET /v1/keys`: keys, their heads and their events.

use std::sync::Arc;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, Uri, header},
    response::Response,
};
use dacapo_core::{
    event::Event,
    names::{Key, Position, Version},
    store::{Page, Read},
    wire::Head,
};
use serde::Serialize;

use super::{HttpError, fields::Fields, json, name, path};
use crate::server::shared::Shared;

/// All keys with their heads, in order.
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Response, HttpError> {
    #[derive(Serialize)]
    struct Heads {
        keys: Vec<Head>,
        next: Option<Key>,
        position: Position,
    }
    let fields = Fields::of(&uri, &["after", "limit"])?;
    let read = Read::Keys { after: fields.name("after")?, limit: fields.limit()? };
    let Page::Keys { heads, read_at, more } = shared.port.read(Arc::new(read)).await? else {
        return Err(other_page());
    };
    let next = heads.last().filter(|_| more).map(|(key, _)| key.clone());
    let keys = heads.into_iter().map(|(key, version)| Head { key, version }).collect();
    let link = next.as_ref().and_then(|next| fields.link_to("/v1/keys", "after", next.as_str()));
    let mut response = json(StatusCode::OK, &Heads { keys, next, position: read_at });
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// One key: its head, and a page of its events.
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    key: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, HttpError> {
    #[derive(Serialize)]
    struct OneKey {
        key: Key,
        version: Version,
        events: Vec<Arc<Event>>,
        next: Option<Version>,
        position: Position,
    }
    let key: Key = name(path(key)?)?;
    let fields = Fields::of(&uri, &["after", "type", "limit"])?;
    let after = Version(fields.number("after")?.unwrap_or_default());
    let read = Read::Key { key: key.clone(), after, types: fields.names("type")?, limit: fields.limit()? };
    let Page::Key { events, head, read_at, more } = shared.port.read(Arc::new(read)).await? else {
        return Err(other_page());
    };
    if head == Version::ZERO {
        return Err(HttpError::not_found(
            format!("the key {key} has no event"),
            "a key begins with its first event; publish it with the expectation 0",
        ));
    }
    let next = events.last().filter(|_| more).map(|event| event.version);
    Ok(json(StatusCode::OK, &OneKey { key, version: head, events, next, position: read_at }))
}

/// A store that answers one question with the answer of another is broken, but the server goes on.
pub(super) fn other_page() -> HttpError {
    HttpError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the store answered another question than it was asked",
        "report this: the store's adapter has a bug",
    )
}
