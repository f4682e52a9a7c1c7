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

/// For whom a picture is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Theme {
    /// As those who look at it prefer.
    #[default]
    Either,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// Draws a picture for one theme.
pub fn themed(svg: &str, theme: Theme) -> String {
    match theme {
        Theme::Either => svg.to_owned(),
        Theme::Light => svg.replacen("<svg ", "<svg data-theme=\"light\" ", 1),
        Theme::Dark => svg.replacen("<svg ", "<svg data-theme=\"dark\" ", 1),
    }
}

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

/// The space-time diagram of a run: the last so many rows before its point ([`ROWS_MAX`] at most), and a few after it.
pub fn run(run: &Run, rows_max: Option<usize>) -> String {
    let rows = Rows::of(run, false);
    let diagram = Diagram::of(run, &rows);
    let at = rows.rows.partition_point(|row| row.through < run.point());
    let to = (at + 1 + rows_max.map_or(20, |_| 0)).min(rows.rows.len());
    let from = to.saturating_sub(rows_max.unwrap_or(ROWS_MAX).clamp(1, ROWS_MAX));
    let (head, picture) = (diagram.head().into_string(), diagram.window(from, to, Some(run.point())).into_string());
    // The names of the lanes stand above: two pictures, one below the other.
    let (width, height) = diagram.size(from, to);
    let below = picture.replacen("<svg ", &format!("<svg y=\"{}\" ", Diagram::HEAD), 1);
    dressed(&format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"whole\" width=\"{width}\" height=\"{0}\" viewBox=\"0 0 {width} {0}\">\
         <rect class=\"paper\" width=\"{width}\" height=\"{0}\"></rect>{head}{below}</svg>",
        height + Diagram::HEAD
    ))
}

/// Sources of events, for those who have no services at hand.
pub fn cast_of(events: &[Arc<Event>]) -> Cast {
    Cast::of(events.iter().map(|event| event.source.as_str()))
}
