//! Where the nodes of a graph stand: layers from cause to effect, by `rust-sugiyama`. The only module that knows it.
//!
//! The library's results are put in order and moved to whole pixels, so that the same graph gives the same picture on every
//! machine. Parts of the graph that do not hang together are laid out apart and set beside each other, in rows.

use rust_sugiyama::{
    configure::{Config, CrossingMinimization, RankingType},
    from_vertices_and_edges,
};

/// Between neighbours.
const SPACING: f64 = 26.0;
/// Between layers, on top of that.
const LAYER_SPACING: f64 = 26.0;
/// Between parts that do not hang together.
const GAP: i32 = 40;
/// Parts are set beside each other up to this width.
const ROW_WIDTH: i32 = 1_600;
/// Beyond so many nodes of one part, crossings are no longer fought pairwise: it takes too long and helps nobody.
const TRANSPOSE_NODES_MAX: usize = 200;

/// A node's upper left corner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// From the left.
    pub x: i32,
    /// From the top.
    pub y: i32,
}

/// Where everything stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// By node.
    pub places: Vec<Place>,
    /// The picture's width.
    pub width: i32,
    /// The picture's height.
    pub height: i32,
}

/// Lays out nodes of these sizes. Edges lead downwards; those that close a circle lead back up.
pub fn layers(sizes: &[(u32, u32)], edges: &[(usize, usize)]) -> Layout {
    let mut layout = Layout { places: vec![Place::default(); sizes.len()], ..Layout::default() };
    let (mut left, mut top, mut row_height) = (0, 0, 0);
    for part in parts(sizes.len(), edges) {
        let (places, width, height) = lay_out(&part, sizes, edges);
        if left > 0 && left + width > ROW_WIDTH {
            top += row_height + GAP;
            (left, row_height) = (0, 0);
        }
        for (node, place) in part.iter().zip(places) {
            layout.places[*node] = Place { x: left + place.x, y: top + place.y };
        }
        layout.width = layout.width.max(left + width);
        layout.height = layout.height.max(top + height);
        left += width + GAP;
        row_height = row_height.max(height);
    }
    layout
}

/// The parts that hang together, each in order, by their first node.
fn parts(nodes: usize, edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut sets = petgraph::unionfind::UnionFind::<usize>::new(nodes);
    for (from, to) in edges {
        sets.union(*from, *to);
    }
    let mut by_set: std::collections::BTreeMap<usize, Vec<usize>> = std::collections::BTreeMap::new();
    for node in 0..nodes {
        by_set.entry(sets.find(node)).or_default().push(node);
    }
    let mut parts: Vec<Vec<usize>> = by_set.into_values().collect();
    parts.sort_unstable();
    parts
}

fn lay_out(part: &[usize], sizes: &[(u32, u32)], edges: &[(usize, usize)]) -> (Vec<Place>, i32, i32) {
    let size = |node: usize| (f64::from(sizes[node].0), f64::from(sizes[node].1));
    if let [node] = part {
        return (vec![Place::default()], sizes[*node].0 as i32, sizes[*node].1 as i32);
    }
    let local = |node: usize| part.binary_search(&node).ok().map(|index| index as u32);
    let roomy = |(width, height): (f64, f64)| (width, height + LAYER_SPACING);
    let vertices: Vec<(u32, (f64, f64))> = (0..).zip(part.iter().map(|node| roomy(size(*node)))).collect();
    // An edge to itself means nothing to layers.
    let inside: Vec<(u32, u32)> = edges
        .iter()
        .filter(|(from, to)| from != to)
        .filter_map(|(from, to)| Some((local(*from)?, local(*to)?)))
        .collect();
    let config = Config {
        vertex_spacing: SPACING,
        ranking_type: RankingType::Up,
        c_minimization: CrossingMinimization::Barycenter,
        transpose: part.len() <= TRANSPOSE_NODES_MAX,
        ..Config::default()
    };
    let mut centres: Vec<(usize, (f64, f64))> =
        from_vertices_and_edges(&vertices, &inside, &config).into_iter().flat_map(|(nodes, _, _)| nodes).collect();
    centres.sort_by_key(|(node, _)| *node);
    let corner = |(node, (x, y)): &(usize, (f64, f64))| {
        let (width, height) = size(part[*node]);
        (x - width / 2.0, y - height / 2.0)
    };
    if is_reversed(&centres, &inside) {
        for (_, (x, _)) in &mut centres {
            *x = -*x;
        }
    }
    let corners: Vec<(f64, f64)> = centres.iter().map(corner).collect();
    let left = corners.iter().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
    let top = corners.iter().map(|(_, y)| *y).fold(f64::INFINITY, f64::min);
    let places: Vec<Place> =
        corners.iter().map(|(x, y)| Place { x: (x - left).round() as i32, y: (y - top).round() as i32 }).collect();
    let far = |at: fn(&Place) -> i32, size: fn(&(u32, u32)) -> u32| {
        part.iter().zip(&places).map(|(node, place)| at(place) + size(&sizes[*node]) as i32).max().unwrap_or_default()
    };
    let (width, height) = (far(|place| place.x, |size| size.0), far(|place| place.y, |size| size.1));
    (places, width, height)
}

/// Whether most siblings stand from right to left: the library does not care, a reader does.
fn is_reversed(centres: &[(usize, (f64, f64))], edges: &[(u32, u32)]) -> bool {
    let mut children: std::collections::BTreeMap<u32, Vec<u32>> = std::collections::BTreeMap::new();
    for (from, to) in edges {
        children.entry(*from).or_default().push(*to);
    }
    let x = |node: u32| centres.get(node as usize).map_or(0.0, |(_, (x, _))| *x);
    let pairs = children.values().flat_map(|siblings| siblings.windows(2).map(|pair| (x(pair[0]), x(pair[1]))));
    let (mut forwards, mut backwards) = (0_usize, 0_usize);
    for (left, right) in pairs {
        if left <= right { forwards += 1 } else { backwards += 1 }
    }
    backwards > forwards
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (u32, u32) = (170, 46);

    fn tree(nodes: usize, fan_out: usize) -> Vec<(usize, usize)> {
        (1..nodes).map(|node| ((node - 1) / fan_out, node)).collect()
    }

    fn overlaps(layout: &Layout) -> bool {
        let far = |a: Place, b: Place| (a.x - b.x).unsigned_abs() >= SIZE.0 || (a.y - b.y).unsigned_abs() >= SIZE.1;
        let places = &layout.places;
        (0..places.len()).any(|one| (0..one).any(|other| !far(places[one], places[other])))
    }

    #[test]
    fn effects_stand_below_causes_and_nothing_overlaps() {
        for (nodes, fan_out) in [(2, 1), (10, 3), (60, 7), (120, 2)] {
            let edges = tree(nodes, fan_out);
            let layout = layers(&vec![SIZE; nodes], &edges);
            assert!(edges.iter().all(|(from, to)| layout.places[*from].y < layout.places[*to].y), "{nodes} {fan_out}");
            assert!(!overlaps(&layout), "{nodes} {fan_out}: {layout:?}");
        }
    }

    #[test]
    fn parts_stand_beside_each_other_and_circles_are_drawn_too() {
        let edges = [(0, 1), (1, 0), (2, 3), (5, 5)];
        let layout = layers(&[SIZE; 6], &edges);
        assert!(!overlaps(&layout), "{layout:?}");
        assert!(layout.places[2].x > layout.places[0].x);
        assert!(layout.places.iter().all(|place| place.x >= 0 && place.y >= 0));
        assert_eq!(layers(&[], &[]), Layout::default());
    }

    #[test]
    fn the_same_graph_stands_the_same_way_twice() {
        let edges = tree(300, 4);
        assert_eq!(layers(&[SIZE; 300], &edges), layers(&[SIZE; 300], &edges));
    }

    #[test]
    fn two_thousand_nodes_are_laid_out() {
        for fan_out in [1, 3, 8, 40] {
            let edges = tree(2_000, fan_out);
            let layout = layers(&[SIZE; 2_000], &edges);
            assert!(edges.iter().all(|(from, to)| layout.places[*from].y < layout.places[*to].y), "{fan_out}");
        }
    }
}
