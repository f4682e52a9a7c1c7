//! `/correlation/{id}`: four views of what came of one request, and of any other selection that is shown like it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dacapo_core::{CorrelationId, Event, EventId, Position};
use maud::{Markup, html};

use super::{
    Desk, PageError,
    frame::{Head, page},
    parts,
};
use crate::{
    ask::Ask,
    draw,
    fared::{Fares, State},
    filter::Filter,
    graph::{Folding, Graph, Node},
    log::LogError,
    tree,
    words::{count, encoded, grouped, span},
};

/// Rows of lists that are shown at once; the others are a page away.
const ROWS: usize = 500;

/// Which view.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum View {
    /// Causes and effects.
    #[default]
    Graph,
    /// A row for each key.
    Lanes,
    /// Bars over time.
    Timeline,
    /// A table.
    Table,
}

impl View {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Graph, "graph"), (Self::Lanes, "lanes"), (Self::Timeline, "timeline"), (Self::Table, "table")];

    fn of(ask: &Ask) -> Self {
        let named = |name: &str| Self::ALL.iter().find(|(_, own)| *own == name);
        ask.get("view").and_then(named).map_or(Self::Graph, |(view, _)| *view)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Lanes => "lanes",
            Self::Timeline => "timeline",
            Self::Table => "table",
        }
    }
}

/// What is shown, and how the address says so.
pub struct Selection {
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// The path of the page.
    pub link: String,
    /// Parameters that every address of it keeps, each with `&` before it.
    pub kept: String,
    /// Whether it can be saved as a file from the same address.
    pub has_files: bool,
}

/// The page.
pub fn show(desk: &mut Desk<'_>, id: &str, ask: &Ask) -> Result<Markup, PageError> {
    let missing = || PageError::Missing(format!("there is no correlation {id:?} in this log"));
    let correlation = CorrelationId::new(id.to_owned()).map_err(|_| missing())?;
    let all = desk.log.correlation(&correlation)?;
    if all.events.is_empty() {
        return Err(missing());
    }
    let selection = Selection {
        link: desk.link(&["correlation", id]),
        kept: String::new(),
        has_files: true,
        events: all.events.clone(),
    };
    let first = all.events[0].event_type.clone();
    let title = format!("{first} and what came of it");
    let above = html! {
        h1 { (first) " " span.faint { "and what came of it" } }
        p.faint.mono { (correlation) }
        @if all.more {
            p.alert { "This correlation has more than " (grouped(all.events.len() as u64)) " events; these are the first ones. "
                a href=(desk.table(&format!("corr:\"{correlation}\""))) { "The table has all of them" } "." }
        }
    };
    let body = selected(desk, &selection, ask, &above)?;
    Ok(page(desk, &Head::below(&title), &body))
}

/// A selection in its four views.
pub fn selected(desk: &mut Desk<'_>, selection: &Selection, ask: &Ask, above: &Markup) -> Result<Markup, PageError> {
    let text = ask.get("q").unwrap_or_default();
    let view = View::of(ask);
    let standing = desk.standing.clone();
    let fares = desk.log.fares(&selection.events, &standing)?;
    let mut wrong = None;
    let filter = Filter::parse(&[text]).map_err(LogError::Filter).and_then(|filter| desk.log.ready(&filter));
    let filter = match filter {
        Ok(filter) => filter,
        Err(LogError::Filter(error)) => {
            wrong = Some(error.to_string());
            Filter::default()
        }
        Err(error) => return Err(error.into()),
    };
    let events: Vec<Arc<Event>> =
        selection.events.iter().filter(|event| filter.matches(event, &fares.fared(event.position))).cloned().collect();
    let graph = graph_of(desk, &events)?;
    let hidden = selection.events.len() - events.len();
    let address = |view: View, more: &str| {
        format!("{}?view={}{}&q={}{more}", selection.link, view.name(), selection.kept, encoded(text))
    };
    Ok(html! {
        (above)
        (summary(&graph, &fares))
        form.within method="get" action=(selection.link) role="search" {
            input type="hidden" name="view" value=(view.name());
            @for (name, value) in ask.parameters.iter().filter(|(name, _)| !["view", "q", "open", "on", "page", "as"].contains(&name.as_str())) {
                input type="hidden" name=(name) value=(value);
            }
            label for="within" { "Within" }
            input #within name="q" type="search" value=(text) spellcheck="false" placeholder="filter these events";
            @if hidden > 0 { span.faint { (grouped(hidden as u64)) " hidden" } }
        }
        @if let Some(wrong) = &wrong { p.alert role="alert" { (wrong) } }
        nav.tabs aria-label="Views" {
            @for (number, (one, name)) in (1..).zip(View::ALL) {
                a href=(address(one, "")) aria-current=[(one == view).then_some("page")] data-key=(number) { (capital(name)) }
            }
            span.grow {}
            @if selection.has_files {
                @if view != View::Table {
                    a.small href=(address(view, "&as=svg")) download { "SVG" }
                    a.small href=(address(view, "&as=dot")) download { "DOT" }
                }
                a.small href=(address(view, "&as=jsonl")) download { "JSON Lines" }
            }
        }
        @if events.is_empty() { p.empty { "The filter hides all of them." } }
        @else { (drawn(desk, view, &graph, &fares, ask, &|more| address(view, more))) }
    })
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The graph of some events; causes that are elsewhere in the log make no orphans.
pub fn graph_of(desk: &mut Desk<'_>, events: &[Arc<Event>]) -> Result<Graph, PageError> {
    let own: BTreeSet<&EventId> = events.iter().map(|event| &event.id).collect();
    let outside: BTreeSet<EventId> =
        events.iter().filter_map(|event| event.causation.clone()).filter(|cause| !own.contains(cause)).collect();
    let elsewhere = desk.log.known(outside).map_err(LogError::Store)?;
    Ok(Graph::of(events, &elsewhere))
}

fn summary(graph: &Graph, fares: &Fares) -> Markup {
    let states = || graph.nodes().iter().flat_map(|node| fares.of(node.event.position)).map(|handling| &handling.state);
    let parked = states().filter(|state| matches!(state, State::Parked { .. } | State::Behind { .. })).count();
    let pending = states().filter(|state| matches!(state, State::Pending { .. })).count();
    let end = match (parked, pending) {
        (0, 0) => "all is done".to_owned(),
        (0, pending) => format!("{pending} still to handle"),
        (parked, _) => format!("{parked} parked"),
    };
    let problems: Vec<_> = graph.problems().collect();
    html! {
        dl.figures {
            (parts::figure("Events", &grouped(graph.nodes().len() as u64)))
            (parts::figure("Roots", &grouped(graph.roots().len() as u64)))
            (parts::figure("Depth", &grouped(graph.depth() as u64)))
            (parts::figure("Took", &span(graph.duration_us())))
            (parts::figure("End", &end))
        }
        @if !problems.is_empty() {
            div.alert role="alert" {
                strong { (count(problems.len() as u64, "problem", "problems")) }
                ul { @for (position, problem) in &problems { li data-problem=(position) { "Position " (position) ": " (problem) } } }
            }
        }
    }
}

fn drawn(
    desk: &Desk<'_>,
    view: View,
    graph: &Graph,
    fares: &Fares,
    ask: &Ask,
    address: &dyn Fn(&str) -> String,
) -> Markup {
    let link = |node: &Node| Some(desk.event(&node.event));
    let windowed = graph.nodes().len() > ROWS;
    let number: usize = ask.get("page").and_then(|text| text.parse().ok()).unwrap_or(0);
    html! {
        @match view {
            View::Graph => {
                div.picture data-zoom tabindex="0" aria-label="The picture; arrow keys move it" { (picture(desk, graph, fares, ask, address)) }
                (legend(desk, graph))
                details.twin { summary { "The same as text" } pre { @for line in tree::lines(graph) { (line) "\n" } } }
            }
            View::Lanes if windowed => (pages(graph, number, address, &|part| draw::lanes::draw(part, &desk.cast, &link))),
            View::Lanes => { div.picture data-zoom { (draw::lanes::draw(graph, &desk.cast, &link)) } (legend(desk, graph)) }
            View::Timeline if windowed => (pages(graph, number, address, &|part| draw::timeline::draw(part, &desk.cast, &link))),
            View::Timeline => { div.picture data-zoom { (draw::timeline::draw(graph, &desk.cast, &link)) } (legend(desk, graph)) }
            View::Table => (pages(graph, number, address, &|part| table(desk, part, fares, graph.nodes().first()))),
        }
    }
}

fn table(desk: &Desk<'_>, part: &Graph, fares: &Fares, first: Option<&Node>) -> Markup {
    let events: Vec<Arc<Event>> = part.nodes().iter().map(|node| Arc::clone(&node.event)).collect();
    parts::rows(desk, &events, fares, first.map(|node| node.event.time))
}

/// A part of a long selection, and the way to the others.
fn pages(graph: &Graph, number: usize, address: &dyn Fn(&str) -> String, show: &dyn Fn(&Graph) -> Markup) -> Markup {
    let of = graph.nodes().len().div_ceil(ROWS).max(1);
    let number = number.min(of - 1);
    let (from, to) = (number * ROWS, ((number + 1) * ROWS).min(graph.nodes().len()));
    let events: Vec<Arc<Event>> = graph.nodes()[from..to].iter().map(|node| Arc::clone(&node.event)).collect();
    let elsewhere: BTreeSet<EventId> = graph.nodes().iter().map(|node| node.event.id.clone()).collect();
    let elsewhere = elsewhere.into_iter().chain(
        graph
            .nodes()
            .iter()
            .filter_map(|node| node.problems.is_empty().then(|| node.event.causation.clone()).flatten()),
    );
    let part = Graph::of(&events, &elsewhere.collect());
    html! {
        @if of > 1 {
            p.faint { "Events " (grouped(from as u64 + 1)) " to " (grouped(to as u64)) " of " (grouped(graph.nodes().len() as u64)) "." }
        }
        div.window { (show(&part)) }
        @if of > 1 {
            nav.pages aria-label="Parts" {
                @if number > 0 { a rel="prev" href=(address(&format!("&page={}", number - 1))) { "Earlier" } } @else { span { "Earlier" } }
                @if number + 1 < of { a rel="next" href=(address(&format!("&page={}", number + 1))) { "Later" } } @else { span { "Later" } }
            }
        }
    }
}

/// The graph as it is folded, with the address that opens each fold.
pub fn picture(desk: &Desk<'_>, graph: &Graph, fares: &Fares, ask: &Ask, address: &dyn Fn(&str) -> String) -> Markup {
    let opened: Vec<u64> = ask.all("open").filter_map(|text| text.parse().ok()).collect();
    let folding = Folding { open: opened.iter().copied().map(Position).collect(), ..Folding::default() };
    let folded = graph.fold(&folding);
    let so_far = opened.iter().fold(String::new(), |so_far, at| so_far + "&open=" + &at.to_string());
    draw::graph::draw(&draw::graph::Picture {
        graph,
        folded: &folded,
        cast: &desk.cast,
        fares,
        event: &|node| Some(desk.event(&node.event)),
        open: &|at| Some(address(&format!("{so_far}&open={at}"))),
        selected: ask.get("on").and_then(|text| text.parse().ok()).map(Position),
    })
}

fn legend(desk: &Desk<'_>, graph: &Graph) -> Markup {
    let mut sources: BTreeMap<&str, u64> = BTreeMap::new();
    for node in graph.nodes() {
        *sources.entry(node.event.source.as_str()).or_default() += 1;
    }
    html! {
        p.legend {
            @for name in sources.keys() { (parts::service(desk, name)) " " }
            span.line { svg width="26" height="10" aria-hidden="true" { path.edge d="M1 5H25" {} } "cause" }
            span.line { svg width="26" height="10" aria-hidden="true" { path.edge.critical d="M1 5H25" {} } "critical path" }
            span.line { svg width="26" height="10" aria-hidden="true" { path.same-key d="M1 5H25" {} } "next on the key" }
        }
    }
}
