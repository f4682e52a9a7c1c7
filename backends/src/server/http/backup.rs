//! `GET /v1/backup`: a backup of the store, made and checked beside it, then sent.
//!
//! The file has lost its name before the first byte of it is sent, so that nothing stays behind, whoever dies.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    sync::Arc,
};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use dacapo_core::store::StoreError;
use futures_util::stream;

use super::{HttpError, fields::Fields};
use crate::server::shared::Shared;

/// What is read from the file at once.
const PIECE_BYTES: usize = 256 << 10;

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
    let opened = File::open(&backed_up.path);
    let unnamed = fs::remove_file(&backed_up.path);
    let file = opened.and_then(|file| unnamed.map(|()| file)).map_err(|error| {
        HttpError::from(StoreError::Io(format!("the backup {} cannot be read: {error}", backed_up.path.display())))
    })?;
    let told = serde_json::to_string(&backed_up).unwrap_or_default();
    let pieces = stream::unfold(Some(file), |file| async { next_piece(file?).await });
    let headers = [
        (header::CONTENT_TYPE, "application/vnd.sqlite3".to_owned()),
        (header::CONTENT_LENGTH, backed_up.bytes.to_string()),
        (header::HeaderName::from_static(HEADER), told),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Reads on, on a thread that may wait for a disk.
async fn next_piece(mut file: File) -> Option<(io::Result<Bytes>, Option<File>)> {
    #[expect(clippy::disallowed_methods, reason = "nobody makes a backup in a simulation, whose stores have none")]
    let read = tokio::task::spawn_blocking(move || {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece).map(|_| (piece, file))
    });
    match read.await {
        Ok(Ok((piece, _))) if piece.is_empty() => None,
        Ok(Ok((piece, file))) => Some((Ok(Bytes::from(piece)), Some(file))),
        Ok(Err(error)) => Some((Err(error), None)),
        // The runtime ends.
        Err(_) => None,
    }
}
