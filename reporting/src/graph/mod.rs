//! The causation graph of a selection of events: what caused what, and what is wrong with it.
//!
//! Every event names at most one cause, so a sound selection is a forest; a request may have published several events,
//! which are several roots of one correlation. A damaged or hand-edited log may hold anything, so orphans, circles and
//! effects that stand before their causes are found and told, not assumed away.

mod fold;
mod problems;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dacapo_core::{Event, EventId, Key, Position};
use petgraph::{
    Direction,
    graph::{DiGraph, NodeIndex},
    visit::{Dfs, Reversed},
};

pub use fold::{Drawn, FoldKind, Folded, Folding};
pub use problems::Problem;

/// An event in the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The event.
    pub event: Arc<Event>,
    /// Its place among the graph's events, in order of position.
    pub index: usize,
    /// Wall time since its cause in microseconds, negative where the clock was set back; none for a root.
    pub since_cause_us: Option<i64>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// It is on the critical path.
    pub critical: bool,
}

/// What caused what among some events.
#[derive(Debug, Clone)]
pub struct Graph {
    nodes: Vec<Node>,
    causes: DiGraph<(), ()>,
    by_id: BTreeMap<EventId, usize>,
}

impl Graph {
    /// The graph of these events. `elsewhere` are causes that the log has but the selection has not.
    pub fn of(events: &[Arc<Event>], elsewhere: &BTreeSet<EventId>) -> Self {
        let mut events: Vec<Arc<Event>> = events.to_vec();
        events.sort_by_key(|event| event.position);
        events.dedup_by_key(|event| event.position);
        let by_id: BTreeMap<EventId, usize> =
            events.iter().enumerate().map(|(index, event)| (event.id.clone(), index)).collect();
        let mut causes = DiGraph::with_capacity(events.len(), events.len());
        for _ in &events {
            causes.add_node(());
        }
        let mut nodes: Vec<Node> = Vec::with_capacity(events.len());
        for (index, event) in events.iter().enumerate() {
            let cause = event.causation.as_ref().and_then(|cause| by_id.get(cause)).copied();
            if let Some(cause) = cause {
                causes.add_edge(NodeIndex::new(cause), NodeIndex::new(index), ());
            }
            let since = cause.map(|cause| event.time.0 as i64 - events[cause].time.0 as i64);
            nodes.push(Node {
                event: Arc::clone(event),
                index,
                since_cause_us: since,
                problems: Vec::new(),
                critical: false,
            });
        }
        let mut graph = Self { nodes, causes, by_id };
        problems::find(&mut graph, elsewhere);
        for index in graph.critical_path() {
            graph.nodes[index].critical = true;
        }
        graph
    }

    /// The events, in order of position.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The event of this id.
    pub fn find(&self, id: &EventId) -> Option<&Node> {
        self.by_id.get(id).map(|index| &self.nodes[*index])
    }

    /// The event that caused this one, if it is in the selection.
    pub fn cause(&self, index: usize) -> Option<usize> {
        self.neighbours(index, Direction::Incoming).pop()
    }

    /// What this one caused, in order of position.
    pub fn effects(&self, index: usize) -> Vec<usize> {
        self.neighbours(index, Direction::Outgoing)
    }

    fn neighbours(&self, index: usize, direction: Direction) -> Vec<usize> {
        let mut found: Vec<usize> =
            self.causes.neighbors_directed(NodeIndex::new(index), direction).map(NodeIndex::index).collect();
        found.sort_unstable();
        found
    }

    /// Where trees begin: events without a cause in the selection, and one event of every circle.
    pub fn roots(&self) -> Vec<usize> {
        let mut reached = BTreeSet::new();
        let mut roots: Vec<usize> = (0..self.nodes.len()).filter(|index| self.cause(*index).is_none()).collect();
        for root in &roots {
            reached.extend(self.descendants(*root));
            reached.insert(*root);
        }
        for index in 0..self.nodes.len() {
            if !reached.contains(&index) {
                reached.extend(self.descendants(index));
                reached.insert(index);
                roots.push(index);
            }
        }
        roots.sort_unstable();
        roots
    }

    /// What led to this one, without itself, in order of position.
    pub fn ancestors(&self, index: usize) -> Vec<usize> {
        let reversed = Reversed(&self.causes);
        let mut search = Dfs::new(reversed, NodeIndex::new(index));
        let mut found = Vec::new();
        while let Some(node) = search.next(reversed) {
            found.push(node.index());
        }
        without(found, index)
    }

    /// What came of this one, without itself, in order of position.
    pub fn descendants(&self, index: usize) -> Vec<usize> {
        let mut search = Dfs::new(&self.causes, NodeIndex::new(index));
        let mut found = Vec::new();
        while let Some(node) = search.next(&self.causes) {
            found.push(node.index());
        }
        without(found, index)
    }

    /// The chain of causes that ends with the event that came last: what the whole took so long for.
    pub fn critical_path(&self) -> Vec<usize> {
        let last = self.nodes.iter().max_by_key(|node| (node.event.time, node.event.position));
        let mut path: Vec<usize> = Vec::new();
        let mut at = last.map(|node| node.index);
        while let Some(index) = at.filter(|index| !path.contains(index)) {
            path.push(index);
            at = self.cause(index);
        }
        path.reverse();
        path
    }

    /// Events in a row on the same key, where the earlier one is not the later one's cause.
    pub fn next_on_key(&self) -> Vec<(usize, usize)> {
        let mut last: BTreeMap<&Key, usize> = BTreeMap::new();
        let mut pairs = Vec::new();
        for node in &self.nodes {
            if let Some(before) = last.insert(&node.event.key, node.index)
                && self.cause(node.index) != Some(before)
            {
                pairs.push((before, node.index));
            }
        }
        pairs
    }

    /// Causes on the longest way from a root to a leaf.
    pub fn depth(&self) -> usize {
        let mut depths: Vec<usize> = vec![0; self.nodes.len()];
        let mut open: Vec<usize> = self.roots();
        let mut seen: BTreeSet<usize> = open.iter().copied().collect();
        while let Some(index) = open.pop() {
            for effect in self.effects(index) {
                if seen.insert(effect) {
                    depths[effect] = depths[index] + 1;
                    open.push(effect);
                }
            }
        }
        depths.into_iter().max().unwrap_or_default()
    }

    /// From the first event to the last one by the wall clock, in microseconds.
    pub fn duration_us(&self) -> u64 {
        let times = self.nodes.iter().map(|node| node.event.time.0);
        times.clone().max().unwrap_or_default() - times.min().unwrap_or_default()
    }

    /// Everything that is wrong, in order of position.
    pub fn problems(&self) -> impl Iterator<Item = (Position, &Problem)> {
        self.nodes.iter().flat_map(|node| node.problems.iter().map(|problem| (node.event.position, problem)))
    }
}

fn without(mut found: Vec<usize>, index: usize) -> Vec<usize> {
    found.retain(|one| *one != index);
    found.sort_unstable();
    found
}
