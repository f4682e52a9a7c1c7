//! `/compare`: where two runs part, record by record, and what a node knew of a key in both from there on.

use std::collections::BTreeMap;

use dacapo_core::{Key, NodeName, narrate, trace::Record};
use maud::{Markup, html};

use super::{
    PageError,
    moment::{self, Choice},
    run::{chosen_key, chosen_node, known},
};
use crate::{
    ask::Ask,
    declared::Declared,
    run::{Beside, Known, Moment, Rows, Run, Side, divergence, telling},
    words::{count, encoded, grouped},
};

/// Records shown before the step.
const BEFORE: u64 = 12;
/// Records shown from there on.
const AFTER: u64 = 40;
/// Steps at which it is told what was known of the key.
const STATES_MAX: usize = 40;
/// Keys of which the node is told to know different things.
const KEYS_MAX: usize = 100;

/// What is looked at beside the records.
struct Look<'a> {
    runs: [&'a Run; 2],
    declared: Option<&'a Declared>,
    /// The first record that differs.
    first: u64,
    /// After this step.
    step: u64,
    node: Option<NodeName>,
    key: Option<Key>,
}

impl Look<'_> {
    /// The address of the same look after another step.
    fn address(&self, step: u64, part: &str) -> String {
        let [a, b] = self.runs.map(|run| encoded(&run.id));
        let node = self.node.as_ref().map(|node| format!("&node={}", encoded(node.as_str()))).unwrap_or_default();
        let key = self.key.as_ref().map(|key| format!("&key={}", encoded(key.as_str()))).unwrap_or_default();
        format!("/compare?a={a}&b={b}&step={step}{node}{key}#{part}")
    }

    fn last(&self) -> u64 {
        self.runs.iter().map(|run| run.records.len() as u64).max().unwrap_or(0)
    }
}

/// The body of the page.
pub fn show(a: &Run, b: &Run, declared: Option<&Declared>, ask: &Ask) -> Result<Markup, PageError> {
    let at = divergence(&a.records, &b.records);
    let look = at.map(|at| look([a, b], declared, at, ask)).transpose()?;
    Ok(html! {
        h1 { (a.manifest.name) " " span.faint { "beside" } " " (b.manifest.name) }
        @match &look {
            None => div.card.good { h3 { "They are the same" } p { (grouped(a.records.len() as u64)) " records, fingerprint " span.mono { (a.manifest.fingerprint) } } },
            Some(look) if look.first == 1 => p { "They differ from their first record on." },
            Some(look) => p { "They are the same for " (count(look.first - 1, "record", "records")) ". " a href=(look.address(look.first, "first")) { "Step " (look.first) } " is the first that differs." },
        }
        div.sides { (verdict(a)) (verdict(b)) }
        @if let Some(look) = &look { (records(look)) (states(look)) }
        @if a.manifest.violation.is_some() || b.manifest.violation.is_some() {
            h2 { "The stories" }
            div.sides { (story(a)) (story(b)) }
        }
    })
}

/// What the address asks for; where it says nothing, what tells the difference first.
fn look<'a>(runs: [&'a Run; 2], declared: Option<&'a Declared>, at: usize, ask: &Ask) -> Result<Look<'a>, PageError> {
    let first = at as u64 + 1;
    let step: u64 = match ask.get("step") {
        Some(text) => text.parse().map_err(|_| PageError::Asked(format!("{text:?} is no step; give a number")))?,
        None => first,
    };
    let last = runs.iter().map(|run| run.records.len() as u64).max().unwrap_or(1);
    let (mut node, mut key) = (chosen_node(&runs, ask)?, chosen_key(ask)?);
    // A form that was sent with nothing in it has chosen nothing.
    if ask.parameters.iter().all(|(name, _)| name != "node" && name != "key") {
        (node, key) = telling(&runs[0].records, &runs[1].records, at);
    }
    Ok(Look { runs, declared, first, step: step.clamp(1, last), node, key })
}

/// The records around the step, side by side.
fn records(look: &Look<'_>) -> Markup {
    let [a, b] = look.runs;
    let from = look.step.min(look.last()).saturating_sub(BEFORE).max(1);
    let to = (look.step + AFTER).min(look.last() + 1);
    html! {
        h2 #records { "Record by record" }
        nav.pages aria-label="Records" {
            @if from > 1 { a rel="prev" href=(look.address(look.step.saturating_sub(AFTER).max(1), "records")) { "Earlier" } } @else { span { "Earlier" } }
            @if look.step == look.first { span { "First difference" } } @else { a href=(look.address(look.first, "first")) { "First difference" } }
            @if to <= look.last() { a rel="next" href=(look.address(look.step + AFTER, "records")) { "Later" } } @else { span { "Later" } }
        }
        div.scroll { table.beside {
            thead { tr { th scope="col" .number { "Step" } th scope="col" { (a.manifest.name) } th scope="col" { (b.manifest.name) } } }
            tbody { @for step in from..to {
                @let index = usize::try_from(step - 1).unwrap_or(usize::MAX);
                @let (one, other) = (a.records.get(index), b.records.get(index));
                @let same = one == other;
                tr .differs[!same] id=[(step == look.first).then_some("first")] {
                    td.number.mono { a href=(look.address(step, "state")) aria-current=[(step == look.step).then_some("step")] { (step) } }
                    td { (side(one)) }
                    td { @if same { span.faint { "the same" } } @else { (side(other)) } }
                }
            } }
        } }
    }
}

/// The chosen node and key after the step, in both.
fn states(look: &Look<'_>) -> Markup {
    let choice = Choice {
        heading: "After the same step of both",
        action: "/compare#state",
        kept: vec![("a", look.runs[0].id.clone()), ("b", look.runs[1].id.clone())],
        runs: &look.runs,
        step: look.step,
        key: look.key.as_ref(),
        node: look.node.as_ref(),
    };
    html! {
        section #state {
            (moment::choice(&choice))
            nav.pages aria-label="Steps" {
                @if look.step > 1 { a data-step-link="-1" href=(look.address(look.step - 1, "state")) { "← Step" } } @else { span { "← Step" } }
                @if look.step < look.last() { a data-step-link="1" href=(look.address(look.step + 1, "state")) { "Step →" } } @else { span { "Step →" } }
                @if look.step != look.first { a href=(look.address(look.first, "state")) { "First difference" } }
            }
            @if let Some(key) = &look.key { (key_states(look, key)) }
            @if let Some(node) = &look.node { (node_states(look, node)) }
            @if look.key.is_none() && look.node.is_none() { p.faint { "Choose a node or a key to see what was known of it in both runs." } }
        }
    }
}

/// What was known of the key after the step, and after each later one that changed it.
fn key_states(look: &Look<'_>, key: &Key) -> Markup {
    let records = look.runs.map(|run| run.records.as_ref());
    let rows = Beside::of(records, key, look.node.as_ref(), look.step, look.declared);
    let node = look.node.as_ref().map(NodeName::as_str);
    html! {
        h3 { "What was known of " span.mono { (key) } }
        div.scroll { table.states {
            thead {
                tr {
                    th scope="col" rowspan="2" .number { "After step" }
                    @for run in look.runs { th scope="colgroup" colspan=(2 + usize::from(node.is_some())) { (run.manifest.name) } }
                    th scope="col" rowspan="2" { "Compared" }
                }
                tr { @for _ in look.runs {
                    th scope="col" .number { "Time" } th scope="col" .number { "In the log" } @if let Some(node) = node { th scope="col" .number { (node) } }
                } }
            }
            tbody { @for row in rows.iter().take(STATES_MAX) {
                @let same = row.sides[0].knows_as(&row.sides[1]);
                tr .differs[!same] {
                    td.number.mono { a href=(look.address(row.step, "state")) { (row.step) } }
                    @for side in &row.sides { (known_by(side, node.is_some())) }
                    td { @if same { span.faint { "the same" } } @else { "differs" } }
                }
            } }
        } }
        @if let Some(next) = rows.get(STATES_MAX) {
            p { (grouped((rows.len() - STATES_MAX) as u64)) " later changes: " a href=(look.address(next.step, "state")) { "go on at step " (next.step) } }
        } @else if rows.len() == 1 { p.faint { "Nothing of it changes later, in either run." } }
    }
}

fn known_by(side: &Side, with_node: bool) -> Markup {
    html! {
        td.number.mono { @match side.at { Some(at) => (at), None => span.faint { "(had ended)" } } }
        (known(&side.log, false))
        @if with_node { @match &side.node { Some(one) => (known(one, false)), None => td.number.faint { "–" } } }
    }
}

/// The node in both, and the keys of which it knew different things.
fn node_states(look: &Look<'_>, node: &NodeName) -> Markup {
    let moments = look.runs.map(|run| Moment::of(&run.records, &Rows::of(run, true), node, look.step, look.declared));
    let mut keys: BTreeMap<&Key, [Option<Known>; 2]> = BTreeMap::new();
    for (index, moment) in moments.iter().enumerate() {
        for (key, own, _) in &moment.knew {
            keys.entry(key).or_default()[index] = Some(*own);
        }
    }
    let all = keys.len();
    keys.retain(|_, [one, other]| one != other);
    html! {
        h3 { "What " span.mono { (node) } " had and knew" }
        div.sides { @for (run, moment) in look.runs.iter().zip(&moments) {
            div.card { h3 { a href=(format!("/run/{}?step={}&node={}#moment", encoded(&run.id), look.step, encoded(node.as_str()))) { (run.manifest.name) } } (moment::having(moment)) }
        } }
        @if all == 0 { p.faint { "It knows the state of no key, in either run." } }
        @else if keys.is_empty() { p { "It knows the same in both: " (count(all as u64, "key", "keys")) "." } }
        @else {
            p { "It knows different things of " (count(keys.len() as u64, "key", "keys")) ", and the same of " (grouped((all - keys.len()) as u64)) "."
                @if keys.len() > KEYS_MAX { " These are the first " (KEYS_MAX) "; choose a key for any other." } }
            div.scroll { table {
                thead { tr { th scope="col" { "Key" } @for run in look.runs { th scope="col" .number { (run.manifest.name) } } } }
                tbody { @for (key, sides) in keys.iter().take(KEYS_MAX) { tr {
                    td.mono { (key) }
                    @for side in sides { @match side { Some(one) => (known(one, false)), None => td.number.faint { "–" } } }
                } } }
            } }
        }
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
