//! Commits: whole or not at all, gap-free, each id once, by the newest term only.

use dacapo_core::{
    EventId, Position, Version,
    store::{Commit, LaneChange, LaneRecord, Query, StoreError},
};
use dacapo_core::{Key, ServiceName, Term};

use super::{
    Case,
    fixture::{Fixture, positions, service},
};

pub(super) const CASES: &[Case] = &[
    ("recovering_hands_out_growing_terms", recovering_hands_out_growing_terms),
    ("an_older_term_is_fenced", an_older_term_is_fenced),
    ("a_term_that_was_never_handed_out_is_a_violation", a_term_that_was_never_handed_out_is_a_violation),
    ("an_empty_commit_changes_nothing", an_empty_commit_changes_nothing),
    ("what_was_committed_is_read_back_in_every_field", what_was_committed_is_read_back_in_every_field),
    ("an_id_enters_once_for_ever", an_id_enters_once_for_ever),
    ("an_id_enters_once_within_a_commit", an_id_enters_once_within_a_commit),
    ("positions_have_no_gap_and_no_repeat", positions_have_no_gap_and_no_repeat),
    ("versions_have_no_gap_and_no_repeat", versions_have_no_gap_and_no_repeat),
    ("a_service_ends_an_event_once", a_service_ends_an_event_once),
    ("a_completion_names_an_event_of_the_log", a_completion_names_an_event_of_the_log),
    ("an_event_may_be_ended_in_its_own_commit", an_event_may_be_ended_in_its_own_commit),
    ("a_commit_with_one_fault_leaves_nothing", a_commit_with_one_fault_leaves_nothing),
    ("a_store_goes_on_after_a_violation", a_store_goes_on_after_a_violation),
    ("a_reader_sees_every_commit_that_has_returned", a_reader_sees_every_commit_that_has_returned),
];

fn recovering_hands_out_growing_terms(fixture: &mut Fixture) {
    let mut newest = fixture.term;
    for _ in 0..3 {
        let term = fixture.store.recover().expect("it recovers").term;
        assert!(term > newest, "{term} is newer than {newest}");
        newest = term;
    }
    assert_eq!(fixture.store.current_term(), Ok(newest));
    let mut reader = fixture.store.reader().expect("it has readers");
    assert_eq!(reader.current_term(), Ok(newest), "a reader knows the term too");
}

fn an_older_term_is_fenced(fixture: &mut Fixture) {
    let mut late = fixture.draft();
    late.event("acc-1", "Opened");
    let current = fixture.store.recover().expect("it recovers").term;
    let before = fixture.everything();
    let mine = fixture.term;
    assert_eq!(fixture.store.commit(&late.commit), Err(StoreError::Fenced { mine, current }));
    assert_eq!(fixture.everything(), before);
    late.commit.term = current;
    fixture.accept(late);
}

fn a_term_that_was_never_handed_out_is_a_violation(fixture: &mut Fixture) {
    let mut draft = fixture.draft();
    draft.event("acc-1", "Opened");
    draft.commit.term = Term(fixture.term.0 + 1);
    fixture.refuse(&draft);
}

fn an_empty_commit_changes_nothing(fixture: &mut Fixture) {
    fixture.append(&[("acc-1", "Opened")]);
    let before = fixture.everything();
    fixture.accept(fixture.draft());
    assert_eq!(fixture.everything(), before);
    let fenced = Commit { term: Term::ZERO, ..Commit::default() };
    assert!(matches!(fixture.store.commit(&fenced), Err(StoreError::Fenced { .. })), "even an empty one is fenced");
}

fn what_was_committed_is_read_back_in_every_field(fixture: &mut Fixture) {
    let text = r#"{"b": 1.0, "a": [true, null, "ü \u0000 \"quoted\""], "a": 12345678901234567890}"#;
    let mut draft = fixture.draft();
    let first = draft.event_with("kontó-1 ' \" % _", "Opened", |event| {
        event.data = dacapo_core::Data::from_text(text).expect("it is JSON");
        event.correlation = dacapo_core::CorrelationId::of("c-ü");
        event.attributes = dacapo_core::Attributes::default().with("note", "ü, \"quoted\"").expect("is an attribute");
    });
    let second = draft.event_with("$service/accounts", "$registered", |event| {
        event.causation = Some(first.id.clone());
        event.time = dacapo_core::WallTime(1_700_000_000_123_456);
        event.source = dacapo_core::Source::of("$bus");
        event.data = dacapo_core::Data::null();
    });
    let mut completion = draft.completion("accounts", &first, &[second.position]);
    completion.epoch = u64::MAX;
    completion.attempt = u32::MAX;
    draft.commit.completions = vec![completion.clone()];
    let skipped = dacapo_core::store::Completion {
        service: ServiceName::of("users"),
        ended: dacapo_core::store::Ended::Skipped,
        instance: None,
        produced: Vec::new(),
        ..completion.clone()
    };
    draft.commit.completions.push(skipped.clone());
    fixture.accept(draft);
    let events = fixture.query(&Query::default()).events;
    assert_eq!(events, [first.clone(), second]);
    assert_eq!(events[0].data.as_str(), text, "the payload is kept as the text it came as");
    let completions = fixture.store.completions(&[first.position, first.position]).expect("they can be read");
    assert_eq!(completions, [completion, skipped], "each once, by service");
}

fn an_id_enters_once_for_ever(fixture: &mut Fixture) {
    let first = fixture.append(&[("acc-1", "Opened")]).remove(0);
    for number in 0..50 {
        fixture.append(&[(&format!("acc-{number}"), "Moved")]);
    }
    let mut draft = fixture.draft();
    draft.event_with("acc-9", "Opened", |event| event.id = first.id.clone());
    fixture.refuse(&draft);
}

fn an_id_enters_once_within_a_commit(fixture: &mut Fixture) {
    let mut draft = fixture.draft();
    draft.event_with("acc-1", "Opened", |event| event.id = EventId::of("same"));
    draft.event_with("acc-2", "Opened", |event| event.id = EventId::of("same"));
    fixture.refuse(&draft);
}

fn positions_have_no_gap_and_no_repeat(fixture: &mut Fixture) {
    fixture.append(&[("acc-1", "Opened"), ("acc-2", "Opened")]);
    for wrong in [0, 1, 2, 4] {
        let mut draft = fixture.draft();
        draft.event_with("acc-3", "Opened", |event| event.position = Position(wrong));
        fixture.refuse(&draft);
    }
    let mut swapped = fixture.draft();
    swapped.event("acc-3", "Opened");
    swapped.event("acc-4", "Opened");
    swapped.commit.events.swap(0, 1);
    fixture.refuse(&swapped);
    fixture.append(&[("acc-3", "Opened")]);
    assert_eq!(positions(&fixture.query(&Query::default()).events), [1, 2, 3]);
}

fn versions_have_no_gap_and_no_repeat(fixture: &mut Fixture) {
    fixture.append(&[("acc-1", "Opened"), ("acc-1", "Moved")]);
    for wrong in [0, 1, 2, 4] {
        let mut draft = fixture.draft();
        draft.event_with("acc-1", "Moved", |event| event.version = Version(wrong));
        fixture.refuse(&draft);
    }
    for wrong in [0, 2] {
        let mut draft = fixture.draft();
        draft.event_with("acc-2", "Opened", |event| event.version = Version(wrong));
        fixture.refuse(&draft);
    }
    let mut repeated = fixture.draft();
    repeated.event("acc-1", "Moved");
    repeated.event_with("acc-1", "Moved", |event| event.version = Version(3));
    fixture.refuse(&repeated);
}

fn a_service_ends_an_event_once(fixture: &mut Fixture) {
    let event = fixture.append(&[("acc-1", "Opened")]).remove(0);
    let mut draft = fixture.draft();
    draft.completion("accounts", &event, &[]);
    let again = draft.clone();
    fixture.accept(draft);
    fixture.refuse(&again);
    let mut other = fixture.draft();
    other.completion("users", &event, &[]);
    let mut twice = other.clone();
    twice.completion("users", &event, &[]);
    fixture.refuse(&twice);
    fixture.accept(other);
}

fn a_completion_names_an_event_of_the_log(fixture: &mut Fixture) {
    let event = fixture.append(&[("acc-1", "Opened")]).remove(0);
    let changes: [fn(&mut dacapo_core::store::Completion); 3] = [
        |completion| completion.position = Position(2),
        |completion| completion.key = Key::of("acc-2"),
        |completion| completion.version = Version(2),
    ];
    for change in changes {
        let mut draft = fixture.draft();
        draft.completion("accounts", &event, &[]);
        change(&mut draft.commit.completions[0]);
        fixture.refuse(&draft);
    }
}

fn an_event_may_be_ended_in_its_own_commit(fixture: &mut Fixture) {
    let mut draft = fixture.draft();
    let event = draft.event("acc-1", "Opened");
    let completion = draft.completion("accounts", &event, &[]);
    fixture.accept(draft);
    assert_eq!(fixture.store.completions(&[event.position]), Ok(vec![completion]));
}

/// Everything that a commit may carry is right but its last completion.
fn a_commit_with_one_fault_leaves_nothing(fixture: &mut Fixture) {
    let event = fixture.append(&[("acc-1", "Opened")]).remove(0);
    let mut draft = fixture.draft();
    draft.commit.services.push(service("accounts", &[("Opened", 0)], 0));
    fixture.accept(draft);
    let before = fixture.store.recover().expect("it recovers");
    fixture.term = before.term;

    let mut faulty = fixture.draft();
    let produced = faulty.event("acc-1", "Moved");
    faulty.event("acc-new", "New");
    faulty.completion("accounts", &event, &[produced.position]);
    faulty.completion("accounts", &event, &[produced.position]);
    faulty.commit.services.push(service("users", &[("Moved", 0)], 0));
    faulty.commit.frontiers.push((ServiceName::of("accounts"), Position(1)));
    faulty.commit.lanes.push(LaneChange::Put(LaneRecord {
        service: ServiceName::of("accounts"),
        key: Key::of("acc-1"),
        next_version: Version(1),
        failures: 1,
        parked: None,
    }));
    fixture.refuse(&faulty);
    let after = fixture.store.recover().expect("it recovers");
    assert_eq!((after.position, after.services, after.lanes), (before.position, before.services, before.lanes));
}

fn a_store_goes_on_after_a_violation(fixture: &mut Fixture) {
    let mut faulty = fixture.draft();
    faulty.event("acc-1", "NewType");
    faulty.event_with("acc-2", "OtherType", |event| event.version = Version(7));
    fixture.refuse(&faulty);
    let events = fixture.append(&[("acc-1", "NewType"), ("acc-2", "OtherType"), ("acc-1", "NewType")]);
    assert_eq!(fixture.query(&Query::default()).events, events);
}

fn a_reader_sees_every_commit_that_has_returned(fixture: &mut Fixture) {
    let mut reader = fixture.store.reader().expect("it has readers");
    let mut other = fixture.store.reader().expect("it has more than one");
    for number in 1..=20 {
        let event = fixture.append(&[("acc-1", &format!("Type{number}"))]).remove(0);
        for reader in [&mut reader, &mut other] {
            let answer = reader.query(&Query { newest_first: true, limit: 1, ..Query::default() }).expect("it answers");
            assert_eq!(answer.events, std::slice::from_ref(&event));
            assert_eq!(answer.read_at, event.position);
        }
    }
}
