//! Dacapo beside other systems that keep events, under one contract: durable, compare-and-swap by key, order by key.
//!
//! `run` beside this package builds and starts it; README.md says what is the same and what is not.

mod checks;
mod contract;
mod load;
mod own_bench;
mod probe;
mod server;
mod systems;
mod table;

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::{
    contract::Peer,
    server::Server,
    systems::PEERS,
    table::{Report, Row},
};

/// What was asked for.
struct Arguments {
    json: bool,
    seconds: u64,
    rounds: u32,
    only: Option<Vec<String>>,
    figures: bool,
    checks: bool,
}

const USAGE: &str = "\
compare [--json] [--seconds N] [--rounds N] [--only NAME,NAME] [--figures | --checks]
  --json       one object instead of tables
  --seconds    of publishing that each turn measures; 3 if left out
  --rounds     turns of each system; 2 if left out
  --only       these systems
  --figures    no checks
  --checks     no figures";

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = Self { json: false, seconds: 3, rounds: 2, only: None, figures: true, checks: true };
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value\n{USAGE}"));
            match word.as_str() {
                "--json" => arguments.json = true,
                "--seconds" => arguments.seconds = value()?.parse()?,
                "--rounds" => arguments.rounds = value()?.parse()?,
                "--only" => arguments.only = Some(value()?.split(',').map(str::to_lowercase).collect()),
                "--figures" => arguments.checks = false,
                "--checks" => arguments.figures = false,
                _ => bail!("{word}: no such option\n{USAGE}"),
            }
        }
        if arguments.seconds == 0 || arguments.rounds == 0 {
            bail!("--seconds and --rounds begin at 1");
        }
        for name in arguments.only.iter().flatten() {
            systems::by_name(name).with_context(|| format!("{name}: no such system\n{USAGE}"))?;
        }
        Ok(arguments)
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&peer.name().to_lowercase()))
    }
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if_eq("consume-until-killed").is_some() {
        let (name, port) = words.next().zip(words.next()).context("a system and its port")?;
        return checks::consume_until_killed(systems::by_name(&name).context("no such system")?, port.parse()?);
    }
    let arguments = Arguments::parse(words)?;
    let report = compare(&arguments)?;
    if arguments.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.text());
    }
    Ok(())
}

/// Figures in turns, there and back, with a probe before and after each; then the checks.
fn compare(arguments: &Arguments) -> Result<Report> {
    let mut report = Report { machine: String::new(), rows: Vec::new(), own: Vec::new(), absent: Vec::new() };
    let mut here = Vec::new();
    for peer in PEERS.iter().copied().filter(|peer| arguments.takes(*peer)) {
        if let Some(version) = peer.version() {
            here.push(peer);
            let (name, note, compares) = (peer.name(), peer.note(), peer.compares());
            report.rows.push(Row { name, version, note, compares, turns: Vec::new(), findings: None });
        } else {
            report.absent.push((peer.name(), format!("not installed; {}", peer.how_to_get())));
        }
    }
    let before = load();
    let rounds = if arguments.figures { arguments.rounds } else { 0 };
    for round in 0..rounds {
        let forth: Vec<usize> = (0..here.len()).collect();
        let order = if round % 2 == 0 { forth } else { forth.into_iter().rev().collect() };
        for number in order {
            eprintln!("round {}: {}", round + 1, here[number].name());
            match turn(here[number], Duration::from_secs(arguments.seconds)) {
                Ok(turn) => report.rows[number].turns.push(turn),
                Err(error) => report.absent.push((here[number].name(), format!("{error:#}"))),
            }
        }
    }
    if arguments.figures && here.iter().any(|peer| peer.name() == systems::dacapo::NAME) {
        for _ in 0..rounds {
            report.own.push(own_bench::run(arguments.seconds)?);
        }
    }
    for (peer, row) in here.iter().zip(&mut report.rows).filter(|_| arguments.checks) {
        eprintln!("checks: {}", peer.name());
        match checks::run(*peer) {
            Ok(findings) => row.findings = Some(findings),
            Err(error) => report.absent.push((peer.name(), format!("{error:#}"))),
        }
    }
    let cores = std::thread::available_parallelism()?;
    report.machine = format!("{cores} cores; load before: {before}, after: {}", load());
    Ok(report)
}

/// One system's turn, on a server of its own.
fn turn(peer: &dyn Peer, time: Duration) -> Result<load::Turn> {
    let server = Server::start(peer)?;
    let client = server.client()?;
    let before = probe::syncs(server.directory())?;
    let mut turn = load::turn(&*client, time)?;
    let after = probe::syncs(server.directory())?;
    turn.sync_ms = [before.at(0.5), after.at(0.5)];
    Ok(turn)
}

/// The machine's load, of a minute.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
