//! Dacapo's own load generator, beside this one: it pipelines frames on one thread, as its clients do.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{server, systems::dacapo};

/// What `dacapo bench` measured.
pub(crate) struct OwnBench {
    pub(crate) published_per_s: f64,
    pub(crate) completed_per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) completed_p99_ms: f64,
}

/// Publishing, delivering and completing at the same time.
pub(crate) fn run(seconds: u64) -> Result<OwnBench> {
    let time = format!("{seconds}s");
    let output = server::run(Command::new(dacapo::program().context("dacapo is not built")?).args([
        "bench",
        "--json",
        "--publishers",
        "32",
        "--payload",
        "200",
        "--warm-up",
        "1s",
        "--time",
        &time,
    ]))?;
    let line =
        output.lines().rev().find(|line| line.contains("accepted_per_s")).context("dacapo bench told nothing")?;
    let report: Value = serde_json::from_str(line)?;
    let number = |path: &str| report.pointer(path).and_then(Value::as_f64).with_context(|| format!("no {path}"));
    Ok(OwnBench {
        published_per_s: number("/accepted_per_s")?,
        completed_per_s: number("/completed_per_s")?,
        p50_ms: number("/publish_to_receipt/p50_us")? / 1_000.0,
        p99_ms: number("/publish_to_receipt/p99_us")? / 1_000.0,
        completed_p99_ms: number("/publish_to_completed/p99_us")? / 1_000.0,
    })
}
