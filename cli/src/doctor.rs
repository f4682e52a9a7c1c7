//! `dacapo doctor`: what this machine and this build are like, and whether that will do.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use dacapo_backends::{SqliteReader, clock::SystemClock};
use dacapo_core::{WallTime, hooks::Clock as _, planted};
use dacapo_reporting::calendar;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::{
    arguments::DoctorArguments,
    exit::Exit,
    provenance::Provenance,
    seed::Seed,
    sim_command::{Order, run_seed},
    stopwatch::Stopwatch,
    terminal::{Terminal, bad, good, strong},
};

/// Writes that are timed; the median of so many is stable on a disk that does something else too.
const PROBES: usize = 50;
/// An honest disk needs longer than this to make a write durable; less smells of a cache that lies, or a memory disk.
const FSYNC_US_PLAUSIBLE: u64 = 20;
/// The bus takes 16,384 connections by default.
const DESCRIPTORS_WANTED: u64 = 16_384 + 256;
/// 2025; events bear the wall clock's time, and a clock that was never set shows.
const CLOCK_MIN: WallTime = WallTime(1_735_689_600_000_000);
/// The seed that is run twice.
const SEED: Seed = Seed(1);

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    Good,
    /// It will work; the sentence says what to mind.
    Mind,
    /// It will not.
    Bad,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    health: Health,
    sentence: String,
}

impl Finding {
    fn new(check: &'static str, health: Health, sentence: impl Into<String>) -> Self {
        Self { check, health, sentence: sentence.into() }
    }
}

/// Checks everything; a bad finding is an exit code of its own.
pub(crate) fn run(terminal: &Terminal, arguments: &DoctorArguments) -> Exit {
    let checks: [fn(&DoctorArguments) -> Finding; 8] =
        [build, sqlite, store, disk, descriptors, clock, bugs, determinism];
    let mut worst = Health::Good;
    for check in checks {
        let finding = check(arguments);
        let word = match finding.health {
            Health::Good => good("good"),
            Health::Mind => strong("mind"),
            Health::Bad => bad("bad "),
        };
        terminal.line(format_args!("{word}  {:<12} {}", finding.check, finding.sentence));
        terminal.object("finding", &finding);
        if finding.health == Health::Bad {
            worst = Health::Bad;
        }
    }
    if worst == Health::Bad { Exit::Failed } else { Exit::Passed }
}

fn build(_: &DoctorArguments) -> Finding {
    let kind = if cfg!(debug_assertions) { "with debug assertions" } else { "without debug assertions" };
    let sentence = format!("dacapo {} {kind}; here: {}", env!("CARGO_PKG_VERSION"), Provenance::here());
    Finding::new("build", Health::Good, sentence)
}

fn sqlite(_: &DoctorArguments) -> Finding {
    Finding::new("sqlite", Health::Good, format!("SQLite {}, compiled in", dacapo_backends::sqlite::version()))
}

fn store(arguments: &DoctorArguments) -> Finding {
    let db = &arguments.db;
    if !db.exists() {
        return Finding::new("store", Health::Good, format!("{} is not there yet; `serve` will make it", db.display()));
    }
    match SqliteReader::open_read_only(db) {
        Ok(_) => Finding::new("store", Health::Good, format!("{} is a store", db.display())),
        Err(error) => Finding::new("store", Health::Bad, error.to_string()),
    }
}

fn disk(arguments: &DoctorArguments) -> Finding {
    let directory = match arguments.db.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    match probe(&directory) {
        Err(error) => {
            let sentence =
                format!("cannot write in {}: {error}; choose another directory for --db", directory.display());
            Finding::new("disk", Health::Bad, sentence)
        }
        Ok(median_us) if median_us < FSYNC_US_PLAUSIBLE => {
            let sentence = format!(
                "fsync in {} takes {median_us} µs, faster than any disk: it is memory, or its cache lies about durability",
                directory.display()
            );
            Finding::new("disk", Health::Mind, sentence)
        }
        Ok(median_us) => {
            let sentence = format!("fsync in {} takes {median_us} µs (median of {PROBES})", directory.display());
            Finding::new("disk", Health::Good, sentence)
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

fn descriptors(_: &DoctorArguments) -> Finding {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < DESCRIPTORS_WANTED => Finding::new(
            "descriptors",
            Health::Mind,
            format!("{limit} files and connections at once; raise it with `ulimit -n` if there will be more instances"),
        ),
        Some(limit) => Finding::new("descriptors", Health::Good, format!("{limit} files and connections at once")),
        None => Finding::new("descriptors", Health::Good, "as many files and connections as there is memory for"),
    }
}

fn clock(_: &DoctorArguments) -> Finding {
    let wall = SystemClock::new().now().wall;
    let shown = calendar::show(wall);
    if wall < CLOCK_MIN {
        Finding::new("clock", Health::Mind, format!("{shown}: the wall clock is not set; events will bear that time"))
    } else {
        Finding::new("clock", Health::Good, format!("{shown}; nothing is decided by it"))
    }
}

fn bugs(_: &DoctorArguments) -> Finding {
    if planted::BUILT_IN {
        Finding::new("bugs", Health::Mind, "this build carries the planted bugs: simulate with it, never deploy it")
    } else {
        Finding::new("bugs", Health::Good, "this build carries no planted bugs")
    }
}

fn determinism(_: &DoctorArguments) -> Finding {
    let order = match Order::new("bank", "swarm", None, false) {
        Ok(order) => order,
        Err(error) => return Finding::new("determinism", Health::Bad, error.to_string()),
    };
    let (first, second) = (run_seed(&order, SEED), run_seed(&order, SEED));
    if let Some(property) = first.failed() {
        let sentence = format!("seed {SEED} violates {property}; see `dacapo replay {SEED}`");
        Finding::new("determinism", Health::Bad, sentence)
    } else if first.fingerprint == second.fingerprint {
        let sentence = format!("seed {SEED} gave {:016x} twice", first.fingerprint);
        Finding::new("determinism", Health::Good, sentence)
    } else {
        let sentence = format!("seed {SEED} gave two fingerprints; see `dacapo replay {SEED} --verify`");
        Finding::new("determinism", Health::Bad, sentence)
    }
}
