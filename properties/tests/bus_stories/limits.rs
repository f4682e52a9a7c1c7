//! Every limit is reached by a story: beyond it there is a clear error or back-pressure, never a drop.

use std::time::Duration;

use dacapo_core::{
    Data, EventType, Key, Limits, Receipt, Refusal, ServiceName,
    limits::{BATCH_EVENTS_MAX, BATCH_GUARDS_MAX, DATA_BYTES_MAX, TYPES_PER_KEY_MAX, TYPES_PER_SERVICE_MAX},
    wire::{ErrorCode, FromBus, Hello, Publish, Read, ReadWhat, Rebuild, Start},
};

use crate::world::{World, at, event, guard};

fn refusal(receipt: &Receipt) -> Refusal {
    match receipt {
        Receipt::Refused { reason, .. } => *reason,
        other => panic!("{other:?} is not refused"),
    }
}

#[test]
fn connections_max() {
    let mut world = World::with(|limits| limits.connections_max = 1);
    let first = world.connect();
    let second = world.connect();
    assert_eq!(world.errors(second), [ErrorCode::LimitReached]);
    assert_eq!(world.closed, [second]);
    assert!(world.heard(first).is_empty());
}

#[test]
fn services_max() {
    let mut world = World::with(|limits| limits.services_max = 1);
    world.instance("one", "i", 1);
    let second = world.instance("two", "i", 1);
    assert_eq!(world.errors(second)[0], ErrorCode::LimitReached);
}

#[test]
fn instances_per_service_max() {
    let mut world = World::with(|limits| limits.instances_per_service_max = 1);
    world.instance("one", "a", 1);
    let second = world.instance("one", "b", 1);
    assert_eq!(world.errors(second)[0], ErrorCode::LimitReached);
}

#[test]
fn heartbeat_deadline() {
    let mut world = World::new();
    let silent = world.connect();
    world.pass(Limits::default().heartbeat_deadline.mul_f64(0.99));
    assert!(world.closed.is_empty());
    world.pass(Limits::default().heartbeat_deadline.mul_f64(0.01));
    assert_eq!(world.errors(silent), [ErrorCode::Silent]);
    assert_eq!(world.closed, [silent]);
}

#[test]
fn credit_max_and_credit() {
    let mut world = World::with(|limits| limits.credit_max = 2);
    let conn = world.instance("one", "a", 1_000);
    let granted = world.heard(conn).into_iter().find_map(|frame| match frame {
        FromBus::Welcome(welcome) => Some(welcome.credit),
        _ => None,
    });
    assert_eq!(granted, Some(2));
    for index in 0..5 {
        world.note(&format!("e{index}"), &format!("k{index}"));
    }
    let open = world.delivered(conn);
    assert_eq!(open.len(), 2);
    world.nack(conn, &open[0]);
    assert_eq!(world.delivered(conn).len(), 1, "the credit of a nacked delivery comes back");
    world.credit(conn, 1);
    world.complete(conn, &open[1], vec![]);
    assert!(world.delivered(conn).is_empty(), "one is open, and one may be");
}

#[test]
fn lane_open_max() {
    let mut world = World::with(|limits| limits.lane_open_max = 2);
    let conn = world.instance("one", "a", 8);
    for id in ["a", "b", "c"] {
        world.note(id, "k");
    }
    let open = world.delivered(conn);
    assert_eq!(open.iter().map(|it| it.event.version.0).collect::<Vec<_>>(), [1, 2]);
    world.complete(conn, &open[1], vec![]);
    assert_eq!(world.errors(conn), [ErrorCode::OutOfTurn], "a lane's deliveries are completed in order");
    world.nack(conn, &open[0]);
    world.pass(Limits::default().backoff_first);
    let again = world.versions(conn);
    assert_eq!(again, [1], "behind a failed event nothing is delivered");
}

#[test]
fn backoff_doubles_up_to_its_limit() {
    let mut world = World::with(|limits| {
        limits.failures_max = 100;
        limits.backoff_first = Duration::from_millis(100);
        limits.backoff_max = Duration::from_millis(350);
    });
    let conn = world.instance("one", "a", 8);
    world.note("a", "k");
    for wait_ms in [100, 200, 350, 350] {
        let deliver = world.delivered(conn).remove(0);
        world.nack(conn, &deliver);
        world.pass(Duration::from_millis(wait_ms - 1));
        assert!(world.heard(conn).is_empty(), "not before {wait_ms} ms");
        world.pass(Duration::from_millis(1));
    }
}

#[test]
fn disconnects_max() {
    let mut world = World::with(|limits| limits.disconnects_max = 3);
    world.note("killer", "k");
    for life in 1..=3 {
        let conn = world.connect();
        world.hello(conn, "one", "a", life, 8);
        world.say(conn, dacapo_core::wire::Ready {});
        assert_eq!(world.delivered(conn).len(), 1, "life {life}");
        world.input(dacapo_core::bus::Input::Disconnected { conn });
        world.pass(Limits::default().grace);
    }
    assert_eq!(world.system_events().iter().filter(|it| *it == "$Parked").count(), 1);
}

#[test]
fn service_pending_max_and_lane_pending_max_leave_the_rest_in_the_log_and_lose_nothing() {
    let mut world = World::with(|limits| {
        limits.service_pending_max = 4;
        limits.lane_pending_max = 2;
        limits.read_page_events = 3;
    });
    for index in 0..30 {
        world.note(&format!("e{index}"), &format!("k{}", index % 3));
    }
    let conn = world.instance("one", "a", 2);
    let mut seen: Vec<(Key, u64)> = Vec::new();
    let mut open: std::collections::VecDeque<_> = world.delivered(conn).into();
    while let Some(deliver) = open.pop_front() {
        seen.push((deliver.event.key.clone(), deliver.event.version.0));
        world.complete(conn, &deliver, vec![]);
        open.extend(world.delivered(conn));
    }
    assert_eq!(seen.len(), 30);
    assert_eq!(world.log.undone(&ServiceName::of("one")).count(), 0);
    for key in ["k0", "k1", "k2"] {
        let versions: Vec<u64> =
            seen.iter().filter(|(of, _)| of.as_str() == key).map(|(_, version)| *version).collect();
        assert!(versions.is_sorted(), "{key}: {versions:?}");
    }
}

#[test]
fn frontier_lag_max() {
    let mut world = World::with(|limits| limits.frontier_lag_max = 3);
    let conn = world.instance("one", "a", 1);
    world.note("slow", "k");
    world.heard(conn);
    for index in 0..6 {
        world.note(&format!("e{index}"), &format!("k{index}"));
    }
    assert!(world.log.lane(&ServiceName::of("one"), &Key::of("k")).is_some(), "the slow lane is on the list");
}

#[test]
fn idle_lanes_max_and_idle_lanes_moved_max() {
    let mut world = World::with(|limits| {
        limits.idle_lanes_max = 4;
        limits.idle_lanes_moved_max = 1;
    });
    let one = world.instance("s", "one", 8);
    for index in 0..6 {
        world.note(&format!("e{index}"), &format!("k{index}"));
        let deliver = world.delivered(one).remove(0);
        world.complete(one, &deliver, vec![]);
    }
    world.heard(one);
    let two = world.instance("s", "two", 8);
    world.heard(two);
    for index in 2..6 {
        world.note(&format!("f{index}"), &format!("k{index}"));
    }
    assert_eq!(world.delivered(two).len(), 1, "one idle lane moved, gently");
    assert_eq!(world.delivered(one).len(), 3);
}

#[test]
fn heads_max_and_recent_events_max_forget_and_ask_the_store() {
    let mut world = World::with(|limits| {
        limits.heads_max = 1;
        limits.recent_events_max = 1;
    });
    for index in 0..5 {
        world.note(&format!("e{index}"), &format!("k{index}"));
    }
    assert!(matches!(world.note("e0", "k0"), Receipt::Duplicate { .. }));
    let receipt = world.publish(vec![crate::world::expecting("x", "k1", 0)]).remove(0);
    assert!(matches!(receipt, Receipt::Inconsistent { .. }), "{receipt:?}");
}

#[test]
fn commit_events_max() {
    let mut world = World::with(|limits| limits.commit_events_max = 2);
    world.hold_commits = true;
    let conn = world.connect();
    for index in 0..6 {
        world.publish_on(conn, vec![event(&format!("e{index}"), "k")], vec![]);
    }
    world.release();
    assert_eq!(world.log.events().len(), 6);
    assert_eq!(world.heard(conn).len(), 6);
}

#[test]
fn publishes_waiting_max_throttles_in_order_until_resume() {
    let mut world = World::with(|limits| limits.publishes_waiting_max = 2);
    world.hold_look_ups = true;
    let conn = world.connect();
    for index in 0..2 {
        assert!(world.publish_on(conn, vec![event(&format!("e{index}"), "k")], vec![]).is_empty());
    }
    assert_eq!(world.publish_on(conn, vec![event("e2", "k")], vec![]), [Receipt::Throttled]);
    assert_eq!(world.publish_on(conn, vec![event("e3", "k")], vec![]), [Receipt::Throttled]);
    world.release();
    let frames = world.heard(conn);
    assert!(frames.iter().any(|frame| matches!(frame, FromBus::Resume(_))), "{frames:?}");
    assert!(matches!(world.publish_on(conn, vec![event("e2", "k")], vec![])[..], [Receipt::Accepted { .. }]));
}

#[test]
fn publishes_waiting_bytes_max() {
    let mut world = World::with(|limits| limits.publishes_waiting_bytes_max = 1_000);
    world.hold_look_ups = true;
    let conn = world.connect();
    let large = || {
        let mut large = event("large", "k");
        large.data = Data::of(&"x".repeat(900));
        large
    };
    assert!(world.publish_on(conn, vec![large()], vec![]).is_empty(), "the first may wait, however large");
    assert_eq!(world.publish_on(conn, vec![event("small", "k")], vec![]), [Receipt::Throttled]);
}

#[test]
fn reads_per_connection_max_and_streams_per_connection_max() {
    let mut world = World::with(|limits| {
        limits.reads_per_connection_max = 0;
        limits.streams_per_connection_max = 1;
    });
    let conn = world.connect();
    let what = ReadWhat::Keys { after: None };
    world.say(conn, Read { request: 1, what });
    assert_eq!(world.errors(conn), [ErrorCode::LimitReached]);
    for request in [1, 2] {
        world.say(conn, Rebuild { request, after: at(0), types: vec![], follow: true, credit: 1 });
    }
    assert_eq!(world.errors(conn), [ErrorCode::LimitReached]);
}

#[test]
fn what_one_batch_may_be() {
    let mut world = World::new();
    let many: Vec<_> = (0..=BATCH_EVENTS_MAX).map(|index| event(&format!("e{index}"), "k")).collect();
    assert_eq!(refusal(&world.publish(many)[0]), Refusal::BatchTooLarge);
    let conn = world.connect();
    let guards = (0..=BATCH_GUARDS_MAX).map(|index| guard(&format!("g{index}"), 0)).collect();
    assert_eq!(refusal(&world.publish_on(conn, vec![event("a", "k")], guards)[0]), Refusal::BatchTooLarge);
    let mut large = event("large", "k");
    large.data = Data::of(&"x".repeat(DATA_BYTES_MAX));
    assert_eq!(refusal(&world.publish(vec![large])[0]), Refusal::DataTooLarge);
    world.say(conn, Publish { request: 99, events: vec![], guards: vec![] });
    assert!(world.log.events().is_empty());
}

#[test]
fn types_per_key_max() {
    let mut world = World::new();
    for index in 0..=TYPES_PER_KEY_MAX {
        let mut typed = event(&format!("e{index}"), "k");
        typed.event_type = EventType::of(format!("Type{index}"));
        let receipt = world.publish(vec![typed]).remove(0);
        if index < TYPES_PER_KEY_MAX {
            assert!(matches!(receipt, Receipt::Accepted { .. }), "{index}: {receipt:?}");
        } else {
            assert_eq!(refusal(&receipt), Refusal::TooManyTypes);
        }
    }
}

#[test]
fn types_per_service_max() {
    let mut world = World::new();
    let conn = world.connect();
    let hello = Hello {
        service: ServiceName::of("s"),
        instance: dacapo_core::InstanceName::of("i"),
        incarnation: 1,
        types: (0..=TYPES_PER_SERVICE_MAX).map(|index| EventType::of(format!("T{index}"))).collect(),
        start: Start::Beginning,
        credit: 1,
        bearer: None,
    };
    world.say(conn, hello);
    assert_eq!(world.errors(conn), [ErrorCode::LimitReached]);
}
