//! The contract that every system is asked for, and what a driver says of itself. A system that cannot do a part of it
//! says so; nobody builds it a replacement here.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result};

/// Bytes of an event's body, its key and version among them.
pub(crate) const BODY_BYTES: usize = 200;
/// Consumers side by side, each with half of the keys where it is the client that shares them out.
pub(crate) const HALVES: u32 = 2;
/// Deliveries that a consumer has open at once in the figures.
pub(crate) const WINDOW: u32 = 256;
/// A delivery that is not answered comes again after so long, where that can be set.
pub(crate) const REDELIVERY: Duration = Duration::from_secs(2);

/// An event: the version is its number within its key, from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    pub(crate) key: String,
    pub(crate) version: u64,
}

impl Event {
    pub(crate) fn new(key: impl Into<String>, version: u64) -> Self {
        Self { key: key.into(), version }
    }

    /// What handling an event produced: its key says of which event, so that a second one shows.
    pub(crate) fn effect_of(cause: &Self) -> Self {
        Self { key: cause.id(), version: 1 }
    }

    /// The same for the same event, however often it is published.
    pub(crate) fn id(&self) -> String {
        format!("{}-{}", self.key, self.version)
    }

    /// 200 bytes of text.
    pub(crate) fn body(&self) -> String {
        format!("{:.<BODY_BYTES$}", format!("{} {} ", self.key, self.version))
    }

    pub(crate) fn of_body(body: &str) -> Result<Self> {
        let mut words = body.split(' ');
        let key = words.next().context("a body has no key")?;
        let version = words.next().context("a body has no version")?.parse()?;
        Ok(Self { key: key.to_owned(), version })
    }

    /// Which consumer takes it, where the client shares the keys out.
    pub(crate) fn half(&self) -> u32 {
        let hash =
            self.key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
        (hash >> 16) % HALVES
    }
}

/// The answer to a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// It is durable.
    Accepted,
    /// Another event has that version.
    Stale,
}

/// An event that is to be handled.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) event: Event,
    /// How its system knows it.
    pub(crate) tag: String,
}

/// What a consumer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Events, of one half of the keys.
    Half(u32),
    /// What handling events produced.
    Effects,
}

/// How a handler fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It says so.
    Nack,
    /// It says nothing.
    Silence,
}

impl Failure {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nack => "nack",
            Self::Silence => "time-out",
        }
    }
}

/// One connection that publishes.
pub(crate) trait Publisher: Send {
    /// Publishes and waits until it is durable.
    fn publish(&mut self, event: &Event) -> Result<Receipt>;

    /// Learns what a key's head is, where the system's own compare-and-swap needs more than the version.
    fn catch_up(&mut self, _key: &str) -> Result<()> {
        Ok(())
    }
}

/// One connection that consumes.
pub(crate) trait Consumer: Send {
    /// The next events, in the order in which they are to be handled; none if there are none for a while.
    fn receive(&mut self) -> Result<Vec<Delivery>>;

    /// They are handled, and produced nothing. The deliveries are of one `receive`, and in its order.
    fn acknowledge(&mut self, deliveries: &[Delivery]) -> Result<()>;

    /// One is handled, and produced this: as one act if the system can, else the effect first.
    fn answer(&mut self, delivery: &Delivery, effect: &Event) -> Result<()>;

    /// Handling one failed. Whether what comes behind it in the same `receive` may still be handled.
    fn refuse(&mut self, delivery: &Delivery, failure: Failure) -> Result<Behind>;

    /// Waits until the system has taken every acknowledgement.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What becomes of deliveries that came together with one that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// They are still deliveries: the handler goes on.
    Handed,
    /// They were withdrawn, and come again.
    Withdrawn,
}

/// A way into a running server.
pub(crate) trait Client: Send + Sync {
    /// Makes tables, streams or queues on a fresh server.
    fn prepare(&self) -> Result<()>;
    fn publisher(&self) -> Result<Box<dyn Publisher>>;
    /// `window`: how many deliveries may be open at once.
    fn consumer(&self, source: Source, window: u32) -> Result<Box<dyn Consumer>>;
}

/// Where a server runs.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    /// Free ones on loopback; the first is that of the clients.
    pub(crate) ports: [u16; 3],
}

impl Place {
    pub(crate) fn port(&self) -> u16 {
        self.ports[0]
    }
}

/// A system that is compared.
pub(crate) trait Peer: Sync {
    fn name(&self) -> &'static str;
    /// Of what is installed; none if nothing is.
    fn version(&self) -> Option<String>;
    /// How a reader gets it.
    fn how_to_get(&self) -> &'static str;
    /// What a reader must know to read its lines rightly.
    fn note(&self) -> &'static str;
    /// Whether a publish can demand the version of its key.
    fn compares(&self) -> bool {
        true
    }
    /// The ways to fail that the system knows, and tells within seconds.
    fn failures(&self) -> &'static [Failure];
    /// Makes what a server needs before its first start.
    fn initialise(&self, place: &Place) -> Result<()>;
    /// What runs the server, in order.
    fn commands(&self, place: &Place) -> Result<Vec<Command>>;
    /// Fails as long as the server is not ready.
    fn client(&self, port: u16) -> Result<Box<dyn Client>>;
}
