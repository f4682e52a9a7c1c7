//! An event that is refused, or never answered, comes again. Does a later one of its key come before it?

use std::time::Instant;

use anyhow::{Result, bail};

use super::Finding;
use crate::{
    contract::{Behind, Client, Event, Failure, Peer, Receipt, Source},
    load::QUIET,
    server::Server,
};

const EVENTS: u64 = 3;

pub(super) fn check(peer: &dyn Peer, window: u32) -> Result<Finding> {
    let server = Server::start(peer)?;
    let client = server.client()?;
    let mut broken = Vec::new();
    for &failure in peer.failures() {
        let order = arrivals(&*client, failure, window)?;
        let again = order.iter().skip(1).position(|version| *version == 1);
        let Some(again) = again else { bail!("event 1 never came again after {}: {order:?}", failure.name()) };
        if order.iter().skip(1).take(again).any(|version| *version > 1) {
            broken.push(failure.name());
        }
    }
    let failures: Vec<_> = peer.failures().iter().map(|failure| failure.name()).collect();
    Ok(if broken.is_empty() {
        Finding::Held(format!("kept ({})", failures.join(", ")))
    } else {
        Finding::Broken(format!("reordered ({})", broken.join(", ")))
    })
}

/// The versions of a key in the order in which a handler got them, which failed at the first.
fn arrivals(client: &dyn Client, failure: Failure, window: u32) -> Result<Vec<u64>> {
    let key = format!("order-{}", failure.name());
    let mut publisher = client.publisher()?;
    for version in 1..=EVENTS {
        if publisher.publish(&Event::new(&key, version))? != Receipt::Accepted {
            bail!("version {version} of a fresh key was refused");
        }
    }
    let mut consumer = client.consumer(Source::Half(Event::new(&key, 1).half()), window)?;
    let (mut arrived, mut last) = (Vec::new(), Instant::now());
    // Three, and the first once more.
    while arrived.len() <= EVENTS as usize && last.elapsed() < QUIET {
        for delivery in consumer.receive()? {
            last = Instant::now();
            if delivery.event.key != key {
                consumer.acknowledge(&[delivery])?;
                continue;
            }
            arrived.push(delivery.event.version);
            if arrived.len() > 1 {
                consumer.acknowledge(&[delivery])?;
            } else if consumer.refuse(&delivery, failure)? == Behind::Withdrawn {
                break;
            }
        }
    }
    consumer.settle()?;
    Ok(arrived)
}
