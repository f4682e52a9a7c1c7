//! What the bus reads: pages that are complete, ordered, and tell truly how far they looked.

use dacapo_core::{
    Data, Key, Position, ServiceName, Version, limits,
    store::{Page, Read, Taken},
};

use super::{
    Case,
    fixture::{Fixture, positions, taken, types, undone},
};

pub(super) const CASES: &[Case] = &[
    ("the_log_is_read_page_by_page", the_log_is_read_page_by_page),
    ("the_log_is_read_by_types", the_log_is_read_by_types),
    ("a_page_ends_by_bytes_too_and_still_makes_progress", a_page_ends_by_bytes_too_and_still_makes_progress),
    ("a_page_never_exceeds_the_limit_of_all_pages", a_page_never_exceeds_the_limit_of_all_pages),
    ("a_key_is_read_in_order_with_its_head", a_key_is_read_in_order_with_its_head),
    ("keys_are_walked_in_order", keys_are_walked_in_order),
    ("undone_events_are_those_taken_and_not_ended", undone_events_are_those_taken_and_not_ended),
    ("undone_counts_each_type_from_its_since", undone_counts_each_type_from_its_since),
    ("undone_tells_the_previous_version_of_the_types", undone_tells_the_previous_version_of_the_types),
    ("undone_pages_meet_without_gap_while_the_log_grows", undone_pages_meet_without_gap_while_the_log_grows),
    ("undone_of_another_service_is_its_own", undone_of_another_service_is_its_own),
    ("a_service_that_takes_nothing_has_nothing_to_do", a_service_that_takes_nothing_has_nothing_to_do),
    ("a_lane_is_drained_in_order_up_to_a_position", a_lane_is_drained_in_order_up_to_a_position),
];

fn log(fixture: &mut Fixture, after: u64, names: &[&str], limit: usize) -> (Vec<u64>, u64, bool) {
    match fixture.read(&Read::Log { after: Position(after), types: types(names), limit }) {
        Page::Log { events, through, more } => (positions(&events), through.0, more),
        other => panic!("the page is not of the log: {other:?}"),
    }
}

fn read_undone(fixture: &mut Fixture, after: u64, types: &[Taken], limit: usize) -> (Vec<(u64, u64)>, u64, bool) {
    let service = ServiceName::of("accounts");
    undone(fixture.read(&Read::Undone { service, after: Position(after), types: types.to_vec(), limit }))
}

fn the_log_is_read_page_by_page(fixture: &mut Fixture) {
    assert_eq!(log(fixture, 0, &[], 3), (vec![], 0, false), "an empty log has an empty page");
    fixture.append(&[("a", "A"), ("b", "B"), ("a", "A"), ("c", "C"), ("a", "B")]);
    assert_eq!(log(fixture, 0, &[], 3), (vec![1, 2, 3], 3, true));
    assert_eq!(log(fixture, 3, &[], 3), (vec![4, 5], 5, false));
    assert_eq!(log(fixture, 5, &[], 3), (vec![], 5, false));
    assert_eq!(log(fixture, 99, &[], 3), (vec![], 5, false), "behind the end there is nothing");
    assert_eq!(log(fixture, u64::MAX, &[], 3), (vec![], 5, false));
}

fn the_log_is_read_by_types(fixture: &mut Fixture) {
    fixture.append(&[("a", "A"), ("b", "B"), ("a", "A"), ("c", "C"), ("a", "B"), ("a", "A")]);
    assert_eq!(log(fixture, 0, &["A", "C"], 3), (vec![1, 3, 4], 4, true));
    assert_eq!(log(fixture, 4, &["A", "C"], 3), (vec![6], 6, false));
    assert_eq!(log(fixture, 0, &["B"], 9), (vec![2, 5], 6, false), "what was passed over was looked at");
    assert_eq!(log(fixture, 0, &["Unknown"], 9), (vec![], 6, false), "an unknown type is none, not all");
    assert_eq!(log(fixture, 0, &["A", "A"], 9), (vec![1, 3, 6], 6, false), "a type named twice counts once");
}

fn a_page_ends_by_bytes_too_and_still_makes_progress(fixture: &mut Fixture) {
    let large = Data::of(&"x".repeat(limits::PAGE_BYTES_MAX / 3));
    let mut draft = fixture.draft();
    for _ in 0..8 {
        draft.event_with("a", "A", |event| event.data = large.clone());
    }
    fixture.accept(draft);
    let (mut seen, mut after, mut pages) = (Vec::new(), 0, 0);
    loop {
        let (page, through, more) = log(fixture, after, &[], 0);
        assert!(!page.is_empty() || !more, "every page makes progress");
        assert!(page.len() <= 3, "{} large events are too many for a page", page.len());
        seen.extend(page);
        after = through;
        pages += 1;
        if !more {
            break;
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(pages >= 3);
    let (page, through, more) = read_undone(fixture, 0, &taken(&[("A", 0)]), 0);
    assert_eq!((page, through, more), (vec![(1, 0), (2, 1), (3, 2)], 3, true), "the same holds for the other reads");
}

fn a_page_never_exceeds_the_limit_of_all_pages(fixture: &mut Fixture) {
    let all = vec![("a", "A"); limits::PAGE_EVENTS_MAX + 1];
    fixture.append(&all);
    for limit in [0, limits::PAGE_EVENTS_MAX, usize::MAX] {
        let (page, through, more) = log(fixture, 0, &[], limit);
        assert_eq!((page.len(), through, more), (limits::PAGE_EVENTS_MAX, limits::PAGE_EVENTS_MAX as u64, true));
    }
}

fn a_key_is_read_in_order_with_its_head(fixture: &mut Fixture) {
    fixture.append(&[("a", "A"), ("b", "B"), ("a", "B"), ("a", "A"), ("b", "A"), ("a", "C")]);
    let mut read = |after: u64, names: &[&str], limit: usize| match fixture.read(&Read::Key {
        key: Key::of("a"),
        after: Version(after),
        types: types(names),
        limit,
    }) {
        Page::Key { events, head, read_at, more } => {
            assert_eq!((head, read_at), (Version(4), Position(6)), "whatever the types, the head is the key's");
            (events.iter().map(|event| event.version.0).collect::<Vec<_>>(), more)
        }
        other => panic!("the page is not of a key: {other:?}"),
    };
    assert_eq!(read(0, &[], 9), (vec![1, 2, 3, 4], false));
    assert_eq!(read(1, &[], 2), (vec![2, 3], true));
    assert_eq!(read(3, &[], 2), (vec![4], false));
    assert_eq!(read(4, &[], 2), (vec![], false));
    assert_eq!(read(0, &["A"], 9), (vec![1, 3], false));
    assert_eq!(read(0, &["A", "C"], 2), (vec![1, 3], true));
    assert_eq!(read(0, &["Unknown"], 9), (vec![], false));
    let unknown = Read::Key { key: Key::of("z"), after: Version::ZERO, types: vec![], limit: 9 };
    let page = Page::Key { events: vec![], head: Version::ZERO, read_at: Position(6), more: false };
    assert_eq!(fixture.read(&unknown), page);
}

fn keys_are_walked_in_order(fixture: &mut Fixture) {
    fixture.append(&[("b", "A"), ("a-10", "A"), ("a-9", "A"), ("ä", "A"), ("B", "A"), ("b", "A")]);
    let mut walked = Vec::new();
    let mut after = None;
    loop {
        match fixture.read(&Read::Keys { after, limit: 2 }) {
            Page::Keys { heads, read_at, more } => {
                assert_eq!(read_at, Position(6));
                assert_eq!(more, heads.len() == 2, "a page that is not full is the last");
                after = heads.last().map(|(key, _)| key.clone());
                walked.extend(heads.into_iter().map(|(key, version)| (key.to_string(), version.0)));
                if !more {
                    break;
                }
            }
            other => panic!("the page is not of keys: {other:?}"),
        }
    }
    let expected = [("B", 1), ("a-10", 1), ("a-9", 1), ("b", 2), ("ä", 1)].map(|(key, head)| (key.to_owned(), head));
    assert_eq!(walked, expected, "in the order of their bytes");
}

fn undone_events_are_those_taken_and_not_ended(fixture: &mut Fixture) {
    let events = fixture.append(&[("a", "A"), ("b", "B"), ("a", "A"), ("c", "C"), ("a", "B")]);
    let mut draft = fixture.draft();
    draft.completion("accounts", &events[2], &[]);
    fixture.accept(draft);
    let types = taken(&[("A", 0), ("B", 0), ("Unknown", 0)]);
    assert_eq!(read_undone(fixture, 0, &types, 9), (vec![(1, 0), (2, 0), (5, 2)], 5, false));
    assert_eq!(read_undone(fixture, 1, &types, 9), (vec![(2, 0), (5, 2)], 5, false));
    assert_eq!(read_undone(fixture, 0, &types, 2), (vec![(1, 0), (2, 0)], 2, true));
    assert_eq!(read_undone(fixture, 2, &types, 2), (vec![(5, 2)], 5, false));
}

fn undone_counts_each_type_from_its_since(fixture: &mut Fixture) {
    fixture.append(&[("a", "A"), ("a", "B"), ("a", "A"), ("a", "B"), ("a", "A"), ("a", "B")]);
    let types = taken(&[("A", 3), ("B", 2)]);
    assert_eq!(read_undone(fixture, 0, &types, 9), (vec![(4, 3), (5, 4), (6, 5)], 6, false));
    assert_eq!(read_undone(fixture, 4, &types, 9), (vec![(5, 4), (6, 5)], 6, false));
    assert_eq!(read_undone(fixture, 0, &taken(&[("A", 6)]), 9), (vec![], 6, false), "the end is not behind itself");
}

fn undone_tells_the_previous_version_of_the_types(fixture: &mut Fixture) {
    // Versions of `a`:  1 A       2 X         3 X        4 A         5 B        6 A
    fixture.append(&[("a", "A"), ("a", "X"), ("a", "X"), ("a", "A"), ("a", "B"), ("a", "A"), ("b", "A")]);
    let by_a = [(1, 0), (4, 1), (6, 4), (7, 0)];
    assert_eq!(read_undone(fixture, 0, &taken(&[("A", 0)]), 9).0, by_a);
    let since_does_not_matter = [(6, 5), (7, 0)];
    assert_eq!(read_undone(fixture, 0, &taken(&[("A", 4), ("B", 5)]), 9).0, since_does_not_matter);
}

fn undone_pages_meet_without_gap_while_the_log_grows(fixture: &mut Fixture) {
    let types = taken(&[("A", 0)]);
    let (mut seen, mut after) = (Vec::new(), 0);
    for _ in 0..30 {
        let events = fixture.append(&[("a", "A"), ("b", "X"), ("c", "A")]);
        let mut draft = fixture.draft();
        draft.completion("users", &events[0], &[]);
        fixture.accept(draft);
        let (page, through, more) = read_undone(fixture, after, &types, 3);
        assert!(through >= after && (!more || page.len() == 3));
        seen.extend(page.into_iter().map(|(position, _)| position));
        after = through;
    }
    let expected: Vec<_> = (1..=90).filter(|position| position % 3 != 2).collect();
    assert_eq!(seen, expected);
}

fn undone_of_another_service_is_its_own(fixture: &mut Fixture) {
    let event = fixture.append(&[("a", "A")]).remove(0);
    let mut draft = fixture.draft();
    draft.completion("users", &event, &[]);
    fixture.accept(draft);
    assert_eq!(read_undone(fixture, 0, &taken(&[("A", 0)]), 9).0, [(1, 0)]);
}

fn a_service_that_takes_nothing_has_nothing_to_do(fixture: &mut Fixture) {
    fixture.append(&[("a", "A")]);
    assert_eq!(read_undone(fixture, 0, &[], 9), (vec![], 1, false));
}

fn a_lane_is_drained_in_order_up_to_a_position(fixture: &mut Fixture) {
    let events = fixture.append(&[("a", "A"), ("b", "A"), ("a", "X"), ("a", "B"), ("a", "A"), ("a", "A")]);
    let mut draft = fixture.draft();
    draft.completion("accounts", &events[3], &[]);
    fixture.accept(draft);
    let mut read = |after: u64, through: u64, limit: usize| {
        undone(fixture.read(&Read::Lane {
            service: ServiceName::of("accounts"),
            key: Key::of("a"),
            after: Version(after),
            through: Position(through),
            types: taken(&[("A", 0), ("B", 0)]),
            limit,
        }))
    };
    assert_eq!(read(0, 99, 9), (vec![(1, 0), (5, 3), (6, 4)], 6, false), "the ended one still is the previous");
    assert_eq!(read(0, 5, 9), (vec![(1, 0), (5, 3)], 5, false), "inclusive");
    assert_eq!(read(0, 4, 9), (vec![(1, 0)], 4, false));
    assert_eq!(read(1, 6, 1), (vec![(5, 3)], 5, true));
    assert_eq!(read(4, 6, 9), (vec![(6, 4)], 6, false), "versions, not positions, are passed over");
    let (service, key, types) = (ServiceName::of("accounts"), Key::of("z"), taken(&[("A", 0)]));
    let unknown = Read::Lane { service, key, after: Version::ZERO, through: Position(3), types, limit: 9 };
    assert_eq!(undone(fixture.read(&unknown)), (vec![], 3, false));
}
