//! Look-ups: ids, heads, completions, and where they were read.

use std::sync::Arc;

use dacapo_core::{
    EventId, EventType, Key, Position, ServiceName, Version,
    store::{KeyHead, LookUp},
    wire::Produced,
};

use super::{Case, fixture::Fixture};

pub(super) const CASES: &[Case] = &[
    ("an_empty_store_knows_nothing", an_empty_store_knows_nothing),
    ("known_ids_are_found_with_their_events", known_ids_are_found_with_their_events),
    ("a_head_tells_version_id_and_the_last_of_each_type", a_head_tells_version_id_and_the_last_of_each_type),
    ("a_head_is_right_after_many_events_of_one_commit", a_head_is_right_after_many_events_of_one_commit),
    ("a_completion_is_found_with_what_it_produced", a_completion_is_found_with_what_it_produced),
];

fn an_empty_store_knows_nothing(fixture: &mut Fixture) {
    let found = fixture.look_up(&LookUp {
        ids: vec![EventId::of("e-1")],
        heads: vec![Key::of("acc-1")],
        completions: vec![(ServiceName::of("accounts"), Position(1))],
    });
    assert_eq!(found.read_at, Position::ZERO);
    assert!(found.ids.is_empty() && found.completions.is_empty());
    assert_eq!(found.heads.into_iter().collect::<Vec<_>>(), [(Key::of("acc-1"), KeyHead::default())]);
}

fn known_ids_are_found_with_their_events(fixture: &mut Fixture) {
    let events = fixture.append(&[("acc-1", "Opened"), ("acc-2", "Opened"), ("acc-1", "Moved")]);
    let ids = [&events[2].id, &events[0].id, &EventId::of("unknown")].map(Clone::clone).to_vec();
    let found = fixture.look_up(&LookUp { ids, ..LookUp::default() });
    assert_eq!(found.read_at, Position(3));
    assert_eq!(found.ids.len(), 2);
    assert_eq!(found.ids[&events[0].id], events[0]);
    assert_eq!(found.ids[&events[2].id], events[2]);
}

fn a_head_tells_version_id_and_the_last_of_each_type(fixture: &mut Fixture) {
    for event_type in ["Opened", "Moved", "Audited", "Moved"] {
        fixture.append(&[("acc-2", "Opened"), ("acc-1", event_type)]);
    }
    let found = fixture.look_up(&LookUp { heads: vec![Key::of("acc-1")], ..LookUp::default() });
    assert_eq!(found.read_at, Position(8));
    assert_eq!(found.heads[&Key::of("acc-1")], head(4, "e-8", &[("Audited", 3), ("Moved", 4), ("Opened", 1)]));
}

fn a_head_is_right_after_many_events_of_one_commit(fixture: &mut Fixture) {
    fixture.append(&[("acc-1", "Opened"), ("acc-1", "Moved"), ("acc-2", "Opened"), ("acc-1", "Moved")]);
    let heads = vec![Key::of("acc-2"), Key::of("acc-1"), Key::of("acc-1")];
    let found = fixture.look_up(&LookUp { heads, ..LookUp::default() });
    assert_eq!(found.heads[&Key::of("acc-1")], head(3, "e-4", &[("Moved", 3), ("Opened", 1)]));
    assert_eq!(found.heads[&Key::of("acc-2")], head(1, "e-3", &[("Opened", 1)]));
}

fn a_completion_is_found_with_what_it_produced(fixture: &mut Fixture) {
    let handled = fixture.append(&[("acc-1", "Opened")]).remove(0);
    let mut draft = fixture.draft();
    let first = draft.event("acc-2", "Moved");
    let second = draft.event("acc-1", "Moved");
    draft.completion("accounts", &handled, &[first.position, second.position]);
    draft.completion("users", &handled, &[]);
    fixture.accept(draft);
    let asked = |service: &str, position: u64| (ServiceName::of(service), Position(position));
    let found = fixture.look_up(&LookUp {
        completions: vec![asked("accounts", 1), asked("users", 1), asked("accounts", 2), asked("unknown", 1)],
        ..LookUp::default()
    });
    let produced = [first, second].map(|event| Produced {
        id: event.id.clone(),
        key: event.key.clone(),
        version: event.version,
        position: event.position,
        time: event.time,
    });
    assert_eq!(found.completions.len(), 2);
    assert_eq!(found.completions[&asked("accounts", 1)], produced);
    assert_eq!(found.completions[&asked("users", 1)], []);
}

fn head(version: u64, id: &str, by_type: &[(&str, u64)]) -> KeyHead {
    let by_type = by_type.iter().map(|(name, version)| (EventType::of(*name), Version(*version))).collect();
    KeyHead { version: Version(version), id: Some(EventId::of(id)), by_type: Arc::new(by_type) }
}
