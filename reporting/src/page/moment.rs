//! On `/run/{id}` and `/compare`: choosing a step, a node and a key, and what that node had and knew after the step.

use std::collections::BTreeMap;

use dacapo_core::{Key, NodeName, trace::What};
use maud::{Markup, html};

use crate::{
    run::{Moment, Run, lanes},
    words::grouped,
};

/// Keys that are offered, those with the most events first; any other can be typed.
const OFFERED_MAX: usize = 500;
/// Keys that a node is told to know; the page says how many more there are.
const KEYS_MAX: usize = 200;

/// What the form offers, and what is chosen.
pub(super) struct Choice<'a> {
    /// Above it.
    pub(super) heading: &'a str,
    /// Where it leads.
    pub(super) action: &'a str,
    /// What the address keeps.
    pub(super) kept: Vec<(&'static str, String)>,
    /// Whose nodes and keys are offered.
    pub(super) runs: &'a [&'a Run],
    /// The step.
    pub(super) step: u64,
    /// The key, if one is chosen.
    pub(super) key: Option<&'a Key>,
    /// The node, if one is chosen.
    pub(super) node: Option<&'a NodeName>,
}

/// The form. It works without a script.
pub(super) fn choice(choice: &Choice<'_>) -> Markup {
    let Choice { heading, action, kept, runs, step, key, node } = choice;
    let mut events: BTreeMap<&Key, usize> = BTreeMap::new();
    for record in runs.iter().flat_map(|run| run.records.iter()) {
        if let What::CommitDurable { commit } = &record.what {
            for event in &commit.events {
                *events.entry(&event.key).or_default() += 1;
            }
        }
    }
    let mut keys: Vec<&Key> = events.keys().copied().collect();
    keys.sort_by_key(|key| (std::cmp::Reverse(events[key]), *key));
    let mut nodes: Vec<NodeName> = Vec::new();
    for one in runs.iter().flat_map(|run| lanes(&run.records)) {
        if !nodes.contains(&one) {
            nodes.push(one);
        }
    }
    let last = runs.iter().map(|run| run.records.len()).max().unwrap_or(0);
    html! {
        h2 #moment { (heading) }
        form.moment action=(action) method="get" {
            @for (name, value) in kept { input type="hidden" name=(name) value=(value); }
            label { "Step " input type="number" name="step" min="1" max=(last) value=(step); }
            label { "Node " select name="node" {
                option value="" { "–" }
                @for one in &nodes { option value=(one) selected[Some(one) == *node] { (one) } }
            } }
            label { "Key " input type="text" name="key" list="of-keys" value=(key.map(Key::as_str).unwrap_or_default()) autocomplete="off" spellcheck="false"; }
            datalist #of-keys { @for one in keys.iter().take(OFFERED_MAX) { option value=(one) {} } }
            button type="submit" { "Show" }
        }
    }
}

/// Whether the node lives, and what it had not finished.
pub(super) fn having(moment: &Moment) -> Markup {
    html! {
        p { @match moment.alive_since {
            Some(from) => { "Alive since step " (from) ". " },
            None => span.chip.bad { "not alive" },
        }
        @if let Some(last) = moment.last { " Its last record is of step " (last) "." } @else { " It has no record yet." } }
        @if !moment.open.is_empty() {
            ul { @for open in &moment.open { li { (open.text) span.faint { ", since step " (open.from) } } } }
        }
    }
}

/// The node at the step.
pub(super) fn panel(moment: &Moment) -> Markup {
    html! {
        section.moment {
            h3 { (moment.node) }
            (having(moment))
            @if moment.knew.is_empty() { p.faint { "It knows the state of no key." } }
            @else {
                @if moment.knew.len() > KEYS_MAX { p.faint { "The first " (KEYS_MAX) " keys of " (grouped(moment.knew.len() as u64)) "; choose a key for any other." } }
                div.scroll { table {
                    thead { tr { th scope="col" { "Key" } th scope="col" .number { "Knows" } th scope="col" .number { "In the log" } th scope="col" .number { "Behind by" } th scope="col" { "Digest" } } }
                    tbody { @for (key, own, log) in moment.knew.iter().take(KEYS_MAX) {
                        @let behind = log.version.0.saturating_sub(own.version.0);
                        tr {
                            td.mono { (key) }
                            (super::run::known(own, false))
                            (super::run::known(log, false))
                            td .number .mono .changed[behind > 0] { (behind) }
                            td.mono.faint { @if let Some(digest) = own.digest { (format!("{digest:016x}")) } }
                        }
                    } }
                } }
            }
        }
    }
}
