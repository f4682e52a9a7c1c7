//! Rebuilds and reads: the past, played page by page, meeting the present.

use dacapo_core::{
    EventType, Key, Version,
    wire::{Credit, FromBus, Read, ReadWhat, Rebuild},
};

use crate::world::{World, at};

/// What a stream has sent so far: the ids, and whether the past is over.
fn played(frames: Vec<FromBus>) -> (Vec<String>, bool) {
    let mut ids = Vec::new();
    let mut rebuilt = false;
    for frame in frames {
        match frame {
            FromBus::Events(events) => ids.extend(events.events.iter().map(|event| event.id.to_string())),
            FromBus::Rebuilt(_) => rebuilt = true,
            other => panic!("{other:?} does not belong to a stream"),
        }
    }
    (ids, rebuilt)
}

fn rebuild(follow: bool, credit: u32) -> Rebuild {
    Rebuild { request: 1, after: at(0), types: vec![EventType::of("Noted")], follow, credit }
}

#[test]
fn a_rebuild_plays_the_past_as_credit_allows_and_then_says_where_it_ended() {
    let mut world = World::with(|limits| limits.read_page_events = 2);
    for id in ["a", "b", "c", "d", "e"] {
        world.note(id, "k");
    }
    let conn = world.connect();
    world.say(conn, rebuild(false, 1));
    assert_eq!(played(world.heard(conn)), (vec!["a".into(), "b".into()], false));
    world.say(conn, Credit { request: Some(1), credit: 5 });
    assert_eq!(played(world.heard(conn)), (vec!["c".into(), "d".into(), "e".into()], true));
}

#[test]
fn a_followed_rebuild_meets_the_live_stream_without_gap_or_overlap() {
    let mut world = World::with(|limits| limits.read_page_events = 2);
    for id in ["a", "b", "c"] {
        world.note(id, "k");
    }
    let conn = world.connect();
    world.say(conn, rebuild(true, 1));
    world.note("d", "k");
    world.say(conn, Credit { request: Some(1), credit: 100 });
    world.note("e", "k");
    world.note("f", "other");
    let (ids, rebuilt) = played(world.heard(conn));
    assert_eq!(ids, ["a", "b", "c", "d", "e", "f"]);
    assert!(rebuilt);
}

#[test]
fn a_follower_without_credit_falls_behind_and_misses_nothing() {
    let mut world = World::new();
    let conn = world.connect();
    world.say(conn, rebuild(true, 1));
    for id in ["a", "b", "c"] {
        world.note(id, "k");
    }
    assert_eq!(played(world.heard(conn)).0, Vec::<String>::new());
    world.say(conn, Credit { request: Some(1), credit: 10 });
    assert_eq!(played(world.heard(conn)).0, ["a", "b", "c"]);
}

#[test]
fn hydration_reads_a_keys_events_after_a_version_and_tells_its_head() {
    let mut world = World::new();
    for id in ["a", "b", "c"] {
        world.note(id, "k");
    }
    let conn = world.connect();
    let what = ReadWhat::Key { key: Key::of("k"), after: Version(1), types: vec![] };
    world.say(conn, Read { request: 9, what });
    let frames = world.heard(conn);
    let [FromBus::Events(events)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(events.request, 9);
    assert_eq!(events.events.iter().map(|event| event.version.0).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(events.heads[0].version, Version(3));
    assert!(!events.more);
}
