//! What is wrong with a causation graph.

use std::{collections::BTreeSet, fmt};

use dacapo_core::{EventId, Position};
use petgraph::algo::tarjan_scc;

use super::Graph;

/// What is wrong with an event's place in the graph.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// It names a cause that the log does not have.
    Orphan {
        /// The name.
        cause: EventId,
    },
    /// It is its own cause, through so many others.
    Circle {
        /// The events of the circle.
        events: Vec<Position>,
    },
    /// It stands in the log before what caused it.
    BeforeItsCause {
        /// Where the cause stands.
        cause: Position,
    },
}

impl Problem {
    /// In two words.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Orphan { .. } => "orphan",
            Self::Circle { .. } => "circle",
            Self::BeforeItsCause { .. } => "before its cause",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Orphan { cause } => write!(f, "its cause {cause} is not in the log"),
            Self::Circle { events } => {
                let positions: Vec<String> = events.iter().map(Position::to_string).collect();
                write!(f, "it is part of a circle of causes: {}", positions.join(", "))
            }
            Self::BeforeItsCause { cause } => write!(f, "it stands before its cause, which is at position {cause}"),
        }
    }
}

/// Finds all of them. Causes that are `elsewhere` in the log are no orphans' causes.
pub(super) fn find(graph: &mut Graph, elsewhere: &BTreeSet<EventId>) {
    for index in 0..graph.nodes.len() {
        let event = &graph.nodes[index].event;
        let found = match (&event.causation, graph.cause(index)) {
            (Some(cause), None) if !elsewhere.contains(cause) => Some(Problem::Orphan { cause: cause.clone() }),
            (Some(_), Some(cause)) if cause > index => {
                Some(Problem::BeforeItsCause { cause: graph.nodes[cause].event.position })
            }
            _ => None,
        };
        graph.nodes[index].problems.extend(found);
    }
    for circle in tarjan_scc(&graph.causes) {
        let mut members: Vec<usize> = circle.into_iter().map(petgraph::graph::NodeIndex::index).collect();
        members.sort_unstable();
        let is_circle = members.len() > 1 || members.iter().any(|index| graph.cause(*index) == Some(*index));
        if is_circle {
            let events: Vec<Position> = members.iter().map(|index| graph.nodes[*index].event.position).collect();
            for index in members {
                graph.nodes[index].problems.push(Problem::Circle { events: events.clone() });
            }
        }
    }
}
