//! Pictures, as SVG: the causation graph, lanes, the timeline, the map of services, the space-time diagram.
//!
//! They are text, made on the server and the same for the same data, so that they can be compared, mailed and printed. They
//! carry no style but classes; what these look like is the stylesheet's affair.

pub mod graph;
pub mod lanes;
pub mod map;
pub mod spacetime;
pub mod timeline;

/// A curve that leaves downwards and arrives downwards.
pub(crate) fn curve(from: (i32, i32), to: (i32, i32)) -> String {
    let (x1, y1) = from;
    let (x2, y2) = to;
    let bend = ((y2 - y1) / 2).max(18);
    format!("M{x1} {y1}C{x1} {} {x2} {} {x2} {y2}", y1 + bend, y2 - bend)
}

/// About how wide a text is, in pixels of the pictures' letters.
pub(crate) fn text_width(text: &str) -> u32 {
    (text.chars().count() as u32 * 69).div_ceil(10)
}
