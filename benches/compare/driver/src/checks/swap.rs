//! Two writers want the same version of a key at the same time. Exactly one must win.

use std::{sync::Barrier, thread};

use anyhow::Result;

use super::Finding;
use crate::{
    contract::{Event, Publisher, Receipt},
    load::joined,
    server::Server,
};

const KEYS: usize = 100;
/// Versions of each key: the first is fought for on an empty key.
const VERSIONS: u64 = 3;

pub(super) fn check(server: &Server<'_>) -> Result<Finding> {
    let client = server.client()?;
    let together = Barrier::new(2);
    let writer = |mut publisher: Box<dyn Publisher>| -> Result<Vec<bool>> {
        let mut wins = Vec::new();
        for key in 0..KEYS {
            let key = format!("fought-{key}");
            for version in 1..=VERSIONS {
                // Who lost the version before learns what won.
                publisher.catch_up(&key)?;
                together.wait();
                wins.push(publisher.publish(&Event::new(&key, version))? == Receipt::Accepted);
                together.wait();
            }
        }
        Ok(wins)
    };
    let (one, other) = (client.publisher()?, client.publisher()?);
    let (one, other) = thread::scope(|scope| {
        let threads = (scope.spawn(|| writer(one)), scope.spawn(|| writer(other)));
        Ok::<_, anyhow::Error>((joined(threads.0)?, joined(threads.1)?))
    })?;
    let fights = one.len();
    let decided = one.iter().zip(&other).filter(|(one, other)| *one != *other).count();
    let both = one.iter().zip(&other).filter(|(one, other)| **one && **other).count();
    Ok(if decided == fights {
        Finding::Held(format!("{decided} of {fights}"))
    } else {
        Finding::Broken(format!("{decided} of {fights}; both won {both}"))
    })
}
