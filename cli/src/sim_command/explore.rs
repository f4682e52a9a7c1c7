//! `dacapo sim`: many seeds.
//!
//! Seeds are handed out in order. After a failure no later seed is begun, the earlier ones run to their end, and what is
//! told ends with the first failing seed: so the same command tells the same, however many workers it has.

use std::{collections::BTreeMap, fs, path::Path, thread};

use anyhow::Context as _;
use dacapo_core::planted::Bug;
use dacapo_sim::{Engine, Engines, engines::FULL_STACK_EVERY, lua};
use serde::Serialize;

use super::{
    Order, Telling,
    ended::{Coverage, Ended},
    failure::{self, Kept},
    picture,
    pool::Pool,
    result::{Failure, SeedResult},
    success,
    summary::{self, Ending},
    tally::Tally,
};
use crate::{
    arguments::SimArguments,
    bugs::{
        self,
        keep::{Keeper, Shrinking},
    },
    exit::{Exit, Usage},
    home::Home,
    interrupt::Interrupt,
    provenance::Provenance,
    seed::Seed,
    stopwatch::Stopwatch,
    surgery::blame,
    terminal::{Progress, Standing, Terminal, bad, count, strong},
};

/// Enough for every mark of the swarm to have its chance, in a minute.
const SEEDS: u64 = 100;
/// At most so many, when coverage is to decide.
const SEEDS_UNTIL_COVERED: u64 = 10_000;
/// Where a campaign begins that names no seed: a fresh clone repeats what was run before it was published.
const FIRST_SEED: Seed = Seed(1);

/// What is written down before a run starts.
#[derive(Serialize)]
pub(super) struct Begun<'a> {
    /// The seed.
    pub(super) seed: Seed,
    /// Of which scenario.
    pub(super) scenario: &'a str,
    /// With which profile.
    pub(super) profile: &'a str,
    /// With which planted bug.
    pub(super) bug: Option<&'a str>,
    /// On which code.
    pub(super) commit: &'a str,
}

/// How a seed ended, for a program.
#[derive(Serialize)]
struct SeedLine<'a> {
    seed: Seed,
    engine: Engine,
    passed: bool,
    property: Option<&'a str>,
    step: Option<u64>,
    fingerprint: String,
    simulated_s: f64,
    events: u64,
    records: u64,
}

impl<'a> SeedLine<'a> {
    fn of(result: &'a SeedResult) -> Self {
        let step = match &result.failure {
            Some(Failure::Violated(violated)) => Some(violated.step),
            _ => None,
        };
        Self {
            seed: result.seed,
            engine: result.engine,
            passed: result.failure.is_none(),
            property: result.failed(),
            step,
            fingerprint: format!("{:016x}", result.fingerprint),
            simulated_s: result.simulated_us as f64 / 1e6,
            events: result.events,
            records: result.records,
        }
    }
}

/// What a campaign gathers while it runs.
struct Campaign<'a> {
    terminal: &'a Terminal,
    arguments: &'a SimArguments,
    /// The seeds in order; none when time is the limit.
    seeds: Option<u64>,
    first: Seed,
    /// By the seed's place in the order.
    results: BTreeMap<u64, SeedResult>,
    /// The place of the first seed that failed.
    first_failure: Option<u64>,
    coverage: Coverage,
    /// The place up to which it is covered.
    covered: Option<u64>,
    running: Tally,
}

/// Explores.
pub(crate) fn run(terminal: &Terminal, arguments: &SimArguments) -> anyhow::Result<Exit> {
    let order = Order {
        // A campaign that goes on over many failures would spend its time on this.
        telling: if arguments.keep_going { Telling::Story } else { Telling::Attributed },
        engines: arguments.engine.engines(),
        ..Order::new(&scenario_of(arguments)?, &arguments.profile, arguments.bug.as_deref(), arguments.verify)?
    };
    let provenance = Provenance::here();
    let mut home = Home::open()?;
    let interrupt = Interrupt::listen()?;
    let watch = Stopwatch::start();
    let seeds = match (arguments.seeds, arguments.time) {
        (Some(seeds), _) => Some(seeds),
        (None, Some(_)) => None,
        (None, None) if arguments.until_covered.is_some() => Some(SEEDS_UNTIL_COVERED),
        // Who names a seed means that one.
        (None, None) => Some(if arguments.seed.is_some() { 1 } else { SEEDS }),
    };
    // A campaign that time or coverage ends may be of any length; one by time is judged as a short one.
    let length = if arguments.until_covered.is_some() { None } else { Some(seeds.unwrap_or(SEEDS)) };
    let reachable = order.reachable_marks(length)?;
    let first = arguments.seed.unwrap_or(FIRST_SEED);
    let mut campaign = Campaign {
        terminal,
        arguments,
        seeds,
        first,
        results: BTreeMap::new(),
        first_failure: None,
        coverage: Coverage::default(),
        covered: None,
        running: Tally::default(),
    };
    campaign.announce(&order);
    let ended = campaign.explore(&order, &reachable, &mut home, &provenance, &interrupt, &watch)?;

    let cut = campaign.cut();
    let shapes = campaign.coverage.shapes() as u64;
    let mut tally = Tally::default();
    for (place, result) in campaign.results {
        if cut.is_none_or(|cut| place <= cut) {
            terminal.object("seed", &SeedLine::of(&result));
            tally.add(result);
        }
    }
    let ending = Ending {
        scenario: &order.scenario,
        profile: &order.profile,
        engines: order.engines,
        ended,
        bug: arguments.bug.as_deref(),
        reachable: &reachable,
        as_drawn: true,
        wall_s: watch.elapsed().as_secs_f64(),
        provenance: &provenance,
        exit: tally.exit(&reachable, ended),
    };
    tally.shapes = shapes;
    let shrinking = match (arguments.no_shrink, arguments.shrink_all) {
        (true, _) => Shrinking::None,
        (_, true) => Shrinking::All,
        _ => Shrinking::First,
    };
    let mut keeper = Keeper::new(&arguments.bugs, shrinking);
    tell(terminal, Some(&mut keeper), &tally, &ending, arguments.report.as_deref())?;
    Ok(ending.exit)
}

/// The scenario's name: of services in Lua, where they are.
fn scenario_of(arguments: &SimArguments) -> anyhow::Result<String> {
    match (&arguments.services, &arguments.workload) {
        (Some(services), Some(workload)) => {
            lua::name_of(services, workload).map_err(|error| Usage::error(error.to_string()))
        }
        _ => Ok(arguments.scenario.clone()),
    }
}

impl Campaign<'_> {
    fn announce(&self, order: &Order) {
        let what = match (self.seeds, self.arguments.time) {
            (Some(1), _) => format!("seed {}", self.first),
            (Some(seeds), _) if self.arguments.until_covered.is_some() => {
                format!("seeds from {} until covered, {seeds} at most", self.first)
            }
            (Some(seeds), _) => {
                format!("{} from {}", count(seeds, "seed", "seeds"), self.first)
            }
            (None, Some(time)) => format!("seeds from {} for {} s", self.first, time.as_secs()),
            (None, None) => format!("seeds from {}", self.first),
        };
        let bug = order.bug.map(|bug| format!(", with the planted bug {} ({})", bug.name(), bug.story()));
        self.terminal.note(format_args!(
            "{} {}, profile {}, {}: {what}{}{}",
            strong("sim"),
            order.scenario,
            order.profile,
            engines_words(order.engines),
            if order.verify { ", each run twice" } else { "" },
            bug.unwrap_or_default(),
        ));
    }

    /// Runs seeds until a rule ends it; which one.
    fn explore(
        &mut self,
        order: &Order,
        reachable: &[String],
        home: &mut Home,
        provenance: &Provenance,
        interrupt: &Interrupt,
        watch: &Stopwatch,
    ) -> anyhow::Result<Ended> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.arguments.jobs.map_or(cores, |jobs| jobs as usize);
        let jobs = jobs.min(self.seeds.map_or(jobs, |seeds| seeds.max(1) as usize));
        let mut pool = Pool::start(order, jobs)?;
        let mut progress = Progress::new(self.seeds);
        let mut next = 0;
        let mut time_is_out = false;
        let interrupted = loop {
            if interrupt.asked() {
                break true;
            }
            time_is_out |= self.arguments.time.is_some_and(|time| watch.elapsed() >= time);
            let stop = time_is_out || self.cut().is_some();
            while let Some(index) = pool.idle()
                && !stop
                && self.seeds.is_none_or(|seeds| next < seeds)
            {
                let seed = self.first.plus(next);
                home.write_down(&Begun {
                    seed,
                    scenario: &order.scenario,
                    profile: &order.profile,
                    bug: order.bug.map(Bug::name),
                    commit: &provenance.commit,
                })?;
                pool.give(index, seed)?;
                next += 1;
            }
            let in_flight = pool.in_flight();
            if in_flight.is_empty() || self.none_matters(&in_flight) {
                break false;
            }
            if let Some(result) = pool.next()? {
                self.take(result, reachable, &progress);
            }
            progress.show(self.terminal, &self.standing(reachable));
        };
        progress.finish();
        let in_flight = pool.in_flight();
        if interrupted && !in_flight.is_empty() {
            let seeds: Vec<String> = in_flight.iter().map(ToString::to_string).collect();
            self.terminal.note(format_args!("interrupted; in flight: {}", seeds.join(", ")));
        }
        Ok(match self.cut() {
            _ if interrupted => Ended::Interrupted,
            Some(cut) if self.covered == Some(cut) => Ended::Covered,
            Some(_) => Ended::FirstFailure,
            None if time_is_out => Ended::TimeOver,
            None if self.arguments.until_covered.is_some() => Ended::CapReached,
            None => Ended::SeedsDone,
        })
    }

    /// The place after which nothing counts any more: that of the first failure, or where all was covered.
    fn cut(&self) -> Option<u64> {
        let failed = self.first_failure.filter(|_| !self.arguments.keep_going);
        failed.into_iter().chain(self.covered).min()
    }

    fn place(&self, seed: Seed) -> u64 {
        seed.0.wrapping_sub(self.first.0)
    }

    /// Seeds after the cut are of no interest.
    fn none_matters(&self, in_flight: &[Seed]) -> bool {
        self.cut().is_some_and(|cut| in_flight.iter().all(|seed| self.place(*seed) > cut))
    }

    fn take(&mut self, result: SeedResult, reachable: &[String], progress: &Progress) {
        let place = self.place(result.seed);
        if let Some(property) = result.failed() {
            self.first_failure = Some(self.first_failure.map_or(place, |first| first.min(place)));
            progress.aside(|| {
                self.terminal.note(format_args!("{} seed {}: {property}", bad("failed"), result.seed));
            });
        }
        let quiet = self.arguments.until_covered.unwrap_or(u64::MAX);
        self.covered = self.covered.or(self.coverage.take(place, &result, reachable, quiet));
        self.running.add(result.clone());
        self.results.insert(place, result);
    }

    fn standing(&self, reachable: &[String]) -> Standing {
        Standing {
            done: self.running.seeds,
            of: self.seeds,
            failed: self.running.failed.len() as u64,
            simulated_s: self.running.simulated_us as f64 / 1e6,
            missing: self.running.missing(reachable).into_iter().map(str::to_owned).collect(),
        }
    }
}

fn engines_words(engines: Engines) -> String {
    match engines {
        Engines::Both => format!("event engine, every {FULL_STACK_EVERY}th seed on turmoil"),
        Engines::Event => "event engine".to_owned(),
        Engines::Turmoil => "turmoil engine".to_owned(),
    }
}

/// Tells how it ended, failures one after the other, and keeps them in the bug base.
pub(crate) fn tell(
    terminal: &Terminal,
    mut keeper: Option<&mut Keeper>,
    tally: &Tally,
    ending: &Ending<'_>,
    report: Option<&Path>,
) -> anyhow::Result<()> {
    let mut undrawn = true;
    for result in &tally.failed {
        let kept = match &result.failure {
            Some(Failure::Violated(violated)) => {
                terminal.object("violation", &serde_json::json!({ "seed": result.seed, "violation": violated }));
                let mut keep = |keeper: &mut Keeper| {
                    let added = keeper.keep(terminal, violated, result.engine, ending.provenance)?;
                    let bugs = bugs::flag(keeper.directory());
                    // Of many failures most are the same one; the others are recorded where a report is asked for.
                    let (mut picture, mut blamed) = (None, None);
                    if std::mem::take(&mut undrawn) {
                        blamed = blame::briefly(&added.bug)?;
                        let blamed = blamed.clone();
                        picture = Some(picture::of_bug(terminal, result, violated, &added.bug, blamed, &bugs, ending)?);
                    }
                    anyhow::Ok(Kept { added, bugs, picture, blamed })
                };
                keeper.as_deref_mut().map(&mut keep).transpose()?
            }
            _ => None,
        };
        terminal.line("");
        failure::write(terminal, result, kept.as_ref(), ending);
    }
    terminal.line("");
    success::write(terminal, tally, ending);
    if let Some(directory) = report {
        write_report(directory, tally, ending)
            .with_context(|| format!("cannot write the report into {}", directory.display()))?;
    }
    summary::write(terminal, tally, ending);
    Ok(())
}

/// `failures.jsonl`, and for each violation the plan, the recorded run and its picture.
fn write_report(directory: &Path, tally: &Tally, ending: &Ending<'_>) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    let mut failures = String::new();
    for result in &tally.failed {
        failures.push_str(&serde_json::to_string(result)?);
        failures.push('\n');
        if let Some(Failure::Violated(violated)) = &result.failure {
            fs::write(directory.join(format!("plan-{}.json", result.seed)), &violated.plan)?;
            picture::of_report(directory, result, violated, ending)?;
        }
    }
    fs::write(directory.join("failures.jsonl"), failures)?;
    let sums = serde_json::json!({
        "seeds": tally.seeds, "fingerprint": tally.fingerprint, "events": tally.events, "records": tally.records,
        "operations": tally.operations, "faults": tally.faults, "checks": tally.checks, "marks": tally.marks,
    });
    fs::write(directory.join("covered.json"), format!("{sums:#}\n"))?;
    Ok(())
}
