//! An event that is refused, or never answered, comes again. Does a later one of its key come before it?

use std::time::Instant;

use anyhow::{Result, bail};

use super::Finding;
use crate::{
    contract::{Behind, Client, Event, Failure, Receipt, Source},
    load::QUIET,
    server::Server,
};

const EVENTS: u64 = 3;

/// Tells the versions as they arrived, by way to fail.
pub(super) fn check(server: &Server<'_>, window: u32) -> Result<Finding> {
    let client = server.client()?;
    let (mut told, mut broken) = (Vec::new(), false);
    for &failure in server.peer().failures() {
        let order = arrivals(&*client, failure, window)?;
        let again = order.iter().skip(1).position(|version| *version == 1);
        let Some(again) = again else { bail!("event 1 never came again after {}: {order:?}", failure.name()) };
        broken |= again > 0;
        let versions: Vec<String> = order.iter().map(u64::to_string).collect();
        told.push(format!("{} {}", failure.name(), versions.join("-")));
    }
    let told = told.join(", ");
    Ok(if broken { Finding::Broken(told) } else { Finding::Held(told) })
}

/// The versions of a key in the order in which a handler got them, which failed at the first.
fn arrivals(client: &dyn Client, failure: Failure, window: u32) -> Result<Vec<u64>> {
    let key = format!("order-{}-{window}", failure.name());
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
