//! What a durable write costs on this disk at this moment: a figure without it says nothing.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::load::Latencies;

/// Long enough for some hundred syncs even on a busy disk.
const TIME: Duration = Duration::from_millis(800);

/// Appends 4 KiB and syncs, again and again.
pub(crate) fn syncs(directory: &Path) -> Result<Latencies> {
    let path = directory.join("compare-probe");
    let mut file = File::create(&path)?;
    let mut taken = Latencies::new();
    let since = Instant::now();
    while since.elapsed() < TIME {
        let one = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        taken.record(one.elapsed());
    }
    std::fs::remove_file(&path)?;
    Ok(taken)
}
