//! The causation graph as an indented text: for the terminal, and for those who cannot see the picture.

use dacapo_core::Event;

use crate::{
    graph::{Graph, Problem},
    words::signed,
};

/// The events in the order of the tree, each with its depth; each once, also where causes form a circle.
pub fn order(graph: &Graph) -> Vec<(usize, usize)> {
    let mut seen = std::collections::BTreeSet::new();
    let mut order = Vec::with_capacity(graph.nodes().len());
    // A stack of our own: a chain of causes may be longer than the thread's.
    let mut open: Vec<(usize, usize)> = graph.roots().into_iter().rev().map(|root| (root, 0)).collect();
    while let Some((index, depth)) = open.pop() {
        if seen.insert(index) {
            order.push((index, depth));
            open.extend(graph.effects(index).into_iter().rev().map(|effect| (effect, depth + 1)));
        }
    }
    order
}

/// A line for each event, an effect below its cause.
pub fn lines(graph: &Graph) -> Vec<String> {
    let order = order(graph);
    let mut lines = Vec::with_capacity(order.len());
    // For each depth, whether another sibling is still to come: it decides whether a line goes on below.
    let mut goes_on: Vec<bool> = Vec::new();
    for (place, (index, depth)) in order.iter().enumerate() {
        let has_next =
            order[place + 1..].iter().take_while(|(_, other)| other >= depth).any(|(_, other)| other == depth);
        goes_on.truncate(*depth);
        let mut line = String::new();
        for above in goes_on.iter().skip(1) {
            line.push_str(if *above { "│  " } else { "   " });
        }
        if *depth > 0 {
            line.push_str(if has_next { "├─ " } else { "└─ " });
        }
        goes_on.push(has_next);
        let node = &graph.nodes()[*index];
        line.push_str(&words(&node.event));
        if let Some(since) = node.since_cause_us {
            line.extend(["  ", &signed(since)]);
        }
        for problem in &node.problems {
            line.extend(["  !! ", &problem.to_string()]);
        }
        let elsewhere = node.event.causation.as_ref().filter(|_| {
            graph.cause(*index).is_none()
                && !node.problems.iter().any(|problem| matches!(problem, Problem::Orphan { .. }))
        });
        if let Some(cause) = elsewhere {
            line.extend(["  (its cause ", cause.as_str(), " is not shown)"]);
        }
        lines.push(line);
    }
    lines
}

fn words(event: &Event) -> String {
    format!("{} {} {}@{}  {}", event.position, event.event_type, event.key, event.version, event.source)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use dacapo_core::{CorrelationId, Data, EventId, EventType, Key, Position, Source, Version, WallTime};

    use super::*;

    fn event(position: u64, event_type: &str, key: &str, cause: Option<&str>) -> Arc<Event> {
        Arc::new(Event {
            position: Position(position),
            id: EventId::of(format!("e-{position}")),
            event_type: EventType::of(event_type),
            key: Key::of(key),
            version: Version(1),
            correlation: CorrelationId::of("c"),
            causation: cause.map(EventId::of),
            time: WallTime(position * 5_000),
            source: Source::of("accounts"),
            data: Data::null(),
            attributes: dacapo_core::Attributes::default(),
        })
    }

    #[test]
    fn effects_stand_under_their_cause() {
        let events = [
            event(1, "PendingTransaction", "trans-1", None),
            event(2, "AcceptedTransaction", "trans-1", Some("e-1")),
            event(3, "ConfirmedDebit", "acc-1", Some("e-1")),
            event(4, "Noticed", "user-1", Some("e-2")),
            event(5, "Noticed", "user-2", Some("e-4")),
            event(6, "Elsewhere", "acc-8", Some("other")),
            event(7, "Stray", "acc-9", Some("gone")),
        ];
        let graph = Graph::of(&events, &BTreeSet::from([EventId::of("other")]));
        assert_eq!(
            lines(&graph).join("\n"),
            "\
1 PendingTransaction trans-1@1  accounts
├─ 2 AcceptedTransaction trans-1@1  accounts  +5.0 ms
│  └─ 4 Noticed user-1@1  accounts  +10 ms
│     └─ 5 Noticed user-2@1  accounts  +5.0 ms
└─ 3 ConfirmedDebit acc-1@1  accounts  +10 ms
6 Elsewhere acc-8@1  accounts  (its cause other is not shown)
7 Stray acc-9@1  accounts  !! its cause gone is not in the log"
        );
    }
}
