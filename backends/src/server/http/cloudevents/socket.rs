//! CloudEvents over a WebSocket, sub-protocol `cloudevents.json`: each text message is one event in structured mode.
//!
//! What comes is published, in order; what is accepted goes out to whoever follows, from a cursor on. The binding knows no
//! receipts: an event that can never enter ends the connection, with the reason, and one that finds the bus full waits here.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{
        State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use dacapo_core::{
    digest::digest_of,
    event::{NewEvent, Receipt},
    limits,
    wire::Publish,
};
use tokio::time::sleep;

use super::{incoming, outgoing};
use crate::server::{
    http::{HttpError, Permit, events, fields::Fields, follow::Follower},
    shared::{Published, Shared},
};

/// The name of the sub-protocol.
const SUBPROTOCOL: &str = "cloudevents.json";
/// How soon an event that found the bus full tries again.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest reason that a close frame can carry.
const REASON_BYTES_MAX: usize = 120;

/// Opens it. `follow=false` only publishes.
pub(in crate::server::http) async fn open(
    State(shared): State<Arc<Shared>>,
    Extension(permit): Extension<Permit>,
    headers: HeaderMap,
    uri: Uri,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, HttpError> {
    let fields = Fields::of(&uri, &["key", "type", "correlation", "causation", "source", "cursor", "follow"])?;
    let follows = fields.text("follow")?.is_none() || fields.flag("follow")?;
    let follower = follows
        .then(|| Follower::new(&shared, permit.clone(), &fields, events::query(&fields)?, &headers))
        .transpose()?;
    let upgrade = upgrade
        .map_err(|rejection| {
            HttpError::new(StatusCode::UPGRADE_REQUIRED, rejection.body_text(), "open this path as a WebSocket")
        })?
        .protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return Err(HttpError::bad("the sub-protocol cloudevents.json was not offered", "offer cloudevents.json"));
    }
    Ok(upgrade
        .max_message_size(limits::FRAME_BYTES_MAX)
        .max_frame_size(limits::FRAME_BYTES_MAX)
        .on_upgrade(move |socket| run(socket, shared, permit, follower)))
}

async fn run(mut socket: WebSocket, shared: Arc<Shared>, permit: Permit, mut follower: Option<Follower>) {
    let _counted = shared.count_socket();
    let end = loop {
        let next = async {
            match &mut follower {
                Some(follower) => follower.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shared.dead() => return,
            () = shared.closing() => break (1_001, "the bus is shutting down".to_owned()),
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    if let Err(end) = publish(&shared, &permit, &text).await {
                        break end;
                    }
                }
                Some(Ok(Message::Binary(_))) => break (1_003, "send text messages, one CloudEvent each".to_owned()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            event = next => match event {
                Some(Ok(event)) => {
                    let sent = tokio::select! {
                        biased;
                        () = shared.dead() => return,
                        sent = socket.send(Message::text(outgoing::structured(&event))) => sent,
                    };
                    if sent.is_err() {
                        return;
                    }
                }
                Some(Err(error)) => break (1_011, error.message().to_owned()),
                None => break (1_001, "the bus is shutting down".to_owned()),
            },
        }
    };
    let (code, reason) = end;
    let cut = reason.char_indices().map(|(at, _)| at).take_while(|at| *at <= REASON_BYTES_MAX).last().unwrap_or(0);
    let reason = if reason.len() > REASON_BYTES_MAX { &reason[..cut] } else { &reason };
    // Whoever has gone already need not be told.
    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
}

/// Publishes one event; an error is how the connection ends.
async fn publish(shared: &Arc<Shared>, permit: &Permit, text: &str) -> Result<(), (u16, String)> {
    let event = incoming::of_text(text).map_err(|unfit| (1_007, unfit.to_string()))?;
    loop {
        let events: Vec<NewEvent> = vec![event.clone()];
        let publish = Publish { request: digest_of(0, &event.id), events, guards: Vec::new() };
        let answer = shared.publish(permit.clone(), publish).await;
        let answer = answer.map_err(|unanswered| (1_001, HttpError::from(unanswered).message().to_owned()))?;
        match answer {
            Published::Receipts(receipts) => match receipts.receipts.into_iter().next() {
                Some(Receipt::Throttled) => sleep(PAUSE).await,
                Some(Receipt::Inconsistent { key, head, .. }) => {
                    return Err((1_008, format!("{} expected another version of {key}, which is at {head}", event.id)));
                }
                Some(Receipt::Refused { message, .. }) => return Err((1_008, message)),
                Some(Receipt::Accepted { .. } | Receipt::Duplicate { .. }) | None => return Ok(()),
            },
            Published::Error(error) => return Err((1_008, error.message)),
        }
    }
}
