//! `/v1/services`: services, their lanes, and what an administrator may do to them. All of it is asked of the bus.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{StatusCode, Uri},
    response::Response,
};
use dacapo_core::{
    bus::{Admin, AdminAnswer, LaneStatus, ServiceStatus},
    names::{EventType, Key, Position},
    wire::Start,
};
use serde::{Deserialize, Serialize};

use super::{HttpError, Permit, body, fields::Fields, json, name, parse, path};
use crate::server::shared::Shared;

pub(super) type Parts<T> = Result<Path<T>, PathRejection>;

/// All services with their instances.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(permit): Extension<Permit>,
    uri: Uri,
) -> Result<Response, HttpError> {
    Fields::of(&uri, &[])?;
    ask(&shared, permit, Admin::Services, 0).await
}

/// A service's lanes, in memory or behind.
pub(super) async fn lanes(
    State(shared): State<Arc<Shared>>,
    Extension(permit): Extension<Permit>,
    service: Parts<String>,
    uri: Uri,
) -> Result<Response, HttpError> {
    let service = name(path(service)?)?;
    let fields = Fields::of(&uri, &["parked", "after", "limit"])?;
    let limit = fields.limit()?;
    let admin = Admin::Lanes { service, parked: fields.flag("parked")?, after: fields.name("after")?, limit };
    ask(&shared, permit, admin, limit).await
}

/// Delivers a parked lane's first event again.
pub(super) async fn retry(
    State(shared): State<Arc<Shared>>,
    Extension(permit): Extension<Permit>,
    lane: Parts<(String, String)>,
    uri: Uri,
) -> Result<Response, HttpError> {
    Fields::of(&uri, &[])?;
    let (service, key) = path(lane)?;
    ask(&shared, permit, Admin::Retry { service: name(service)?, key: name(key)? }, 0).await
}

/// Passes over a parked lane's first event for ever.
pub(super) async fn skip(
    State(shared): State<Arc<Shared>>,
    Extension(permit): Extension<Permit>,
    lane: Parts<(String, String)>,
    uri: Uri,
) -> Result<Response, HttpError> {
    Fields::of(&uri, &[])?;
    let (service, key) = path(lane)?;
    ask(&shared, permit, Admin::Skip { service: name(service)?, key: name(key)? }, 0).await
}

/// Changes the types that a service takes.
pub(super) async fn change_types(
    State(shared): State<Arc<Shared>>,
    Extension(permit): Extension<Permit>,
    service: Parts<String>,
    uri: Uri,
    request: Request,
) -> Result<Response, HttpError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Types {
        types: Vec<EventType>,
        start: Start,
    }
    Fields::of(&uri, &[])?;
    let service = name(path(service)?)?;
    let text = body(&shared, request).await?;
    let Types { types, start } =
        parse(&text, "send {\"types\": [all types from now on], \"start\": \"now\" or \"beginning\"}")?;
    ask(&shared, permit, Admin::ChangeTypes { service, types, start }, 0).await
}

async fn ask(shared: &Arc<Shared>, permit: Permit, admin: Admin, limit: usize) -> Result<Response, HttpError> {
    #[derive(Serialize)]
    struct Services {
        services: Vec<ServiceStatus>,
    }
    #[derive(Serialize)]
    struct Lanes {
        lanes: Vec<LaneStatus>,
        next: Option<Key>,
    }
    #[derive(Serialize)]
    struct Done {
        position: Position,
    }
    match shared.admin(permit, admin).await? {
        AdminAnswer::Services(services) => Ok(json(StatusCode::OK, &Services { services })),
        AdminAnswer::Lanes(lanes) => {
            let next = lanes.last().filter(|_| lanes.len() == limit).map(|lane| lane.key.clone());
            Ok(json(StatusCode::OK, &Lanes { lanes, next }))
        }
        AdminAnswer::Done(position) => Ok(json(StatusCode::OK, &Done { position })),
        AdminAnswer::Error(error) => Err(error.into()),
    }
}
