//! One WebSocket: what comes is decoded and handed to the driver, what waits in the outbox is written.
//!
//! A message that is no frame is answered with an error frame and the connection goes on, because its sender may have
//! other things to say; after several in a row, and after anything that breaks the WebSocket itself, it is closed.

use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use dacapo_core::{
    bus::ConnId,
    limits::{self, Limits},
    trace::What,
    wire::{DecodeError, Error, ErrorCode, FromBus, ToBus},
};
use futures_util::{
    future::join,
    sink::{Sink, SinkExt},
    stream::{Stream, StreamExt},
};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite;

use super::{
    accept::Permit,
    outbox::{End, Item, Outbox},
    pace::{Pace, TokenShare},
    shared::{Arrival, Gone, Shared},
};

/// Frames that are ready together go as one message of about this size: fewer system calls, and a page of events does
/// not wait for another.
const MESSAGE_BYTES: usize = 64 << 10;

/// Runs a connection to its end.
pub(super) async fn run(socket: WebSocket, shared: Arc<Shared>, permit: Permit) {
    let _counted = shared.count_socket();
    tokio::select! {
        biased;
        // A dead process says no more: the socket is dropped as it is.
        () = shared.dead() => {}
        () = converse(socket, &shared, &permit) => {}
    }
}

async fn converse(socket: WebSocket, shared: &Arc<Shared>, permit: &Permit) {
    let conn = shared.next_conn();
    let outbox = Arc::new(Outbox::new(shared.config.limits.send_queue_bytes_max));
    let speaker = permit.speaker.clone();
    if shared.hand_in(Arrival::Connected { conn, outbox: Arc::clone(&outbox), speaker }).await.is_err() {
        return;
    }
    let (mut sink, mut stream) = socket.split();
    let said = tokio::select! {
        biased;
        written = write(&mut sink, &outbox) => written,
        () = read(&mut stream, shared, conn, &outbox, permit) => Err(Broken),
        () = patience(shared, &outbox) => Err(Broken),
    };
    // Together, for the inbox may be full until another bus has recovered.
    let told = shared.hand_in(Arrival::Disconnected { conn });
    let parted = async {
        if let Ok(end) = said {
            // Whoever does not take leave in time is cut.
            let _ = timeout(shared.config.close_deadline, part(&mut sink, &mut stream, end, shared)).await;
        }
    };
    if join(parted, told).await.1.is_err() {
        tracing::debug!(conn = conn.0, "a connection outlived the bus");
    }
}

/// Says the last word, and waits until the peer has closed too, so that what was written is read and not reset.
async fn part<S>(sink: &mut (impl Sink<Message> + Unpin), stream: &mut S, end: End, shared: &Shared)
where
    S: Stream<Item = Result<Message, axum::Error>> + Unpin,
{
    let close = CloseFrame { code: end.code, reason: Utf8Bytes::from_static(end.reason) };
    if sink.send(Message::Close(Some(close))).await.is_err() {
        return;
    }
    while let Some(heard) = stream.next().await {
        if heard.is_err() {
            // What cannot be read cannot be waited out; closing over unread bytes would reset the connection.
            sleep(shared.config.close_deadline).await;
        }
    }
}

/// Returns some time after the connection was told to end: a peer that does not read is not waited for.
async fn patience(shared: &Shared, outbox: &Outbox) {
    outbox.ended().await;
    sleep(shared.config.close_deadline).await;
}

/// The connection cannot be written to any more.
struct Broken;

/// Writes what waits; returns how the connection is to end once all is written.
async fn write(sink: &mut (impl Sink<Message> + Unpin), outbox: &Outbox) -> Result<End, Broken> {
    while let Some(items) = outbox.next(MESSAGE_BYTES).await {
        let message = encode(&items);
        if !message.is_empty() {
            sink.send(Message::Text(message.into())).await.map_err(|_| Broken)?;
        }
    }
    Ok(outbox.end().unwrap_or(End { code: 1_000, reason: "" }))
}

/// One frame as itself, several as an array.
fn encode(items: &[Item]) -> String {
    let mut frames = items.iter().filter_map(|item| match item {
        Item::Frame(frame) => Some(frame),
        Item::Answer(_) => None,
    });
    let (Some(first), second) = (frames.next(), frames.next()) else { return String::new() };
    let Some(second) = second else { return first.encode() };
    let mut text = vec![b'['];
    first.encode_to(&mut text);
    for frame in std::iter::once(second).chain(frames) {
        text.push(b',');
        frame.encode_to(&mut text);
    }
    text.push(b']');
    String::from_utf8(text).unwrap_or_default()
}

/// Hands in what comes; returns when nothing more can come. A connection that is told to end goes on being read only
/// by whoever waits for its end.
async fn read<S>(stream: &mut S, shared: &Shared, conn: ConnId, outbox: &Outbox, permit: &Permit)
where
    S: Stream<Item = Result<Message, axum::Error>> + Unpin,
{
    let mut malformed_messages = 0;
    let pace = Pace::new(limits_of(shared).frames_per_second_max, limits_of(shared).bytes_per_second_max);
    let mut of_token = permit.of_token.clone();
    while let Some(message) = stream.next().await {
        let (error, end) = match message {
            Ok(Message::Text(text)) => match ToBus::decode(&text) {
                Ok(frames) => {
                    malformed_messages = 0;
                    match token_of(shared, &frames) {
                        Ok(None) => {}
                        Ok(shown) => of_token = shown,
                        Err(error) => {
                            say(shared, conn, outbox, error, None);
                            outbox.close(End { code: 1_008, reason: "too many connections" });
                            return std::future::pending().await;
                        }
                    }
                    keep_pace(shared, &pace, of_token.as_deref(), frames.len(), text.len()).await;
                    if hand_in(shared, conn, frames, text.len()).await.is_err() {
                        return;
                    }
                    continue;
                }
                Err(error) => {
                    malformed_messages += 1;
                    let enough = malformed_messages >= shared.config.malformed_messages_max;
                    (error.to_frame(), enough.then_some(End { code: 1_008, reason: "too many malformed messages" }))
                }
            },
            Ok(Message::Binary(_)) => {
                let error = malformed("a binary message came, where only text is spoken", "send JSON as text");
                (error, Some(End { code: 1_003, reason: "only text is spoken" }))
            }
            // Pings are answered, and the closing handshake is finished, by reading on.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => continue,
            Err(error) => match broken(error) {
                Some((error, end)) => (error, Some(end)),
                None => return,
            },
        };
        shared.metrics.messages_malformed.add(1);
        say(shared, conn, outbox, error, end.as_ref());
        if let Some(end) = end {
            outbox.close(end);
            // Whoever writes ends this.
            return std::future::pending().await;
        }
    }
}

fn limits_of(shared: &Shared) -> &Limits {
    &shared.config.limits
}

/// The share of a token that is shown in a hello. Whether it counts at all is the driver's to judge.
fn token_of(shared: &Shared, frames: &[ToBus]) -> Result<Option<Arc<TokenShare>>, Error> {
    let shown = frames.iter().find_map(|frame| match frame {
        ToBus::Hello(hello) => hello.bearer.as_ref(),
        _ => None,
    });
    let Some(Ok(speaker)) = shown.map(|shown| shared.access.speaker(shared, Some(shown))) else { return Ok(None) };
    shared.access.share(shared, &speaker).map_err(|error| Error {
        code: ErrorCode::LimitReached,
        message: error.to_string(),
        help: "close some, or use a token for each program".to_owned(),
        request: None,
    })
}

/// Waits until what was read may count: whoever sends more than a second allows is read slower, and loses nothing.
async fn keep_pace(shared: &Shared, pace: &Pace, of_token: Option<&TokenShare>, frames: usize, bytes: usize) {
    let now = shared.world.clock.now().monotonic;
    let mut wait = pace.take(now, frames as u64, bytes as u64);
    if let Some(of_token) = of_token {
        wait = wait.max(of_token.pace().take(now, frames as u64, bytes as u64));
    }
    if !wait.is_zero() {
        shared.metrics.paced.add(1);
        sleep(wait).await;
    }
}

async fn hand_in(shared: &Shared, conn: ConnId, frames: Vec<ToBus>, bytes: usize) -> Result<(), Gone> {
    let mut room = Some(shared.room(bytes).await?);
    let last = frames.len().saturating_sub(1);
    for (index, frame) in frames.into_iter().enumerate() {
        // The message's room is free again when its last frame has been taken.
        let room = if index == last { room.take() } else { None };
        shared.hand_in(Arrival::Frame { conn, frame, room }).await?;
    }
    Ok(())
}

/// Sends an error of the connection itself, which the bus does not see.
fn say(shared: &Shared, conn: ConnId, outbox: &Outbox, error: Error, end: Option<&End>) {
    let frame = FromBus::from(error);
    if shared.world.hooks.recording() {
        shared.world.record(What::FrameSent { connection: conn.0, frame: frame.clone().into() });
    }
    if outbox.push(Item::Frame(frame)).is_err() && end.is_none() {
        // It sends nonsense and does not read the answers.
        outbox.close(End { code: 1_008, reason: "slow_reader" });
    }
}

fn malformed(message: &str, help: &str) -> Error {
    Error { code: ErrorCode::Malformed, message: message.to_owned(), help: help.to_owned(), request: None }
}

/// What to say to a peer that broke the WebSocket itself; nothing if it is simply gone.
fn broken(error: axum::Error) -> Option<(Error, End)> {
    use tungstenite::error::{CapacityError, Error as Ws};
    let error = error.into_inner().downcast::<Ws>().ok()?;
    Some(match *error {
        Ws::Capacity(CapacityError::MessageTooLong { size, .. }) => {
            (DecodeError::TooLarge { bytes: size }.to_frame(), End { code: 1_009, reason: "too_large" })
        }
        Ws::Capacity(_) => (
            DecodeError::TooLarge { bytes: limits::FRAME_BYTES_MAX + 1 }.to_frame(),
            End { code: 1_009, reason: "too_large" },
        ),
        Ws::Utf8(_) => {
            (malformed("a text message is not UTF-8", "encode text as UTF-8"), End { code: 1_007, reason: "not UTF-8" })
        }
        Ws::Protocol(error) if !matches!(error, tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => (
            malformed(&format!("the WebSocket protocol is broken: {error}"), "use a WebSocket library"),
            End { code: 1_002, reason: "protocol error" },
        ),
        _ => return None,
    })
}
