//! `/run/{id}`: the broken promise, the space-time diagram, who knew what, the faults and the plan.

use dacapo_core::{Key, NodeName};
use maud::{Markup, html};

use super::{
    PageError,
    moment::{self, Choice},
    parts,
};
use crate::{
    ask::Ask,
    declared::Declared,
    draw::spacetime::Diagram,
    run::{Knew, Known, Manifest, Moment, Rows, Run, lanes},
    words::{count, encoded, grouped, span},
};

/// Rows of a window.
const ROWS: usize = 120;
/// Rows of a window that stand before the step that it is about.
const ROWS_BEFORE: usize = 90;
/// Keys of which it is told who knew what.
const KEYS_MAX: usize = 3;
/// Changes of what was known, the last ones before the step.
const CHANGES_MAX: usize = 40;

/// The body of the page; `base` is what addresses of the run's log begin with, none where there are no such pages.
pub fn body(run: &Run, declared: Option<&Declared>, ask: &Ask, base: Option<&str>) -> Result<Markup, PageError> {
    let quiet = ask.get("quiet").is_some();
    let mut rows = Rows::of(run, quiet);
    let (key, node) = (chosen_key(ask)?, chosen_node(&[run], ask)?);
    if let Some(key) = &key {
        rows.owned(&run.records, std::slice::from_ref(key));
    }
    let step: u64 = match ask.get("step") {
        Some(text) => text.parse().map_err(|_| PageError::Asked(format!("{text:?} is no step; give a number")))?,
        None => run.point(),
    };
    let at = rows.rows.partition_point(|row| row.through < step).min(rows.rows.len().saturating_sub(1));
    let from = at.saturating_sub(ROWS_BEFORE);
    let to = (from + ROWS).min(rows.rows.len());
    let diagram = Diagram::of(run, &rows);
    let chosen = [("key", key.as_ref().map(Key::as_str)), ("node", node.as_ref().map(NodeName::as_str))]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("&{name}={}", encoded(value?))))
        .collect::<String>();
    let address = |step: u64| {
        format!("/run/{}?step={step}{}{chosen}#diagram", encoded(&run.id), if quiet { "&quiet=1" } else { "" })
    };
    let choice = Choice {
        heading: &format!("At step {step}"),
        action: &format!("/run/{}#moment", encoded(&run.id)),
        kept: quiet.then(|| ("quiet", "1".to_owned())).into_iter().collect(),
        runs: &[run],
        step,
        key: key.as_ref(),
        node: node.as_ref(),
    };
    let row_step = |index: usize| rows.rows.get(index).map(|row| row.step);
    Ok(html! {
        (head(run, base))
        section aria-labelledby="diagram" {
            h2 #diagram { "What happened" }
            p.faint {
                "Rows " (grouped(from as u64 + 1)) " to " (grouped(to as u64)) " of " (grouped(rows.rows.len() as u64)) "; "
                (count(run.records.len() as u64, "record", "records")) " in all. "
                @if quiet { a href=(address(step).replace("&quiet=1", "")) { "Fold the quieter ones" } }
                @else { "Quieter ones are folded. " a href={ "/run/" (encoded(&run.id)) "?step=" (step) (chosen) "&quiet=1#diagram" } { "Show every record" } }
            }
            nav.pages aria-label="Steps" {
                @if from > 0 { a rel="prev" href=(address(row_step(from.saturating_sub(ROWS / 2)).unwrap_or(1))) { "Earlier" } } @else { span { "Earlier" } }
                @match at.checked_sub(1).and_then(row_step) { Some(step) => a data-step-link="-1" href=(address(step)) { "← Step" }, None => span { "← Step" } }
                @match row_step(at + 1) { Some(step) => a data-step-link="1" href=(address(step)) { "Step →" }, None => span { "Step →" } }
                @if to < rows.rows.len() { a rel="next" href=(address(row_step((to + ROWS / 2).min(rows.rows.len() - 1)).unwrap_or(step))) { "Later" } } @else { span { "Later" } }
                @if let Some(violation) = &run.manifest.violation { a href=(address(run.point())) { "To the violation" } @for one in &violation.steps { " " a href=(address(*one)) { "step " (one) } } }
            }
            div.picture.space data-zoom tabindex="0" aria-label="The diagram" { (diagram.head()) (diagram.window(from, to, Some(step))) }
            (legend())
        }
        section aria-labelledby="moment" { (moment::choice(&choice)) }
        @if let Some(node) = &node { (moment::panel(&Moment::of(&run.records, &rows, node, step, declared))) }
        (knowledge(run, declared, step, key, &|key| base.map(|base| format!("{base}/key/{}", encoded(key)))))
        (faults(&run.manifest))
        (plan(run))
    })
}

/// The key that an address names.
pub(super) fn chosen_key(ask: &Ask) -> Result<Option<Key>, PageError> {
    let Some(name) = ask.get("key") else { return Ok(None) };
    Key::new(name.to_owned()).map(Some).map_err(|error| PageError::Asked(format!("{name:?} is no key: {error}")))
}

/// The node that an address names; one of the runs must have it.
pub(super) fn chosen_node(runs: &[&Run], ask: &Ask) -> Result<Option<NodeName>, PageError> {
    let Some(name) = ask.get("node") else { return Ok(None) };
    let found = runs.iter().flat_map(|run| lanes(&run.records)).find(|node| node.as_str() == name);
    found.map(Some).ok_or_else(|| PageError::Asked(format!("there is no node {name:?} here; choose another")))
}

/// What is said of a run before anything is shown of it.
pub fn head(run: &Run, base: Option<&str>) -> Markup {
    let manifest = &run.manifest;
    html! {
        @match &manifest.violation {
            Some(violation) => {
                p.crumbs { "Run of " (manifest.scenario) ", " (manifest.name) }
                h1 { (violation.property) " " span.faint { "is broken" } }
                div.card.bad.verdict {
                    p.sentence { (violation.sentence) }
                    p { (violation.message) }
                    @if violation.steps.len() > 1 { p.faint { "It is about steps " (listed(&violation.steps)) "." } }
                    @if let Some(blamed) = &manifest.blamed { p.blame { (blamed.text) "." } }
                }
            }
            None => {
                p.crumbs { "Run of " (manifest.scenario) }
                h1 { (manifest.name) " " span.faint { "passed" } }
            }
        }
        dl.figures {
            (parts::figure("Simulated", &span(manifest.simulated_us)))
            (parts::figure("Records", &grouped(run.records.len() as u64)))
            (parts::figure("Operations", &grouped(manifest.operations.len() as u64)))
            (parts::figure("Faults", &grouped(manifest.faults.len() as u64)))
            (parts::figure("Engine", &manifest.engine))
            (parts::figure("Fingerprint", &manifest.fingerprint))
        }
        (commands(manifest))
        @if let Some(base) = base {
            p.actions {
                a.button href=(format!("{base}/overview")) { "Its log" }
                a.button href=(format!("{base}/events")) { "Its events" }
                @for (what, id) in &manifest.beside { a.button href=(format!("/compare?a={}&b={}", encoded(&run.id), encoded(id))) { "Beside " (what) } }
                a.button href=(format!("/run/{}?as=html", encoded(&run.id))) download { "As one file" }
                a.button href=(format!("/run/{}?as=jsonl", encoded(&run.id))) download { "JSON Lines" }
            }
        }
        @if let Some(note) = &manifest.log_note { p.alert { (note) } }
    }
}

fn listed(steps: &[u64]) -> String {
    steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn commands(manifest: &Manifest) -> Markup {
    html! {
        div.commands {
            @for (index, (what, command)) in manifest.commands.iter().enumerate() {
                div.command-line {
                    span.faint { (what) }
                    code { (command) }
                    button type="button" data-copy=(command) data-what=(if index == 0 { "Replay command" } else { "Command" }) hidden { "Copy" }
                }
            }
            p.faint.small { (manifest.provenance) ", profile " (manifest.profile)
                @if let Some(bug) = &manifest.bug { ", planted bug " (bug) } }
        }
    }
}

pub(crate) fn legend() -> Markup {
    html! {
        p.legend {
            span.line { svg width="26" height="12" aria-hidden="true" { path.message d="M1 6H20" {} path.head d="M25 6l-7 -4v8z" {} } "message" }
            span.line { svg width="26" height="12" aria-hidden="true" { path.message.lost d="M1 6H18" {} path.cross d="M14 1l10 10m0 -10l-10 10" {} } "lost" }
            span.line { svg width="26" height="12" aria-hidden="true" { path.again d="M1 6H25" {} path.message.again-core d="M1 6H25" {} } "delivered again" }
            span.line { svg width="26" height="12" aria-hidden="true" { g.row.commit { path.mark d="M2 6h22" {} } } "commit durable" }
            span.line { svg width="26" height="12" aria-hidden="true" { rect.open.commit x="9" y="0" width="7" height="12" {} } "commit under way" }
            span.line { svg width="26" height="12" aria-hidden="true" { rect.open.delivery x="10" y="0" width="5" height="12" {} } "delivery held" }
            span.line { svg width="26" height="12" aria-hidden="true" { rect.open.rebuild x="10" y="0" width="5" height="12" {} } "rebuild" }
            span.line { svg width="26" height="12" aria-hidden="true" { rect.owner x="11" y="0" width="3" height="12" {} } "owner of the key" }
            span.line { svg width="26" height="12" aria-hidden="true" { path.cut d="M2 6H20m-6 -4l6 4l-6 4M11 1v10" {} } "nothing passes" }
            span.line { svg width="26" height="12" aria-hidden="true" { g.fault { rect x="8" y="0" width="10" height="12" {} } } "fault" }
        }
    }
}

/// Who knew what of the key that was chosen, or of those that the violation is about.
pub(crate) fn knowledge(
    run: &Run,
    declared: Option<&Declared>,
    step: u64,
    chosen: Option<Key>,
    link: &dyn Fn(&str) -> Option<String>,
) -> Markup {
    let violation = run.manifest.violation.iter();
    let steps: Vec<u64> = violation.flat_map(|it| it.steps.iter().copied().chain([it.step])).collect();
    let is_chosen = chosen.is_some();
    let keys = chosen.map_or_else(|| Knew::keys_of(&run.records, &steps), |key| vec![key]);
    html! {
        @for key in keys.iter().take(KEYS_MAX) {
            @let knew = Knew::of(&run.records, key, declared);
            // A chosen key is shown as it was at the step; what the violation is about, up to where it was seen.
            @let until = if is_chosen { step } else { step.max(run.point()) };
            @let end = knew.changes.partition_point(|change| change.step <= until);
            @let from = end.saturating_sub(CHANGES_MAX);
            section.knew {
                h2 { "What each node knew of " @match link(key.as_str()) { Some(link) => a.mono href=(link) { (key) }, None => span.mono { (key) } } }
                @if from > 0 { p.faint { "The last " (CHANGES_MAX) " changes of " (grouped(end as u64)) "." } }
                @if end == 0 { p.faint { "Nobody knew anything of it up to step " (until) "." } }
                div.scroll { table {
                    thead { tr {
                        th scope="col" .number { "Step" } th scope="col" .number { "Time" } th scope="col" .number { "In the log" }
                        @for node in &knew.nodes { th scope="col" .number { (node) } }
                    } }
                    tbody { @for change in &knew.changes[from..end] {
                        tr .story[steps.contains(&change.step)] data-step-row=(change.step) {
                            td.number.mono { (change.step) }
                            td.number.mono { (change.at) }
                            (known(&change.log, change.node.is_none()))
                            @for node in &knew.nodes { @match change.nodes.get(node) {
                                Some(one) => (known(one, change.node.as_ref() == Some(node))),
                                None => td.number.faint { "–" },
                            } }
                        }
                    } }
                } }
            }
        }
    }
}

pub(super) fn known(known: &Known, changed: bool) -> Markup {
    html! {
        td .number .mono .changed[changed] .bad[known.balance.is_some_and(|balance| balance < 0)] {
            "@" (known.version) @if let Some(balance) = known.balance { span.balance { " " (balance) } }
        }
    }
}

pub(crate) fn faults(manifest: &Manifest) -> Markup {
    html! {
        @if !manifest.faults.is_empty() {
            section {
                h2 { "Faults" }
                div.scroll { table {
                    thead { tr { th scope="col" .number { "#" } th scope="col" { "Family" } th scope="col" { "What" } th scope="col" { "Without it" } th scope="col" { "Try" } } }
                    tbody { @for fault in &manifest.faults { tr {
                        td.number.mono { (fault.id) }
                        td { (fault.family) }
                        td { (fault.text) }
                        td { @match fault.needed { Some(true) => span.chip.bad { "the promise holds" }, Some(false) => span.chip.quiet { "it breaks as well" }, None => span.faint { "not tried" } } }
                        td.nowrap {
                            @let command = format!("{} --without-fault {}", manifest.replay, fault.id);
                            code.small { "--without-fault " (fault.id) } " "
                            button type="button" data-copy=(command) data-what="Command" hidden { "Copy" }
                        }
                    } } }
                } }
            }
        }
    }
}

pub(crate) fn plan(run: &Run) -> Markup {
    let manifest = &run.manifest;
    html! {
        section.columns {
            @if !manifest.operations.is_empty() {
                div {
                    h2 { "The plan" }
                    details {
                        summary { (count(manifest.operations.len() as u64, "operation", "operations")) }
                        div.scroll { table {
                            thead { tr { th scope="col" .number { "#" } th scope="col" .number { "From" } th scope="col" { "Who" } th scope="col" { "What" } } }
                            tbody { @for operation in &manifest.operations { tr {
                                td.number.mono { (operation.id) } td.number.mono { (span(operation.at_us)) } td { (operation.customer) } td.mono { (operation.text) }
                            } } }
                        } }
                    }
                }
            }
            @if !manifest.properties.is_empty() {
                div {
                    h2 { "Promises" }
                    details {
                        summary { (count(manifest.properties.len() as u64, "promise", "promises")) " were judged" }
                        table.totals { tbody { @for (name, checks) in &manifest.properties { tr {
                            th scope="row" { (name) }
                            td { @if manifest.violation.as_ref().is_some_and(|violation| violation.property == *name) { span.chip.bad { "broken" } } @else { span.chip.good { "held" } } }
                            td.number.mono { (grouped(*checks)) }
                        } } } }
                    }
                }
            }
        }
    }
}
