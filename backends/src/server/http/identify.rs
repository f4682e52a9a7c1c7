//! Who asks, and whether he may: a layer around every route but those that say whether the bus is alive.
//!
//! A route that is added later is guarded by its method, without anybody having to think of it: what reads needs the right
//! to read, what changes something the right to administer.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use dacapo_core::{
    access::{Denied, Secret, Speaker},
    wire,
};

use tokio::time::sleep;

use super::HttpError;
use crate::server::{accept::Permit, pace::TokenShare, shared::Shared};

/// Browsers cannot set a header for a WebSocket; they offer the token as one more sub-protocol, with this before it.
const SUBPROTOCOL_PREFIX: &str = "dacapo.bearer.";

/// How long a request may be kept waiting.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Lets in who may, with his name in the [`Permit`].
pub(super) async fn identify(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    match speaker_of(&shared, &request) {
        Ok(speaker) => {
            let of_token = match shared.access.share(&shared, &speaker) {
                Ok(of_token) => of_token,
                Err(error) => return HttpError::from(error).into_response(),
            };
            if let Some(of_token) = &of_token
                && let Err(error) = pace(&shared, of_token, request.headers()).await
            {
                return error.into_response();
            }
            if let Some(permit) = request.extensions_mut().get_mut::<Permit>() {
                permit.speaker = speaker;
                permit.of_token = of_token;
            }
            next.run(request).await
        }
        Err(denied) => {
            shared.metrics.denied.add(1);
            HttpError::from(denied).into_response()
        }
    }
}

/// Lets a request wait that comes too soon; one that would have to wait for long is told to come again.
async fn pace(shared: &Shared, of_token: &TokenShare, headers: &HeaderMap) -> Result<(), HttpError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let wait = of_token.pace().take(shared.world.clock.now().monotonic, 1, length.unwrap_or_default());
    if wait.is_zero() {
        return Ok(());
    }
    shared.metrics.paced.add(1);
    if wait > WAIT_MAX {
        let error = "more comes with this token than a second allows";
        return Err(HttpError::new(StatusCode::TOO_MANY_REQUESTS, error, "send fewer requests, or larger batches"));
    }
    sleep(wait).await;
    Ok(())
}

fn speaker_of(shared: &Shared, request: &Request) -> Result<Speaker, Denied> {
    let shown = shown(request.headers())?;
    let speaker = shared.access.speaker(shared, shown.as_ref())?;
    let now = shared.world.clock.now().wall;
    match (request.method(), request.uri().path()) {
        // Judged frame by frame; the token may still come with the hello.
        (_, wire::PATH) => {}
        // Judged event by event, by the driver.
        (&Method::POST, "/v1/events") => speaker.may_publish(now, &[])?,
        (&Method::GET | &Method::HEAD, path) if !path.starts_with("/v1/tokens") => speaker.may_read(now)?,
        _ => speaker.may_administer(now)?,
    }
    Ok(speaker)
}

/// The token that the headers show.
fn shown(headers: &HeaderMap) -> Result<Option<Secret>, Denied> {
    let text = match headers.get(header::AUTHORIZATION) {
        Some(value) => value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        }),
        None => {
            let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
            let mut names = offered.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
            match names.find_map(|name| name.trim().strip_prefix(SUBPROTOCOL_PREFIX)) {
                None => return Ok(None),
                some => some,
            }
        }
    };
    let secret = text.and_then(|text| text.parse().ok()).ok_or(Denied::UnknownToken)?;
    Ok(Some(secret))
}
