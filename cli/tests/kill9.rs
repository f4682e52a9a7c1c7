//! `kill -9` against the real server, at random moments, while a publisher and an instance are at work.
//!
//! At the end the store's file is read, by itself: nothing accepted is lost, nothing is there twice, lanes are in order,
//! each event is completed once. `DACAPO_KILL_ROUNDS=200` for the full show.

mod support;
#[path = "support/traffic.rs"]
mod traffic;

use std::time::Duration;

use dacapo_core::digest::digest_of;
use support::Scratch;
use tokio::time::sleep;
use traffic::{Server, Traffic, judge};

const ROUNDS: u64 = 3;
/// A bus lives for so long at most before it is killed; some are killed before they have accepted anything.
const LIFE_MS_MAX: u64 = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_bus_loses_nothing_it_has_accepted() {
    let rounds = std::env::var("DACAPO_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let scratch = Scratch::new("kill9");
    let mut traffic = Traffic::start();
    for round in 0..rounds {
        let server = Server::start(scratch.path());
        traffic.meet(&server);
        sleep(Duration::from_millis(digest_of(round, "life") % LIFE_MS_MAX)).await;
        drop(server);
        traffic.lose();
    }

    let server = Server::start(scratch.path());
    traffic.meet(&server);
    let (accepted, auditor) = traffic.finish().await;
    drop(server);
    judge(&scratch.path().join("kill.db"), &accepted);
    println!(
        "{rounds} rounds of kill -9: {} events accepted and completed, {} completions found done after a kill",
        accepted.len(),
        auditor.already
    );
}
