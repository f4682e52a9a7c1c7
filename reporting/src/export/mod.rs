//! Files that leave the viewer: one page that stands alone, pictures, graphs, lines.
//!
//! Each is a function of what it shows and of nothing else: no time of making, no path, no order of a hash map, so that the
//! same run makes the same bytes.

pub mod dot;
pub mod html;
pub mod lines;
mod pack;
pub mod svg;
