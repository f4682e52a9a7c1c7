//! The causation graph as a picture: a node an event, a solid line a cause, a dashed one the next event of the same key.

use std::collections::BTreeMap;

use dacapo_core::Position;
use maud::{Markup, html};

use super::{curve, text_width};
use crate::{
    cast::{Cast, glyph},
    fared::{Fares, State},
    graph::{Drawn, FoldKind, Folded, Graph, Node},
    layout::{self, Layout, Place},
    words::{clipped, count, shortened, signed},
};

const NODE_HEIGHT: u32 = 48;
const NODE_WIDTH_MIN: u32 = 140;
/// Longer names are clipped; the whole one is in the node's title.
const NAME_CHARS_MAX: usize = 26;
/// Around the picture.
const MARGIN: i32 = 16;

/// What a graph is drawn with.
pub struct Picture<'a> {
    /// The graph.
    pub graph: &'a Graph,
    /// What of it is drawn.
    pub folded: &'a Folded,
    /// How services look.
    pub cast: &'a Cast,
    /// How services fared.
    pub fares: &'a Fares,
    /// The address of an event's page.
    pub event: &'a dyn Fn(&Node) -> Option<String>,
    /// The address at which a fold is open.
    pub open: &'a dyn Fn(Position) -> Option<String>,
    /// The event that the picture is about.
    pub selected: Option<Position>,
}

/// A word on a node: something that is not as usual.
struct Badge {
    class: &'static str,
    text: String,
}

/// Draws it.
pub fn draw(picture: &Picture<'_>) -> Markup {
    let Picture { graph, folded, .. } = picture;
    let sizes: Vec<(u32, u32)> = folded.drawn.iter().map(|drawn| (width(picture, drawn), NODE_HEIGHT)).collect();
    let layout = layout::layers(&sizes, &folded.edges);
    let (width, height) = (layout.width + 2 * MARGIN, layout.height + 2 * MARGIN);
    let events = graph.nodes().len() as u64;
    html! {
        svg .causation xmlns="http://www.w3.org/2000/svg" width=(width) height=(height)
            viewBox={ (-MARGIN) " " (-MARGIN) " " (width) " " (height) }
            role="group" aria-label={ "Causation graph of " (count(events, "event", "events")) "; the same as text stands below it" } {
            (arrows())
            g.edges {
                (key_edges(picture, &layout, &sizes))
                @for (from, to) in &folded.edges {
                    @let critical = is_critical(picture, *from) && is_critical(picture, *to);
                    path .edge .critical[critical] d=(edge(&layout, &sizes, *from, *to))
                        data-from=(id(picture, *from)) data-to=(id(picture, *to)) marker-end="url(#arrow)" {}
                }
            }
            @for (place, drawn) in folded.drawn.iter().enumerate() {
                @match drawn {
                    Drawn::Event(index) => (event(picture, &graph.nodes()[*index], layout.places[place], sizes[place].0)),
                    Drawn::Fold { kind, members, at } =>
                        (fold(picture, *kind, members, *at, layout.places[place], sizes[place].0)),
                }
            }
        }
    }
}

fn arrows() -> Markup {
    html! {
        defs {
            marker #arrow viewBox="0 0 8 8" refX="7" refY="4" markerUnits="userSpaceOnUse" markerWidth="9" markerHeight="9" orient="auto-start-reverse" {
                path .arrow d="M0 0.5L8 4L0 7.5Z" {}
            }
        }
    }
}

fn is_critical(picture: &Picture<'_>, place: usize) -> bool {
    match &picture.folded.drawn[place] {
        Drawn::Event(index) => picture.graph.nodes()[*index].critical,
        Drawn::Fold { members, .. } => members.iter().any(|index| picture.graph.nodes()[*index].critical),
    }
}

/// What ties a line to its ends: an event's position, or that of a fold's first event.
fn id(picture: &Picture<'_>, place: usize) -> u64 {
    let index = match &picture.folded.drawn[place] {
        Drawn::Event(index) => *index,
        Drawn::Fold { members, .. } => members.first().copied().unwrap_or_default(),
    };
    picture.graph.nodes()[index].event.position.0
}

fn edge(layout: &Layout, sizes: &[(u32, u32)], from: usize, to: usize) -> String {
    let (a, b) = (layout.places[from], layout.places[to]);
    let middle = |place: Place, node: usize| place.x + sizes[node].0 as i32 / 2;
    if b.y <= a.y {
        // Back up, around the right side: a circle, or an effect before its cause.
        let (x1, x2) = (a.x + sizes[from].0 as i32, b.x + sizes[to].0 as i32);
        let (y1, y2) = (a.y + NODE_HEIGHT as i32 / 2, b.y + NODE_HEIGHT as i32 / 2);
        let out = x1.max(x2) + 36;
        return format!("M{x1} {y1}C{out} {y1} {out} {y2} {x2} {y2}");
    }
    curve((middle(a, from), a.y + NODE_HEIGHT as i32), (middle(b, to), b.y - 1))
}

/// Dashed lines between neighbours on a key that are both drawn.
fn key_edges(picture: &Picture<'_>, layout: &Layout, sizes: &[(u32, u32)]) -> Markup {
    let shown: BTreeMap<usize, usize> = picture.folded.shown();
    html! {
        @for (before, after) in picture.graph.next_on_key() {
            @if let (Some(from), Some(to)) = (shown.get(&before), shown.get(&after)) {
                @let (a, b) = (layout.places[*from], layout.places[*to]);
                @let (x1, y1) = (a.x + sizes[*from].0 as i32, a.y + NODE_HEIGHT as i32 / 2);
                @let (x2, y2) = (b.x, b.y + NODE_HEIGHT as i32 / 2);
                @let d = if x2 > x1 {
                    format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + 14, x2 - 14)
                } else {
                    let (x1, x2) = (a.x + 10, b.x + 10);
                    format!("M{x1} {}C{} {} {} {} {x2} {}", a.y + 48, x1 - 30, a.y + 70, x2 - 30, b.y - 22, b.y)
                };
                path.same-key d=(d) data-from=(id(picture, *from)) data-to=(id(picture, *to)) {}
            }
        }
    }
}

fn subtitle(node: &Node) -> String {
    format!("{}@{}", node.event.key, node.event.version)
}

fn badges(picture: &Picture<'_>, node: &Node) -> Vec<Badge> {
    let mut badges: Vec<Badge> =
        node.problems.iter().map(|problem| Badge { class: "bad", text: problem.name().to_owned() }).collect();
    let conflicts = picture.fares.conflicts(node.event.position);
    if conflicts > 0 {
        badges.push(Badge { class: "warn", text: format!("conflict ×{conflicts}") });
    }
    for handling in picture.fares.of(node.event.position) {
        let (class, text) = match &handling.state {
            State::Completed { attempt, .. } if *attempt > 1 => ("warn", format!("redelivered ×{}", attempt - 1)),
            State::Skipped { .. } => ("warn", "skipped".to_owned()),
            State::Parked { .. } => ("bad", "parked".to_owned()),
            State::Behind { .. } => ("warn", "behind".to_owned()),
            State::Completed { .. } | State::Pending { .. } => continue,
        };
        badges.push(Badge { class, text });
    }
    badges
}

fn badge_width(badges: &[Badge]) -> u32 {
    badges.iter().map(|badge| text_width(&badge.text) + 16).sum()
}

fn width(picture: &Picture<'_>, drawn: &Drawn) -> u32 {
    match drawn {
        Drawn::Event(index) => {
            let node = &picture.graph.nodes()[*index];
            let name = text_width(&clipped(node.event.event_type.as_str(), NAME_CHARS_MAX)) + 8;
            let since = node.since_cause_us.map_or(0, |since| text_width(&signed(since)) + 12);
            let below = text_width(&shortened(&subtitle(node), NAME_CHARS_MAX)) + since;
            (44 + name.max(below)).max(badge_width(&badges(picture, node)) + 16).max(NODE_WIDTH_MIN)
        }
        Drawn::Fold { .. } => NODE_WIDTH_MIN + 20,
    }
}

fn event(picture: &Picture<'_>, node: &Node, place: Place, width: u32) -> Markup {
    let event = &node.event;
    let look = picture.cast.look(event.source.as_str());
    let Place { x, y } = place;
    let right = x + width as i32;
    let badges = badges(picture, node);
    let since = node.since_cause_us.map(signed);
    let label = format!(
        "{} {} of {}, position {}{}",
        event.event_type,
        subtitle(node),
        event.source,
        event.position,
        since.as_ref().map(|since| format!(", {since} after its cause")).unwrap_or_default()
    );
    let mut badge_right = right - 4;
    let badges: Vec<(i32, u32, Badge)> = badges
        .into_iter()
        .map(|badge| {
            let width = text_width(&badge.text) + 12;
            badge_right -= width as i32 + 4;
            (badge_right + 4, width, badge)
        })
        .collect();
    html! {
        a .node .critical[node.critical] .wrong[!node.problems.is_empty()]
            .selected[picture.selected == Some(event.position)]
            href=[(picture.event)(node)] data-p=(event.position) aria-label=(label) {
            title { (event.event_type) " " (subtitle(node)) }
            rect.box x=(x) y=(y) width=(width) height=(NODE_HEIGHT) rx="8" {}
            (glyph(&look, x + 20, y + 24))
            text.name x=(x + 40) y=(y + 20) { (clipped(event.event_type.as_str(), NAME_CHARS_MAX)) }
            text.sub x=(x + 40) y=(y + 37) { (shortened(&subtitle(node), NAME_CHARS_MAX)) }
            @if let Some(since) = &since { text.since x=(right - 8) y=(y + 37) { (since) } }
            @for (left, width, badge) in &badges {
                g class={ "badge " (badge.class) } {
                    rect x=(left) y=(y - 9) width=(width) height="17" rx="8" {}
                    text x=(left + *width as i32 / 2) y=(y + 3) { (badge.text) }
                }
            }
        }
    }
}

fn fold(picture: &Picture<'_>, kind: FoldKind, members: &[usize], at: Position, place: Place, width: u32) -> Markup {
    let Place { x, y } = place;
    let nodes = || members.iter().map(|index| &picture.graph.nodes()[*index]);
    let wrong = nodes().filter(|node| !node.problems.is_empty()).count();
    let mut types: BTreeMap<&str, u64> = BTreeMap::new();
    for node in nodes() {
        *types.entry(node.event.event_type.as_str()).or_default() += 1;
    }
    let told: Vec<String> = types.iter().map(|(name, number)| format!("{number} × {name}")).collect();
    let what = match kind {
        FoldKind::FanOut => "further effects",
        FoldKind::Chain => "in a chain",
        FoldKind::Roots => "further roots",
        FoldKind::Size => "folded for size",
    };
    let first = members.first().map_or(Position::ZERO, |index| picture.graph.nodes()[*index].event.position);
    let head = count(members.len() as u64, "event", "events");
    html! {
        a .node.fold .wrong[wrong > 0] href=[(picture.open)(at)] data-p=(first)
            aria-label={ (head) " " (what) ": " (told.join(", ")) } {
            title { (told.join(", ")) }
            rect.box.behind x=(x + 6) y=(y - 5) width=(width - 12) height=(NODE_HEIGHT) rx="8" {}
            rect.box x=(x) y=(y) width=(width) height=(NODE_HEIGHT) rx="8" {}
            text.name x=(x + 14) y=(y + 20) { "▸ " (head) }
            text.sub x=(x + 14) y=(y + 37) { (what) }
            @if wrong > 0 {
                g.badge.bad {
                    rect x=(x + width as i32 - 74) y=(y - 9) width="70" height="17" rx="8" {}
                    text x=(x + width as i32 - 39) y=(y + 3) { (wrong) " wrong" }
                }
            }
        }
    }
}
