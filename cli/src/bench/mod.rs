//! `dacapo bench`: loads a running bus, and checks while it loads.
//!
//! Publishers and instances of services are connections of this process; the bus is another process, the one of `--bus`,
//! or one that is started for the occasion on a fresh file. Latencies are taken by one clock, that of this process, so
//! that a publish and the completion of what it published can be compared. What a figure is worth depends on the disk:
//! a probe of what a sync costs stands beside it.
//!
//! A load that loses an event, completes one twice or reorders a lane is no load but a finding: the exit code says so.

mod arguments;
mod chart;
mod connection;
mod figures;
mod instance;
mod ledger;
mod probe;
mod publisher;
mod target;

use std::{rc::Rc, time::Duration};

use anyhow::Context as _;
use dacapo_service::driver::BusConnect;
use serde::Serialize;
use tokio::task::LocalSet;

pub(crate) use self::arguments::BenchArguments;
use self::{
    figures::{Figures, Latency},
    ledger::Ledger,
    target::Target,
};
use crate::{
    exit::Exit,
    interrupt::Interrupt,
    terminal::{Terminal, bad, good, grouped, label, span, strong},
};

/// After the load has ended everything that was accepted must be completed; so long nothing may happen on the way.
const STANDSTILL: Duration = Duration::from_secs(10);

/// The end, for a program.
#[derive(Serialize)]
struct Report<'a> {
    load: &'a BenchArguments,
    bus: &'a str,
    seconds: f64,
    #[serde(flatten)]
    figures: &'a Figures,
    accepted_per_s: f64,
    completed_per_s: f64,
    publish_to_receipt: Latency,
    publish_to_completed: Latency,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_before: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_after: Option<Latency>,
    faults: Vec<String>,
}

/// Loads a bus and tells how it went.
pub(crate) fn run(terminal: &Terminal, arguments: &BenchArguments) -> anyhow::Result<Exit> {
    arguments.check()?;
    let interrupt = Interrupt::listen()?;
    let target = Target::of(arguments)?;
    let connector = arguments.client.connector(target.address())?;
    terminal.note(format_args!("{} {}: {arguments}", strong("bench"), target.address()));
    let probe = || target.directory().map(|directory| probe::syncs(directory, Duration::from_secs(1))).transpose();
    let before = probe()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let ledger = Rc::new(Ledger::new(arguments));
    let interrupted = LocalSet::new().block_on(&runtime, load(&connector, arguments, &ledger, &interrupt))?;
    let after = probe()?;
    let figures = ledger.figures();
    let faults = ledger.faults();
    let seconds = figures.seconds();
    let report = Report {
        load: arguments,
        bus: target.address(),
        seconds,
        accepted_per_s: figures.accepted as f64 / seconds,
        completed_per_s: figures.completed as f64 / seconds,
        publish_to_receipt: Latency::of(&figures.receipt),
        publish_to_completed: Latency::of(&figures.publish_to_completed),
        sync_before: before.as_ref().map(Latency::of),
        sync_after: after.as_ref().map(Latency::of),
        figures: &figures,
        faults,
    };
    tell(terminal, &report);
    if let Some(path) = &arguments.chart {
        std::fs::write(path, chart::draw(&report))
            .with_context(|| format!("cannot write the chart {}; choose another path", path.display()))?;
        terminal.line(format_args!("{} {}", label("chart", 12), path.display()));
    }
    Ok(match () {
        () if !report.faults.is_empty() => Exit::Violated,
        () if interrupted => Exit::Interrupted,
        () => Exit::Passed,
    })
}

/// Runs publishers and instances for the time that was asked for, then until everything accepted is completed; whether
/// somebody had enough before.
async fn load(
    bus: &BusConnect,
    arguments: &BenchArguments,
    ledger: &Rc<Ledger>,
    interrupt: &Interrupt,
) -> anyhow::Result<bool> {
    let mut instances = Vec::new();
    for service in 0..arguments.services {
        for number in 0..arguments.instances {
            let ready = instance::start(bus, arguments, ledger, service, number).await?;
            instances.push(tokio::task::spawn_local(ready));
        }
    }
    ledger.begin(arguments.warm_up);
    let mut publishers = Vec::new();
    for number in 0..arguments.publishers {
        let publishing = publisher::start(bus, arguments, ledger, number).await?;
        publishers.push(tokio::task::spawn_local(publishing));
    }
    let time = tokio::time::sleep(arguments.warm_up + arguments.time);
    let interrupted = tokio::select! {
        biased;
        () = interrupt.wait() => true,
        () = ledger.failed() => false,
        () = time => false,
    };
    ledger.end();
    for publisher in publishers {
        publisher.await.context("a publisher panicked")??;
    }
    // What is not done when nothing happens any more is missing, and told.
    while let Ok(done) = tokio::time::timeout(STANDSTILL, ledger.drained()).await
        && !done
    {}
    ledger.close();
    for instance in instances {
        instance.await.context("an instance panicked")??;
    }
    Ok(interrupted)
}

fn tell(terminal: &Terminal, report: &Report<'_>) {
    let figures = report.figures;
    let line = |name: &str, text: String| terminal.line(format_args!("{} {text}", label(name, 12)));
    line(
        "published",
        format!(
            "{} accepted in {}, {} a second; {} stale as intended, {} throttled",
            grouped(figures.accepted),
            span(report.seconds),
            strong(grouped(report.accepted_per_s as u64)),
            grouped(figures.stale),
            grouped(figures.throttled)
        ),
    );
    line("receipt", report.publish_to_receipt.to_string());
    if report.load.services > 0 {
        line(
            "completed",
            format!(
                "{} by {} of {} each, {} a second; {} delivered again",
                grouped(figures.completed),
                crate::terminal::count(report.load.services.into(), "service", "services"),
                crate::terminal::count(report.load.instances.into(), "instance", "instances"),
                strong(grouped(report.completed_per_s as u64)),
                grouped(figures.delivered_again)
            ),
        );
        line("completion", format!("{}, from publish to completed", report.publish_to_completed));
    }
    if let (Some(before), Some(after)) = (&report.sync_before, &report.sync_after) {
        line("disk", format!("a sync of 4 KiB took {before} before, {after} after"));
    }
    for fault in &report.faults {
        line("fault", bad(fault));
    }
    let verdict = if report.faults.is_empty() {
        good("checked: nothing lost, nothing twice, lanes in order")
    } else {
        bad("failed")
    };
    terminal.line(verdict);
    terminal.object("bench", report);
}
