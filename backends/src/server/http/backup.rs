//! `GET /v1/backup`: a backup of the store, made and checked beside it, then sent.
//!
//! The file has lost its name before the first byte of it is sent, so that nothing stays behind, whoever dies.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use dacapo_core::store::StoreError;

use super::{HttpError, fields::Fields};
use crate::server::shared::Shared;

/// The header that tells what is in the backup, as JSON.
const HEADER: &str = "dacapo-backup";

pub(super) async fn send(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Response, HttpError> {
    let fields = Fields::of(&uri, &["rate"])?;
    let rate = fields.number("rate")?;
    let Ok(_alone) = shared.backups.try_acquire() else {
        return Err(HttpError::new(StatusCode::TOO_MANY_REQUESTS, "a backup is being made", "wait until it is done"));
    };
    let backed_up = shared.port.back_up(rate).await.map_err(|error| match error {
        StoreError::NotAStore(sentence) => {
            HttpError::new(StatusCode::NOT_IMPLEMENTED, sentence, "back up what is behind the store by its own means")
        }
        error => HttpError::from(error),
    })?;
    let pieces = shared.port.take_backup(&backed_up).map_err(|error| {
        HttpError::from(StoreError::Io(format!("the backup {} cannot be read: {error}", backed_up.path.display())))
    })?;
    let told = serde_json::to_string(&backed_up).unwrap_or_default();
    let headers = [
        (header::CONTENT_TYPE, "application/vnd.sqlite3".to_owned()),
        (header::CONTENT_LENGTH, backed_up.bytes.to_string()),
        (header::HeaderName::from_static(HEADER), told),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}
