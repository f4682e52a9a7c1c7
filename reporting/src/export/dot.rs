//! The causation graph for graphviz, whole: it folds nothing.

use std::fmt::Write as _;

use crate::graph::Graph;

/// Writes it.
pub fn graph(graph: &Graph) -> String {
    let mut out = String::from("digraph causes {\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n");
    for node in graph.nodes() {
        let event = &node.event;
        let label =
            format!("{}\\n{}@{}", escaped(event.event_type.as_str()), escaped(event.key.as_str()), event.version);
        let mark = match (node.problems.is_empty(), node.critical) {
            (false, _) => ", color=red, penwidth=3, style=\"rounded,dashed\"",
            (true, true) => ", penwidth=2",
            (true, false) => "",
        };
        // Writing to a text cannot fail.
        let _ = writeln!(out, "  e{} [label=\"{label}\"{mark}];", event.position);
    }
    for node in graph.nodes() {
        if let Some(cause) = graph.cause(node.index) {
            let since = node.since_cause_us.map(crate::words::signed).unwrap_or_default();
            let from = graph.nodes()[cause].event.position;
            let _ = writeln!(out, "  e{from} -> e{} [label=\"{since}\"];", node.event.position);
        }
    }
    for (before, after) in graph.next_on_key() {
        let (before, after) = (graph.nodes()[before].event.position, graph.nodes()[after].event.position);
        let _ = writeln!(out, "  e{before} -> e{after} [style=dashed, constraint=false];");
    }
    out.push_str("}\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
