//! What a durable write costs on this disk: the least that an answer which waits for one can take.

use std::{fs::File, io::Write as _, path::Path, time::Duration};

use anyhow::Context as _;
use hdrhistogram::Histogram;

use super::figures::histogram;
use crate::stopwatch::Stopwatch;

/// A page, as a commit of one event writes it at least.
const BYTES: usize = 4_096;

/// Appends and syncs pages for so long; how long each took, in microseconds.
pub(super) fn syncs(directory: &Path, time: Duration) -> anyhow::Result<Histogram<u64>> {
    let path = directory.join("dacapo-bench-probe");
    let told = || format!("cannot write to {}; choose another --directory", directory.display());
    let mut file = File::create(&path).with_context(told)?;
    let mut taken = histogram();
    let page = [0; BYTES];
    let whole = Stopwatch::start();
    while whole.elapsed() < time {
        let one = Stopwatch::start();
        file.write_all(&page).and_then(|()| file.sync_data()).with_context(told)?;
        taken.saturating_record(one.elapsed().as_micros() as u64);
    }
    drop(file);
    std::fs::remove_file(&path).with_context(told)?;
    Ok(taken)
}
