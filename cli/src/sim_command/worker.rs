//! The worker's side of a campaign: `dacapo worker`, a hidden verb.
//!
//! A worker is a process of its own, since SQLite's random generator and a simulated run's panics belong to a whole
//! process, and a session of its own, since a kernel that groups by session would keep all of them on one core. It reads
//! an [`Order`] and then seeds from stdin, a JSON line each, and answers each seed with a line on stdout. It ends with its
//! stdin, so that no worker outlives its campaign.

use std::{
    io::{BufRead as _, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
};

use anyhow::Context as _;

use super::{Order, result::SeedResult, run_seed};
use crate::{exit::Exit, seed::Seed};

/// Works until stdin ends.
pub(crate) fn run() -> anyhow::Result<Exit> {
    // Fails only for a process that leads its group already, as when a person starts a worker by hand.
    let _ = rustix::process::setsid();
    let mut lines = std::io::stdin().lock().lines();
    let order = lines.next().context("a worker takes its orders on stdin; use `dacapo sim`")??;
    let order: Order = serde_json::from_str(&order).context("this is no order; use `dacapo sim`")?;
    for line in lines {
        let seed: Seed = serde_json::from_str(&line?).context("this is no seed; use `dacapo sim`")?;
        let result = run_safely(&order, seed);
        let mut answer = serde_json::to_vec(&result)?;
        answer.push(b'\n');
        let mut out = std::io::stdout().lock();
        out.write_all(&answer)?;
        out.flush()?;
    }
    Ok(Exit::Passed)
}

/// A panic that gets past the simulator is a failure of the harness at this seed, not the end of the campaign.
fn run_safely(order: &Order, seed: Seed) -> SeedResult {
    catch_unwind(AssertUnwindSafe(|| run_seed(order, seed))).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned());
        SeedResult::harness(seed, order.engines.of(seed.0), message)
    })
}
