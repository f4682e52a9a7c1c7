//! The systems, one module each.

pub(crate) mod dacapo;
mod nats;
mod nats_wire;
mod postgres;
mod rabbitmq;
mod redis;
mod umadb;

use crate::contract::Peer;

/// In the order of the table.
pub(crate) const PEERS: &[&dyn Peer] =
    &[&dacapo::Dacapo, &postgres::Postgres, &redis::Redis, &rabbitmq::RabbitMq, &umadb::UmaDb, &nats::Nats];

pub(crate) fn by_name(name: &str) -> Option<&'static dyn Peer> {
    PEERS.iter().copied().find(|peer| peer.name().eq_ignore_ascii_case(name))
}
