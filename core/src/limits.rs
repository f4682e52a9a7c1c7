//! Every limit, in one place, with its reason.
//!
//! Beyond a limit the answer is a clear error or back-pressure, never a drop. The constants bound what a single
//! message may be; [`Limits`] bounds what the bus keeps and how long it waits, and can be configured.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Names (keys, ids, types) are indexed several times over; 256 bytes hold a UUID with a generous prefix, and keep
/// an index page useful.
pub const NAME_BYTES_MAX: usize = 256;

/// Service and instance names become part of reserved keys and of derived ids, which are names themselves.
pub const SERVICE_NAME_BYTES_MAX: usize = 64;

/// A frame larger than this is refused before it is decoded: it bounds what one connection can make the bus hold.
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// One event's payload. Larger things belong in a blob store, with their address in the event.
pub const DATA_BYTES_MAX: usize = 1 << 20;

/// What else a publisher says of an event, besides its time, its content type and its trace: more belongs into the data.
pub const ATTRIBUTES_MAX: usize = 16;

/// The value of one attribute: a `tracestate` has 512 bytes.
pub const ATTRIBUTE_BYTES_MAX: usize = 1_024;

/// How deep one event's payload may be nested. Readers of JSON give up at 128 levels, of which a frame takes some itself: what
/// is deeper would enter the log, and could then be read by nobody.
pub const DATA_DEPTH_MAX: usize = 100;

/// Events in one publish or completion: a batch is one atomic commit and must not starve the others.
pub const BATCH_EVENTS_MAX: usize = 1_024;

/// Guards in one publish or completion, for the same reason.
pub const BATCH_GUARDS_MAX: usize = 1_024;

/// Different types on one key. A key's head remembers the last version of each, so that a delivery can name the
/// previous version of the types that its service takes.
pub const TYPES_PER_KEY_MAX: usize = 64;

/// Types that one service takes.
pub const TYPES_PER_SERVICE_MAX: usize = 256;

/// The most events in one page of a read or query: a page is one frame, and a frame has a limit.
pub const PAGE_EVENTS_MAX: usize = 1_000;

/// A page ends with the event that brings its names and payloads to this many bytes, however few events it has: with
/// one more event of the largest size, and the JSON around them, it still fits into a frame.
pub const PAGE_BYTES_MAX: usize = 2 << 20;

/// Names of tokens that there ever were: all are in memory, the revoked ones too. A name that was revoked may be used again.
pub const TOKENS_MAX: usize = 10_000;

/// What the bus keeps in memory and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at once. Each costs two tasks and their buffers.
    pub connections_max: usize,
    /// Services ever registered.
    pub services_max: usize,
    /// Instances of one service at once, connected or within their grace.
    pub instances_per_service_max: usize,
    /// A connection that is silent for longer is dead; also how soon an idle one is asked.
    #[serde(with = "millis")]
    pub heartbeat_deadline: Duration,
    /// How long a disconnected instance keeps its lanes: long enough for a reconnect, short against a redelivery.
    #[serde(with = "millis")]
    pub grace: Duration,
    /// How long a delivery may stay open without `extend`.
    #[serde(with = "millis")]
    pub delivery_deadline: Duration,
    /// Open deliveries that an instance may ask for.
    pub credit_max: u32,
    /// Open deliveries of one lane at once, all to the same owner: with 1, a hot lane completes one event a commit; with
    /// 16 it keeps up with a publisher of its key, and one failure takes back little.
    pub lane_open_max: usize,
    /// The first back-off after a failure; it doubles with each further one.
    #[serde(with = "millis")]
    pub backoff_first: Duration,
    /// The longest back-off.
    #[serde(with = "millis")]
    pub backoff_max: Duration,
    /// Failures (nacks and deadlines) of one event after which its lane is parked.
    pub failures_max: u32,
    /// Disconnects with one event open after which its lane is parked. Higher than `failures_max`, so that rolling
    /// restarts park nothing, while an event that kills its instance still ends.
    pub disconnects_max: u32,
    /// Events of one service in memory that are not completed; more wait in the log.
    pub service_pending_max: usize,
    /// Events of one lane in memory; more wait in the log.
    pub lane_pending_max: usize,
    /// How far a lane may hold the frontier back before it is put on the list of lanes behind.
    pub frontier_lag_max: u64,
    /// Lanes without work whose owner is remembered, per service.
    pub idle_lanes_max: usize,
    /// Idle lanes moved to an instance that joins.
    pub idle_lanes_moved_max: usize,
    /// Key heads remembered; the others are asked of the store.
    pub heads_max: usize,
    /// Recent events remembered by id; older ones are asked of the store.
    pub recent_events_max: usize,
    /// Events in one commit: bounds the time that a commit takes, and so the latency of those behind it.
    pub commit_events_max: usize,
    /// Publishes that wait for a look-up or for room in a commit; beyond it they are throttled.
    pub publishes_waiting_max: usize,
    /// Bytes of payload in publishes that wait; beyond it they are throttled.
    pub publishes_waiting_bytes_max: usize,
    /// Reads that one connection may have open; an instance hydrates a handful of keys at a time.
    pub reads_per_connection_max: usize,
    /// Events per page when the bus reads the log for a lane, a service or a rebuild.
    pub read_page_events: usize,
    /// Rebuilds and followed reads per connection.
    pub streams_per_connection_max: usize,
    /// Bytes queued for a connection that does not read; beyond it the connection is closed, and its deliveries go on
    /// elsewhere.
    pub send_queue_bytes_max: usize,
    /// Connections and requests that the holders of one token may have open: one that leaks them does not lock the others out.
    pub connections_per_token_max: usize,
    /// Frames that one connection may send in a second; beyond it the bus reads slower, and nothing is lost. 0: as many as
    /// it takes.
    pub frames_per_second_max: u64,
    /// The same, of bytes.
    pub bytes_per_second_max: u64,
    /// Frames and requests in a second of all who show the same token together; beyond it the bus reads slower. 0: as many as
    /// it takes.
    pub token_frames_per_second_max: u64,
    /// The same, of bytes.
    pub token_bytes_per_second_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            services_max: 1_024,
            instances_per_service_max: 256,
            heartbeat_deadline: Duration::from_secs(5),
            grace: Duration::from_secs(2),
            delivery_deadline: Duration::from_secs(30),
            credit_max: 1_024,
            lane_open_max: 16,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(30),
            failures_max: 8,
            disconnects_max: 32,
            service_pending_max: 16_384,
            lane_pending_max: 1_024,
            frontier_lag_max: 65_536,
            idle_lanes_max: 65_536,
            idle_lanes_moved_max: 1_024,
            heads_max: 131_072,
            recent_events_max: 16_384,
            commit_events_max: 1_024,
            publishes_waiting_max: 8_192,
            publishes_waiting_bytes_max: 64 << 20,
            reads_per_connection_max: 256,
            read_page_events: 512,
            streams_per_connection_max: 16,
            send_queue_bytes_max: 16 << 20,
            connections_per_token_max: 1_024,
            frames_per_second_max: 0,
            bytes_per_second_max: 0,
            token_frames_per_second_max: 0,
            token_bytes_per_second_max: 0,
        }
    }
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
