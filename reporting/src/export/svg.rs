//! A picture as a file: the picture of the page, with the stylesheet in it.

use std::sync::Arc;

use dacapo_core::Event;

use crate::{
    cast::Cast,
    draw::{self, graph::Picture, spacetime::Diagram},
    fared::Fares,
    graph::{Folding, Graph},
    page::frame::STYLE,
    run::{Rows, Run},
};

/// Rows of a run in one picture: what a browser still shows. A longer run is shown around its point, and says so.
pub const ROWS_MAX: usize = 2_000;

/// Puts the stylesheet into a picture.
fn dressed(svg: &str) -> String {
    let at = svg.find('>').map_or(0, |at| at + 1);
    let (head, rest) = svg.split_at(at);
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{head}<style>{}</style>{rest}\n", STYLE.replace('<', "&lt;"))
}

/// The causation graph of some events, folded as on its page.
pub fn graph(graph: &Graph, cast: &Cast, fares: &Fares) -> String {
    let folded = graph.fold(&Folding::default());
    let picture = Picture { graph, folded: &folded, cast, fares, event: &|_| None, open: &|_| None, selected: None };
    dressed(&draw::graph::draw(&picture).into_string())
}

/// Lanes of some events.
pub fn lanes(graph: &Graph, cast: &Cast) -> String {
    dressed(&draw::lanes::draw(graph, cast, &|_| None).into_string())
}

/// The timeline of some events.
pub fn timeline(graph: &Graph, cast: &Cast) -> String {
    dressed(&draw::timeline::draw(graph, cast, &|_| None).into_string())
}

/// The space-time diagram of a run: whole, or the rows that end shortly after its point.
pub fn run(run: &Run) -> String {
    let rows = Rows::of(run, false);
    let diagram = Diagram::of(run, &rows);
    let at = rows.rows.partition_point(|row| row.through < run.point());
    let to = (at + 20).min(rows.rows.len());
    let from = to.saturating_sub(ROWS_MAX);
    dressed(&diagram.window(from, to, Some(run.point())).into_string())
}

/// Sources of events, for those who have no services at hand.
pub fn cast_of(events: &[Arc<Event>]) -> Cast {
    Cast::of(events.iter().map(|event| event.source.as_str()))
}
