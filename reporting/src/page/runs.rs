//! `/runs`: recorded runs, and the way to lay two of them beside each other.

use maud::{Markup, html};

use crate::{
    run::Manifest,
    words::{encoded, grouped, span},
};

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
