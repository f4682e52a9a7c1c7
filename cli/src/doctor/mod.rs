//! `dacapo doctor`: what this machine, this build and these settings are like, and whether that will do.
//!
//! It looks and changes nothing; a bus may run meanwhile, and is then asked for nothing but its port.

mod disk;
mod reach;
mod store;

use dacapo_backends::clock::SystemClock;
use dacapo_core::{WallTime, hooks::Clock as _, planted};
use dacapo_reporting::calendar;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::{
    arguments::DoctorArguments,
    exit::Exit,
    provenance::Provenance,
    seed::Seed,
    settings::{self, Settings, Valued},
    sim_command::{Order, run_seed},
    terminal::{Terminal, bad, faint, good, strong},
};

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

#[derive(Serialize)]
struct Setting<'a> {
    name: &'a str,
    #[serde(flatten)]
    valued: &'a Valued,
}

/// Checks everything; a bad finding is an exit code of its own.
pub(crate) fn run(terminal: &Terminal, arguments: &DoctorArguments) -> anyhow::Result<Exit> {
    let settings = settings::read(&arguments.settings)?;
    for (name, valued) in &settings.shown {
        terminal.object("setting", &Setting { name, valued });
        terminal.line(format_args!("      {name:<36} {:<24} {}", valued.value.to_string(), faint(&valued.origin)));
    }
    let checks: [fn(&Settings) -> Finding; 16] = [
        build,
        sqlite,
        store::store,
        store::permissions,
        disk::syncs,
        disk::space,
        descriptors,
        clock,
        reach::guarded,
        reach::tokens,
        reach::port,
        reach::certificate,
        reach::pages,
        reach::collector,
        bugs,
        determinism,
    ];
    let mut worst = Health::Good;
    for check in checks {
        let finding = check(&settings);
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
    Ok(if worst == Health::Bad { Exit::Failed } else { Exit::Passed })
}

fn build(_: &Settings) -> Finding {
    let kind = if cfg!(debug_assertions) { "with debug assertions" } else { "without debug assertions" };
    let sentence = format!("dacapo {} {kind}; here: {}", env!("CARGO_PKG_VERSION"), Provenance::here());
    Finding::new("build", Health::Good, sentence)
}

fn sqlite(_: &Settings) -> Finding {
    Finding::new("sqlite", Health::Good, format!("SQLite {}, compiled in", dacapo_backends::sqlite::version()))
}

fn descriptors(_: &Settings) -> Finding {
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

fn clock(_: &Settings) -> Finding {
    let wall = SystemClock::new().now().wall;
    let shown = calendar::show(wall);
    if wall < CLOCK_MIN {
        Finding::new("clock", Health::Mind, format!("{shown}: the wall clock is not set; events will bear that time"))
    } else {
        Finding::new("clock", Health::Good, format!("{shown}; nothing is decided by it"))
    }
}

fn bugs(_: &Settings) -> Finding {
    if planted::BUILT_IN {
        Finding::new("bugs", Health::Mind, "this build carries the planted bugs: simulate with it, never deploy it")
    } else {
        Finding::new("bugs", Health::Good, "this build carries no planted bugs")
    }
}

fn determinism(_: &Settings) -> Finding {
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
