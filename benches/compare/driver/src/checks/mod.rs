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
use crate::{contract::Peer, server::Server};

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

/// Runs every check, each on a server of its own.
pub(crate) fn run(peer: &'static dyn Peer) -> Result<Findings> {
    let name = peer.name();
    Ok(Findings {
        order: order::check(peer, crate::contract::WINDOW).with_context(|| format!("{name}: order"))?,
        order_of_one: order::check(peer, 1).with_context(|| format!("{name}: order, one open"))?,
        twice: twice::check(peer).with_context(|| format!("{name}: effects twice"))?,
        lost: lost::check(peer).with_context(|| format!("{name}: lost"))?,
        swap: if peer.compares() {
            swap::check(&Server::start(peer)?).with_context(|| format!("{name}: compare-and-swap"))?
        } else {
            Finding::Absent
        },
    })
}

/// Some time below a limit: different in each run, for a check that knew when would find what it looks for.
fn at_random(below: Duration) -> Duration {
    let drawn = RandomState::new().build_hasher().finish();
    Duration::from_micros(drawn % (below.as_micros() as u64))
}
