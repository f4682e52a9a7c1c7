//! The edges of the rules, which the other stories pass by: exactly at a limit, exactly between two steps. Each of them
//! notices a change of the bus that nothing else here noticed.

use std::time::Duration;

use dacapo_core::{
    Data, EventType, InstanceName, Key, Limits, NewEvent, Receipt, Refusal, ServiceName, Source, Version,
    bus::{Admin, AdminAnswer, Input, ServiceStatus},
    limits::{BATCH_EVENTS_MAX, BATCH_GUARDS_MAX, DATA_BYTES_MAX, TYPES_PER_SERVICE_MAX},
    store::StoreError,
    wire::{Bye, Credit, ErrorCode, FromBus, Hello, Ping, Read, ReadWhat, Ready, Rebuild, Start},
};

use crate::world::{World, at, event, guard};

fn service() -> ServiceName {
    ServiceName::of("accounts")
}

fn key(name: &str) -> Key {
    Key::of(name.to_owned())
}

/// The service as an administrator sees it.
fn status(world: &mut World) -> ServiceStatus {
    match world.admin(Admin::Services) {
        AdminAnswer::Services(mut services) => services.remove(0),
        other => panic!("{other:?} lists no services"),
    }
}

/// The keys of the lanes that an administrator sees.
fn lanes(world: &mut World, parked: bool) -> Vec<String> {
    match world.admin(Admin::Lanes { service: service(), parked, after: None, limit: 0 }) {
        AdminAnswer::Lanes(lanes) => lanes.into_iter().map(|lane| lane.key.to_string()).collect(),
        other => panic!("{other:?} lists no lanes"),
    }
}

/// The frontier that a restart would begin at.
fn frontier(world: &World) -> u64 {
    world.log.clone().recover().services[0].frontier.0
}

/// What a stream was sent, frame by frame.
fn pages(frames: Vec<FromBus>) -> Vec<Vec<String>> {
    let page = |frame| match frame {
        FromBus::Events(page) => Some(page.events.iter().map(|event| event.id.to_string()).collect()),
        _ => None,
    };
    frames.into_iter().filter_map(page).collect()
}

#[test]
fn parked_lanes_are_listed_alone_only_when_asked() {
    let mut world = World::with(|limits| limits.failures_max = 1);
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k1");
    world.note("b", "k2");
    let first = world.delivered(conn).remove(0);
    world.nack(conn, &first);
    assert_eq!(lanes(&mut world, false), ["k1", "k2"]);
    assert_eq!(lanes(&mut world, true), ["k1"]);
}

#[test]
fn an_id_with_any_other_content_is_refused() {
    let changes: [fn(&mut NewEvent); 4] = [
        |event| event.event_type = EventType::of("Other"),
        |event| event.key = Key::of("other"),
        |event| event.source = Some(Source::of("somebody")),
        |event| event.data = Data::of("other"),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut world = World::new();
        world.note("a", "k");
        let mut other = event("a", "k");
        change(&mut other);
        let receipt = world.publish(vec![other]).remove(0);
        assert!(matches!(receipt, Receipt::Refused { reason: Refusal::IdHasOtherContent, .. }), "{index}: {receipt:?}");
    }
}

#[test]
fn the_largest_batch_is_accepted() {
    let mut world = World::new();
    let conn = world.connect();
    let events = (0..BATCH_EVENTS_MAX).map(|index| event(&format!("e{index}"), "k")).collect();
    let guards = (0..BATCH_GUARDS_MAX).map(|index| guard(&format!("g{index}"), 0)).collect();
    let receipts = world.publish_on(conn, events, guards);
    assert!(matches!(receipts.last(), Some(Receipt::Accepted { .. })), "{:?}", receipts.last());
}

#[test]
fn a_service_may_take_as_many_types_as_the_limit_says() {
    let mut world = World::new();
    world.instance("accounts", "one", 8);
    let types = |count: usize| (0..count).map(|index| EventType::of(format!("T{index}"))).collect();
    let change = |types| Admin::ChangeTypes { service: service(), types, start: Start::Now };
    assert!(matches!(world.admin(change(types(TYPES_PER_SERVICE_MAX))), AdminAnswer::Done(_)));
    assert!(matches!(world.admin(change(types(TYPES_PER_SERVICE_MAX + 1))), AdminAnswer::Error(_)));
}

#[test]
fn a_change_of_types_that_brings_no_past_goes_on_where_the_service_was() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    let deliver = world.delivered(conn).remove(0);
    world.complete(conn, &deliver, vec![]);
    let before = frontier(&world);
    let types = vec![EventType::of("Noted"), EventType::of("Other")];
    world.admin(Admin::ChangeTypes { service: service(), types, start: Start::Now });
    assert_eq!(frontier(&world), before, "what was done is not looked at again");
}

#[test]
fn a_change_of_types_ends_back_offs_and_their_timers() {
    let mut world = World::with(|limits| limits.failures_max = 100);
    let backoff = Limits::default().backoff_first;
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    let deliver = world.delivered(conn).remove(0);
    world.nack(conn, &deliver);
    world.pass(backoff / 2);
    world.admin(Admin::ChangeTypes { service: service(), types: vec![EventType::of("Noted")], start: Start::Now });
    let conn = world.instance("accounts", "one", 8);
    let again = world.delivered(conn).remove(0);
    world.nack(conn, &again);
    world.pass(backoff / 2);
    assert!(world.delivered(conn).is_empty(), "the timer of the former back-off does not end this one");
    world.pass(backoff / 2);
    assert_eq!(world.delivered(conn).len(), 1);
}

#[test]
fn a_new_lane_goes_to_an_instance_that_can_take_it() {
    let mut world = World::new();
    let one = world.instance("accounts", "one", 1);
    let two = world.instance("accounts", "two", 1);
    world.note("a", "k1");
    world.note("b", "k2");
    let second = world.delivered(two).remove(0);
    world.complete(two, &second, vec![]);
    assert_eq!(world.delivered(one).len(), 1, "it is still at work");
    world.heard(two);
    world.note("c", "k3");
    assert_eq!(world.delivered(two).len(), 1, "its turn is not yet, but the other one has no credit");
}

#[test]
fn an_idle_lane_does_not_wait_for_the_next_life_of_its_owner() {
    let mut world = World::new();
    let one = world.instance("accounts", "one", 8);
    world.note("a", "k");
    let first = world.delivered(one).remove(0);
    world.complete(one, &first, vec![]);
    world.say(one, Bye {});
    let again = world.connect();
    world.hello(again, "accounts", "one", 2, 8);
    world.say(again, Ready {});
    world.heard(again);
    world.note("b", "k");
    let second = world.delivered(again).remove(0);
    assert!(second.token.epoch > first.token.epoch, "another life is another owner");
}

#[test]
fn an_instance_that_joins_gets_its_share_of_the_idle_lanes_and_no_more() {
    let mut world = World::new();
    let one = world.instance("accounts", "one", 8);
    for index in 0..3 {
        world.note(&format!("e{index}"), &format!("k{index}"));
        let deliver = world.delivered(one).remove(0);
        world.complete(one, &deliver, vec![]);
    }
    world.instance("accounts", "two", 8);
    let lanes: Vec<usize> = status(&mut world).instances.iter().map(|instance| instance.lanes).collect();
    assert_eq!(lanes, [2, 1]);
}

#[test]
fn a_completion_that_is_sent_again_before_it_is_durable_is_no_stranger() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    let deliver = world.delivered(conn).remove(0);
    world.hold_commits = true;
    world.complete(conn, &deliver, vec![]);
    world.complete(conn, &deliver, vec![]);
    world.release();
    let frames = world.heard(conn);
    let [FromBus::Completed(first), FromBus::Completed(second)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((first.already, second.already), (false, true));
}

#[test]
fn what_is_committed_while_the_last_page_is_read_follows_in_it() {
    let mut world = World::new();
    world.note("a", "k");
    let conn = world.connect();
    world.hold_reads = true;
    world.say(conn, Rebuild { request: 1, after: at(0), types: vec![], follow: true, credit: 9 });
    world.note("b", "k");
    world.release();
    assert_eq!(pages(world.heard(conn)), [["a", "b"]]);
    assert_eq!(world.reads, 1);
}

#[test]
fn what_is_committed_while_an_earlier_page_is_read_waits_for_its_turn() {
    let mut world = World::with(|limits| limits.read_page_events = 2);
    for id in ["a", "b", "c"] {
        world.note(id, "k");
    }
    let conn = world.connect();
    world.hold_reads = true;
    world.say(conn, Rebuild { request: 1, after: at(0), types: vec![], follow: true, credit: 9 });
    world.note("d", "k");
    world.release();
    let told = pages(world.heard(conn));
    assert_eq!(told, [vec!["a", "b"], vec!["c", "d"], vec![]], "an empty page says that this is all");
}

#[test]
fn what_does_not_fit_into_a_page_comes_with_the_next() {
    let mut world = World::with(|limits| limits.read_page_events = 2);
    world.note("a", "k");
    let conn = world.connect();
    world.hold_reads = true;
    world.say(conn, Rebuild { request: 1, after: at(0), types: vec![], follow: true, credit: 9 });
    world.note("b", "k");
    world.note("c", "k");
    world.release();
    let pages = pages(world.heard(conn));
    assert_eq!(pages.concat(), ["a", "b", "c"]);
    assert!(pages.iter().all(|page| page.len() <= 2), "{pages:?}");
}

#[test]
fn no_more_events_of_a_service_are_in_memory_than_may_be() {
    let mut world = World::with(|limits| limits.service_pending_max = 4);
    world.instance("accounts", "one", 1);
    for index in 0..8 {
        world.note(&format!("e{index}"), &format!("k{index}"));
    }
    assert_eq!(status(&mut world).pending, 4);
}

#[test]
fn no_more_events_of_a_lane_are_in_memory_than_may_be() {
    let mut world = World::with(|limits| limits.lane_pending_max = 2);
    world.instance("accounts", "one", 1);
    for id in ["a", "b", "c"] {
        world.note(id, "k");
    }
    let answer = world.admin(Admin::Lanes { service: service(), parked: false, after: None, limit: 0 });
    let AdminAnswer::Lanes(lanes) = answer else { panic!("{answer:?}") };
    assert_eq!((lanes[0].pending, lanes[0].more_in_log), (2, true));
}

#[test]
fn a_publish_that_was_judged_takes_no_room_from_those_that_wait() {
    let mut world = World::with(|limits| limits.publishes_waiting_bytes_max = 1_000);
    let conn = world.connect();
    for index in 0..8 {
        world.publish_on(conn, vec![event(&format!("e{index}"), "k")], vec![]);
    }
    world.hold_look_ups = true;
    assert!(world.publish_on(conn, vec![event("x", "k")], vec![]).is_empty());
    assert!(world.publish_on(conn, vec![event("y", "k")], vec![]).is_empty(), "it is not throttled");
}

#[test]
fn publishers_may_go_on_when_half_of_the_room_is_free_and_not_before() {
    let mut world = World::with(|limits| {
        limits.publishes_waiting_max = 2;
        limits.commit_events_max = 1;
    });
    world.note("warm", "k");
    let conn = world.connect();
    let resumed = |frames: Vec<FromBus>| frames.iter().any(|frame| matches!(frame, FromBus::Resume(_)));
    world.hold_commits = true;
    world.hold_look_ups = true;
    for id in ["a", "b"] {
        world.publish_on(conn, vec![event(id, "k")], vec![]);
    }
    assert_eq!(world.publish_on(conn, vec![event("c", "k")], vec![]), [Receipt::Throttled]);
    assert!(!resumed(world.heard(conn)), "both wait");
    world.release();
    assert!(resumed(world.heard(conn)));
}

#[test]
fn a_lane_is_not_put_on_the_list_before_it_holds_the_frontier_back() {
    let mut world = World::with(|limits| limits.frontier_lag_max = 8);
    world.instance("accounts", "one", 1);
    for index in 0..5 {
        world.note(&format!("e{index}"), &format!("k{index}"));
    }
    assert!(world.log.lane(&service(), &key("k0")).is_none());
}

#[test]
fn the_frontier_follows_what_is_done_so_that_a_restart_reads_nothing_again() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    for id in ["a", "b"] {
        world.note(id, "k");
        let deliver = world.delivered(conn).remove(0);
        world.complete(conn, &deliver, vec![]);
    }
    assert_eq!(frontier(&world), 3, "the registration and both events");
}

#[test]
fn a_delivery_that_its_own_commit_let_go_counts_as_sent() {
    let mut world = World::with(|limits| limits.disconnects_max = 1);
    let conn = world.instance("accounts", "one", 1);
    world.note("first", "k0");
    let first = world.delivered(conn).remove(0);
    world.note("a", "k");
    world.hold_commits = true;
    world.complete(conn, &first, vec![]); // Its commit is under way when the next one is delivered.
    world.release();
    assert_eq!(world.versions(conn), [1]);
    world.input(Input::Disconnected { conn });
    assert!(!world.system_events().contains(&"$Parked".to_owned()), "it may come back within its grace");
    world.pass(Limits::default().grace);
    assert_eq!(world.system_events().iter().filter(|it| *it == "$Parked").count(), 1);
}

#[test]
#[should_panic(expected = "commit 9 was answered")]
fn an_answer_to_a_commit_that_is_not_under_way_is_a_bug_of_the_driver() {
    let mut world = World::new();
    world.hold_commits = true;
    assert!(world.publish(vec![event("a", "k")]).is_empty(), "nothing is answered before it is durable");
    world.input(Input::Committed { sequence: 9 });
}

#[test]
fn a_read_that_fails_stops_the_bus_unless_the_page_itself_is_damaged() {
    let what = || ReadWhat::Key { key: key("k"), after: Version(0), types: vec![] };
    for (error, stops) in [(StoreError::Damaged("rot".into()), false), (StoreError::Io("gone".into()), true)] {
        let mut world = World::new();
        world.note("a", "k");
        let conn = world.connect();
        world.reads_fail = Some(error);
        world.say(conn, Read { request: 1, what: what() });
        assert_eq!(world.stopped.is_some(), stops, "{:?}", world.reads_fail);
        assert_eq!(world.errors(conn).len(), usize::from(!stops));
    }
}

/// In whole microseconds, as the bus counts.
fn third_of_the_heartbeat() -> Duration {
    Duration::from_micros(Limits::default().heartbeat_deadline.as_micros() as u64 / 3)
}

#[test]
fn the_term_is_checked_three_times_within_a_heartbeat_deadline() {
    let world = World::new();
    let due = world.bus.poll_timeout().map(|due| due.since(world.now.monotonic));
    assert_eq!(due, Some(third_of_the_heartbeat()));
}

#[test]
fn the_term_is_checked_again_after_the_same_time() {
    let mut world = World::new();
    let third = third_of_the_heartbeat();
    world.pass(third);
    let due = world.bus.poll_timeout().map(|due| due.since(world.now.monotonic));
    assert_eq!(due, Some(third));
    world.say(dacapo_core::bus::ConnId(99), Credit { request: None, credit: 1 });
    assert!(world.closed.is_empty(), "a frame of a connection that is gone is ignored");
    assert!(third > Duration::ZERO);
}

/// A hello that differs from that of everybody else.
fn hello(service: &str, instance: &str, types: &[&str], start: Start) -> Hello {
    Hello {
        service: ServiceName::of(service.to_owned()),
        instance: InstanceName::of(instance.to_owned()),
        incarnation: 1,
        types: types.iter().map(|name| EventType::of((*name).to_owned())).collect(),
        start,
        credit: 8,
        bearer: None,
    }
}

#[test]
fn a_ping_is_answered_with_its_number() {
    let mut world = World::new();
    let conn = world.connect();
    world.say(conn, Ping { nonce: 7 });
    let frames = world.heard(conn);
    assert!(matches!(&frames[..], [FromBus::Pong(pong)] if pong.nonce == 7), "{frames:?}");
}

#[test]
fn names_of_the_bus_are_nobody_elses() {
    for (service, instance) in [("$accounts", "one"), ("accounts", "$one")] {
        let mut world = World::new();
        let conn = world.connect();
        world.say(conn, hello(service, instance, &["Noted"], Start::Beginning));
        assert_eq!(world.errors(conn), [ErrorCode::Reserved], "{service}, {instance}");
    }
    let mut world = World::new();
    let mut posing = event("a", "k");
    posing.source = Some(Source::of("$bus"));
    let receipt = world.publish(vec![posing]).remove(0);
    assert!(matches!(receipt, Receipt::Refused { reason: Refusal::Reserved, .. }), "{receipt:?}");
}

#[test]
fn a_service_may_name_itself_as_the_source_and_nobody_else() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    let from = |source: &'static str, id| NewEvent { source: Some(Source::of(source)), ..event(id, "k") };
    assert!(matches!(world.publish_on(conn, vec![from("accounts", "a")], vec![])[0], Receipt::Accepted { .. }));
    let receipt = world.publish_on(conn, vec![from("users", "b")], vec![]).remove(0);
    assert!(matches!(receipt, Receipt::Refused { reason: Refusal::Source, .. }), "{receipt:?}");
}

#[test]
fn the_next_life_of_an_instance_that_is_away_is_another_owner() {
    let mut world = World::new();
    let one = world.instance("accounts", "one", 8);
    world.note("a", "k");
    let first = world.delivered(one).remove(0);
    world.input(Input::Disconnected { conn: one });
    let again = world.connect();
    world.hello(again, "accounts", "one", 2, 8);
    world.say(again, Ready {});
    let second = world.delivered(again).remove(0);
    assert!(second.token.epoch > first.token.epoch);
    assert!(world.system_events().contains(&"$OwnerLeft".to_owned()));
}

#[test]
fn a_read_that_was_answered_makes_room_for_the_next() {
    let mut world = World::with(|limits| limits.reads_per_connection_max = 1);
    let conn = world.connect();
    for request in 1..=3 {
        world.say(conn, Read { request, what: ReadWhat::Keys { after: None } });
    }
    assert_eq!(world.heard(conn).len(), 3);
    assert!(world.errors(conn).is_empty());
}

#[test]
fn a_page_of_a_stream_that_ended_is_not_taken_for_one_of_its_successor() {
    let mut world = World::new();
    for id in ["a", "b", "c"] {
        world.note(id, "k");
    }
    let conn = world.connect();
    world.hold_reads = true;
    for after in [0, 2] {
        world.say(conn, Rebuild { request: 1, after: at(after), types: vec![], follow: false, credit: 9 });
        if after == 0 {
            world.say(conn, Credit { request: Some(1), credit: 0 });
        }
    }
    world.release();
    assert_eq!(pages(world.heard(conn)), [["c"]]);
}

#[test]
fn a_service_that_begins_now_does_not_get_what_is_on_its_way_into_the_log() {
    let mut world = World::new();
    world.hold_commits = true;
    assert!(world.publish(vec![event("a", "k")]).is_empty(), "nothing is answered before it is durable");
    let conn = world.connect();
    world.say(conn, hello("accounts", "one", &["Noted"], Start::Now));
    world.say(conn, Ready {});
    world.release();
    world.note("b", "k");
    let ids: Vec<String> = world.delivered(conn).iter().map(|deliver| deliver.event.id.to_string()).collect();
    assert_eq!(ids, ["b"]);
}

#[test]
fn a_system_event_that_kills_its_instances_is_passed_over_and_parks_nothing() {
    let mut world = World::with(|limits| limits.disconnects_max = 2);
    for life in 1..=2 {
        let conn = world.connect();
        let hello = hello("accounts", "one", &["$ServiceRegistered"], Start::Beginning);
        world.say(conn, Hello { incarnation: life, ..hello });
        world.say(conn, Ready {});
        assert_eq!(world.delivered(conn).len(), 1, "life {life}");
        world.input(Input::Disconnected { conn });
        world.pass(Limits::default().grace);
    }
    assert_eq!(status(&mut world).system_events_skipped, 1);
    assert!(!world.system_events().contains(&"$Parked".to_owned()));
}

#[test]
fn publishes_may_wait_until_their_bytes_are_exactly_as_many_as_the_limit_says() {
    let one = event("a", "k").data.as_str().len() + 256;
    for (bytes, throttled) in [(2 * one, false), (2 * one - 1, true)] {
        let mut world = World::with(|limits| limits.publishes_waiting_bytes_max = bytes);
        world.hold_look_ups = true;
        let conn = world.connect();
        world.publish_on(conn, vec![event("a", "k")], vec![]);
        let receipts = world.publish_on(conn, vec![event("b", "k")], vec![]);
        assert_eq!(!receipts.is_empty(), throttled, "{receipts:?}");
    }
}

#[test]
fn the_largest_payload_is_accepted() {
    let mut world = World::new();
    let mut large = event("large", "k");
    large.data = Data::of(&"x".repeat(DATA_BYTES_MAX - 2)); // and its quotation marks
    assert!(matches!(world.publish(vec![large])[0], Receipt::Accepted { .. }));
}

#[test]
fn no_commit_of_publishes_has_more_events_than_may_be() {
    let mut world = World::with(|limits| limits.commit_events_max = 2);
    world.note("warm", "k");
    world.commits.clear();
    world.hold_commits = true;
    let conn = world.connect();
    for index in 0..6 {
        world.publish_on(conn, vec![event(&format!("e{index}"), "k")], vec![]);
    }
    world.release();
    assert_eq!(world.commits.iter().sum::<usize>(), 6);
    assert!(world.commits.iter().all(|events| *events <= 2), "{:?}", world.commits);
}

#[test]
fn what_was_decided_stays_known_while_an_older_look_up_is_open() {
    let mut world = World::with(|limits| {
        limits.heads_max = 0;
        limits.recent_events_max = 0;
    });
    let conn = world.connect();
    world.hold_look_ups = true;
    world.publish_on(conn, vec![event("a", "k")], vec![]);
    world.publish_on(conn, vec![crate::world::expecting("b", "k", 0)], vec![]);
    world.publish_on(conn, vec![event("a", "k")], vec![]);
    // The first is judged and durable; what the others asked is answered as of before.
    assert!(world.answer_look_up());
    world.heard(conn);
    assert!(world.answer_look_up());
    let receipts: Vec<Receipt> = world
        .heard(conn)
        .into_iter()
        .filter_map(|frame| if let FromBus::Receipts(receipts) = frame { Some(receipts.receipts) } else { None })
        .flatten()
        .collect();
    assert!(matches!(receipts[..], [Receipt::Inconsistent { .. }, Receipt::Duplicate { .. }]), "{receipts:?}");
}

#[test]
fn a_nack_behind_a_completion_that_is_being_judged_means_nothing() {
    let mut world = World::new();
    let conn = world.instance("accounts", "one", 8);
    world.note("a", "k");
    let deliver = world.delivered(conn).remove(0);
    world.hold_look_ups = true;
    world.complete(conn, &deliver, vec![crate::world::produced("of-a", "other")]);
    world.nack(conn, &deliver);
    world.release();
    let frames = world.heard(conn);
    assert!(matches!(frames[..], [FromBus::Completed(_)]), "{frames:?}");
    assert!(world.log.lane(&service(), &key("k")).is_none(), "it has not failed");
}
