//! What a load is made of.

use std::{fmt, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use serde::{Serialize, Serializer};

use crate::{arguments::duration, client::ClientArguments, exit::Usage};

/// What publishers demand of a key's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Expect {
    /// Exactly the version that they know: compare and set
    Version,
    /// Nothing
    Any,
}

/// `bench`
#[derive(Debug, Args, Serialize)]
pub(crate) struct BenchArguments {
    /// A running bus, as HOST:PORT; if left out, one is started on a fresh store for the occasion
    #[arg(long, value_name = "ADDR")]
    pub(crate) bus: Option<String>,
    /// Where the store of the bus that is started lies, and is removed from afterwards
    #[arg(long, value_name = "DIR", conflicts_with = "bus")]
    pub(crate) directory: Option<PathBuf>,
    /// Connections that publish
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) publishers: u32,
    /// Publishes that each may have unanswered; 1: it waits for each receipt
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) window: u32,
    /// Events in a publish
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) batch: u32,
    /// What publishers demand
    #[arg(long, value_enum, default_value = "version")]
    pub(crate) expect: Expect,
    /// Publishes out of 1000 that demand a version which is past, and must be refused
    #[arg(long, value_name = "PERMILLE", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub(crate) conflicts: u32,
    /// Keys of each publisher
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keys: u32,
    /// Publishes out of 1000 that go to each publisher's first key
    #[arg(long, value_name = "PERMILLE", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub(crate) hot: u32,
    /// Bytes of an event's data
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) payload: u32,
    /// Services that complete each event
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) services: u32,
    /// Instances of each service
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) instances: u32,
    /// Deliveries that an instance may have open
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) credit: u32,
    /// How long to measure
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    #[serde(serialize_with = "seconds")]
    pub(crate) time: Duration,
    /// How long to load before measuring
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    #[serde(serialize_with = "seconds")]
    pub(crate) warm_up: Duration,
    /// How to reach a running bus
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) client: ClientArguments,
    /// Draw the figures into this SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) chart: Option<PathBuf>,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl BenchArguments {
    /// What cannot be said one by one.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.conflicts > 0 && self.expect == Expect::Any {
            return Err(Usage::error("--conflicts needs --expect version: who demands nothing meets no conflict"));
        }
        if self.time.is_zero() {
            return Err(Usage::error("--time 0s measures nothing; give it a few seconds"));
        }
        Ok(())
    }
}

impl fmt::Display for BenchArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} publishers, {} unanswered each", self.publishers, self.window)?;
        if self.batch > 1 {
            write!(f, ", batches of {}", self.batch)?;
        }
        write!(f, ", {} keys each", self.keys)?;
        if self.hot > 0 {
            write!(f, " of which one is hot ({} ‰)", self.hot)?;
        }
        match self.expect {
            Expect::Version => write!(f, ", expecting versions")?,
            Expect::Any => write!(f, ", expecting nothing")?,
        }
        if self.conflicts > 0 {
            write!(f, " ({} ‰ of them stale)", self.conflicts)?;
        }
        write!(f, ", {} bytes; {} services of {} instances", self.payload, self.services, self.instances)
    }
}
