//! Queries: every condition counts, pages meet in both directions, and the last page says that it is the last.

use dacapo_core::{CorrelationId, EventId, Key, Position, Source, WallTime, limits, store::Query};

use super::{
    Case,
    fixture::{Fixture, positions, types},
};

pub(super) const CASES: &[Case] = &[
    ("every_condition_of_a_query_counts", every_condition_of_a_query_counts),
    ("conditions_that_nothing_meets_find_nothing", conditions_that_nothing_meets_find_nothing),
    ("pages_meet_in_both_directions", pages_meet_in_both_directions),
    ("the_last_page_names_no_next_one", the_last_page_names_no_next_one),
    ("a_query_never_exceeds_the_limit_of_all_pages", a_query_never_exceeds_the_limit_of_all_pages),
];

/// Twelve events over three keys, three types, two correlations, two sources, times that jump, and some causes.
fn fill(fixture: &mut Fixture) {
    let mut draft = fixture.draft();
    for number in 1..=12_u64 {
        let key = ["a", "b", "c"][(number % 3) as usize];
        let event_type = ["A", "B", "C"][(number % 5 % 3) as usize];
        draft.event_with(key, event_type, |event| {
            event.correlation = CorrelationId::of(format!("c-{}", number % 2));
            // Of the same correlation, as every cause is.
            let cause = if number % 3 == 0 { 2 - number % 2 } else { 4 - number % 2 };
            event.causation = (number > 6).then(|| EventId::of(format!("e-{cause}")));
            event.source = Source::of(if number % 4 == 0 { "accounts" } else { "customer" });
            event.time = WallTime(number * 7 % 12);
        });
    }
    fixture.accept(draft);
}

/// Each condition alone, with the positions that meet it.
fn conditions() -> Vec<(Query, Vec<u64>)> {
    let all = || 1..=12_u64;
    let query = Query::default;
    vec![
        (query(), all().collect()),
        (Query { key: Some(Key::of("b")), ..query() }, all().filter(|n| n % 3 == 1).collect()),
        (Query { types: types(&["A", "C"]), ..query() }, all().filter(|n| n % 5 % 3 != 1).collect()),
        (Query { correlation: Some(CorrelationId::of("c-1")), ..query() }, all().filter(|n| n % 2 == 1).collect()),
        (Query { causation: Some(EventId::of("e-4")), ..query() }, vec![8, 10]),
        (Query { source: Some(Source::of("accounts")), ..query() }, all().filter(|n| n % 4 == 0).collect()),
        (Query { id: Some(EventId::of("e-5")), ..query() }, vec![5]),
        (Query { from: Some(WallTime(4)), ..query() }, all().filter(|n| n * 7 % 12 >= 4).collect()),
        (Query { until: Some(WallTime(9)), ..query() }, all().filter(|n| n * 7 % 12 < 9).collect()),
        (Query { cursor: Some(Position(7)), ..query() }, (8..=12).collect()),
    ]
}

/// A query with the conditions of both.
fn both(a: &Query, b: &Query) -> Query {
    Query {
        cursor: a.cursor.or(b.cursor),
        key: a.key.clone().or_else(|| b.key.clone()),
        types: if a.types.is_empty() { b.types.clone() } else { a.types.clone() },
        correlation: a.correlation.clone().or_else(|| b.correlation.clone()),
        causation: a.causation.clone().or_else(|| b.causation.clone()),
        source: a.source.clone().or_else(|| b.source.clone()),
        id: a.id.clone().or_else(|| b.id.clone()),
        from: a.from.or(b.from),
        until: a.until.or(b.until),
        ..Query::default()
    }
}

fn every_condition_of_a_query_counts(fixture: &mut Fixture) {
    fill(fixture);
    let conditions = conditions();
    for (first, met_first) in &conditions {
        for (second, met_second) in &conditions {
            let query = both(first, second);
            let expected: Vec<_> = met_first.iter().copied().filter(|it| met_second.contains(it)).collect();
            let answer = fixture.query(&query);
            assert_eq!(positions(&answer.events), expected, "{query:?}");
            assert_eq!((answer.next, answer.read_at), (None, Position(12)), "{query:?}");
            if query.cursor.is_none() {
                let backwards = fixture.query(&Query { newest_first: true, ..query });
                assert!(backwards.events.iter().eq(answer.events.iter().rev()), "backwards it is the same, reversed");
            }
        }
    }
}

fn conditions_that_nothing_meets_find_nothing(fixture: &mut Fixture) {
    fill(fixture);
    let query = Query::default;
    for query in [
        Query { key: Some(Key::of("z")), ..query() },
        Query { key: Some(Key::of("z")), id: Some(EventId::of("e-5")), ..query() },
        Query { types: types(&["Unknown"]), ..query() },
        Query { types: types(&["Unknown"]), key: Some(Key::of("a")), ..query() },
        Query { correlation: Some(CorrelationId::of("z")), ..query() },
        Query { causation: Some(EventId::of("e-12")), ..query() },
        Query { source: Some(Source::of("z")), ..query() },
        Query { id: Some(EventId::of("z")), ..query() },
        Query { from: Some(WallTime(u64::MAX)), ..query() },
        Query { until: Some(WallTime(0)), ..query() },
        Query { cursor: Some(Position(u64::MAX)), ..query() },
        Query { cursor: Some(Position(0)), newest_first: true, ..query() },
    ] {
        let answer = fixture.query(&query);
        assert_eq!((positions(&answer.events), answer.next), (vec![], None), "{query:?}");
    }
}

fn pages_meet_in_both_directions(fixture: &mut Fixture) {
    fill(fixture);
    for (condition, met) in conditions().into_iter().filter(|(query, _)| query.cursor.is_none()) {
        for newest_first in [false, true] {
            for limit in 1..=4 {
                let mut query = Query { newest_first, limit, ..condition.clone() };
                let mut seen = Vec::new();
                loop {
                    let answer = fixture.query(&query);
                    assert!(answer.events.len() <= limit, "{query:?}");
                    seen.extend(positions(&answer.events));
                    if answer.next.is_none() {
                        break;
                    }
                    assert_eq!(answer.next.map(|next| next.0), seen.last().copied(), "{query:?}");
                    query.cursor = answer.next;
                }
                let mut expected = met.clone();
                if newest_first {
                    expected.reverse();
                }
                assert_eq!(seen, expected, "{query:?}");
            }
        }
    }
}

fn the_last_page_names_no_next_one(fixture: &mut Fixture) {
    fixture.append(&[("a", "A"), ("a", "A"), ("a", "B")]);
    let mut next = |query: Query| fixture.query(&query).next;
    assert_eq!(next(Query { limit: 2, ..Query::default() }), Some(Position(2)));
    assert_eq!(next(Query { limit: 3, ..Query::default() }), None, "exactly full, and nothing behind it");
    assert_eq!(next(Query { limit: 2, types: types(&["A"]), ..Query::default() }), None, "what is behind is not meant");
    assert_eq!(next(Query { limit: 2, newest_first: true, ..Query::default() }), Some(Position(2)));
}

fn a_query_never_exceeds_the_limit_of_all_pages(fixture: &mut Fixture) {
    fixture.append(&vec![("a", "A"); limits::PAGE_EVENTS_MAX + 1]);
    for limit in [0, limits::PAGE_EVENTS_MAX, usize::MAX] {
        let answer = fixture.query(&Query { limit, ..Query::default() });
        assert_eq!(answer.events.len(), limits::PAGE_EVENTS_MAX);
        assert_eq!(answer.next, Some(Position(limits::PAGE_EVENTS_MAX as u64)));
    }
}
