//! The table of planted bugs, for a terminal and for the README.

use std::fmt::Write as _;

use dacapo_sim::Minimality;

use super::planted::Row;
use crate::{
    provenance::Provenance,
    terminal::{Terminal, bad, good, span},
};

/// Before the table in the README.
pub(crate) const BEGIN: &str = "<!-- planted bugs: begin -->";
/// After it.
pub(crate) const END: &str = "<!-- planted bugs: end -->";

/// A row as it is made.
pub(crate) fn line(row: &Row) -> String {
    format!("  {:<24} {:>7} {:>7}   {:<22} {}", row.bug, median(row), p95(row), size(row), properties(row))
}

/// The table, and whether all were found.
pub(crate) fn write(terminal: &Terminal, rows: &[Row], wall_s: f64, provenance: &Provenance) {
    terminal.line(format_args!("{:<26} {:>7} {:>7}   {:<22} caught by", "bug", "median", "p95", "shrunk to"));
    for row in rows {
        terminal.line(line(row));
    }
    terminal.line("");
    terminal.line("median and p95: seeds to the first detection, over all campaigns of the bug");
    terminal.line(format_args!("of {provenance}, in {}", span(wall_s)));
    let missed: Vec<&str> = rows.iter().filter(|row| row.found == 0).map(|row| row.bug).collect();
    if missed.is_empty() {
        terminal.line(format_args!("{}: every planted bug was found", good("passed")));
    } else {
        terminal.line(format_args!("{}: never found: {}", bad("inconclusive"), missed.join(", ")));
    }
}

/// The table between its markers.
pub(crate) fn markdown(rows: &[Row], command: &str, provenance: &Provenance) -> String {
    let mut text = format!("{BEGIN}\n");
    text.push_str(
        "| planted bug | seeds to find it: median | p95 | shrunk to | caught by |\n|---|---:|---:|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| `{}`: {} | {} | {} | {} | {} |",
            row.bug,
            row.story,
            median(row),
            p95(row),
            size(row),
            row.properties.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        );
    }
    let (campaigns, cap) = rows.first().map_or((0, 0), |row| (row.campaigns, row.cap));
    let _ = write!(
        text,
        "\nOver {campaigns} campaigns with disjoint seeds, each of {cap} seeds at most. Measured by `{command}` at \
         commit `{}`.\n{END}",
        provenance.commit
    );
    text
}

fn median(row: &Row) -> String {
    row.seeds_median.map_or_else(|| format!("> {}", row.cap), |seeds| seeds.to_string())
}

fn p95(row: &Row) -> String {
    row.seeds_p95.map_or_else(|| format!("> {}", row.cap), |seeds| seeds.to_string())
}

fn size(row: &Row) -> String {
    let plural = |n: usize, what: &str| if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") };
    row.shrunk.as_ref().map_or_else(String::new, |small| {
        let open = if small.minimality == Minimality::Minimal { "" } else { " at most" };
        format!("{}, {}{open}", plural(small.faults, "fault"), plural(small.operations, "operation"))
    })
}

fn properties(row: &Row) -> String {
    let mut by_count: Vec<(&String, &u64)> = row.properties.iter().collect();
    by_count.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    by_count.into_iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bugs::planted::Small;

    fn row() -> Row {
        Row {
            bug: "id-window",
            story: "ids are remembered in a window",
            campaigns: 20,
            found: 19,
            cap: 300,
            seeds_median: Some(4),
            seeds_p95: None,
            properties: BTreeMap::from([("lane_order".to_owned(), 2), ("publishing_is_idempotent".to_owned(), 17)]),
            shrunk: Some(Small { seed: 4, faults: 1, operations: 3, minimality: Minimality::Minimal, wall_s: 1.5 }),
            wall_s: 9.0,
        }
    }

    #[test]
    fn a_row_tells_the_most_frequent_property_first_and_what_was_not_found() {
        let text = line(&row());
        assert!(text.contains("> 300") && text.contains("1 fault, 3 operations"), "{text}");
        assert!(text.ends_with("publishing_is_idempotent 17 · lane_order 2"), "{text}");
    }

    #[test]
    fn the_markdown_says_by_what_and_when_it_was_measured() {
        let text = markdown(&[row()], "dacapo bugs planted --campaigns 20", &Provenance::here());
        assert!(text.starts_with(BEGIN) && text.ends_with(END), "{text}");
        assert!(text.contains("| `id-window`: ids are"), "{text}");
        assert!(text.contains("Measured by `dacapo bugs planted --campaigns 20` at commit `"), "{text}");
    }
}
