//! `/runs` and `/compare`: recorded runs, and where two of them part.

use dacapo_core::{narrate, trace::Record};
use maud::{Markup, html};

use crate::{
    run::{Manifest, Run},
    words::{encoded, grouped, span},
};

/// Records shown before the first that differs.
const BEFORE: usize = 12;
/// Records shown from there on.
const AFTER: usize = 40;

/// The list.
pub fn list(runs: &[(String, Manifest)]) -> Markup {
    html! {
        h1 { "Runs" }
        @if runs.is_empty() { p.empty { "No run is recorded here. A failing " code { "dacapo sim" } " records its first failure; " code { "dacapo replay SEED --view" } " records any." } }
        @else {
            div.scroll { table {
                thead { tr {
                    th scope="col" { "Run" } th scope="col" { "Scenario" } th scope="col" { "Broken" } th scope="col" .number { "Step" }
                    th scope="col" .number { "Operations" } th scope="col" .number { "Faults" } th scope="col" .number { "Simulated" } th scope="col" { "Compare" }
                } }
                tbody { @for (id, manifest) in runs { tr {
                    th scope="row" { a.event href=(format!("/run/{}", encoded(id))) { (manifest.name) } }
                    td { (manifest.scenario) }
                    td { @match &manifest.violation { Some(violation) => span.chip.bad { (violation.property) }, None => span.chip.good { "passed" } } }
                    td.number.mono { @if let Some(violation) = &manifest.violation { (violation.step) } }
                    td.number.mono { (grouped(manifest.operations.len() as u64)) }
                    td.number.mono { (grouped(manifest.faults.len() as u64)) }
                    td.number.mono { (span(manifest.simulated_us)) }
                    td { @for (what, other) in &manifest.beside { a href=(format!("/compare?a={}&b={}", encoded(id), encoded(other))) { "with " (what) } " " } }
                } } }
            } }
        }
        @if runs.len() > 1 {
            form.compare action="/compare" method="get" {
                h2 { "Compare two" }
                label { "One " select name="a" { @for (id, manifest) in runs { option value=(id) { (manifest.name) } } } }
                label { "Other " select name="b" { @for (id, manifest) in runs.iter().rev() { option value=(id) { (manifest.name) } } } }
                button { "Compare" }
            }
        }
    }
}

/// The first step at which two runs differ; none if they are the same.
pub fn divergence(a: &[Record], b: &[Record]) -> Option<usize> {
    let equal = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    (equal < a.len() || equal < b.len()).then_some(equal)
}

/// Two runs side by side.
pub fn compare(a: &Run, b: &Run) -> Markup {
    let at = divergence(&a.records, &b.records);
    let from = at.unwrap_or(0).saturating_sub(BEFORE);
    let to = at.map_or(0, |at| at + AFTER);
    html! {
        h1 { (a.manifest.name) " " span.faint { "beside" } " " (b.manifest.name) }
        @match at {
            None => div.card.good { h3 { "They are the same" } p { (grouped(a.records.len() as u64)) " records, fingerprint " span.mono { (a.manifest.fingerprint) } } },
            Some(0) => p { "They differ from their first record on." },
            Some(at) => p { "They are the same for " (grouped(at as u64)) " records. " a href="#first" { "Step " (at + 1) } " is the first that differs." },
        }
        div.sides { (verdict(a)) (verdict(b)) }
        @if let Some(at) = at {
            h2 { "Record by record" }
            div.scroll { table.beside {
                thead { tr { th scope="col" .number { "Step" } th scope="col" { (a.manifest.name) } th scope="col" { (b.manifest.name) } } }
                tbody { @for index in from..to.min(a.records.len().max(b.records.len())) {
                    @let (one, other) = (a.records.get(index), b.records.get(index));
                    @let same = one == other;
                    tr .differs[!same] id=[(index == at).then_some("first")] {
                        td.number.mono { (index + 1) }
                        td { (side(one)) }
                        td { @if same { span.faint { "the same" } } @else { (side(other)) } }
                    }
                } }
            } }
        }
        h2 { "The stories" }
        div.sides { (story(a)) (story(b)) }
    }
}

fn verdict(run: &Run) -> Markup {
    let manifest = &run.manifest;
    html! {
        div .card .bad[manifest.violation.is_some()] .good[manifest.violation.is_none()] {
            h3 { a href=(format!("/run/{}", encoded(&run.id))) { (manifest.name) } }
            @match &manifest.violation { Some(violation) => { p { strong { (violation.property) } } p { (violation.message) } } None => p { "Every promise held." } }
            p.faint { (grouped(manifest.operations.len() as u64)) " operations, " (grouped(manifest.faults.len() as u64)) " faults, " (grouped(run.records.len() as u64)) " records" }
            p.faint { @for fault in manifest.faults.iter().take(6) { "#" (fault.id) " " (fault.text) br; } @if manifest.faults.len() > 6 { "and " (manifest.faults.len() - 6) " other faults" } }
        }
    }
}

fn side(record: Option<&Record>) -> Markup {
    html! {
        @match record {
            Some(record) => { @let line = narrate::line(record); span.mono.faint { (record.at) " " (line.node) } " " (line.text) }
            None => span.faint { "(had ended)" },
        }
    }
}

/// The records that the violation is about.
fn story(run: &Run) -> Markup {
    let steps =
        run.manifest.violation.iter().flat_map(|violation| violation.steps.iter().copied().chain([violation.step]));
    html! {
        ol.story { @for record in steps.filter_map(|step| run.at(step)) {
            @let line = narrate::line(record);
            li { a.mono href=(format!("/run/{}?step={}#diagram", encoded(&run.id), record.step)) { "step " (record.step) } " " span.mono.faint { (record.at) " " (line.node) } " " (line.text) }
        } }
    }
}
