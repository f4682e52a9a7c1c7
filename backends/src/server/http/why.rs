//! `GET /v1/services/{service}/lanes/{key}/why`: why a lane stands where it stands.
//!
//! The bus is asked first and the store after it, so that what the store shows is at least as new; what changed in between
//! makes an answer that is true a moment later.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, Uri},
    response::Response,
};
use dacapo_core::{
    bus::{Admin, AdminAnswer},
    names::Key,
    store::{LookUp, Page},
    why::{self, Ground},
};

use super::{HttpError, Permit, fields::Fields, json, keys::other_page, name, path};
use crate::server::shared::Shared;

pub(super) async fn why(
    State(shared): State<Arc<Shared>>,
    Extension(permit): Extension<Permit>,
    lane: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Result<Response, HttpError> {
    Fields::of(&uri, &[])?;
    let (service, key) = path(lane)?;
    let key: Key = name(key)?;
    let facts = match shared.admin(permit, Admin::Lane { service: name(service)?, key: key.clone() }).await? {
        AdminAnswer::Lane(facts) => facts,
        AdminAnswer::Error(error) => return Err(error.into()),
        _ => return Err(other_page()),
    };
    let look_up = LookUp { heads: vec![key.clone()], ..LookUp::default() };
    let mut found = shared.port.look_up(Arc::new(look_up)).await?;
    let head = found.heads.remove(&key).unwrap_or_default();
    let page = shared.port.read(Arc::new(facts.read(&head))).await?;
    if !matches!(page, Page::Undone { .. }) {
        return Err(other_page());
    }
    Ok(json(StatusCode::OK, &why::explain(&facts, &Ground::of(head, found.read_at, page))))
}
