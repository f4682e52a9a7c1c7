//! `dacapo crash`: crash runs of the store on a simulated disk, by the thousand.
//!
//! A run takes about a millisecond, so that they are handed to threads in blocks and told in sums; what failed is told
//! by seed, with the line that runs it again. The same seeds give the same sums and the same fingerprint, however many
//! threads there are.

use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use dacapo_core::digest::digest_of;
use dacapo_sim::disk::crash::{CrashOutcome, Medium, Verdict, crash_run};
use serde::Serialize;

use crate::{
    arguments::{CrashArguments, DiskName},
    exit::Exit,
    interrupt::Interrupt,
    seed::Seed,
    stopwatch::Stopwatch,
    terminal::{Progress, Standing, Terminal, bad, count, good, grouped, label, span, strong},
};

/// Where runs begin that name no seed.
const FIRST_SEED: Seed = Seed(1);

/// Runs that a thread does before it looks up.
const BLOCK: u64 = 64;

/// Failures that are told one by one.
const FAILURES_TOLD: usize = 10;

/// What came of many runs.
#[derive(Debug, Default, Serialize)]
struct Sums {
    runs: u64,
    kept: u64,
    noticed: u64,
    broken: u64,
    lives: u64,
    power_cuts: u64,
    torn: u64,
    commits: u64,
    events: u64,
    doubtful_kept: u64,
    doubtful_gone: u64,
    backups: u64,
    beside_backups: u64,
    migrations: u64,
    harm: u64,
    /// In words and in their first seeds.
    #[serde(skip)]
    failures: BTreeMap<u64, String>,
    #[serde(skip)]
    last: Option<(u64, Verdict)>,
    #[serde(skip)]
    fingerprint: u64,
}

impl Sums {
    /// Takes the run at this place of the order.
    fn take(&mut self, place: u64, outcome: CrashOutcome) {
        self.runs += 1;
        self.lives += u64::from(outcome.lives);
        self.power_cuts += u64::from(outcome.cuts);
        self.torn += u64::from(outcome.torn);
        self.commits += outcome.commits;
        self.events += outcome.events;
        self.doubtful_kept += u64::from(outcome.doubtful_kept);
        self.doubtful_gone += u64::from(outcome.doubtful_gone);
        self.backups += u64::from(outcome.backups);
        self.beside_backups += u64::from(outcome.beside_backups);
        self.migrations += u64::from(outcome.migrations);
        self.harm += outcome.harm;
        // A sum, so that it does not depend on which thread is first.
        self.fingerprint = self.fingerprint.wrapping_add(digest_of(place, &outcome.fingerprint));
        match &outcome.verdict {
            Verdict::Kept => self.kept += 1,
            Verdict::Noticed(_) => self.noticed += 1,
            Verdict::Broken(how) => {
                self.broken += 1;
                self.failures.insert(outcome.seed, how.clone());
            }
        }
        self.last = Some((outcome.seed, outcome.verdict));
    }

    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.kept += other.kept;
        self.noticed += other.noticed;
        self.broken += other.broken;
        self.lives += other.lives;
        self.power_cuts += other.power_cuts;
        self.torn += other.torn;
        self.commits += other.commits;
        self.events += other.events;
        self.doubtful_kept += other.doubtful_kept;
        self.doubtful_gone += other.doubtful_gone;
        self.backups += other.backups;
        self.beside_backups += other.beside_backups;
        self.migrations += other.migrations;
        self.harm += other.harm;
        self.fingerprint = self.fingerprint.wrapping_add(other.fingerprint);
        self.failures.extend(other.failures);
        self.last = other.last;
    }
}

/// A failing run, for a program.
#[derive(Serialize)]
struct FailureLine<'a> {
    seed: Seed,
    how: &'a str,
}

/// The end, for a program.
#[derive(Serialize)]
struct SummaryLine<'a> {
    disk: Medium,
    first_seed: Seed,
    #[serde(flatten)]
    sums: &'a Sums,
    fingerprint: String,
    wall_s: f64,
    runs_per_s: f64,
}

/// Carries crash runs out.
pub(crate) fn run(terminal: &Terminal, arguments: &CrashArguments) -> anyhow::Result<Exit> {
    let medium = medium(arguments.disk);
    let first = arguments.seed.unwrap_or(FIRST_SEED);
    // One seed is one run, unless more are asked for.
    let runs = arguments.runs.unwrap_or(if arguments.seed.is_some() { 1 } else { 10_000 });
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let jobs = arguments.jobs.unwrap_or(cores).min(runs.div_ceil(BLOCK));
    let interrupt = Interrupt::listen()?;
    let watch = Stopwatch::start();
    terminal.note(format_args!(
        "{} {} disk: {} from {first}, about four power cuts each",
        strong("crash"),
        arguments.disk.name(),
        count(runs, "run", "runs"),
    ));
    let (sums, interrupted) = explore(terminal, &interrupt, (first, runs, jobs), medium);
    tell(terminal, arguments, first, &sums, watch.elapsed().as_secs_f64());
    Ok(match () {
        () if sums.broken > 0 => Exit::Violated,
        () if interrupted => Exit::Interrupted,
        () => Exit::Passed,
    })
}

fn medium(disk: DiskName) -> Medium {
    match disk {
        DiskName::Honest => Medium::Honest,
        DiskName::Failing => Medium::Failing,
        DiskName::Lying => Medium::Lying,
        DiskName::Rot => Medium::Rotting,
    }
}

/// All runs, on so many threads; whether somebody had enough before the end.
fn explore(
    terminal: &Terminal,
    interrupt: &Interrupt,
    (first, runs, jobs): (Seed, u64, u64),
    medium: Medium,
) -> (Sums, bool) {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel::<Sums>();
    let work = |sender: mpsc::Sender<Sums>| {
        while !stop.load(Ordering::Relaxed) {
            let begin = next.fetch_add(BLOCK, Ordering::Relaxed);
            if begin >= runs {
                return;
            }
            let mut sums = Sums::default();
            for place in begin..(begin + BLOCK).min(runs) {
                sums.take(place, crash_run(first.plus(place).0, medium));
            }
            if sender.send(sums).is_err() {
                return;
            }
        }
    };
    let mut total = Sums::default();
    let mut progress = Progress::new(Some(runs));
    thread::scope(|scope| {
        for _ in 0..jobs {
            let sender = sender.clone();
            scope.spawn(|| work(sender));
        }
        drop(sender);
        loop {
            match receiver.recv_timeout(Duration::from_millis(100)) {
                Ok(sums) => total.add(sums),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if interrupt.asked() {
                stop.store(true, Ordering::Relaxed);
            }
            let standing = Standing { done: total.runs, of: Some(runs), failed: total.broken, ..Standing::default() };
            progress.show(terminal, &standing);
        }
    });
    progress.finish();
    let interrupted = total.runs < runs;
    (total, interrupted)
}

fn tell(terminal: &Terminal, arguments: &CrashArguments, first: Seed, sums: &Sums, wall_s: f64) {
    let disk = arguments.disk.name();
    for (seed, how) in sums.failures.iter().take(FAILURES_TOLD) {
        terminal.object("failure", &FailureLine { seed: Seed(*seed), how });
        terminal.line(format_args!("{} seed {seed}: {how}", bad("broken")));
        terminal.line(format_args!("       again: dacapo crash --disk {disk} --seed {seed}"));
    }
    if sums.runs == 1
        && let Some((seed, Verdict::Noticed(how))) = &sums.last
    {
        terminal.line(format_args!("{} seed {seed}: {how}", strong("noticed")));
    }
    let line = |name: &str, text: String| terminal.line(format_args!("{} {text}", label(name, 12)));
    line(
        "runs",
        format!(
            "{}, {} kept everything, {} lost something and it was noticed, {} broke a promise",
            grouped(sums.runs),
            grouped(sums.kept),
            grouped(sums.noticed),
            grouped(sums.broken)
        ),
    );
    line(
        "lives",
        format!(
            "{}; {} power cuts, {} in the midst of a write or a sync",
            grouped(sums.lives),
            grouped(sums.power_cuts),
            grouped(sums.torn)
        ),
    );
    line("commits", format!("{} acknowledged, {} events in them", grouped(sums.commits), grouped(sums.events)));
    line(
        "in doubt",
        format!(
            "{} commits cut off in the middle: {} were there, {} were not",
            grouped(sums.doubtful_kept + sums.doubtful_gone),
            grouped(sums.doubtful_kept),
            grouped(sums.doubtful_gone)
        ),
    );
    let beside = grouped(sums.beside_backups);
    line("backups", format!("{} made, in whose midst {beside} commits were made, and restored", grouped(sums.backups)));
    line("migrated", format!("{} began with a file of a former schema", grouped(sums.migrations)));
    if sums.harm > 0 {
        line("harm", format!("{} syncs that failed or lied, or bits that rotted", grouped(sums.harm)));
    }
    let rate = sums.runs as f64 / wall_s.max(0.001);
    line("time", format!("{}, {} runs a second", span(wall_s), grouped(rate as u64)));
    line("fingerprint", format!("{:016x}", sums.fingerprint));
    let verdict = if sums.broken == 0 { good("passed") } else { bad("failed") };
    terminal.line(format_args!("{verdict} on the {disk} disk"));
    let fingerprint = format!("{:016x}", sums.fingerprint);
    let summary =
        SummaryLine { disk: medium(arguments.disk), first_seed: first, sums, fingerprint, wall_s, runs_per_s: rate };
    terminal.object("crash", &summary);
}
