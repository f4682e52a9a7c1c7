//! What a system does when something fails, found by making it fail.

mod lost;
mod order;
mod swap;
mod twice;

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use anyhow::{Context as _, Result};

pub(crate) use self::twice::consume_until_killed;
use crate::{
    contract::{Peer, WINDOW},
    server::Server,
};

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The promise held.
    Held(String),
    /// It did not.
    Broken(String),
    /// The system has no such thing.
    Absent,
}

/// What was found of one system.
pub(crate) struct Findings {
    /// With as many deliveries open as in the figures.
    pub(crate) order: Finding,
    /// With one delivery open.
    pub(crate) order_of_one: Finding,
    pub(crate) twice: Finding,
    pub(crate) lost: Finding,
    pub(crate) swap: Finding,
}

/// Runs every check on one server, which the last one kills.
pub(crate) fn run(peer: &dyn Peer) -> Result<Findings> {
    let mut server = Server::start(peer)?;
    Ok(Findings {
        order: order::check(&server, WINDOW).context("order")?,
        order_of_one: order::check(&server, 1).context("order with one open")?,
        twice: twice::check(&server).context("effects twice")?,
        swap: if peer.compares() { swap::check(&server).context("compare-and-swap")? } else { Finding::Absent },
        lost: lost::check(&mut server).context("receipts lost")?,
    })
}

/// Some time below a limit: different in each run, for a check that knew when would find what it looks for.
fn at_random(below: Duration) -> Duration {
    let drawn = RandomState::new().build_hasher().finish();
    Duration::from_micros(drawn % (below.as_micros() as u64))
}
