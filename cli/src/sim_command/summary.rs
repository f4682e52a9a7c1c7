//! The last line of `sim` and `replay` under `--json`. Its first fields are fixed; others may follow.

use std::collections::BTreeMap;

use dacapo_sim::Engines;
use serde::Serialize;

use super::{ended::Ended, tally::Tally};
use crate::{exit::Exit, provenance::Provenance, seed::Seed, terminal::Terminal};

/// What a run is told with: how it was asked for, and how it ended.
pub(crate) struct Ending<'a> {
    /// Of which scenario.
    pub(crate) scenario: &'a str,
    /// With which profile.
    pub(crate) profile: &'a str,
    /// On which engines.
    pub(crate) engines: Engines,
    /// The rule that ended it.
    pub(crate) ended: Ended,
    /// With which planted bug, if any.
    pub(crate) bug: Option<&'a str>,
    /// The marks that could have been reached.
    pub(crate) reachable: &'a [String],
    /// The plan is what the seed draws, so that the seed alone says how to see it again.
    pub(crate) as_drawn: bool,
    /// On the wall.
    pub(crate) wall_s: f64,
    /// Which code.
    pub(crate) provenance: &'a Provenance,
    /// How it ended.
    pub(crate) exit: Exit,
}

#[derive(Serialize)]
struct Summary<'a> {
    passed: bool,
    seeds: u64,
    failed: Vec<FailedSeed<'a>>,
    fingerprint: String,
    simulated_s: f64,
    wall_s: f64,
    exit: u8,
    scenario: &'a str,
    profile: &'a str,
    engine: Engines,
    engines: &'a BTreeMap<&'static str, u64>,
    ended: Ended,
    shapes: u64,
    bug: Option<&'a str>,
    events: u64,
    records: u64,
    marks_missing: Vec<&'a str>,
    provenance: &'a Provenance,
}

#[derive(Serialize)]
struct FailedSeed<'a> {
    seed: Seed,
    property: &'a str,
}

/// Writes it.
pub(crate) fn write(terminal: &Terminal, tally: &Tally, ending: &Ending<'_>) {
    let failed = tally
        .failed
        .iter()
        .map(|result| FailedSeed { seed: result.seed, property: result.failed().unwrap_or_default() })
        .collect();
    let summary = Summary {
        passed: ending.exit == Exit::Passed,
        seeds: tally.seeds,
        failed,
        fingerprint: tally.fingerprint.to_string(),
        simulated_s: tally.simulated_us as f64 / 1e6,
        wall_s: (ending.wall_s * 1e3).round() / 1e3,
        exit: ending.exit as u8,
        scenario: ending.scenario,
        profile: ending.profile,
        engine: ending.engines,
        engines: &tally.engines,
        ended: ending.ended,
        shapes: tally.shapes,
        bug: ending.bug,
        events: tally.events,
        records: tally.records,
        marks_missing: tally.missing(ending.reachable),
        provenance: ending.provenance,
    };
    terminal.object("summary", &summary);
}
