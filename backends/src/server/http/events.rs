//! `GET /v1/events`: questions about the log.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode, Uri, header},
    response::Response,
};
use dacapo_core::{
    event::Event,
    names::Position,
    store::{Completion, Query},
    time::WallTime,
};
use serde::Serialize;

use super::{
    HttpError, Permit,
    fields::{Fields, of_number},
    follow, json, path, wall_time,
};
use crate::server::shared::Shared;

const FIELDS: &[&str] =
    &["key", "type", "correlation", "causation", "source", "id", "from", "until", "order", "cursor", "limit", "follow"];

/// A page of the events for which every given condition holds; or, on request, a stream of them.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(permit): Extension<Permit>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, HttpError> {
    #[derive(Serialize)]
    struct Page {
        events: Vec<Arc<Event>>,
        next: Option<Position>,
        position: Position,
    }
    let fields = Fields::of(&uri, FIELDS)?;
    let query = query(&fields)?;
    if fields.flag("follow")? || wants_stream(&headers) {
        return follow::stream(shared, permit, &fields, query, &headers);
    }
    let newest_first = query.newest_first;
    let answer = shared.port.query(query).await?;
    let mut events = answer.events;
    events.sort_by_key(|event| event.position);
    if newest_first {
        events.reverse();
    }
    Ok(json(StatusCode::OK, &Page { events, next: answer.next, position: answer.read_at }))
}

fn wants_stream(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"))
}

fn query(fields: &Fields) -> Result<Query, HttpError> {
    Ok(Query {
        cursor: fields.number("cursor")?.map(Position),
        key: fields.name("key")?,
        types: fields.names("type")?,
        correlation: fields.name("correlation")?,
        causation: fields.name("causation")?,
        source: fields.name("source")?,
        id: fields.name("id")?,
        from: time(fields, "from")?,
        until: time(fields, "until")?,
        newest_first: match fields.text("order")? {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(other) => return Err(HttpError::bad(format!("order={other:?} is no order"), "say asc or desc")),
        },
        limit: fields.limit()?,
    })
}

fn time(fields: &Fields, name: &str) -> Result<Option<WallTime>, HttpError> {
    let Some(text) = fields.text(name)? else { return Ok(None) };
    let help = "write 2026-03-01T12:00:00Z, or microseconds since 1970; percent-encode a +";
    wall_time::parse(text).map(Some).ok_or_else(|| HttpError::bad(format!("{name}={text:?} is no time"), help))
}

/// The event at a position, and how the services ended it.
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    position: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, HttpError> {
    #[derive(Serialize)]
    struct One {
        event: Arc<Event>,
        completions: Vec<Completion>,
    }
    Fields::of(&uri, &[])?;
    let position = of_number("position", &path(position)?)
        .map_err(|_| HttpError::bad("the path names no position", "give a number; ask for an id by /v1/events?id=…"))?;
    let before = position.checked_sub(1).map(Position);
    let answer = shared.port.query(Query { cursor: before, limit: 1, ..Query::default() }).await?;
    let event = answer.events.into_iter().find(|event| event.position.0 == position).ok_or_else(|| {
        HttpError::not_found(
            format!("there is no event at position {position}"),
            format!("the log ends at {}", answer.read_at),
        )
    })?;
    let completions = shared.port.completions(vec![event.position]).await?;
    Ok(json(StatusCode::OK, &One { event, completions }))
}
