//! What was measured and found, as a table for people and as an object for programs.

use serde_json::{Value, json};

use crate::{
    checks::{Finding, Findings},
    load::{Latencies, Turn},
    own_bench::OwnBench,
};

/// A system's line.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) note: &'static str,
    pub(crate) compares: bool,
    pub(crate) turns: Vec<Turn>,
    pub(crate) findings: Option<Findings>,
}

/// The whole run.
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) rows: Vec<Row>,
    pub(crate) own: Vec<OwnBench>,
    /// Systems that are not here, and how to get them; or that failed, and how.
    pub(crate) absent: Vec<(&'static str, String)>,
}

impl Row {
    fn published(&self) -> f64 {
        median(self.turns.iter().map(|turn| turn.published_per_s))
    }

    fn consumed(&self) -> f64 {
        median(self.turns.iter().map(|turn| turn.consumed_per_s))
    }

    fn at_once(&self) -> f64 {
        median(self.turns.iter().map(|turn| turn.at_once_per_s))
    }

    fn latencies(&self) -> Latencies {
        self.turns.iter().fold(Latencies::new(), |mut all, turn| {
            all.add(&turn.latencies);
            all
        })
    }

    /// The least and the greatest median of a sync beside its turns, in milliseconds.
    fn sync_ms(&self) -> [f64; 2] {
        let all = || self.turns.iter().flat_map(|turn| turn.sync_ms);
        [all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max)]
    }

    fn out_of_order(&self) -> u64 {
        self.turns.iter().map(|turn| turn.out_of_order).sum()
    }

    /// Its cells of the correctness part.
    fn found(&self) -> [String; 5] {
        let Some(findings) = &self.findings else { return std::array::from_fn(|_| String::new()) };
        [&findings.order, &findings.order_of_one, &findings.twice, &findings.lost, &findings.swap].map(shown)
    }
}

impl Report {
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.machine);
        let mut figures = vec![
            ["system", "publish/s", "consume+ack/s", "at once/s", "one open/s", "p50 ms", "p99 ms", "sync ms", "early"]
                .map(str::to_owned),
        ];
        for row in self.rows.iter().filter(|row| !row.turns.is_empty()) {
            let latencies = row.latencies();
            let [least, greatest] = row.sync_ms();
            figures.push([
                format!("{} {}{}", row.name, row.version, if row.compares { "" } else { " (no CAS)" }),
                format!("{:.0}", row.published()),
                format!("{:.0}", row.consumed()),
                format!("{:.0}", row.at_once()),
                format!("{:.0}", median(row.turns.iter().map(|turn| turn.one_open_per_s))),
                format!("{:.2}", latencies.at(0.5)),
                format!("{:.2}", latencies.at(0.99)),
                format!("{least:.2}-{greatest:.2}"),
                row.out_of_order().to_string(),
            ]);
        }
        if figures.len() > 1 {
            text += &table(&figures);
        }
        for own in &self.own {
            text += &format!(
                "dacapo bench, all at once: {:.0} published/s and {:.0} completed/s; publish p50 {:.2} ms, p99 {:.2} ms; \
                 publish to completed p99 {:.2} ms\n",
                own.published_per_s, own.completed_per_s, own.p50_ms, own.p99_ms, own.completed_p99_ms
            );
        }
        let mut found = vec![
            [
                "system",
                "order after event 1 fails",
                "the same, one open",
                "effects twice",
                "receipts lost",
                "one winner",
            ]
            .map(str::to_owned),
        ];
        for row in self.rows.iter().filter(|row| row.findings.is_some()) {
            let [order, of_one, twice, lost, swap] = row.found();
            found.push([row.name.to_owned(), order, of_one, twice, lost, swap]);
        }
        if found.len() > 1 {
            text += &format!("\n{}", table(&found));
        }
        for row in &self.rows {
            text += &format!("{}: {}.\n", row.name, row.note);
        }
        for (name, why) in &self.absent {
            text += &format!("not measured: {name}: {why}\n");
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let systems: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let latencies = row.latencies();
                let [order, of_one, twice, lost, swap] = row.found();
                json!({
                    "system": row.name,
                    "version": row.version,
                    "note": row.note,
                    "compare_and_swap": row.compares,
                    "published_per_s": row.published(),
                    "consumed_per_s": row.consumed(),
                    "at_once_per_s": row.at_once(),
                    "publish_p50_ms": latencies.at(0.5),
                    "publish_p99_ms": latencies.at(0.99),
                    "sync_ms": row.sync_ms(),
                    "came_early": row.out_of_order(),
                    "turns": row.turns.iter().map(|turn| json!({
                        "published_per_s": turn.published_per_s,
                        "consumed_per_s": turn.consumed_per_s,
                        "at_once_per_s": turn.at_once_per_s,
                        "consumed_one_open_per_s": turn.one_open_per_s,
                        "sync_ms": turn.sync_ms,
                    })).collect::<Vec<_>>(),
                    "order_after_failure": order,
                    "order_after_failure_one_open": of_one,
                    "effects_twice": twice,
                    "receipts_lost": lost,
                    "fights_with_one_winner": swap,
                })
            })
            .collect();
        let own: Vec<Value> = self
            .own
            .iter()
            .map(|own| {
                json!({
                    "published_per_s": own.published_per_s,
                    "completed_per_s": own.completed_per_s,
                    "publish_p50_ms": own.p50_ms,
                    "publish_p99_ms": own.p99_ms,
                    "completed_p99_ms": own.completed_p99_ms,
                })
            })
            .collect();
        let absent: Vec<Value> = self.absent.iter().map(|(name, why)| json!({ "system": name, "why": why })).collect();
        json!({ "machine": self.machine, "systems": systems, "dacapo_bench": own, "not_measured": absent })
    }
}

fn shown(finding: &Finding) -> String {
    match finding {
        Finding::Held(told) => told.clone(),
        Finding::Broken(told) => format!("NO: {told}"),
        Finding::Absent => "-".to_owned(),
    }
}

fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = of.collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Lines of Markdown that are also straight to look at: the first column to the left, the others to the right.
fn table<const N: usize>(lines: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            text += &if column == 0 { format!("| {cell:<width$} ") } else { format!("| {cell:>width$} ") };
        }
        text += "|\n";
        if number == 0 {
            for (column, width) in widths.into_iter().enumerate() {
                text += &format!("| {}{} ", "-".repeat(width - 1), if column == 0 { "-" } else { ":" });
            }
            text += "|\n";
        }
    }
    text
}
