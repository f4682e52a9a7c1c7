//! On `/run/{id}`: choosing a node and a key, and what that node had and knew at the step.

use std::collections::BTreeMap;

use dacapo_core::{Key, NodeName, trace::What};
use maud::{Markup, html};

use crate::{
    run::{Moment, Run, lanes},
    words::{encoded, grouped},
};

/// Keys that are offered, those with the most events first; any other can be typed.
const OFFERED_MAX: usize = 500;
/// Keys that a node is told to know; the page says how many more there are.
const KEYS_MAX: usize = 200;

/// The form. It works without a script.
pub(super) fn choice(run: &Run, step: u64, quiet: bool, key: Option<&Key>, node: Option<&NodeName>) -> Markup {
    let mut events: BTreeMap<&Key, usize> = BTreeMap::new();
    for record in run.records.iter() {
        if let What::CommitDurable { commit } = &record.what {
            for event in &commit.events {
                *events.entry(&event.key).or_default() += 1;
            }
        }
    }
    let mut keys: Vec<&Key> = events.keys().copied().collect();
    keys.sort_by_key(|key| (std::cmp::Reverse(events[key]), *key));
    html! {
        section aria-labelledby="moment" {
            h2 #moment { "At step " (step) }
            form.moment action={ "/run/" (encoded(&run.id)) "#moment" } method="get" {
                label { "Step " input type="number" name="step" min="1" max=(run.records.len()) value=(step); }
                label { "Node " select name="node" {
                    option value="" { "–" }
                    @for one in lanes(&run.records) { option value=(one) selected[Some(&one) == node] { (one) } }
                } }
                label { "Key " input type="text" name="key" list="keys" value=(key.map(Key::as_str).unwrap_or_default()) autocomplete="off" spellcheck="false"; }
                datalist #keys { @for one in keys.iter().take(OFFERED_MAX) { option value=(one) {} } }
                @if quiet { input type="hidden" name="quiet" value="1"; }
                button type="submit" { "Show" }
            }
        }
    }
}

/// The node at the step.
pub(super) fn panel(moment: &Moment) -> Markup {
    html! {
        section.moment {
            h3 { (moment.node) }
            p { @match moment.alive_since {
                Some(from) => { "Alive since step " (from) ". " },
                None => span.chip.bad { "not alive" },
            }
            @if let Some(last) = moment.last { " Its last record is of step " (last) "." } @else { " It has no record yet." } }
            @if !moment.open.is_empty() {
                ul { @for open in &moment.open { li { (open.text) span.faint { ", since step " (open.from) } } } }
            }
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
