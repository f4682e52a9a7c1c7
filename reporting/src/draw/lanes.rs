//! Lanes: a row for each key, events from left to right in the order of the log, and lines from causes to effects.

use std::collections::BTreeMap;

use dacapo_core::Key;
use maud::{Markup, html};

use super::text_width;
use crate::{
    cast::{Cast, glyph},
    graph::{Graph, Node},
    words::{count, shortened},
};

const ROW: i32 = 48;
const TOP: i32 = 28;
const LABEL_CHARS_MAX: usize = 28;
/// Between neighbours in the log; less where there are many.
const STEPS: [(usize, i32); 3] = [(60, 48), (400, 28), (usize::MAX, 18)];

/// Draws them.
pub fn draw(graph: &Graph, cast: &Cast, link: &dyn Fn(&Node) -> Option<String>) -> Markup {
    let mut rows: BTreeMap<&Key, usize> = BTreeMap::new();
    let mut keys: Vec<&Key> = Vec::new();
    for node in graph.nodes() {
        rows.entry(&node.event.key).or_insert_with(|| {
            keys.push(&node.event.key);
            keys.len() - 1
        });
    }
    let label = |key: &Key| shortened(key.as_str(), LABEL_CHARS_MAX);
    let left = keys.iter().map(|key| text_width(&label(key))).max().unwrap_or_default() as i32 + 32;
    let step = STEPS.iter().find(|(max, _)| graph.nodes().len() <= *max).map_or(18, |(_, step)| *step);
    let place = |node: &Node| (left + 14 + step * node.index as i32, TOP + ROW * rows[&node.event.key] as i32);
    let width = left + step * graph.nodes().len() as i32 + 24;
    let height = TOP + ROW * keys.len() as i32;
    html! {
        svg.lanes xmlns="http://www.w3.org/2000/svg" width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) }
            role="group" aria-label={ (count(keys.len() as u64, "lane", "lanes")) ", from left to right in the order of the log" } {
            @for (row, key) in keys.iter().enumerate() {
                @let y = TOP + ROW * row as i32;
                line.lane x1=(left) y1=(y) x2=(width - 8) y2=(y) {}
                text.key x=(left - 12) y=(y + 4) { (label(key)) }
            }
            @for node in graph.nodes() {
                @if let Some(cause) = graph.cause(node.index) {
                    @let ((x1, y1), (x2, y2)) = (place(&graph.nodes()[cause]), place(node));
                    path .edge .critical[node.critical && graph.nodes()[cause].critical]
                        d=(format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + step, x2 - step))
                        data-from=(graph.nodes()[cause].event.position) data-to=(node.event.position) {}
                }
            }
            @for node in graph.nodes() {
                @let (x, y) = place(node);
                a .node .critical[node.critical] .wrong[!node.problems.is_empty()] href=[link(node)] data-p=(node.event.position)
                    aria-label={ (node.event.event_type) " " (node.event.key) "@" (node.event.version) } {
                    title { (node.event.event_type) " " (node.event.key) "@" (node.event.version) " of " (node.event.source) }
                    @if node.critical || !node.problems.is_empty() { circle.halo cx=(x) cy=(y) r="15" {} }
                    (glyph(&cast.look(node.event.source.as_str()), x, y))
                }
            }
        }
    }
}
