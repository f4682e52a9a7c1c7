//! Lanes: stickiness, order, completions, failures, parking, and who owns what after which misfortune.

use std::time::Duration;

use dacapo_core::{
    Attributes, Expectation, Key, Limits, NewEvent, ServiceName, Version,
    bus::{Admin, AdminAnswer, Input},
    wire::{Bye, Complete, ErrorCode, Extend, FromBus, Start},
};

use crate::world::{World, at, event, expecting, guard, produced};

fn accounts() -> ServiceName {
    ServiceName::of("accounts")
}

#[test]
fn spreads_keys_round_robin_and_keeps_each_with_its_owner() {
    let mut world = World::new();
    let one = world.instance("accounts", "one", 8);
    let two = world.instance("accounts", "two", 8);
    for (id, key) in [("a", "k1"), ("b", "k2"), ("c", "k3"), ("d", "k4")] {
        world.note(id, key);
    }
    let (to_one, to_two) = (world.delivered(one), world.delivered(two));
    assert_eq!((to_one.len(), to_two.len()), (2, 2));
    for (conn, deliveries) in [(one, &to_one), (two, &to_two)] {
        for deliver in deliveries {
            world.complete(conn, deliver, vec![]);
        }
    }
    world.heard(one);
    world.heard(two);
    for (index, deliver) in to_one.iter().enumerate() {
        world.note(&format!("again-{index}"), deliver.event.key.as_str());
    }
    assert_eq!(world.delivered(one).len(), 2, "an idle lane sticks to its owner");
    assert!(world.delivered(two).is_empty());
}

#[test]
fn delivers_the_next_of_a_lane_only_when_the_one_before_is_durably_completed() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    world.note("b", "k");
    let first = world.delivered(conn);
    assert_eq!(first.len(), 1);
    world.hold_commits = true;
    world.complete(conn, &first[0], vec![]);
    assert!(world.heard(conn).is_empty(), "nothing is said before the commit");
    world.release();
    let frames = world.heard(conn);
    assert!(matches!(frames[..], [FromBus::Completed(_), FromBus::Deliver(_)]), "{frames:?}");
}

#[test]
fn a_completion_and_what_it_produced_are_one_commit_with_correlation_and_cause_set_by_the_bus() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    let deliver = world.delivered(conn).remove(0);
    world.complete(conn, &deliver, vec![produced("b", "k2")]);
    let answered = world.log.events().last().expect("there are events");
    assert_eq!(answered.id.as_str(), "b");
    assert_eq!(answered.causation, Some(dacapo_core::EventId::of("a")));
    assert_eq!(answered.correlation, deliver.event.correlation);
    assert_eq!(answered.source.as_str(), "accounts");
}

#[test]
fn a_trace_goes_on_in_what_the_handling_produced_unless_that_names_another() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    let in_trace = |trace| Attributes::default().with("traceparent", trace).expect("is an attribute");
    world.publish(vec![NewEvent { attributes: in_trace("t-1"), ..event("a", "k") }]);
    let deliver = world.delivered(conn).remove(0);
    assert_eq!(deliver.event.attributes.get("traceparent"), Some("t-1"));
    let other = NewEvent { attributes: in_trace("t-2"), ..produced("c", "k2") };
    world.complete(conn, &deliver, vec![produced("b", "k2"), other]);
    let traces: Vec<_> = world.log.events().iter().map(|event| event.attributes.get("traceparent")).collect();
    assert_eq!(traces[traces.len() - 2..], [Some("t-1"), Some("t-2")]);
    // The same batch in another trace is the same batch.
    let again = world.publish(vec![NewEvent { attributes: in_trace("t-3"), ..event("a", "k") }]);
    assert!(matches!(again[..], [dacapo_core::Receipt::Duplicate { .. }]), "{again:?}");
}

#[test]
fn a_bus_that_drains_delivers_nothing_more_and_takes_answers() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    let deliver = world.delivered(conn).remove(0);
    assert_eq!(world.bus.open_deliveries(), 1);
    world.input(Input::Drain);
    world.note("b", "k");
    world.note("c", "k2");
    world.complete(conn, &deliver, vec![produced("d", "k3")]);
    let frames = world.heard(conn);
    assert!(matches!(frames[..], [FromBus::Completed(_)]), "{frames:?}");
    assert_eq!(world.bus.open_deliveries(), 0, "it may end now");
    world.restart();
    let conn = world.instance("accounts", "one", 8);
    let mut delivered: Vec<_> =
        world.delivered(conn).into_iter().map(|it| (it.event.id.to_string(), it.token.attempt)).collect();
    delivered.sort();
    assert_eq!(delivered, [("b".to_owned(), 1), ("c".to_owned(), 1)], "each for the first time");
}

#[test]
fn a_completion_that_is_sent_again_is_told_what_the_log_holds() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    let deliver = world.delivered(conn).remove(0);
    world.complete(conn, &deliver, vec![produced("b", "k2")]);
    world.heard(conn);
    world.complete(conn, &deliver, vec![produced("b-otherwise", "k2")]);
    assert_eq!(already(&world.heard(conn)), ["b"]);
    // After a restart it is not in the bus's memory any more, but in the store.
    world.restart();
    let conn = world.connect();
    world.hello(conn, "accounts", "one", 1, 8);
    world.heard(conn);
    world.complete(conn, &deliver, vec![]);
    assert_eq!(already(&world.heard(conn)), ["b"]);
}

/// The ids of what a completion that was already made had produced.
fn already(frames: &[FromBus]) -> Vec<&str> {
    match frames {
        [FromBus::Completed(completed)] if completed.already => {
            completed.produced.iter().map(|produced| produced.id.as_str()).collect()
        }
        other => panic!("{other:?} does not say that it was completed already"),
    }
}

#[test]
fn a_conflict_tells_the_heads_and_keeps_the_delivery_open() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    let deliver = world.delivered(conn).remove(0);
    world.note("b", "read");
    let complete = Complete {
        position: deliver.event.position,
        token: deliver.token,
        events: vec![produced("c", "k2")],
        guards: vec![guard("read", 0)],
    };
    world.heard(conn);
    world.say(conn, complete.clone());
    let frames = world.heard(conn);
    let conflict = frames.iter().find_map(|frame| if let FromBus::Conflict(it) = frame { Some(it) } else { None });
    let heads = &conflict.expect("a conflict").heads;
    assert!(heads.iter().any(|head| head.key.as_str() == "read" && head.version == Version(1)), "{heads:?}");
    world.say(conn, Complete { guards: vec![guard("read", 1)], ..complete });
    assert!(matches!(world.heard(conn)[..], [FromBus::Completed(_), ..]));
}

#[test]
fn a_conflict_without_progress_counts_as_a_failure() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    let deliver = world.delivered(conn).remove(0);
    let mut impossible = produced("c", "k2");
    impossible.expectation = Expectation::Version(Version(9));
    world.complete(conn, &deliver, vec![impossible.clone()]);
    assert!(matches!(world.heard(conn)[..], [FromBus::Conflict(_)]));
    world.complete(conn, &deliver, vec![impossible]);
    assert!(matches!(world.heard(conn)[..], [FromBus::Fenced(_)]));
    assert_eq!(world.log.lane(&accounts(), &Key::of("k")).expect("it is behind").failures, 1);
}

#[test]
fn a_failed_event_comes_again_after_its_backoff_and_nothing_of_its_lane_before() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    world.note("b", "k");
    let deliver = world.delivered(conn).remove(0);
    world.nack(conn, &deliver);
    world.note("c", "other");
    assert_eq!(world.delivered(conn).iter().map(|it| it.event.key.to_string()).collect::<Vec<_>>(), ["other"]);
    world.pass(Limits::default().backoff_first);
    let again = world.delivered(conn);
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].event.version.0, again[0].token.attempt), (1, 2));
    world.complete(conn, &again[0], vec![]);
    assert_eq!(world.versions(conn), [2]);
}

#[test]
fn parks_a_lane_after_failures_max_and_retries_or_skips_it_on_request() {
    let mut world = World::with(|limits| limits.failures_max = 3);
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    world.note("b", "k");
    let fail = |world: &mut World, times: usize| {
        for _ in 0..times {
            world.pass(Duration::from_secs(1));
            let deliver = world.delivered(conn).remove(0);
            world.nack(conn, &deliver);
        }
    };
    fail(&mut world, 3);
    world.pass(Duration::from_secs(3));
    assert!(world.delivered(conn).is_empty(), "a parked lane delivers nothing");
    assert_eq!(world.system_events().last().map(String::as_str), Some("$Parked"));
    let key = Key::of("k");
    let answer = world.admin(Admin::Retry { service: accounts(), key: key.clone() });
    assert!(matches!(answer, AdminAnswer::Done(_)), "{answer:?}");
    fail(&mut world, 3);
    world.pass(Duration::from_secs(3));
    let answer = world.admin(Admin::Skip { service: accounts(), key });
    assert!(matches!(answer, AdminAnswer::Done(_)), "{answer:?}");
    assert_eq!(world.versions(conn), [2], "behind a skipped event the lane goes on");
    let audited: Vec<String> = world.system_events().into_iter().filter(|it| it != "$Parked").collect();
    assert_eq!(audited, ["$ServiceRegistered", "$Retried", "$Skipped"]);
}

#[test]
fn a_parked_lane_stays_parked_over_a_restart() {
    let mut world = World::with(|limits| limits.failures_max = 1);
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    let deliver = world.delivered(conn).remove(0);
    world.nack(conn, &deliver);
    world.restart();
    let conn = world.instance("accounts", "one", 8);
    world.pass(Duration::from_secs(3));
    assert!(world.delivered(conn).is_empty());
    world.note("b", "other");
    assert_eq!(world.delivered(conn).len(), 1, "other lanes go on");
}

#[test]
fn what_is_not_completed_is_delivered_again_after_a_restart_and_what_is_completed_is_not() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k1");
    world.note("b", "k2");
    let deliveries = world.delivered(conn);
    world.complete(conn, &deliveries[0], vec![]);
    world.restart();
    let conn = world.instance("accounts", "one", 8);
    let again = world.delivered(conn);
    assert_eq!(again.iter().map(|it| it.event.id.as_str()).collect::<Vec<_>>(), ["b"]);
    assert!(again[0].token.term > deliveries[1].token.term);
}

#[test]
fn an_instance_that_goes_for_good_hands_its_lanes_on_in_order_under_a_higher_epoch() {
    let mut world = World::new();
    let one = world.instance("accounts", "one", 8);
    world.note("a", "k");
    world.note("b", "k");
    let first = world.delivered(one).remove(0);
    let two = world.instance("accounts", "two", 8);
    world.input(dacapo_core::bus::Input::Disconnected { conn: one });
    assert!(world.delivered(two).is_empty(), "within its grace it may come back");
    world.pass(Limits::default().grace);
    let again = world.delivered(two);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].event.id, first.event.id);
    assert!(again[0].token.epoch > first.token.epoch);
    // The zombie comes back and completes what is no longer its own.
    let zombie = world.connect();
    world.hello(zombie, "accounts", "one", 1, 8);
    world.heard(zombie);
    world.complete(zombie, &first, vec![produced("evil", "k9")]);
    assert!(matches!(world.heard(zombie)[..], [FromBus::Fenced(_)]));
    assert!(world.log.events().iter().all(|event| event.id.as_str() != "evil"));
}

#[test]
fn a_reconnect_within_the_grace_keeps_the_lanes_and_voids_the_old_tokens() {
    let mut world = World::new();
    let before = world.instance("accounts", "one", 8);
    let other = world.instance("accounts", "two", 8);
    world.note("a", "k");
    let first = world.delivered(before).remove(0);
    world.input(dacapo_core::bus::Input::Disconnected { conn: before });
    let after = world.instance("accounts", "one", 8);
    let again = world.delivered(after).remove(0);
    assert_eq!((again.token.epoch, again.token.attempt), (first.token.epoch, 2));
    assert!(world.delivered(other).is_empty());
    world.complete(after, &first, vec![]);
    assert!(matches!(world.heard(after)[..], [FromBus::Fenced(_)]));
    world.complete(after, &again, vec![]);
    assert!(matches!(world.heard(after)[..], [FromBus::Completed(_)]));
}

#[test]
fn another_incarnation_is_refused_while_the_first_lives_and_takes_over_when_it_is_away() {
    let mut world = World::new();
    let first = world.instance("accounts", "one", 8);
    let second = world.connect();
    world.hello(second, "accounts", "one", 2, 8);
    assert_eq!(world.errors(second), [ErrorCode::InstanceAlive]);
    world.input(dacapo_core::bus::Input::Disconnected { conn: first });
    let third = world.connect();
    world.hello(third, "accounts", "one", 2, 8);
    assert!(matches!(world.heard(third)[..], [FromBus::Welcome(_)]));
}

#[test]
fn a_delivery_without_an_answer_goes_to_another_owner_after_its_deadline_unless_it_is_extended() {
    let deadline = Duration::from_secs(4);
    let mut world = World::with(|limits| limits.delivery_deadline = deadline);
    let hung = world.instance("accounts", "hung", 8);
    world.note("a", "k");
    let deliver = world.delivered(hung).remove(0);
    world.pass(deadline / 2);
    world.say(hung, Extend { position: deliver.event.position, token: deliver.token });
    world.pass(deadline * 3 / 4);
    assert!(world.heard(hung).is_empty(), "it was extended");
    let healthy = world.instance("accounts", "healthy", 8);
    world.pass(deadline / 4 + Limits::default().backoff_first);
    assert!(matches!(world.heard(hung)[..], [FromBus::Fenced(_)]), "the hung instance is told");
    let ping = |world: &mut World| world.say(healthy, dacapo_core::wire::Ping { nonce: 1 });
    ping(&mut world);
    assert_eq!(world.delivered(healthy).len() + world.delivered(hung).len(), 1);
}

#[test]
fn an_extend_of_a_delivery_behind_the_first_gives_the_first_no_time() {
    let deadline = Duration::from_secs(4);
    let mut world = World::with(|limits| {
        limits.delivery_deadline = deadline;
        limits.lane_open_max = 2;
    });
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    world.note("b", "k");
    let open = world.delivered(conn);
    world.pass(deadline / 2);
    world.say(conn, Extend { position: open[1].event.position, token: open[1].token });
    world.pass(deadline / 2);
    assert!(matches!(world.heard(conn)[..], [FromBus::Fenced(_), FromBus::Fenced(_)]));
}

#[test]
fn bye_moves_the_lanes_at_once() {
    let mut world = World::new();
    let one = world.instance("accounts", "one", 8);
    world.note("a", "k");
    world.heard(one);
    let two = world.instance("accounts", "two", 8);
    world.say(one, Bye {});
    assert_eq!(world.delivered(two).len(), 1);
    assert!(world.closed.contains(&one));
}

#[test]
fn a_silent_instance_loses_its_lanes() {
    let mut world = World::new();
    let silent = world.instance("accounts", "silent", 8);
    world.note("a", "k");
    world.heard(silent);
    let limits = Limits::default();
    world.pass(limits.heartbeat_deadline);
    assert!(world.closed.contains(&silent));
    let other = world.instance("accounts", "other", 8);
    world.pass(limits.grace);
    assert_eq!(world.delivered(other).len(), 1);
}

#[test]
fn a_service_that_registers_late_begins_where_it_asks() {
    for (start, expected) in [(Start::Beginning, 3), (Start::Now, 1)] {
        let mut world = World::new();
        world.note("a", "k1");
        world.note("b", "k2");
        let conn = world.connect();
        let hello = dacapo_core::wire::Hello {
            service: accounts(),
            instance: dacapo_core::InstanceName::of("one"),
            incarnation: 1,
            types: vec![dacapo_core::EventType::of("Noted")],
            start,
            credit: 8,
            bearer: None,
        };
        world.say(conn, hello);
        world.say(conn, dacapo_core::wire::Ready {});
        world.note("c", "k3");
        assert_eq!(world.delivered(conn).len(), expected, "{start:?}");
    }
}

#[test]
fn an_added_type_counts_from_the_beginning_when_asked_and_nothing_is_completed_twice() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    let mut other_type = event("a", "k");
    other_type.event_type = dacapo_core::EventType::of("Other");
    world.publish(vec![other_type]);
    world.note("b", "k");
    let deliver = world.delivered(conn).remove(0);
    world.complete(conn, &deliver, vec![]);
    let types = vec![dacapo_core::EventType::of("Noted"), dacapo_core::EventType::of("Other")];
    let change = Admin::ChangeTypes { service: accounts(), types: types.clone(), start: Start::Beginning };
    assert!(matches!(world.admin(change), AdminAnswer::Done(_)));
    assert!(world.closed.contains(&conn), "its instances come back with the new types");
    let conn = world.connect();
    world.hello(conn, "accounts", "one", 1, 8);
    assert_eq!(world.errors(conn), [ErrorCode::TypesDiffer]);
    let conn = world.connect();
    let hello = dacapo_core::wire::Hello {
        service: accounts(),
        instance: dacapo_core::InstanceName::of("one"),
        incarnation: 1,
        types,
        start: Start::Beginning,
        credit: 8,
        bearer: None,
    };
    world.say(conn, hello);
    world.say(conn, dacapo_core::wire::Ready {});
    let delivered = world.delivered(conn);
    assert_eq!(delivered.iter().map(|it| it.event.id.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_delivery_names_the_previous_version_of_the_services_types() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    let mut other_type = event("b", "k");
    other_type.event_type = dacapo_core::EventType::of("Other");
    world.publish(vec![other_type]);
    world.publish(vec![expecting("c", "k", 2)]);
    let first = world.delivered(conn).remove(0);
    assert_eq!(first.previous, Version(0));
    world.complete(conn, &first, vec![]);
    let second = world.delivered(conn).remove(0);
    assert_eq!((second.event.version, second.previous), (Version(3), Version(1)));
    assert_eq!(second.event.position, at(4), "after the registration, a and b");
}
