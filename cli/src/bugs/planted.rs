//! `dacapo bugs planted`: the harness's own test, as a table. How many seeds until each planted bug is found, how small
//! the failing plan becomes, and which property caught it.
//!
//! For each bug there are several campaigns with disjoint seeds; each runs seed after seed until one fails, or the cap is
//! reached. Campaigns run beside each other on the workers, seeds of one campaign never do: so the table does not depend
//! on how many workers there are.

use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};

use clap::Args;
use dacapo_backends::clock::SystemClock;
use dacapo_core::planted::{BUILT_IN, Bug};
use dacapo_sim::{Minimality, Plan, RunOptions, ShrinkOptions, shrink};
use serde::Serialize;

use super::table;
use crate::{
    arguments::{EngineName, duration},
    exit::{Exit, Usage},
    interrupt::Interrupt,
    provenance::Provenance,
    scenarios,
    seed::Seed,
    sim_command::{Failure, Order, Pool, SeedResult, Telling, planted},
    stopwatch::Stopwatch,
    terminal::{Terminal, count, strong},
};

/// `bugs planted`
#[derive(Debug, Args)]
pub(crate) struct PlantedArguments {
    /// Only these; may be given again
    #[arg(long, value_name = "NAME")]
    pub(crate) bug: Vec<String>,
    /// Campaigns for each bug, with disjoint seeds
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(crate) campaigns: u64,
    /// Seeds that a campaign tries at most
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) cap: u64,
    /// What to simulate
    #[arg(long, default_value = "bank")]
    pub(crate) scenario: String,
    /// Which faults, and how strong
    #[arg(long, default_value = "swarm")]
    pub(crate) profile: String,
    /// What runs the plans
    #[arg(long, value_enum, default_value = "both")]
    pub(crate) engine: EngineName,
    /// How long the first failing plan of each bug may be shrunk; 0s: not at all
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub(crate) shrink: Duration,
    /// Seeds at once; as many as there are cores if left out
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) jobs: Option<u64>,
    /// Write the table as Markdown, as it stands in the README
    #[arg(long)]
    pub(crate) markdown: bool,
}

/// One bug's row.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) bug: &'static str,
    /// What goes wrong.
    pub(crate) story: &'static str,
    /// Campaigns.
    pub(crate) campaigns: u64,
    /// Those that found it.
    pub(crate) found: u64,
    /// Seeds that a campaign tried at most.
    pub(crate) cap: u64,
    /// Seeds to the first detection, half of the campaigns; none if fewer than half found it.
    pub(crate) seeds_median: Option<u64>,
    /// Of 95 in 100 campaigns.
    pub(crate) seeds_p95: Option<u64>,
    /// The properties that caught it, and how often each did.
    pub(crate) properties: BTreeMap<String, u64>,
    /// What is left of the first failing plan.
    pub(crate) shrunk: Option<Small>,
    /// How long all of its campaigns took, on the wall.
    pub(crate) wall_s: f64,
}

/// A shrunk plan.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Small {
    /// The seed of the plan.
    pub(crate) seed: u64,
    /// Faults left.
    pub(crate) faults: usize,
    /// Operations left.
    pub(crate) operations: usize,
    /// Whether each of them is needed, for certain.
    pub(crate) minimality: Minimality,
    /// How long it took, on the wall.
    pub(crate) wall_s: f64,
}

/// Makes the table.
pub(crate) fn run(terminal: &Terminal, arguments: &PlantedArguments) -> anyhow::Result<Exit> {
    if !BUILT_IN {
        return Err(Usage::error(
            "this build carries no planted bugs; build one that does with `cargo build --release --features \
             planted-bugs`, or run `cargo run --release --features planted-bugs -- bugs planted`",
        ));
    }
    let bugs: Vec<Bug> = if arguments.bug.is_empty() {
        Bug::ALL.to_vec()
    } else {
        arguments.bug.iter().map(|name| planted(name)).collect::<anyhow::Result<_>>()?
    };
    let interrupt = Interrupt::listen()?;
    terminal.note(format_args!(
        "{} {}, {} of {} seeds at most each",
        strong("bugs planted"),
        count(bugs.len() as u64, "bug", "bugs"),
        count(arguments.campaigns, "campaign", "campaigns"),
        arguments.cap,
    ));
    let watch = Stopwatch::start();
    let mut rows = Vec::new();
    for bug in bugs {
        let Some(row) = hunt(arguments, bug, &interrupt)? else { return Ok(Exit::Interrupted) };
        terminal.object("planted", &row);
        terminal.note(table::line(&row));
        rows.push(row);
    }
    let provenance = Provenance::here();
    if arguments.markdown {
        terminal.line(table::markdown(&rows, &command(arguments), &provenance));
    } else {
        table::write(terminal, &rows, watch.elapsed().as_secs_f64(), &provenance);
    }
    // One that is never found says that the harness is blind there.
    Ok(if rows.iter().all(|row| row.found > 0) { Exit::Passed } else { Exit::Inconclusive })
}

/// What to type for the same table.
fn command(arguments: &PlantedArguments) -> String {
    let mut command = format!("dacapo bugs planted --campaigns {} --cap {}", arguments.campaigns, arguments.cap);
    for bug in &arguments.bug {
        command += " --bug ";
        command += bug;
    }
    if arguments.profile != "swarm" {
        command += " --profile ";
        command += &arguments.profile;
    }
    command
}

/// One campaign of one bug.
#[derive(Debug, Default)]
struct Campaign {
    tried: u64,
    in_flight: bool,
    found: Option<(String, Plan)>,
}

/// All campaigns of one bug; none if the user has had enough.
fn hunt(arguments: &PlantedArguments, bug: Bug, interrupt: &Interrupt) -> anyhow::Result<Option<Row>> {
    let watch = Stopwatch::start();
    let order = Order {
        engines: arguments.engine.engines(),
        telling: Telling::Brief,
        ..Order::new(&arguments.scenario, &arguments.profile, Some(bug.name()), false)?
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.map_or(cores, |jobs| jobs as usize).min(arguments.campaigns as usize);
    let mut pool = Pool::start(&order, jobs)?;
    let mut campaigns: Vec<Campaign> = (0..arguments.campaigns).map(|_| Campaign::default()).collect();
    loop {
        if interrupt.asked() {
            return Ok(None);
        }
        while let Some(worker) = pool.idle() {
            let goes_on = |it: &Campaign| !it.in_flight && it.found.is_none() && it.tried < arguments.cap;
            let Some(index) = campaigns.iter().position(goes_on) else { break };
            let campaign = &mut campaigns[index];
            campaign.in_flight = true;
            pool.give(worker, Seed(index as u64 * arguments.cap + campaign.tried + 1))?;
        }
        if pool.in_flight().is_empty() {
            break;
        }
        if let Some(result) = pool.next()? {
            let index = (result.seed.0 - 1) / arguments.cap;
            let campaign = &mut campaigns[index as usize];
            campaign.in_flight = false;
            campaign.tried += 1;
            campaign.found = detection(result)?;
        }
    }
    drop(pool);
    let mut row = row(bug, arguments, &campaigns);
    row.wall_s = rounded(watch.elapsed().as_secs_f64());
    if let Some(plan) = campaigns.into_iter().find_map(|campaign| campaign.found).map(|(_, plan)| plan) {
        row.shrunk = small(arguments, &plan)?;
    }
    Ok(Some(row))
}

/// The property that a run broke, if it did, and its plan.
fn detection(result: SeedResult) -> anyhow::Result<Option<(String, Plan)>> {
    match result.failure {
        None => Ok(None),
        Some(Failure::Violated(violated)) => Ok(Some((violated.property, Plan::from_json(&violated.plan)?))),
        Some(Failure::Differs(words)) => anyhow::bail!("seed {} ran in two ways: {words}", result.seed),
        Some(Failure::Harness(reason)) => anyhow::bail!("the harness failed at seed {}: {reason}", result.seed),
    }
}

fn row(bug: Bug, arguments: &PlantedArguments, campaigns: &[Campaign]) -> Row {
    let mut tried: Vec<u64> = campaigns.iter().filter(|it| it.found.is_some()).map(|it| it.tried).collect();
    tried.sort_unstable();
    let mut properties: BTreeMap<String, u64> = BTreeMap::new();
    for (property, _) in campaigns.iter().filter_map(|campaign| campaign.found.as_ref()) {
        *properties.entry(property.clone()).or_default() += 1;
    }
    Row {
        bug: bug.name(),
        story: bug.story(),
        campaigns: arguments.campaigns,
        found: tried.len() as u64,
        cap: arguments.cap,
        seeds_median: quantile(&tried, arguments.campaigns, 50),
        seeds_p95: quantile(&tried, arguments.campaigns, 95),
        properties,
        shrunk: None,
        wall_s: 0.0,
    }
}

/// So many seeds were enough for this share of all campaigns; those that found nothing are missing from the sorted list.
fn quantile(tried: &[u64], campaigns: u64, percent: u64) -> Option<u64> {
    let rank = (campaigns * percent).div_ceil(100).max(1);
    tried.get(usize::try_from(rank - 1).ok()?).copied()
}

fn small(arguments: &PlantedArguments, plan: &Plan) -> anyhow::Result<Option<Small>> {
    if arguments.shrink.is_zero() {
        return Ok(None);
    }
    let watch = Stopwatch::start();
    let scenario = scenarios::named(&plan.scenario)?;
    let options = ShrinkOptions {
        run: RunOptions { engine: arguments.engine.of(plan.seed), ..RunOptions::default() },
        budget: Some((Arc::new(SystemClock::default()), arguments.shrink)),
        jobs: arguments.jobs.unwrap_or(1) as usize,
    };
    let shrunk = shrink(&*scenario, plan, &options)?;
    Ok(Some(Small {
        seed: plan.seed,
        faults: shrunk.plan.faults.len(),
        operations: shrunk.plan.operations.len(),
        minimality: shrunk.minimality,
        wall_s: rounded(watch.elapsed().as_secs_f64()),
    }))
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_counts_campaigns_that_found_nothing_as_longer_than_any() {
        let tried: Vec<u64> = (1..=19).collect();
        assert_eq!(quantile(&tried, 20, 50), Some(10));
        assert_eq!(quantile(&tried, 20, 95), Some(19));
        assert_eq!(quantile(&tried[..18], 20, 95), None, "two of twenty found nothing");
        assert_eq!(quantile(&[7], 1, 50), Some(7));
        assert_eq!(quantile(&[], 1, 50), None);
    }
}
