//! What is said of a campaign at its end: what was covered, so that nobody mistakes little for much. Where something
//! failed, that is what matters, and the rest is short.

use super::{summary::Ending, tally::Tally};
use crate::{
    exit::Exit,
    terminal::{Terminal, bad, count, good, grouped, span, strong},
};

/// Says it.
pub(crate) fn write(terminal: &Terminal, tally: &Tally, ending: &Ending<'_>) {
    covered(terminal, tally, ending);
    if tally.failed.is_empty() {
        details(terminal, tally, ending);
        verdict(terminal, tally, ending);
    } else {
        let seeds: Vec<String> = tally
            .failed
            .iter()
            .map(|result| format!("{} ({})", result.seed, result.failed().unwrap_or_default()))
            .collect();
        terminal.line(format_args!(
            "{}: {} {}",
            bad("failed"),
            if seeds.len() == 1 { "seed" } else { "seeds" },
            seeds.join(", ")
        ));
    }
}

fn covered(terminal: &Terminal, tally: &Tally, ending: &Ending<'_>) {
    let simulated_s = tally.simulated_us as f64 / 1e6;
    terminal.line(format_args!(
        "covered    {}: {} simulated in {} ({} times as fast as life)",
        count(tally.seeds, "seed", "seeds"),
        span(simulated_s),
        span(ending.wall_s),
        grouped((simulated_s / ending.wall_s.max(0.001)).round() as u64),
    ));
    terminal.line(format_args!(
        "           {}, {}, {}",
        count(tally.operations, "operation", "operations"),
        count(tally.events, "event", "events"),
        count(tally.records, "trace record", "trace records"),
    ));
}

fn details(terminal: &Terminal, tally: &Tally, ending: &Ending<'_>) {
    table(terminal, "faults", tally.faults.iter().filter(|(_, begun)| **begun > 0));
    table(terminal, "checked", tally.checks.iter().filter(|(_, checks)| **checks > 0));
    let never: Vec<&str> = tally.checks.iter().filter(|(_, checks)| **checks == 0).map(|(name, _)| &**name).collect();
    if !never.is_empty() {
        terminal.line(format_args!("unchecked  {}", never.join(", ")));
    }
    table(terminal, "sometimes", tally.marks.iter().filter(|(_, reached)| **reached > 0));
    let missing = tally.missing(ending.reachable);
    if !missing.is_empty() {
        terminal.line(format_args!("never      {}", missing.join(", ")));
    }
    let engines: Vec<String> =
        tally.engines.iter().map(|(name, seeds)| format!("{name} {}", grouped(*seeds))).collect();
    terminal.line(format_args!(
        "engines    {}   {}   ended by {}",
        engines.join(" · "),
        count(tally.shapes, "shape of state", "shapes of state"),
        ending.ended.words()
    ));
    terminal
        .line(format_args!("fingerprint {}   profile {}   {}", tally.fingerprint, ending.profile, ending.provenance));
}

fn verdict(terminal: &Terminal, tally: &Tally, ending: &Ending<'_>) {
    let verdict = match ending.exit {
        Exit::Passed => format!("{}: every property held in {}", good("passed"), count(tally.seeds, "seed", "seeds")),
        Exit::Inconclusive if tally.seeds == 0 => {
            format!("{}: no seed ran to its end; give it more time", bad("inconclusive"))
        }
        Exit::Inconclusive => {
            format!("{}: what is named after `never` did not happen; explore more seeds", bad("inconclusive"))
        }
        Exit::Interrupted => format!("{}: every property held until then", strong("interrupted")),
        _ => return,
    };
    terminal.line(verdict);
}

/// `name count` pairs, several on a line.
fn table<'a>(terminal: &Terminal, title: &str, items: impl Iterator<Item = (&'a String, &'a u64)>) {
    const WIDTH: usize = 88;
    let mut head = title;
    let mut line = String::new();
    let mut flush = |line: &mut String| {
        if !line.is_empty() {
            terminal.line(format_args!("{head:<10} {line}"));
            head = "";
            line.clear();
        }
    };
    for (name, n) in items {
        let item = format!("{name} {}", grouped(*n));
        if line.len() + item.len() > WIDTH {
            flush(&mut line);
        }
        if !line.is_empty() {
            line.push_str(" · ");
        }
        line.push_str(&item);
    }
    flush(&mut line);
}
