//! The disk that the store is on: how long a sync takes, and how much is free.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use rustix::fs::statvfs;

use super::{Finding, Health};
use crate::{settings::Settings, stopwatch::Stopwatch};

/// Writes that are timed; the median of so many is stable on a disk that does something else too.
const PROBES: usize = 50;
/// An honest disk needs longer than this to make a write durable; less smells of a cache that lies, or a memory disk.
const FSYNC_US_PLAUSIBLE: u64 = 20;
/// Beyond this a publisher that waits for each receipt gets fewer than a hundred a second.
const FSYNC_US_SLOW: u64 = 10_000;
/// Below so much free space a checkpoint may fail: the write-ahead log alone may take 64 MiB, and be copied.
const FREE_MIB_MIN: u64 = 256;
/// Below so much it is time to think of it.
const FREE_MIB_MIND: u64 = 2_048;

/// Where the store is, or shall be.
pub(super) fn directory(settings: &Settings) -> PathBuf {
    match settings.db.as_deref().and_then(Path::parent) {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

pub(super) fn syncs(settings: &Settings) -> Finding {
    let directory = directory(settings);
    let shown = directory.display();
    match probe(&directory) {
        Err(error) => {
            let sentence = format!("cannot write in {shown}: {error}; choose another directory for the store");
            Finding::new("disk", Health::Bad, sentence)
        }
        Ok(median_us) if median_us < FSYNC_US_PLAUSIBLE => {
            let sentence = format!(
                "fsync in {shown} takes {median_us} µs, faster than any disk: it is memory, or its cache lies about durability"
            );
            Finding::new("disk", Health::Mind, sentence)
        }
        Ok(median_us) if median_us > FSYNC_US_SLOW => {
            let sentence = format!(
                "fsync in {shown} takes {median_us} µs (median of {PROBES}): each commit waits for one; a faster disk helps"
            );
            Finding::new("disk", Health::Mind, sentence)
        }
        Ok(median_us) => {
            Finding::new("disk", Health::Good, format!("fsync in {shown} takes {median_us} µs (median of {PROBES})"))
        }
    }
}

pub(super) fn space(settings: &Settings) -> Finding {
    let directory = directory(settings);
    let shown = directory.display();
    match statvfs(&directory) {
        Err(error) => {
            let sentence = format!("cannot ask how much is free in {shown}: {error}; look at it with `df`");
            Finding::new("space", Health::Mind, sentence)
        }
        Ok(volume) => {
            let free_mib = volume.f_bavail.saturating_mul(volume.f_frsize) >> 20;
            let health = match free_mib {
                0..FREE_MIB_MIN => Health::Bad,
                FREE_MIB_MIN..FREE_MIB_MIND => Health::Mind,
                _ => Health::Good,
            };
            let help =
                if health == Health::Good { "" } else { "; events are never deleted: make room, or move the store" };
            Finding::new("space", health, format!("{free_mib} MiB are free in {shown}{help}"))
        }
    }
}

/// Median microseconds of a small write made durable.
fn probe(directory: &Path) -> std::io::Result<u64> {
    let path = directory.join(format!(".dacapo-probe-{}", std::process::id()));
    let result = (|| {
        let mut file = File::create(&path)?;
        let mut durations_us = Vec::with_capacity(PROBES);
        for _ in 0..PROBES {
            let watch = Stopwatch::start();
            file.write_all(&[0; 4_096])?;
            file.sync_data()?;
            durations_us.push(u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        durations_us.sort_unstable();
        Ok(durations_us[PROBES / 2])
    })();
    // If it could not be made, there is nothing to remove.
    let _ = fs::remove_file(&path);
    result
}
