//! The frames between an instance (or a publisher) and the bus: `/v1/bus`, sub-protocol `dacapo.v1+json`.
//!
//! A frame is one JSON object with a `kind`; a text message carries one frame, or an array of them. The two enums
//! also stand in the trace (there as `{"deliver": {…}}`), so that a run shows what was said, decoded.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    event::{Event, Guard, NewEvent, Receipt},
    limits,
    names::{EventType, InstanceName, Key, Position, ServiceName, Term, Version},
};

/// The path of the WebSocket.
pub const PATH: &str = "/v1/bus";
/// The WebSocket sub-protocol.
pub const SUBPROTOCOL: &str = "dacapo.v1+json";

/// Proof that a delivery is still its holder's: whatever changes the owner changes the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token {
    /// The bus's term; another bus has another.
    pub term: Term,
    /// The instance's session; a reconnect makes a new one.
    pub session: u64,
    /// Counts the changes of the lane's owner.
    pub epoch: u64,
    /// Counts the deliveries of this event, from 1.
    pub attempt: u32,
}

/// Where a service that registers for the first time begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With the first event of the log.
    #[default]
    Beginning,
    /// With the first event after its registration.
    Now,
}

/// Introduces an instance. The first frame of its connection; a connection that only publishes sends none.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Hello {
    /// The service that it is an instance of.
    pub service: ServiceName,
    /// Its name, unique within the service.
    pub instance: InstanceName,
    /// One life of it: drawn anew at each start, kept over reconnects.
    pub incarnation: u64,
    /// The types that the service takes; must be the ones it registered with.
    pub types: Vec<EventType>,
    /// Counts only when the service is registered by this hello.
    #[serde(default)]
    pub start: Start,
    /// How many deliveries may be open at once.
    pub credit: u32,
    /// A bearer token, where the bus demands one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<crate::access::Secret>,
}

/// The instance is ready for deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ready {}

/// A batch of events, accepted whole or not at all. Answered by [`Receipts`].
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Publish {
    /// Chosen by the sender, comes back with the answer.
    pub request: u64,
    /// In order; expectations see the earlier ones of the batch.
    pub events: Vec<NewEvent>,
    /// Expectations on keys that were only read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
}

/// Completes a delivery and publishes what its handling produced, both or neither.
/// Answered by [`Completed`], [`Conflict`], [`Fenced`] or [`Rejected`].
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Complete {
    /// The delivered event.
    pub position: Position,
    /// As it was delivered.
    pub token: Token,
    /// What the handling produced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<NewEvent>,
    /// What the handling read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
}

/// The handling failed; the event comes again after a back-off. Withdraws later open deliveries of the lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Nack {
    /// The delivered event.
    pub position: Position,
    /// As it was delivered.
    pub token: Token,
    /// For people.
    pub reason: String,
}

/// The handling takes longer; its deadline is renewed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Extend {
    /// The delivered event.
    pub position: Position,
    /// As it was delivered.
    pub token: Token,
}

/// What a [`Read`] reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadWhat {
    /// One key's events after a version, of these types (none: of all), oldest first: hydration.
    Key {
        /// The key.
        key: Key,
        /// Exclusive.
        after: Version,
        /// Empty for all.
        #[serde(default)]
        types: Vec<EventType>,
    },
    /// The heads of the keys after this one, in order: `reconcile` walks them.
    Keys {
        /// Exclusive; none for the first.
        #[serde(default)]
        after: Option<Key>,
    },
}

/// Reads one page. Answered by [`Events`] with the same `request`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Read {
    /// Chosen by the sender, comes back with the answer.
    pub request: u64,
    /// What to read.
    pub what: ReadWhat,
}

/// Plays the log from a position in order, page by page as credit allows; [`Rebuilt`] says where the past ended.
/// With `follow`, what is committed later goes on coming, without gap or overlap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rebuild {
    /// Names the stream.
    pub request: u64,
    /// Exclusive; 0 for the beginning.
    pub after: Position,
    /// Empty for all.
    #[serde(default)]
    pub types: Vec<EventType>,
    /// Whether to go on with the live events.
    #[serde(default)]
    pub follow: bool,
    /// Pages ([`Events`] frames) that may be sent before more credit comes.
    pub credit: u32,
}

/// With `request`: that many more pages may be sent on this stream (0 ends it). Without: the number of deliveries
/// that may be open at once is now this.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Credit {
    /// The stream, if it is a stream's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// How much.
    pub credit: u32,
}

/// Asks for a [`Pong`]; any frame shows that its sender lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ping {
    /// Comes back.
    pub nonce: u64,
}

/// The instance leaves for good: its lanes move at once, without waiting for the grace period.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bye {}

/// Answers [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Welcome {
    /// The bus's term.
    pub term: Term,
    /// This connection's session.
    pub session: u64,
    /// The end of the log.
    pub position: Position,
    /// Silence longer than this is death; ping at a third of it.
    pub heartbeat_deadline_ms: u64,
    /// How long a delivery may stay open without `extend`.
    pub delivery_deadline_ms: u64,
    /// The credit that was granted.
    pub credit: u32,
}

/// Answers [`Publish`]: one receipt for each event, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Receipts {
    /// The publish's.
    pub request: u64,
    /// One for each event.
    pub receipts: Vec<Receipt>,
}

/// One event for the lane's owner.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Deliver {
    /// To be sent back with the answer.
    pub token: Token,
    /// The last version of this key before this one that is of the service's types; 0 if there is none.
    /// An instance whose state is older has missed something.
    pub previous: Version,
    /// The event.
    pub event: Arc<Event>,
}

/// The completion and its events are in the log, durably.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Completed {
    /// The delivered event.
    pub position: Position,
    /// It was completed before this message; what this one carried did not enter the log.
    pub already: bool,
    /// The events that the log holds for this completion, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub produced: Vec<Produced>,
}

/// An event that a completion produced, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Produced {
    /// Its id.
    pub id: crate::names::EventId,
    /// Its key.
    pub key: Key,
    /// Its number within its key.
    pub version: Version,
    /// Its place in the log.
    pub position: Position,
    /// When it was accepted.
    pub time: crate::time::WallTime,
}

/// A key and its head.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Head {
    /// The key.
    pub key: Key,
    /// Its latest version.
    pub version: Version,
}

/// An expectation or guard of a completion did not hold. The delivery stays open, its deadline is renewed:
/// hydrate to these heads and handle the event again, under the same token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Conflict {
    /// The delivered event.
    pub position: Position,
    /// The delivery's.
    pub token: Token,
    /// The true heads of every key that the completion named.
    pub heads: Vec<Head>,
}

/// The delivery is no longer the receiver's; nothing that it sent with it entered the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fenced {
    /// The delivered event.
    pub position: Position,
    /// The token that no longer counts.
    pub token: Token,
    /// For people.
    pub reason: String,
}

/// A completion can never be accepted as it is; the delivery stays open, its handler has a bug. Nack it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rejected {
    /// The delivered event.
    pub position: Position,
    /// The delivery's.
    pub token: Token,
    /// Which rule it breaks.
    pub reason: crate::event::Refusal,
    /// What failed and what to do.
    pub message: String,
}

/// A page of a read, or of a rebuild.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Events {
    /// The read's or stream's.
    pub request: u64,
    /// In order.
    pub events: Vec<Arc<Event>>,
    /// Of a key read: the key's head as of `position`. Of a keys read: the heads. Of a rebuild: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<Head>,
    /// Everything up to here has been looked at; of a read, where the log ended when it was read.
    pub position: Position,
    /// A read did not fit into one page: ask again after its last event or key.
    #[serde(default)]
    pub more: bool,
}

/// The past is played; what follows on this stream, if anything, is live.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rebuilt {
    /// The stream's.
    pub request: u64,
    /// The events up to here were played.
    pub position: Position,
}

/// Publishing may go on after `throttled`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resume {}

/// Answers [`Ping`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pong {
    /// The ping's.
    pub nonce: u64,
}

/// What kind of mistake an [`Error`] tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The frame cannot be decoded.
    Malformed,
    /// The frame has a kind that this version does not know.
    UnknownKind,
    /// The frame is larger than the limit.
    TooLarge,
    /// This frame needs a `hello` first, or came twice.
    OutOfTurn,
    /// The service registered with other types.
    TypesDiffer,
    /// An instance of this name lives under another incarnation.
    InstanceAlive,
    /// A newer connection of the same incarnation took over.
    Superseded,
    /// A limit is reached; the message says which.
    LimitReached,
    /// The name is reserved for the bus.
    Reserved,
    /// There is no such service, lane or stream.
    NotFound,
    /// The store could not answer; the bus is restarting.
    Unavailable,
    /// The bearer token is missing, unknown, revoked or expired.
    Unauthorized,
    /// The bearer token does not allow this.
    Forbidden,
    /// Nothing was heard for longer than the heartbeat deadline.
    Silent,
    /// The receiver does not read.
    SlowReader,
}

/// The last frame could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Error {
    /// What kind of mistake.
    pub code: ErrorCode,
    /// What failed and why.
    pub message: String,
    /// What to do.
    pub help: String,
    /// The request that failed, if it had a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
}

/// The bus ends this connection; reconnect later unless the code says that it is pointless.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Closing {
    /// Why.
    pub reason: String,
}

/// Why a text is no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or not of the kind's shape.
    #[error("{0}")]
    Malformed(String),
    /// The kind is none of this direction.
    #[error("there is no frame of kind {kind:?} in this direction; known are: {known}")]
    UnknownKind {
        /// What was sent.
        kind: String,
        /// What could have been.
        known: String,
    },
    /// Too many bytes.
    #[error("the frame has {bytes} bytes, the limit is {bytes_max}; send smaller batches", bytes_max = limits::FRAME_BYTES_MAX)]
    TooLarge {
        /// How many.
        bytes: usize,
    },
}

impl DecodeError {
    /// The error frame that answers it.
    pub fn to_frame(&self) -> Error {
        let (code, help) = match self {
            Self::Malformed(_) => (ErrorCode::Malformed, "send one JSON object with a \"kind\", or an array of them"),
            Self::UnknownKind { .. } => (ErrorCode::UnknownKind, "use one of the known kinds, or a newer bus"),
            Self::TooLarge { .. } => (ErrorCode::TooLarge, "split the batch"),
        };
        Error { code, message: self.to_string(), help: help.to_owned(), request: None }
    }
}

macro_rules! frames {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $kind:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $(#[doc = concat!("`", $kind, "`")] $variant($variant),)*
        }

        impl $name {
            /// Every kind of this direction.
            pub const KINDS: &'static [&'static str] = &[$($kind),*];

            /// The frame's `kind`.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $kind,)* }
            }

            /// Appends the frame as one JSON object.
            pub fn encode_to(&self, out: &mut Vec<u8>) {
                #[derive(Serialize)]
                struct Framed<'a, T> {
                    kind: &'static str,
                    #[serde(flatten)]
                    body: &'a T,
                }
                let result = match self {
                    $(Self::$variant(body) => serde_json::to_writer(&mut *out, &Framed { kind: $kind, body }),)*
                };
                debug_assert!(result.is_ok(), "frames are plain data: {result:?}");
            }

            /// The frame as a JSON text.
            pub fn encode(&self) -> String {
                let mut out = Vec::with_capacity(256);
                self.encode_to(&mut out);
                String::from_utf8(out).unwrap_or_default()
            }

            fn decode_one(text: &str) -> Result<Self, DecodeError> {
                #[derive(Deserialize)]
                struct Kind<'a> {
                    #[serde(borrow)]
                    kind: std::borrow::Cow<'a, str>,
                }
                let malformed = |error: serde_json::Error| DecodeError::Malformed(error.to_string());
                let Kind { kind } = serde_json::from_str(text).map_err(malformed)?;
                match &*kind {
                    $($kind => serde_json::from_str(text).map(Self::$variant).map_err(malformed),)*
                    other => Err(DecodeError::UnknownKind {
                        kind: other.chars().take(64).collect(),
                        known: Self::KINDS.join(", "),
                    }),
                }
            }

            /// Reads a text message: one frame, or an array of frames.
            pub fn decode(text: &str) -> Result<Vec<Self>, DecodeError> {
                if text.len() > limits::FRAME_BYTES_MAX {
                    return Err(DecodeError::TooLarge { bytes: text.len() });
                }
                if !text.trim_start().starts_with('[') {
                    return Self::decode_one(text).map(|frame| vec![frame]);
                }
                let parts: Vec<&serde_json::value::RawValue> =
                    serde_json::from_str(text).map_err(|error| DecodeError::Malformed(error.to_string()))?;
                parts.into_iter().map(|part| Self::decode_one(part.get())).collect()
            }
        }

        $(impl From<$variant> for $name {
            fn from(body: $variant) -> Self {
                Self::$variant(body)
            }
        })*
    };
}

frames! {
    /// What an instance or a publisher says to the bus.
    ToBus {
        Hello = "hello",
        Ready = "ready",
        Publish = "publish",
        Complete = "complete",
        Nack = "nack",
        Extend = "extend",
        Read = "read",
        Rebuild = "rebuild",
        Credit = "credit",
        Ping = "ping",
        Bye = "bye",
    }
}

frames! {
    /// What the bus says.
    FromBus {
        Welcome = "welcome",
        Receipts = "receipts",
        Deliver = "deliver",
        Completed = "completed",
        Conflict = "conflict",
        Fenced = "fenced",
        Rejected = "rejected",
        Events = "events",
        Rebuilt = "rebuilt",
        Resume = "resume",
        Pong = "pong",
        Error = "error",
        Closing = "closing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Data, names::EventId};

    #[test]
    fn frames_go_through_json_and_back() {
        let frame = ToBus::from(Publish {
            request: 7,
            events: vec![NewEvent {
                id: EventId::of("e-1"),
                event_type: EventType::of("ConfirmedDebit"),
                key: Key::of("acc-3"),
                expectation: crate::event::Expectation::Version(Version(4)),
                correlation: None,
                causation: None,
                source: None,
                data: Data::from_text(r#"{"pence":  1}"#).expect("is JSON"),
            }],
            guards: vec![Guard { key: Key::of("acc-4"), version: Version(2) }],
        });
        let text = frame.encode();
        assert!(text.starts_with(r#"{"kind":"publish","request":7"#), "{text}");
        assert!(text.contains(r#"{"pence":  1}"#), "the payload's text is kept: {text}");
        assert_eq!(ToBus::decode(&text).expect("decodes"), vec![frame.clone()]);
        assert_eq!(ToBus::decode(&format!("[{text},{text}]")).expect("decodes"), vec![frame.clone(), frame.clone()]);
        let traced = serde_json::to_string(&frame).expect("encodes");
        assert_eq!(serde_json::from_str::<ToBus>(&traced).expect("decodes"), frame);
    }

    #[test]
    fn what_is_no_frame_is_told_so() {
        assert!(matches!(ToBus::decode("{"), Err(DecodeError::Malformed(_))));
        assert!(matches!(ToBus::decode(r#"{"kind":"dance"}"#), Err(DecodeError::UnknownKind { .. })));
        assert!(matches!(ToBus::decode(r#"{"kind":"ping"}"#), Err(DecodeError::Malformed(_))));
        assert!(matches!(ToBus::decode(r#"{"kind":"ping","nonce":"x"}"#), Err(DecodeError::Malformed(_))));
        let large = format!(r#"{{"kind":"ping","nonce":1,"pad":"{}"}}"#, "x".repeat(limits::FRAME_BYTES_MAX));
        assert!(matches!(ToBus::decode(&large), Err(DecodeError::TooLarge { .. })));
    }
}
