//! What a run does when its disk is in trouble: each fault of the disk as a story.

mod support;

use std::thread;

use dacapo_core::{NodeName, trace::What};
use dacapo_sim::{
    End, Engine, Family, Fault, Harm, Outcome, Plan, Profile, RunOptions, Trigger,
    fault::points,
    marks,
    plan::{Expects, StoreKind, Survivors},
    recorder::Keep,
    run,
};
use support::{Flaw, Tally, short};

/// A plan on a disk with these faults alone.
fn plan(seed: u64, faults: Vec<(Trigger, u64, Harm)>) -> Plan {
    let mut plan = Plan::draw(&Tally(Flaw::None), seed, &Profile { families: [].into(), ..short() });
    plan.settings.survivors = Survivors::All;
    plan.settings.store = StoreKind::Disk;
    plan.faults = faults
        .into_iter()
        .zip(1..)
        .map(|((trigger, duration_us, what), id)| Fault { id, family: Family::PowerCut, trigger, duration_us, what })
        .collect();
    plan
}

fn at(ms: u64) -> Trigger {
    Trigger::At { us: ms * 1_000 }
}

fn on(point: &str, nth: u64) -> Trigger {
    Trigger::On { host: NodeName::of("bus"), point: point.to_owned(), identity: None, nth }
}

fn power_cut(entries_lost_permille: u32) -> Harm {
    Harm::PowerCut { host: NodeName::of("bus"), written_permille: 375, torn_permille: 250, entries_lost_permille }
}

fn carry_out(plan: &Plan, engine: Engine) -> Outcome {
    let options = RunOptions { engine, keep: Keep::All, ..RunOptions::default() };
    run(&Tally(Flaw::None), plan, &options).expect("the plan is right")
}

/// Carries it out on the event engine; nothing may be lost.
fn survives(plan: &Plan) -> Outcome {
    let outcome = carry_out(plan, Engine::Event);
    assert!(outcome.passed(), "seed {}: {:?} {:#?}", plan.seed, outcome.end, outcome.violation);
    assert_eq!(outcome.operations_succeeded, 23, "twenty additions and three looks");
    assert_eq!(outcome.noticed, None);
    outcome
}

fn recoveries(outcome: &Outcome) -> usize {
    outcome.records.iter().filter(|record| matches!(record.what, What::Recovered { .. })).count()
}

/// Whether a bus committed anything after a failed commit and before it recovered. The failed one itself may turn out to
/// be there.
fn goes_on_after_a_failed_commit(outcome: &Outcome) -> bool {
    let mut failed = None;
    for record in &outcome.records {
        match &record.what {
            What::CommitFailed { sequence, .. } => failed = Some(*sequence),
            What::Recovered { .. } => failed = None,
            What::CommitDurable { commit } if failed.is_some_and(|failed| failed != commit.sequence) => return true,
            _ => {}
        }
    }
    false
}

#[test]
fn a_run_is_the_same_on_every_store() {
    for engine in [Engine::Event, Engine::Turmoil] {
        let of = |store| {
            let mut plan = plan(3, vec![]);
            plan.settings.store = store;
            carry_out(&plan, engine).fingerprint
        };
        assert_eq!(of(StoreKind::Disk), of(StoreKind::Memory), "{engine:?}");
        assert_eq!(of(StoreKind::Disk), of(StoreKind::Sqlite), "{engine:?}");
    }
}

#[test]
fn a_power_cut_in_the_midst_of_any_write_or_sync_loses_nothing() {
    let (mut kept, mut gone) = (0, 0);
    for nth in (1..160).step_by(3) {
        for point in [points::DISK_WRITE, points::DISK_SYNC] {
            let outcome = survives(&plan(nth, vec![(on(point, nth), 200_000, power_cut(500))]));
            kept += outcome.reached.count(marks::DOUBT_PROVED);
            gone += outcome.reached.count(marks::DOUBT_DISPROVED);
        }
    }
    assert!(kept > 0 && gone > 0, "commits were cut off in the middle, and came out both ways: {kept}, {gone}");
}

#[test]
fn a_process_killed_in_the_midst_of_a_write_leaves_a_store_that_recovers() {
    for nth in 1..40 {
        let killed = Harm::Crash { host: NodeName::of("bus"), silent: false };
        survives(&plan(nth, vec![(on(points::DISK_WRITE, nth * 4), 100_000, killed)]));
    }
}

#[test]
fn a_power_cut_that_takes_every_unsynced_directory_entry_loses_nothing() {
    for seed in 1..20 {
        let faults =
            vec![(at(seed * 150), 100_000, power_cut(1_000)), (at(seed * 150 + 600), 50_000, power_cut(1_000))];
        assert!(recoveries(&survives(&plan(seed, faults))) >= 2);
    }
}

#[test]
fn a_sync_that_fails_stops_the_bus_which_recovers_and_loses_nothing() {
    let mut failed = 0;
    for seed in 1..20 {
        let faults =
            vec![(at(500), 800_000, Harm::FsyncFails { share_permille: 300 }), (at(1_500), 100_000, power_cut(500))];
        let outcome = survives(&plan(seed, faults));
        failed += outcome.reached.count(marks::SYNC_FAILED);
        assert!(!goes_on_after_a_failed_commit(&outcome), "seed {seed}");
    }
    assert!(failed > 20, "{failed}");
}

#[test]
fn what_cannot_be_read_is_never_taken_for_what_is_not_there() {
    let mut failed = 0;
    for seed in 1..20 {
        let crash = Harm::Crash { host: NodeName::of("bus"), silent: false };
        let faults = vec![(at(300), 2_000_000, Harm::ReadError { share_permille: 200 }), (at(600), 10_000, crash)];
        failed += survives(&plan(seed, faults)).reached.count(marks::READ_FAILED);
    }
    assert!(failed > 20, "{failed}");
}

#[test]
fn a_bus_on_a_full_disk_serves_again_once_there_is_room() {
    let mut full = 0;
    for seed in 1..20 {
        let faults = vec![(at(400), 1_500_000, Harm::DiskFull { room_bytes: 4_096 * (seed % 4) })];
        full += survives(&plan(seed, faults)).reached.count(marks::DISK_WAS_FULL);
    }
    assert!(full > 20, "{full}");
}

#[test]
fn a_slow_disk_makes_the_run_slower_and_nothing_else() {
    let slow = Harm::SlowDisk { write_us: 300, sync_us: 20_000, stalls_permille: 100, stall_us: 400_000 };
    let (calm, slow) = (survives(&plan(4, vec![])), survives(&plan(4, vec![(at(0), 4_000_000, slow)])));
    assert_ne!(calm.fingerprint, slow.fingerprint);
    assert_eq!(recoveries(&slow), 1);
}

#[test]
fn a_disk_that_lies_is_found_out_or_has_lost_nothing() {
    let (mut noticed, mut lost) = (0, 0);
    // Of two runs out of three the store is damaged rather than short, and is refused before it can be seen that it is.
    for seed in 1..60 {
        let faults =
            vec![(at(0), 4_000_000, Harm::FsyncLies { share_permille: 1_000 }), (at(1_500), 100_000, power_cut(500))];
        let plan = plan(seed, faults);
        assert_eq!(plan.expects(), Expects::Detection);
        let outcome = carry_out(&plan, Engine::Event);
        assert_eq!(outcome.end, End::Passed, "seed {seed}: {:#?}", outcome.violation);
        noticed += usize::from(outcome.noticed.is_some());
        lost += usize::from(outcome.reached.count(marks::DISK_LOST) > 0);
    }
    assert!(lost > 10 && noticed > 50, "{lost} lost something, {noticed} were noticed");
}

#[test]
fn bits_that_rot_are_refused_and_never_served() {
    let mut refused = 0;
    for seed in 1..30 {
        let crash = Harm::Crash { host: NodeName::of("bus"), silent: false };
        let faults = vec![(at(1_400), 100_000, crash), (at(1_450), 1_000, Harm::BitRot { bits: 32 })];
        let outcome = carry_out(&plan(seed, faults), Engine::Event);
        assert_eq!(outcome.end, End::Passed, "seed {seed}: {:#?}", outcome.violation);
        refused += usize::from(outcome.noticed.is_some());
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn a_plan_with_trouble_on_the_disk_is_the_same_twice_and_beside_others() {
    let profile = Profile { disk_permille: 1_000, ..Profile { name: "disk".to_owned(), ..short() } };
    let fingerprints = || -> Vec<_> {
        let of = |seed| carry_out(&Plan::draw(&Tally(Flaw::None), seed, &profile), Engine::Event).fingerprint;
        (1..=12).map(of).collect()
    };
    let alone = fingerprints();
    assert_eq!(alone, fingerprints());
    let (one, other) = thread::scope(|scope| {
        let (one, other) = (scope.spawn(fingerprints), scope.spawn(fingerprints));
        (one.join().expect("no panic"), other.join().expect("no panic"))
    });
    assert_eq!(alone, one);
    assert_eq!(alone, other);
}

#[test]
fn the_store_of_a_plan_is_drawn_from_a_stream_of_its_own() {
    let draw = |disk_permille| Plan::draw(&Tally(Flaw::None), 9, &Profile { disk_permille, ..short() });
    let (on_disk, in_memory) = (draw(1_000), draw(0));
    assert_eq!((on_disk.settings.store, in_memory.settings.store), (StoreKind::Disk, StoreKind::Memory));
    assert_eq!(on_disk.operations, in_memory.operations);
    let others: Vec<&Fault> = on_disk.faults.iter().filter(|fault| !fault.family.is_of_disk()).collect();
    assert_eq!(others, in_memory.faults.iter().collect::<Vec<_>>());
}
