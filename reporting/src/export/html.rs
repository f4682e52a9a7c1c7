//! A run as one page that stands alone: no network, no other file, and the same bytes for the same run.
//!
//! It holds the whole diagram: the window that the run is about as it is drawn, all others packed, to be put together by
//! the script when somebody scrolls there. Without a script the one window, the story, what was known, and the causes of
//! the events in question are there to read.

use dacapo_core::{narrate, store::StoreError};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::pack::Packed;
use crate::{
    cast::Cast,
    declared::Declared,
    draw::{self, spacetime::Diagram},
    fared::Fares,
    graph::{Folding, Graph},
    log::Log,
    page::{
        frame::{SCRIPT, STYLE, brand, buttons, meta, notice},
        parts, run as pages,
    },
    run::{Knew, Rows, Run},
    tree,
    words::{count, grouped},
};

/// Rows of a window.
const ROWS: usize = 80;
/// Correlations whose graphs are drawn.
const GRAPHS_MAX: usize = 3;
/// What a template of the diagram begins with: what differs from its neighbours as a whole.
const BEGINNINGS: &[&str] = &[
    "<g class=\"row",
    "<text class=\"words",
    "<path class=\"message",
    "<path class=\"again",
    "<path class=\"head",
    "<path class=\"cross",
    "<line",
    "<rect class=\"open",
    "<g class=\"fault",
];
/// Only what is in the file.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// Makes the page.
pub fn run(run: &Run, declared: Option<&Declared>) -> Result<String, StoreError> {
    let title = match &run.manifest.violation {
        Some(violation) => format!("{}: {} is broken", run.manifest.name, violation.property),
        None => format!("{} passed", run.manifest.name),
    };
    let graphs = graphs(run)?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (meta(&title))
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                style { (PreEscaped(STYLE)) }
            }
            body.file {
                header.top {
                    span.brand { (brand()) "dacapo" }
                    nav aria-label="Parts" {
                        a href="#diagram" { "What happened" }
                        @if run.manifest.violation.is_some() { a href="#story" { "Story" } }
                        @if !graphs.is_empty() { a href="#causes" { "Causes" } }
                        a href="#faults" { "Faults" }
                    }
                    span.grow {}
                    (buttons())
                }
                main #main tabindex="-1" {
                    (pages::head(run, None))
                    (story(run))
                    (diagram(run))
                    (pages::knowledge(run, declared, run.point(), None, &|_| None))
                    @if !graphs.is_empty() {
                        section #causes { h2 { "What caused the events in question" } @for graph in &graphs { (graph) } }
                    }
                    div #faults { (pages::faults(&run.manifest)) }
                    (pages::plan(run))
                }
                footer.foot { span { (run.manifest.provenance) } span.grow {} span { "fingerprint " (run.manifest.fingerprint) } }
                (notice())
                script type="module" { (PreEscaped(SCRIPT)) }
            }
        }
    };
    Ok(page.into_string() + "\n")
}

/// Some events as a page that stands alone: their graph, the same as text, and what they say.
pub fn events(graph: &Graph, cast: &Cast, fares: &Fares, title: &str) -> String {
    let title = if title.is_empty() { "Events" } else { title };
    let folded = graph.fold(&Folding::default());
    let picture = draw::graph::Picture {
        graph,
        folded: &folded,
        cast,
        fares,
        event: &|node| Some(format!("#e{}", node.event.position)),
        open: &|_| None,
        selected: None,
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { (meta(title)) meta http-equiv="Content-Security-Policy" content=(POLICY); style { (PreEscaped(STYLE)) } }
            body.file {
                header.top { span.brand { (brand()) "dacapo" } span.grow {} (buttons()) }
                main #main tabindex="-1" {
                    h1.mono { (title) }
                    p.faint { (count(graph.nodes().len() as u64, "event", "events"))
                        @if folded.hidden() > 0 { ", of which " (grouped(folded.hidden() as u64)) " are folded in the picture; the text and the table have all" } "." }
                    div.picture data-zoom tabindex="0" aria-label="The graph" { (draw::graph::draw(&picture)) }
                    details.twin { summary { "The same as text" } pre { @for line in tree::lines(graph) { (line) "\n" } } }
                    div.scroll { table {
                        thead { tr { th scope="col" .number { "Position" } th scope="col" { "Time" } th scope="col" { "Type" } th scope="col" { "Key" } th scope="col" { "Source" } th scope="col" { "Payload" } } }
                        tbody { @for node in graph.nodes() { @let event = &node.event; tr id={ "e" (event.position) } data-p=(event.position) {
                            td.number.mono { (event.position) } td.mono.nowrap { (parts::time(event.time)) } td { (event.event_type) }
                            td.mono { (event.key) "@" (event.version) } td { (event.source) } td.mono { (event.data.as_str()) }
                        } } }
                    } }
                }
                (notice())
                script type="module" { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string() + "\n"
}

fn story(run: &Run) -> Markup {
    let Some(violation) = &run.manifest.violation else { return html! {} };
    let steps = violation.steps.iter().copied().chain([violation.step]);
    let mut seen = std::collections::BTreeSet::new();
    let records = steps.filter(|step| seen.insert(*step)).filter_map(|step| run.at(step));
    html! {
        section #story {
            h2 { "The story" }
            ol.story { @for record in records {
                @let line = narrate::line(record);
                li { a.mono href={ "#s" (record.step) } data-goto=(record.step) { "step " (record.step) } " "
                    span.mono.faint { (record.at) " " (line.node) } " " (line.text) }
            } }
        }
    }
}

fn diagram(run: &Run) -> Markup {
    let rows = Rows::of(run, true);
    let diagram = Diagram::of(run, &rows).in_full();
    let at = rows.rows.partition_point(|row| row.through < run.point()).min(rows.rows.len().saturating_sub(1));
    let windows = rows.rows.len().div_ceil(ROWS);
    let shown = at / ROWS;
    let mut packed = Packed::beginning_with(BEGINNINGS);
    for number in (0..windows).filter(|number| *number != shown) {
        let (from, to) = (number * ROWS, ((number + 1) * ROWS).min(rows.rows.len()));
        packed.add(&diagram.window(from, to, Some(run.point())).into_string());
    }
    let first = |number: usize| rows.rows.get(number * ROWS).map_or(0, |row| row.step);
    let last = |number: usize| {
        rows.rows.get(((number + 1) * ROWS).min(rows.rows.len()).saturating_sub(1)).map_or(0, |row| row.through)
    };
    html! {
        section {
            h2 #diagram { "What happened" }
            p.faint { (count(run.records.len() as u64, "record", "records")) " in all; steps " (grouped(first(shown))) " to " (grouped(last(shown)))
                " are drawn, the others are drawn when you get there." }
            noscript { p.alert { "Without a script only these steps can be drawn." } }
            div.picture.space data-zoom tabindex="0" aria-label="The diagram" data-at=(run.point()) {
                (diagram.head())
                @for number in 0..windows {
                    @if number == shown { div.chunk { (diagram.window(number * ROWS, ((number + 1) * ROWS).min(rows.rows.len()), Some(run.point()))) } }
                    @else {
                        div.chunk.packed data-piece=(if number < shown { number } else { number - 1 })
                            data-first=(first(number)) data-last=(last(number))
                            style={ "height:" (diagram.height(number * ROWS, ((number + 1) * ROWS).min(rows.rows.len()))) "px" } { "steps " (first(number)) " to " (last(number)) }
                    }
                }
            }
            (pages::legend())
            script type="application/json" #packed { (PreEscaped(packed.into_json())) }
        }
    }
}

/// The correlations of the events that the violation is about, with the first of them that is the newest.
fn graphs(run: &Run) -> Result<Vec<Markup>, StoreError> {
    let Some(violation) = &run.manifest.violation else { return Ok(Vec::new()) };
    let mut log = Log::of_run(run)?;
    let standing = log.standing()?;
    let steps: Vec<u64> = violation.steps.iter().copied().chain([violation.step]).collect();
    let mut correlations = Vec::new();
    let positions = Knew::positions_of(&run.records, &steps);
    for position in positions.iter().rev() {
        if let Some(event) = log.at(*position)?
            && !correlations.contains(&event.correlation)
            && correlations.len() < GRAPHS_MAX
        {
            correlations.push(event.correlation.clone());
        }
    }
    let mut drawn = Vec::new();
    for correlation in correlations {
        let events = log.correlation(&correlation)?.events;
        let graph = Graph::of(&events, &std::collections::BTreeSet::new());
        let fares = log.fares(&events, &standing)?;
        let cast = Cast::of(standing.services.iter().map(|service| service.name.as_str()).chain(["$bus"]));
        let folded = graph.fold(&Folding::default());
        let picture = draw::graph::Picture {
            graph: &graph,
            folded: &folded,
            cast: &cast,
            fares: &fares,
            event: &|_| None,
            open: &|_| None,
            selected: graph
                .nodes()
                .iter()
                .map(|node| node.event.position)
                .find(|position| positions.contains(position)),
        };
        drawn.push(html! {
            h3.mono { (correlation) }
            div.picture { (draw::graph::draw(&picture)) }
            details.twin { summary { "The same as text" } pre { @for line in tree::lines(&graph) { (line) "\n" } } }
        });
    }
    Ok(drawn)
}
