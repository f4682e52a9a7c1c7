//! The map: services and other sources as nodes, the events that go from one to another as edges.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{curve, text_width};
use crate::{
    cast::{Cast, glyph},
    layout,
    words::{count, grouped},
};

const HEIGHT: u32 = 52;
const MARGIN: i32 = 20;

/// From whom, to whom, and how many events of each type.
pub type Flows = BTreeMap<(String, String), BTreeMap<String, u64>>;

/// Draws it. `link` is the address of a service's page.
pub fn draw(flows: &Flows, cast: &Cast, link: &dyn Fn(&str) -> Option<String>) -> Markup {
    let mut names: Vec<&String> = flows.keys().flat_map(|(from, to)| [from, to]).collect();
    names.sort_unstable();
    names.dedup();
    let place_of = |name: &String| names.binary_search(&name).unwrap_or_default();
    let sizes: Vec<(u32, u32)> = names.iter().map(|name| ((text_width(name) + 72).max(140), HEIGHT)).collect();
    // Two services that talk to each other would be a circle: the first in the order of names leads.
    let edges: Vec<(usize, usize)> = flows
        .keys()
        .filter(|(from, to)| from != to)
        .filter(|(from, to)| from < to || !flows.contains_key(&(to.clone(), from.clone())))
        .map(|(from, to)| (place_of(from), place_of(to)))
        .collect();
    let spread: Vec<(u32, u32)> = sizes.iter().map(|(width, height)| (width + 60, height + 70)).collect();
    let layout = layout::layers(&spread, &edges);
    let (width, height) = (layout.width + 2 * MARGIN + 60, layout.height + 2 * MARGIN);
    let corner = |name: &String| {
        let place = layout.places[place_of(name)];
        (place.x + 30, place.y + 35, sizes[place_of(name)].0 as i32)
    };
    html! {
        svg.map xmlns="http://www.w3.org/2000/svg" width=(width) height=(height)
            viewBox={ (-MARGIN) " " (-MARGIN) " " (width) " " (height) } role="group"
            aria-label={ "Map of " (count(names.len() as u64, "participant", "participants")) "; the same as a table stands below it" } {
            defs {
                marker #arrow viewBox="0 0 8 8" refX="7" refY="4" markerUnits="userSpaceOnUse" markerWidth="9" markerHeight="9" orient="auto-start-reverse" {
                    path.arrow d="M0 0.5L8 4L0 7.5Z" {}
                }
            }
            @for ((from, to), types) in flows {
                @let ((x1, y1, w1), (x2, y2, w2)) = (corner(from), corner(to));
                @let total: u64 = types.values().sum();
                @let h = HEIGHT as i32;
                @let (d, lx, ly) = if from == to {
                    let x = x1 + w1;
                    (format!("M{x} {}C{} {} {} {} {x} {}", y1 + 14, x + 44, y1 - 6, x + 44, y1 + h + 6, y1 + h - 14), x + 46, y1 + h / 2)
                } else if y2 > y1 {
                    let (a, b) = ((x1 + w1 / 2 - 12, y1 + h), (x2 + w2 / 2 - 12, y2 - 1));
                    (curve(a, b), i32::midpoint(a.0, b.0) - 8, i32::midpoint(a.1, b.1))
                } else if y2 < y1 {
                    let (a, b) = ((x1 + w1 / 2 + 14, y1), (x2 + w2 / 2 + 14, y2 + h + 1));
                    (format!("M{} {}C{} {} {} {} {} {}", a.0, a.1, a.0, a.1 - 40, b.0, b.1 + 40, b.0, b.1), i32::midpoint(a.0, b.0) + 22, i32::midpoint(a.1, b.1) + 6)
                } else {
                    let (a, b) = if x2 > x1 { (x1 + w1, x2 - 1) } else { (x1, x2 + w2 + 1) };
                    let y = y1 + if x2 > x1 { 18 } else { 34 };
                    (format!("M{a} {y}L{b} {y}"), i32::midpoint(a, b), y - 6)
                };
                path.edge d=(d) marker-end="url(#arrow)" {
                    title { @for (name, number) in types { (number) " × " (name) "\n" } }
                }
                text.count x=(lx) y=(ly) { (grouped(total)) }
            }
            @for name in &names {
                @let (x, y, w) = corner(name);
                a.node href=[link(name)] aria-label=(name) {
                    rect.box x=(x) y=(y) width=(w) height=(HEIGHT) rx="10" {}
                    (glyph(&cast.look(name), x + 26, y + 26))
                    text.name x=(x + 48) y=(y + 31) { (name) }
                }
            }
        }
    }
}
