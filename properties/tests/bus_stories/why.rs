//! Why a lane stands still: each cause is reached, and told.

use std::time::Duration;

use dacapo_core::{
    EventType, Key, ServiceName,
    bus::{Admin, AdminAnswer},
    store::{LookUp, Read},
    why::{self, Cause, Ground, LaneFacts, Why},
    wire::{Complete, Start},
};

use crate::world::{World, event, guard};

fn facts(world: &mut World) -> LaneFacts {
    match world.admin(Admin::Lane { service: ServiceName::of("accounts"), key: Key::of("k") }) {
        AdminAnswer::Lane(facts) => *facts,
        other => panic!("{other:?} tells no lane"),
    }
}

/// The bus's facts on the log's ground, as the server puts them together.
fn why(world: &mut World) -> Why {
    let facts = facts(world);
    explained(world, &facts)
}

/// What a file would tell: the records only.
fn why_of_file(world: &mut World) -> Why {
    let recovered = world.log.clone().recover();
    let lane = recovered.lanes.into_iter().find(|lane| lane.key.as_str() == "k");
    let service = recovered.services.into_iter().next().expect("is registered");
    let facts = LaneFacts::of_records(service, Key::of("k"), lane);
    explained(world, &facts)
}

fn explained(world: &World, facts: &LaneFacts) -> Why {
    let found = world.log.look_up(&LookUp { heads: vec![Key::of("k")], ..LookUp::default() });
    let head = found.heads[&Key::of("k")].clone();
    let page = world.log.read(&facts.read(&head));
    why::explain(facts, &Ground::of(head, found.read_at, page))
}

#[test]
fn nobody_there_rebuilding_delivered_and_done_are_told_apart() {
    let mut world = World::new();
    let conn = world.connect();
    world.hello(conn, "accounts", "one", 1, 8);
    assert_eq!(why(&mut world).cause, Cause::NoEvents);
    world.note("a", "k");
    world.note("b", "k");
    let rebuilding = why(&mut world);
    assert_eq!(rebuilding.cause, Cause::Rebuilding, "{rebuilding:?}");
    assert!(rebuilding.why.contains("event that is not done is a (Noted, version 1"), "{}", rebuilding.why);
    assert!(rebuilding.why.contains("One later event"), "{}", rebuilding.why);

    world.say(conn, dacapo_core::wire::Ready {});
    world.pass(Duration::from_secs(3));
    let delivered = why(&mut world);
    assert_eq!((delivered.cause, delivered.waiting), (Cause::Delivered, 2), "{delivered:?}");
    assert!(delivered.why.contains("delivered to one since 3.0 s, attempt 1"), "{}", delivered.why);
    assert!(delivered.why.contains("loses the lane in 27 s"), "{}", delivered.why);

    world.hold_commits = true;
    let deliver = world.delivered(conn).remove(0);
    world.complete(conn, &deliver, vec![]);
    // The answer to the question waits for the commit, too; then the next event is out.
    world.release();
    assert_eq!(why(&mut world).next_version, Some(dacapo_core::Version(2)));
    let deliver = world.delivered(conn).remove(0);
    world.complete(conn, &deliver, vec![]);
    let idle = why(&mut world);
    assert_eq!((idle.cause, idle.waiting), (Cause::Idle, 0), "{idle:?}");
    assert_eq!(why_of_file(&mut world).cause, Cause::Idle);

    world.say(conn, dacapo_core::wire::Bye {});
    world.note("c", "k");
    assert_eq!(why(&mut world).cause, Cause::NoInstance);
    assert_eq!(why_of_file(&mut world).cause, Cause::NotInTheFile);
}

#[test]
fn a_lane_that_failed_backs_off_and_then_is_parked_with_its_reason() {
    let mut world = World::with(|limits| limits.failures_max = 2);
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    let deliver = world.delivered(conn).remove(0);
    world.nack(conn, &deliver);
    let backing_off = why(&mut world);
    assert_eq!((backing_off.cause, backing_off.failures), (Cause::BackingOff, 1), "{backing_off:?}");
    assert!(backing_off.why.contains("delivered again in 0.1 s. After 2 failures"), "{}", backing_off.why);

    world.pass(Duration::from_secs(1));
    let deliver = world.delivered(conn).remove(0);
    world.nack(conn, &deliver);
    for parked in [why(&mut world), why_of_file(&mut world)] {
        assert_eq!((parked.cause, parked.failures), (Cause::Parked, 2), "{parked:?}");
        assert!(parked.why.contains("failed 2 times, the last time because: it does not work"), "{}", parked.why);
        assert!(parked.help.contains("/v1/services/accounts/lanes/k/retry"), "{}", parked.help);
    }
}

#[test]
fn a_conflict_names_the_keys_that_moved() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    let deliver = world.delivered(conn).remove(0);
    world.publish(vec![dacapo_core::NewEvent { event_type: EventType::of("Rated"), ..event("r", "rate") }]);
    let complete = Complete {
        position: deliver.event.position,
        token: deliver.token,
        events: vec![],
        guards: vec![guard("rate", 0)],
    };
    world.say(conn, complete);
    let conflict = why(&mut world);
    assert_eq!(conflict.cause, Cause::Conflict, "{conflict:?}");
    assert!(conflict.why.contains("rate at 1"), "{}", conflict.why);
}

#[test]
fn a_service_without_credit_and_one_that_takes_other_types_are_told() {
    let mut world = World::new();
    world.instance("accounts", "one", 1);
    world.note("z", "other");
    world.note("a", "k");
    let full = why(&mut world);
    assert_eq!(full.cause, Cause::NoCredit, "{full:?}");

    let types = vec![EventType::of("Paid")];
    world.admin(Admin::ChangeTypes { service: ServiceName::of("accounts"), types, start: Start::Now });
    let other = why(&mut world);
    assert_eq!(other.cause, Cause::NotSubscribed, "{other:?}");
    assert!(other.why.contains("the key has Noted, the service takes Paid"), "{}", other.why);
}

#[test]
fn what_is_read_for_an_answer_is_bounded() {
    let mut world = World::new();
    let conn = world.connect();
    world.hello(conn, "accounts", "one", 1, 8);
    for number in 0..why::WAITING_EVENTS_MAX + 5 {
        world.note(&format!("e-{number}"), "k");
    }
    let many = why(&mut world);
    assert_eq!((many.waiting, many.more), (why::WAITING_EVENTS_MAX, true));
    assert!(many.why.contains("More than 99 later events"), "{}", many.why);
    let Read::Lane { limit, .. } = facts(&mut world).read(&dacapo_core::store::KeyHead::default()) else {
        panic!("is a lane's read")
    };
    assert_eq!(limit, why::WAITING_EVENTS_MAX);
}
