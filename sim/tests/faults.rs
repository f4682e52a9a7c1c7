//! What a run does when something goes wrong: in the plan, in a service, in a process.

mod support;

use std::time::Duration;

use dacapo_core::{
    NodeName,
    trace::{Frame, Record, What},
    wire::ToBus,
};
use dacapo_sim::{
    End, Engine, Family, Fault, Harm, Outcome, Plan, PlanError, Profile, RunOptions, Trigger, fault::points, marks,
    plan::Survivors, recorder::Keep, run,
};
use support::{Flaw, Tally, short};

/// A plan without faults but these.
fn plan(faults: Vec<(Trigger, u64, Harm)>) -> Plan {
    let mut plan = Plan::draw(&Tally(Flaw::None), 5, &Profile { families: [].into(), ..short() });
    plan.settings.survivors = Survivors::All;
    plan.faults = faults
        .into_iter()
        .zip(1..)
        .map(|((trigger, duration_us, what), id)| Fault { id, family: Family::CrashBus, trigger, duration_us, what })
        .collect();
    plan
}

fn at(ms: u64) -> Trigger {
    Trigger::At { us: ms * 1_000 }
}

fn on(point: &str, nth: u64) -> Trigger {
    Trigger::On { host: NodeName::of("bus"), point: point.to_owned(), identity: None, nth }
}

fn crash(host: &str, silent: bool) -> Harm {
    Harm::Crash { host: NodeName::of(host), silent }
}

const BOTH: [Engine; 2] = [Engine::Turmoil, Engine::Event];

fn carry_out_on(engine: Engine, plan: &Plan) -> Outcome {
    let options = RunOptions { engine, keep: Keep::All, ..RunOptions::default() };
    let outcome = run(&Tally(Flaw::None), plan, &options).expect("the plan is right");
    assert!(outcome.passed(), "{engine:?} {:?} {:#?}", outcome.end, outcome.violation);
    assert_eq!(outcome.operations_succeeded, 23, "twenty additions and three looks");
    outcome
}

/// Once on each engine.
fn carry_out(plan: &Plan) -> [Outcome; 2] {
    BOTH.map(|engine| carry_out_on(engine, plan))
}

fn starts(outcome: &Outcome, node: &str) -> usize {
    let of = |record: &&dacapo_core::trace::Record| record.node.as_str() == node;
    outcome.records.iter().filter(of).filter(|record| matches!(record.what, What::Started { .. })).count()
}

#[test]
fn a_calm_run_passes_and_says_nothing_of_faults() {
    for outcome in carry_out(&plan(vec![])) {
        assert_eq!(starts(&outcome, "bus"), 1);
        assert_eq!(starts(&outcome, "mirrors-1"), 1);
        assert!(outcome.judged.iter().any(|judged| judged.name == "sums_agree" && judged.checks == 3));
        assert!(!outcome.records.iter().any(|record| matches!(record.what, What::FaultBegun { .. })));
    }
}

#[test]
fn the_bus_dies_between_two_of_its_outputs() {
    for point in
        [points::COMMIT, points::COMMIT_DURABLE, points::SEND_RECEIPTS, points::SEND_DELIVER, points::SEND_COMPLETED]
    {
        for silent in [false, true] {
            for outcome in carry_out(&plan(vec![(on(point, 5), 100_000, crash("bus", silent))])) {
                assert_eq!(outcome.faults[0].begun, 1, "{point}");
                assert_eq!(starts(&outcome, "bus"), 2, "{point}");
                // Dead is dead: until the next life the bus does nothing at all.
                let died = outcome.records.iter().position(|r| matches!(&r.what, What::Mark { name } if name.contains("commit unheard") || name.contains("died at a point"))).expect("a mark");
                let next =
                    outcome.records[died + 1..].iter().find(|r| r.node.as_str() == "bus").expect("its end is told");
                assert!(matches!(next.what, What::Stopped { .. }), "{point}: {next:?}");
            }
        }
    }
}

#[test]
fn every_kind_of_host_comes_back() {
    for (host, started) in [("bus", 2), ("tallies-0", 2), ("mirrors-1", 2), ("customer-0", 3)] {
        for silent in [false, true] {
            for outcome in carry_out(&plan(vec![(at(700), 300_000, crash(host, silent))])) {
                assert!(starts(&outcome, host) >= started, "{host}: a customer is woken once more for the looks");
            }
        }
    }
}

#[test]
fn two_faults_on_one_host_end_one_by_one() {
    for outcome in carry_out(&plan(vec![
        (at(500), 800_000, crash("tallies-0", false)),
        (at(700), 200_000, crash("tallies-0", true)),
    ])) {
        let second = outcome
            .records
            .iter()
            .filter(|r| r.node.as_str() == "tallies-0")
            .find(|r| matches!(r.what, What::Started { .. }) && r.at.0 > 0);
        let at_us = second.expect("it comes back").at.0;
        assert!(at_us >= 1_300_000, "it came back at {at_us}, while the longer crash went on");
    }
}

#[test]
fn a_partition_and_a_hold_on_one_link_end_one_by_one() {
    let (bus, one) = (NodeName::of("bus"), NodeName::of("tallies-0"));
    carry_out(&plan(vec![
        (at(500), 900_000, Harm::Partition { a: vec![bus.clone()], b: vec![one.clone()] }),
        (at(300), 500_000, Harm::Hold { a: bus.clone(), b: one.clone() }),
        (at(600), 100_000, Harm::PartitionOneWay { from: vec![one.clone()], to: vec![bus.clone()] }),
        (at(900), 100_000, Harm::Isolate { host: one.clone() }),
        (at(1_000), 0, Harm::Reset { a: bus, b: one }),
    ]));
}

#[test]
fn an_instance_joins_and_leaves_and_another_leaves_and_joins() {
    let service = dacapo_core::ServiceName::of("mirrors");
    for outcome in carry_out(&plan(vec![
        (at(300), 1_500_000, Harm::ScaleOut { service, host: NodeName::of("mirrors-2") }),
        (at(600), 1_000_000, Harm::Leave { host: NodeName::of("mirrors-0") }),
    ])) {
        assert_eq!(starts(&outcome, "mirrors-2"), 1);
        assert_eq!(starts(&outcome, "mirrors-0"), 2);
    }
}

#[test]
fn an_instance_whose_state_is_destroyed_plays_the_past_again() {
    let mut plan = plan(vec![(at(2_500), 100_000, Harm::StateDestroyed { host: NodeName::of("tallies-1") })]);
    plan.settings.rebuild_permille = 0;
    for outcome in carry_out(&plan) {
        let rebuilt = |r: &&dacapo_core::trace::Record| matches!(r.what, What::RebuildEnded { .. });
        assert_eq!(outcome.records.iter().filter(rebuilt).count(), 1);
    }
}

#[test]
fn a_wrong_clock_is_seen_in_the_events_and_nowhere_else() {
    let offset_us = 100_000_000_000;
    let wrong = plan(vec![(at(0), 4_000_000, Harm::ClockOffset { host: NodeName::of("bus"), offset_us })]);
    let times = |outcome: &Outcome| -> Vec<u64> {
        let commits = outcome.records.iter().filter_map(|record| match &record.what {
            What::CommitDurable { commit } => Some(commit),
            _ => None,
        });
        commits.flat_map(|commit| &commit.events).map(|event| event.time.0).collect()
    };
    for engine in BOTH {
        let (plain, wrong) = (carry_out_on(engine, &plan(vec![])), carry_out_on(engine, &wrong));
        assert_eq!(plain.events, wrong.events);
        let (plain, wrong) = (times(&plain), times(&wrong));
        assert_eq!(plain.iter().map(|us| us + offset_us as u64).collect::<Vec<_>>(), wrong);
    }
}

#[test]
fn handlers_fail_as_the_plan_says() {
    let service = dacapo_core::ServiceName::of("mirrors");
    let failing = Harm::FailingHandler { service: service.clone(), share_permille: 1_000, attempts: 2 };
    for outcome in carry_out(&plan(vec![(at(0), 4_000_000, failing)])) {
        let nacks = outcome.records.iter().filter(
            |record| matches!(&record.what, What::HandlerEnded { outcome, .. } if outcome.starts_with("failed")),
        );
        assert!(nacks.count() >= 40, "twenty additions, each failing twice");
    }
}

/// How often a mark was recorded.
fn marked(outcome: &Outcome, mark: &str) -> usize {
    outcome.records.iter().filter(|record| matches!(&record.what, What::Mark { name } if name == mark)).count()
}

fn host(name: &str) -> NodeName {
    NodeName::of(name)
}

#[test]
fn lost_parcels_come_later_and_in_order() {
    let loss = |b| Harm::PacketLoss { a: host("bus"), b: host(b), share_permille: 300 };
    let lossy = plan(vec![(at(300), 2_500_000, loss("tallies-0")), (at(300), 2_500_000, loss("mirrors-0"))]);
    let outcome = carry_out_on(Engine::Event, &lossy);
    assert!(marked(&outcome, marks::PARCEL_LOST) > 10, "{}", marked(&outcome, marks::PARCEL_LOST));
}

#[test]
fn an_attempt_that_arrives_twice_takes_effect_once() {
    for outcome in carry_out(&plan(vec![(at(0), 4_000_000, Harm::DuplicateAttempt { share_permille: 1_000 })])) {
        assert!(marked(&outcome, marks::ATTEMPT_TWICE) >= 20, "{}", marked(&outcome, marks::ATTEMPT_TWICE));
        let commits = outcome.records.iter().filter_map(|record| match &record.what {
            What::CommitDurable { commit } => Some(commit),
            _ => None,
        });
        let added = commits.flat_map(|commit| &commit.events).filter(|event| event.event_type.as_str() == "Added");
        assert_eq!(added.count(), 20);
    }
}

#[test]
fn who_believes_in_a_dead_connection_finds_out_by_its_silence() {
    for (unaware, other) in [("bus", "tallies-0"), ("tallies-0", "bus")] {
        let harm = Harm::HalfOpen { unaware: host(unaware), other: host(other) };
        let outcome = carry_out_on(Engine::Event, &plan(vec![(at(1_000), 0, harm)]));
        assert_eq!(marked(&outcome, marks::HALF_OPEN), 1, "{unaware}");
        let ended = |node: &str| {
            let after =
                outcome.records.iter().filter(|record| record.at.0 >= 1_000_000 && record.node.as_str() == node);
            let mut ended = after.filter(|record| matches!(record.what, What::Disconnected { .. }));
            ended.next().expect("it finds out").at.0
        };
        assert_eq!(ended(other), 1_000_000, "{other} knows at once");
        assert!(ended(unaware) > 1_100_000, "{unaware} found out at {}", ended(unaware));
    }
}

#[test]
fn links_are_stalled_one_by_one_and_let_go_in_reverse() {
    let links = vec![(host("bus"), host("tallies-0")), (host("bus"), host("tallies-1"))];
    for outcome in carry_out(&plan(vec![(at(500), 1_000_000, Harm::Swizzle { links, step_us: 200_000 })])) {
        let heard = |node: &str, from: u64, to: u64| {
            let of = outcome.records.iter().filter(|record| record.node.as_str() == node);
            of.filter(|record| (from..to).contains(&record.at.0))
                .filter(|record| matches!(record.what, What::FrameReceived { .. }))
                .count()
        };
        assert_eq!(heard("tallies-0", 520_000, 1_499_000), 0, "the first link is stalled all the time");
        assert_eq!(heard("tallies-1", 720_000, 1_299_000), 0, "the second begins later and ends sooner");
        assert!(heard("tallies-0", 1_499_000, 2_500_000) > 0);
    }
}

#[test]
fn a_peer_that_does_not_read_is_cut_off_and_comes_back() {
    let mut plan = plan(vec![(at(500), 1_500_000, Harm::SlowReader { host: host("mirrors-0") })]);
    plan.settings.limits.send_queue_bytes_max = 1_024;
    // It goes on sending, so that nobody takes it for dead.
    plan.settings.limits.heartbeat_deadline = Duration::from_secs(5);
    plan.settings.credit = 1_024;
    let outcome = carry_out_on(Engine::Event, &plan);
    let taken = outcome
        .records
        .iter()
        .filter(|record| record.node.as_str() == "mirrors-0" && (510_000..2_000_000).contains(&record.at.0))
        .filter(|record| matches!(record.what, What::FrameReceived { .. }));
    assert_eq!(taken.count(), 0, "it does not read");
}

#[test]
fn clocks_that_run_fast_or_slow_or_jump_break_nothing() {
    for name in ["bus", "tallies-0", "mirrors-1"] {
        for harm in [
            Harm::ClockDrift { host: host(name), ppm: 400_000 },
            Harm::ClockDrift { host: host(name), ppm: -400_000 },
            Harm::ClockStep {
                host: host(name),
                wall_us: -3_600_000_000,
                monotonic_us: if name == "bus" { 0 } else { 4_000_000 },
            },
        ] {
            carry_out(&plan(vec![(at(500), 2_500_000, harm)]));
        }
    }
}

#[test]
fn a_service_restarts_one_instance_at_a_time() {
    let hosts = vec![host("mirrors-0"), host("mirrors-1")];
    let rolling = Harm::RollingRestart { hosts, each_us: 400_000 };
    for outcome in carry_out(&plan(vec![(at(800), 800_000, rolling)])) {
        let stopped = |node: &str| {
            let stops = outcome.records.iter().filter(|record| record.node.as_str() == node);
            let mut stops = stops.filter(|record| matches!(record.what, What::Stopped { .. }));
            stops.next().expect("it is asked to end").at.0
        };
        assert!((800_000..1_200_000).contains(&stopped("mirrors-0")), "{}", stopped("mirrors-0"));
        assert!((1_200_000..1_600_000).contains(&stopped("mirrors-1")), "{}", stopped("mirrors-1"));
        assert_eq!((starts(&outcome, "mirrors-0"), starts(&outcome, "mirrors-1")), (2, 2));
    }
}

#[test]
fn several_hosts_die_at_once_and_come_back() {
    for silent in [false, true] {
        let hosts = vec![host("bus"), host("tallies-0"), host("mirrors-0"), host("mirrors-1")];
        for outcome in carry_out(&plan(vec![(at(900), 300_000, Harm::CrashSeveral { hosts, silent })])) {
            for name in ["bus", "tallies-0", "mirrors-0", "mirrors-1"] {
                assert_eq!(starts(&outcome, name), 2, "{name}");
            }
        }
    }
}

#[test]
fn a_completion_that_is_sent_twice_counts_once() {
    let twice = |host| Harm::CompletionTwice { host, share_permille: 1_000 };
    let faults = ["mirrors-0", "mirrors-1"].map(|name| (at(0), 4_000_000, twice(host(name))));
    for outcome in carry_out(&plan(faults.into())) {
        let sent = |record: &Record| match &record.what {
            What::FrameSent { frame: Frame::ToBus(frame), .. } => match &**frame {
                ToBus::Complete(complete) => Some(complete.position),
                _ => None,
            },
            _ => None,
        };
        let sent: Vec<_> = outcome.records.iter().filter_map(sent).collect();
        let twice = sent.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(twice >= 10, "{twice} of {} were sent twice", sent.len());
    }
}

#[test]
fn a_panic_in_a_process_fails_the_run() {
    let outcome = run(&Tally(Flaw::Panics), &plan(vec![]), &RunOptions::default()).expect("the plan is right");
    assert_eq!(outcome.end, End::Panicked);
    let violation = outcome.violation.expect("there is one");
    assert_eq!(violation.property, "no_panic");
    assert!(violation.message.contains("the mirror breaks"), "{}", violation.message);
}

#[test]
fn what_never_ends_is_told() {
    let outcome = run(&Tally(Flaw::NeverAnswers), &plan(vec![]), &RunOptions::default()).expect("the plan is right");
    assert_eq!(outcome.end, End::Stuck);
    assert!(outcome.violation.is_some());
}

#[test]
fn a_plan_that_cannot_be_carried_out_is_refused_with_a_reason() {
    let refused = |change: fn(&mut Plan)| {
        let mut plan = plan(vec![(at(1), 1, crash("bus", false))]);
        change(&mut plan);
        run(&Tally(Flaw::None), &plan, &RunOptions::default()).expect_err("it is wrong")
    };
    assert!(matches!(refused(|plan| plan.scenario = "bank".to_owned()), PlanError::Scenario { .. }));
    assert!(matches!(refused(|plan| plan.operations[0].after = vec![plan.operations[0].id]), PlanError::Circle(_)));
    assert!(matches!(refused(|plan| plan.operations[0].customer = 99), PlanError::Stranger { .. }));
    assert!(matches!(refused(|plan| plan.faults.push(plan.faults[0].clone())), PlanError::Twice { .. }));
    assert!(matches!(refused(|plan| plan.faults[0].what = crash("nobody", true)), PlanError::Host { .. }));
    assert!(matches!(refused(|plan| plan.settings.tick_us = 1), PlanError::Setting { .. }));
    assert!(matches!(Plan::from_json("{}"), Err(PlanError::Malformed(_))));
    assert_eq!(Plan::from_json(r#"{"version": 9}"#), Err(PlanError::Version(9)));
}

#[test]
fn commits_fail_made_or_not_and_nothing_is_lost_or_made_twice() {
    for applied in [false, true] {
        for outcome in carry_out(&plan(vec![(at(500), 1_500_000, Harm::StoreFails { share_permille: 300, applied })])) {
            let recovered =
                outcome.records.iter().filter(|record| matches!(record.what, What::Recovered { .. })).count();
            assert!(recovered > 1, "a bus whose commit failed begins again from its store");
        }
    }
}

#[test]
fn the_swarm_draws_every_family_and_only_plans_that_can_be_carried_out() {
    let mut drawn = std::collections::BTreeSet::new();
    for seed in 1..=40 {
        let plan = Plan::draw(&Tally(Flaw::None), seed, &short());
        assert_eq!(plan.check(&Tally(Flaw::None)), Ok(()), "seed {seed}");
        drawn.extend(plan.faults.iter().map(|fault| fault.family));
    }
    assert_eq!(drawn, Family::ALL.iter().copied().collect());
}

#[test]
fn taking_a_family_out_leaves_the_faults_of_all_others() {
    let whole = Plan::draw(&Tally(Flaw::None), 11, &short());
    let family = *whole.mask.keys().next().expect("some family is on");
    let mut profile = short();
    profile.families.remove(&family);
    let without = Plan::draw(&Tally(Flaw::None), 11, &profile);
    let others: Vec<&Fault> = whole.faults.iter().filter(|fault| fault.family != family).collect();
    assert_eq!(others, without.faults.iter().collect::<Vec<_>>());
    assert_eq!((whole.operations, whole.settings), (without.operations, without.settings));
}
