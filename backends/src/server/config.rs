//! How a server is set up.

use std::{sync::Arc, time::Duration};

use dacapo_core::{access::TokenBook, limits::Limits, planted::Planted};

/// What a server does about tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tokens {
    /// Nothing: it does not even look for them in the log.
    Ignored,
    /// It knows them, so that they can be made, listed and revoked; everyone may do everything without one.
    Kept,
    /// Nobody may do anything that his token does not allow.
    Demanded,
    /// The same, with these tokens alone, whatever the log says: for simulations, and tests.
    Fixed(Arc<TokenBook>),
}

use super::spans::Spans;

/// The limits of the bus, and the server's own.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// What the bus may keep and how long it waits.
    pub limits: Limits,
    /// A planted bug, for the harness's own test.
    pub planted: Planted,
    /// Whether a token is demanded of everyone.
    pub tokens: Tokens,
    /// Frames that wait for the machine; beyond it, connections are not read on.
    pub inbox_max: usize,
    /// Bytes of frames that wait for the machine: many large frames fill it before their number does.
    pub inbox_bytes_max: usize,
    /// How long an HTTP request may take to arrive, and how long it waits for the bus. What became of a publish is
    /// unknown afterwards; repeating it with the same ids is harmless.
    pub request_deadline: Duration,
    /// How long a connection may take to send the headers of a request, the idle time before them included.
    pub header_deadline: Duration,
    /// How long a connection that is being closed may take to read what was sent to it.
    pub close_deadline: Duration,
    /// Where spans of sampled traces go; nowhere by default.
    pub spans: Option<Spans>,
    /// Origins whose pages may ask, such as `https://console.example`; none by default.
    pub cors_origins: Vec<String>,
    /// What the server may be called besides its addresses and `localhost`; none: anything. Where no token is demanded, a
    /// browser that is told another name could be led here by a stranger.
    pub hosts: Option<Vec<String>>,
    /// How long a peer may take no byte of what is being written to it, before its connection is closed: longer than any
    /// network that works, and short against holding on to what a client has long forgotten.
    pub write_deadline: Duration,
    /// How long a shutdown waits for owners to answer what was delivered to them; nothing more is delivered meanwhile.
    pub drain_deadline: Duration,
    /// How long a shutdown waits for commits under way, and then for connections to end.
    pub shutdown_deadline: Duration,
    /// The first wait before recovering a bus that stopped; it doubles up to `restart_max`.
    pub restart_first: Duration,
    /// The longest wait before recovering again.
    pub restart_max: Duration,
    /// Messages in a row that are no frames, after which a connection is closed.
    pub malformed_messages_max: u32,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            planted: Planted::NONE,
            tokens: Tokens::Kept,
            inbox_max: 1_024,
            inbox_bytes_max: 64 << 20,
            request_deadline: Duration::from_secs(10),
            header_deadline: Duration::from_secs(10),
            close_deadline: Duration::from_secs(1),
            spans: None,
            cors_origins: Vec::new(),
            hosts: None,
            write_deadline: Duration::from_secs(30),
            drain_deadline: Duration::from_secs(5),
            shutdown_deadline: Duration::from_secs(5),
            restart_first: Duration::from_millis(100),
            restart_max: Duration::from_secs(5),
            malformed_messages_max: 16,
        }
    }
}
