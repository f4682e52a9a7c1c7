//! The server is killed while publishers publish. Is every event there for which a publisher has its receipt?
//!
//! A kill does not take what the system has handed to the kernel: this finds receipts before the write, not those before
//! the sync. Only pulling the plug finds these.

use std::{collections::BTreeSet, sync::Mutex, thread, time::Duration};

use anyhow::Result;

use super::{Finding, at_random};
use crate::{
    contract::{Event, HALVES, Receipt, Source},
    load::{PUBLISHERS, drain, joined},
    server::Server,
};

const KILLS: u32 = 3;

pub(super) fn check(server: &mut Server<'_>) -> Result<Finding> {
    let receipts = Mutex::new(BTreeSet::new());
    for round in 0..KILLS {
        let client = server.client()?;
        let publishers = (0..PUBLISHERS).map(|_| client.publisher()).collect::<Result<Vec<_>>>()?;
        thread::scope(|scope| {
            let receipts = &receipts;
            for (number, mut publisher) in publishers.into_iter().enumerate() {
                scope.spawn(move || {
                    // Ends by the kill; what has no receipt then is nobody's promise.
                    let mut version = 1;
                    let mut mine = Vec::new();
                    let mut event = Event::new(format!("kept-{round}-{number}"), version);
                    while let Ok(Receipt::Accepted) = publisher.publish(&event) {
                        mine.push(event.clone());
                        version += 1;
                        event.version = version;
                    }
                    receipts.lock().expect("no holder panics").extend(mine);
                });
            }
            thread::sleep(Duration::from_millis(300) + at_random(Duration::from_millis(700)));
            server.kill();
        });
        server.restart()?;
    }
    let client = server.client()?;
    let found: BTreeSet<Event> = thread::scope(|scope| {
        let client = &client;
        let threads: Vec<_> =
            (0..HALVES).map(|half| scope.spawn(move || drain(&**client, Source::Half(half)))).collect();
        threads.into_iter().map(joined).collect::<Result<Vec<_>>>()
    })?
    .into_iter()
    .flatten()
    .collect();
    let receipts = receipts.into_inner().expect("no holder panics");
    let lost = receipts.difference(&found).count();
    let told = format!("{lost} of {}", receipts.len());
    Ok(if lost == 0 { Finding::Held(told) } else { Finding::Broken(told) })
}
