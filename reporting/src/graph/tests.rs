//! Small graphs of every kind: sound ones, and damaged ones.

use dacapo_core::{CorrelationId, Data, EventType, Source, Version, WallTime};
use proptest::prelude::*;

use super::*;

/// `(position, cause)`: events `e-<position>` on keys of their own, a millisecond apart.
fn events(causes: &[(u64, Option<u64>)]) -> Vec<Arc<Event>> {
    let event = |(position, cause): &(u64, Option<u64>)| {
        Arc::new(Event {
            position: Position(*position),
            id: EventId::of(format!("e-{position}")),
            event_type: EventType::of("Happened"),
            key: Key::of(format!("k-{}", position % 7)),
            version: Version(position / 7 + 1),
            correlation: CorrelationId::of("c"),
            causation: cause.map(|cause| EventId::of(format!("e-{cause}"))),
            time: WallTime(position * 1_000),
            source: Source::of("someone"),
            data: Data::null(),
            attributes: dacapo_core::Attributes::default(),
        })
    };
    causes.iter().map(event).collect()
}

fn graph(causes: &[(u64, Option<u64>)]) -> Graph {
    Graph::of(&events(causes), &BTreeSet::new())
}

fn names(graph: &Graph) -> Vec<(u64, &'static str)> {
    graph.problems().map(|(position, problem)| (position.0, problem.name())).collect()
}

#[test]
fn a_correlation_with_several_roots_is_a_forest() {
    let graph = graph(&[(1, None), (2, None), (3, Some(1)), (4, Some(3)), (5, Some(1))]);
    assert_eq!(graph.roots(), [0, 1]);
    assert_eq!(graph.effects(0), [2, 4]);
    assert_eq!((graph.ancestors(3), graph.descendants(0)), (vec![0, 2], vec![2, 3, 4]));
    assert_eq!(graph.critical_path(), [0, 4]);
    assert_eq!((graph.depth(), graph.duration_us()), (2, 4_000));
    assert_eq!(graph.nodes()[3].since_cause_us, Some(1_000));
    assert!(names(&graph).is_empty());
}

#[test]
fn orphans_circles_and_effects_before_causes_are_told() {
    let damaged = graph(&[(1, Some(99)), (2, Some(4)), (3, None), (4, Some(2)), (5, Some(5)), (6, Some(7)), (7, None)]);
    assert_eq!(
        names(&damaged),
        [(1, "orphan"), (2, "before its cause"), (2, "circle"), (4, "circle"), (5, "circle"), (6, "before its cause")]
    );
    assert_eq!(damaged.roots(), [0, 1, 2, 4, 6], "a circle begins somewhere");
    let elsewhere = [EventId::of("e-99")].into();
    assert!(Graph::of(&events(&[(1, Some(99))]), &elsewhere).problems().next().is_none(), "its cause is in the log");
}

#[test]
fn wide_fan_outs_and_long_chains_fold_and_open() {
    let mut wide = vec![(1, None)];
    wide.extend((2..40).map(|position| (position, Some(1))));
    let wide = graph(&wide);
    let folded = wide.fold(&Folding::default());
    assert_eq!((folded.drawn.len(), folded.hidden()), (1 + 7 + 1, 31));
    assert!(folded.shown().contains_key(&38), "what is critical is shown");
    let open = Folding { open: [Position(1)].into(), ..Folding::default() };
    assert_eq!(wide.fold(&open).hidden(), 0);

    let mut long = vec![(1, None)];
    long.extend((2..30).map(|position| (position, Some(position - 1))));
    let long = graph(&long);
    let folded = long.fold(&Folding::default());
    assert_eq!((folded.drawn.len(), folded.hidden()), (3, 27));
    assert_eq!(folded.edges, [(0, 1), (1, 2)]);
    assert_eq!(long.fold(&open).drawn.len(), 4, "opened at its first event, it folds below the next");
}

#[test]
fn a_problem_is_never_folded_into_a_chain() {
    let mut long: Vec<(u64, Option<u64>)> = vec![(1, None)];
    long.extend((2..30).map(|position| (position, Some(position - 1))));
    long.extend([(30, Some(31)), (31, Some(29))]);
    let graph = graph(&long);
    assert!(graph.fold(&Folding::default()).shown().contains_key(&29));
}

proptest! {
    #[test]
    fn every_event_is_drawn_or_folded_exactly_once(
        causes in proptest::collection::vec(proptest::option::weighted(0.9, 1..160_u64), 1..150),
        drawn_max in 3..200_usize,
    ) {
        let causes: Vec<(u64, Option<u64>)> = (1..).zip(causes).collect();
        let graph = graph(&causes);
        let folded = graph.fold(&Folding { drawn_max, ..Folding::default() });
        let mut all: Vec<usize> = Vec::new();
        for drawn in &folded.drawn {
            match drawn {
                Drawn::Event(index) => all.push(*index),
                Drawn::Fold { members, .. } => all.extend(members),
            }
        }
        all.sort_unstable();
        prop_assert_eq!(all, (0..causes.len()).collect::<Vec<_>>());
        prop_assert!(folded.edges.iter().all(|(from, to)| from.max(to) < &folded.drawn.len()));
    }
}
