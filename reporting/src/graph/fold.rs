//! What of a graph is drawn: wide fan-outs and long chains are folded, and a graph that is still too large for a picture is
//! folded further. Nothing is ever left out: a fold says how many events are in it, and which of them have problems.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::Position;

use super::Graph;

/// How a graph is folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folding {
    /// More effects of one event than this are folded.
    pub fan_out_max: usize,
    /// Longer chains, one cause with one effect after the other, are folded.
    pub chain_max: usize,
    /// More drawn nodes than this are folded further.
    pub drawn_max: usize,
    /// At these positions nothing is folded.
    pub open: BTreeSet<Position>,
}

impl Default for Folding {
    fn default() -> Self {
        Self { fan_out_max: 8, chain_max: 5, drawn_max: 2_000, open: BTreeSet::new() }
    }
}

/// Why events were folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FoldKind {
    /// One event has many effects.
    FanOut,
    /// A chain of causes is long.
    Chain,
    /// There are many roots.
    Roots,
    /// The picture would be too large.
    Size,
}

/// What stands in the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drawn {
    /// An event, by its index in the graph.
    Event(usize),
    /// Several events.
    Fold {
        /// Why.
        kind: FoldKind,
        /// All of them, those below the folded ones too.
        members: Vec<usize>,
        /// Where it is opened.
        at: Position,
    },
}

/// A graph as it is drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folded {
    /// The nodes.
    pub drawn: Vec<Drawn>,
    /// From a cause to its effect, by index into `drawn`.
    pub edges: Vec<(usize, usize)>,
}

impl Folded {
    /// How many events are in folds.
    pub fn hidden(&self) -> usize {
        let count = |drawn: &Drawn| match drawn {
            Drawn::Event(_) => 0,
            Drawn::Fold { members, .. } => members.len(),
        };
        self.drawn.iter().map(count).sum()
    }

    /// The drawn events, by their index in the graph.
    pub fn shown(&self) -> BTreeMap<usize, usize> {
        let event = |(place, drawn): (usize, &Drawn)| match drawn {
            Drawn::Event(index) => Some((*index, place)),
            Drawn::Fold { .. } => None,
        };
        self.drawn.iter().enumerate().filter_map(event).collect()
    }
}

impl Graph {
    /// The graph as it is drawn.
    pub fn fold(&self, folding: &Folding) -> Folded {
        let mut folding = folding.clone();
        let mut depth_max = usize::MAX;
        loop {
            let folded = Walk::over(self, &folding, depth_max);
            if folded.drawn.len() <= folding.drawn_max {
                return folded;
            }
            // What was opened by hand gives way last, and then all at once: a picture must be possible.
            if folding.fan_out_max > 2 {
                folding.fan_out_max /= 2;
            } else if depth_max > 1 {
                depth_max = depth_max.min(64) / 2;
            } else if !folding.open.is_empty() {
                folding.open.clear();
            } else {
                return folded;
            }
        }
    }
}

struct Walk<'a> {
    graph: &'a Graph,
    folding: &'a Folding,
    depth_max: usize,
    seen: BTreeSet<usize>,
    folded: Folded,
}

impl<'a> Walk<'a> {
    fn over(graph: &'a Graph, folding: &'a Folding, depth_max: usize) -> Folded {
        let mut walk = Self { graph, folding, depth_max, seen: BTreeSet::new(), folded: Folded::default() };
        // A stack of our own: a chain of causes may be longer than the thread's.
        let mut open: Vec<(usize, Option<usize>, usize)> = Vec::new();
        let roots = graph.roots();
        let first = graph.nodes().first().map_or(Position::ZERO, |node| node.event.position);
        walk.group(&roots, None, FoldKind::Roots, first, 0, &mut open);
        while let Some((index, parent, depth)) = open.pop() {
            walk.visit(index, parent, depth, &mut open);
        }
        walk.folded
    }

    fn put(&mut self, drawn: Drawn, parent: Option<usize>) -> usize {
        let place = self.folded.drawn.len();
        self.folded.drawn.push(drawn);
        self.folded.edges.extend(parent.map(|parent| (parent, place)));
        place
    }

    fn visit(
        &mut self,
        index: usize,
        parent: Option<usize>,
        depth: usize,
        open: &mut Vec<(usize, Option<usize>, usize)>,
    ) {
        if !self.seen.insert(index) {
            // The end of a circle: the edge that closes it.
            if let Some(parent) = parent
                && let Some(place) = self.folded.shown().get(&index)
            {
                self.folded.edges.push((parent, *place));
            }
            return;
        }
        let place = self.put(Drawn::Event(index), parent);
        let at = self.graph.nodes()[index].event.position;
        let effects = self.graph.effects(index);
        if depth >= self.depth_max && !effects.is_empty() {
            self.fold_all(&effects, Some(place), FoldKind::Size, at);
            return;
        }
        if let Some((members, next)) = self.chain(index) {
            let fold = self.put(Drawn::Fold { kind: FoldKind::Chain, members, at }, Some(place));
            open.push((next, Some(fold), depth + 2));
            return;
        }
        self.group(&effects, Some(place), FoldKind::FanOut, at, depth + 1, open);
    }

    /// Siblings: all, or the most telling ones and a fold of the others.
    fn group(
        &mut self,
        all: &[usize],
        parent: Option<usize>,
        kind: FoldKind,
        at: Position,
        depth: usize,
        open: &mut Vec<(usize, Option<usize>, usize)>,
    ) {
        let max = self.folding.fan_out_max;
        let is_open = self.folding.open.contains(&at);
        let mut shown: Vec<usize> = all.to_vec();
        if all.len() > max && !is_open {
            // What has a problem or is critical is shown in any case; then the first ones.
            let telling = |index: &usize| {
                let node = &self.graph.nodes()[*index];
                (!node.critical && node.problems.is_empty(), *index)
            };
            shown.sort_by_key(telling);
            shown.truncate(max - 1);
            shown.sort_unstable();
            let rest: Vec<usize> = all.iter().copied().filter(|index| shown.binary_search(index).is_err()).collect();
            self.fold_all(&rest, parent, kind, at);
        }
        open.extend(shown.into_iter().rev().map(|index| (index, parent, depth)));
    }

    /// Puts these and everything below them into one fold.
    fn fold_all(&mut self, heads: &[usize], parent: Option<usize>, kind: FoldKind, at: Position) {
        let mut members: BTreeSet<usize> = heads.iter().copied().collect();
        for head in heads {
            members.extend(self.graph.descendants(*head));
        }
        let members: Vec<usize> = members.into_iter().filter(|index| self.seen.insert(*index)).collect();
        if !members.is_empty() {
            self.put(Drawn::Fold { kind, members, at }, parent);
        }
    }

    /// The middle of a long chain that begins below this event, and the event after it. Nothing with a problem is in it.
    fn chain(&mut self, index: usize) -> Option<(Vec<usize>, usize)> {
        if self.folding.open.contains(&self.graph.nodes()[index].event.position) {
            return None;
        }
        let mut members = Vec::new();
        let mut at = index;
        let next = loop {
            let [next] = self.graph.effects(at)[..] else { break at };
            let plain = self.graph.nodes()[next].problems.is_empty();
            if !plain || self.seen.contains(&next) || members.contains(&next) {
                break at;
            }
            members.push(next);
            at = next;
        };
        // The last one of the chain stays outside the fold.
        members.pop();
        if members.len() + 2 <= self.folding.chain_max || next == index {
            return None;
        }
        self.seen.extend(members.iter().copied());
        Some((members, next))
    }
}
