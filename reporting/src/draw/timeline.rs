//! The timeline: a row for each event, in the order of the tree of causes, and a bar from its cause's time to its own.

use maud::{Markup, html};

use crate::{
    cast::{Cast, glyph},
    graph::{Graph, Node},
    tree,
    words::{clipped, signed, span},
};

const ROW: i32 = 30;
const TOP: i32 = 34;
const NAMES: i32 = 330;
const BARS: i32 = 560;
const NAME_CHARS_MAX: usize = 30;
const INDENT_MAX: usize = 8;

/// Draws it.
pub fn draw(graph: &Graph, cast: &Cast, link: &dyn Fn(&Node) -> Option<String>) -> Markup {
    let order = tree::order(graph);
    let begin = graph.nodes().iter().map(|node| node.event.time.0).min().unwrap_or_default();
    let duration = graph.duration_us().max(1);
    let x = |time: u64| {
        let part = u128::from(time.saturating_sub(begin)) * u128::from(BARS.unsigned_abs()) / u128::from(duration);
        NAMES + i32::try_from(part).unwrap_or(BARS)
    };
    let height = TOP + ROW * order.len() as i32 + 8;
    let width = NAMES + BARS + 96;
    html! {
        svg.timeline xmlns="http://www.w3.org/2000/svg" width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) }
            role="group" aria-label={ "Timeline over " (span(duration)) } {
            @for tick in 0..=4_u64 {
                @let at = NAMES + (BARS * tick as i32) / 4;
                line.tick x1=(at) y1=(TOP - 8) x2=(at) y2=(height - 4) {}
                text.tick x=(at) y=(TOP - 14) { (span(duration * tick / 4)) }
            }
            @for (row, (index, depth)) in order.iter().enumerate() {
                @let node = &graph.nodes()[*index];
                @let y = TOP + ROW * row as i32 + ROW / 2;
                @let indent = 14 * (*depth).min(INDENT_MAX) as i32;
                @let end = x(node.event.time.0);
                @let from = graph.cause(*index).map_or(end, |cause| x(graph.nodes()[cause].event.time.0)).min(end);
                a .node .critical[node.critical] .wrong[!node.problems.is_empty()] href=[link(node)] data-p=(node.event.position)
                    aria-label={ (node.event.event_type) " " (node.event.key) "@" (node.event.version) } {
                    title { (node.event.event_type) " " (node.event.key) "@" (node.event.version) " of " (node.event.source) }
                    rect.row x="0" y=(y - ROW / 2) width=(width) height=(ROW) {}
                    text.name x=(indent + 8) y=(y + 4) { (clipped(node.event.event_type.as_str(), NAME_CHARS_MAX)) }
                    rect .bar .critical[node.critical] x=(from) y=(y - 5) width=((end - from).max(1)) height="10" rx="3" {}
                    (glyph(&cast.look(node.event.source.as_str()), end, y))
                    @if let Some(since) = node.since_cause_us { text.since x=(width - 6) y=(y + 4) { (signed(since)) } }
                }
            }
        }
    }
}
