//! The systems, one module each.

pub(crate) mod dacapo;
mod postgres;
mod redis;

use crate::contract::Peer;

/// In the order of the table.
pub(crate) const PEERS: &[&dyn Peer] = &[&dacapo::Dacapo, &postgres::Postgres, &redis::Redis];

pub(crate) fn by_name(name: &str) -> Option<&'static dyn Peer> {
    PEERS.iter().copied().find(|peer| peer.name().eq_ignore_ascii_case(name))
}
