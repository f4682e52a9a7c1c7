//! What is done to a bus by those who operate it, and what becomes of it meanwhile, in both engines: backups, files of former
//! schemas, full disks, a stranger where everyone may do everything.

mod support;

use dacapo_core::{NodeName, trace::What};
use dacapo_sim::{
    Engine, Family, Fault, Harm, Outcome, Plan, Profile, RunOptions, Trigger, fault::points, marks, plan::StoreKind,
    recorder::Keep, run,
};
use support::{Flaw, Tally, short};

const ENGINES: [Engine; 2] = [Engine::Event, Engine::Turmoil];

fn plan(seed: u64, faults: Vec<(Trigger, u64, Harm)>) -> Plan {
    let mut plan = Plan::draw(&Tally(Flaw::None), seed, &Profile { families: [].into(), ..short() });
    plan.settings.store = StoreKind::Disk;
    plan.settings.older = None;
    plan.faults = faults
        .into_iter()
        .zip(1..)
        .map(|((trigger, duration_us, what), id)| Fault { id, family: Family::Backup, trigger, duration_us, what })
        .collect();
    plan
}

fn survives(plan: &Plan, engine: Engine) -> Outcome {
    let options = RunOptions { engine, keep: Keep::All, ..RunOptions::default() };
    let outcome = run(&Tally(Flaw::None), plan, &options).expect("the plan is right");
    assert!(outcome.passed(), "seed {} on {engine}: {:?} {:#?}", plan.seed, outcome.end, outcome.violation);
    outcome
}

fn at(ms: u64) -> Trigger {
    Trigger::At { us: ms * 1_000 }
}

fn backup(room_bytes: Option<u64>, syncs_fail_permille: u32) -> Harm {
    Harm::Backup { room_bytes, syncs_fail_permille, reads_fail_permille: 0 }
}

fn power_cut() -> Harm {
    let host = NodeName::of("bus");
    Harm::PowerCut { host, written_permille: 375, torn_permille: 250, entries_lost_permille: 500 }
}

fn restored(outcome: &Outcome) -> usize {
    outcome.records.iter().filter(|record| matches!(record.what, What::Restored { .. })).count()
}

#[test]
fn a_backup_of_a_bus_at_work_is_restored() {
    for engine in ENGINES {
        let plan = plan(3, vec![(at(700), 800_000, backup(None, 0))]);
        let outcome = survives(&plan, engine);
        assert_eq!(restored(&outcome), 1, "{engine}");
        assert!(outcome.reached.count(marks::BACKUP_MADE) >= 1, "{engine}");
    }
}

#[test]
fn a_backup_without_room_or_whose_sync_fails_is_none() {
    for engine in ENGINES {
        for trouble in [backup(Some(4_096), 0), backup(None, 1_000)] {
            let outcome = survives(&plan(4, vec![(at(700), 400_000, trouble.clone())]), engine);
            assert!(outcome.reached.count(marks::BACKUP_FAILED) > 0, "{engine}: {trouble:?}");
            assert_eq!(restored(&outcome), 0, "{engine}: {trouble:?}");
        }
    }
}

#[test]
fn the_power_goes_in_the_midst_of_a_backup() {
    for (seed, engine) in (1..=8).flat_map(|seed| ENGINES.map(|engine| (seed, engine))) {
        let point = points::BACKUP_WRITE.to_owned();
        let midst = Trigger::On { host: NodeName::of("bus"), point, identity: None, nth: seed * 2 };
        let plan = plan(seed, vec![(at(700), 300_000, backup(None, 0)), (midst, 100_000, power_cut())]);
        let outcome = survives(&plan, engine);
        assert_eq!(outcome.reached.count(marks::BACKUP_CUT), 1, "seed {seed} on {engine}");
    }
}

#[test]
fn a_store_of_every_former_schema_is_brought_forward_though_the_power_goes() {
    let (mut cut, mut brought) = (0, 0);
    for (nth, engine) in (1..=12).flat_map(|n| ENGINES.map(|engine| (n * 3, engine))) {
        let point = points::DISK_WRITE.to_owned();
        let midst = Trigger::On { host: NodeName::of("bus"), point, identity: None, nth };
        let mut plan = plan(nth, vec![(midst, 100_000, power_cut())]);
        plan.settings.older = Some((nth % 5) as i32 + 1);
        let outcome = survives(&plan, engine);
        cut += outcome.reached.count(marks::MIGRATION_CUT);
        assert_eq!(outcome.reached.count(marks::MIGRATED), 1, "write {nth} on {engine}");
        brought += 1;
    }
    assert!(cut > brought / 3, "{cut} of {brought} were cut short");
}

#[test]
fn a_full_disk_throttles_and_is_read_and_ends_by_itself() {
    for engine in ENGINES {
        let (mut throttled, mut read, mut recovered) = (0, 0, 0);
        for seed in 1..=6 {
            let plan = plan(seed, vec![(at(500), 1_500_000, Harm::DiskFull { room_bytes: 0 })]);
            let outcome = survives(&plan, engine);
            throttled += outcome.reached.count("throttled by a full disk");
            read += outcome.reached.count(marks::READ_WHILE_FULL);
            recovered += outcome.reached.count("recovered from a full disk");
        }
        assert!(throttled > 0 && read > 0 && recovered > 0, "{engine}: {throttled} {read} {recovered}");
    }
}

#[test]
fn a_stranger_does_no_harm_where_everyone_may_do_everything() {
    let mut slow = 0;
    for (seed, engine) in (1..=6).flat_map(|seed| ENGINES.map(|engine| (seed, engine))) {
        let mut plan = plan(seed, vec![(at(0), 60_000_000, Harm::Hostile {})]);
        plan.settings.guarded = false;
        plan.settings.limits.send_queue_bytes_max = 16 << 10;
        slow += survives(&plan, engine).reached.count(marks::SLOW_READER_CUT);
    }
    assert!(slow > 0, "nobody was cut off for not reading");
}

#[test]
fn such_runs_repeat_to_the_letter() {
    for engine in ENGINES {
        let mut plan = plan(
            7,
            vec![
                (at(300), 800_000, backup(None, 0)),
                (at(900), 700_000, Harm::DiskFull { room_bytes: 0 }),
                (at(0), 60_000_000, Harm::Hostile {}),
            ],
        );
        plan.settings.older = Some(2);
        assert_eq!(survives(&plan, engine).fingerprint, survives(&plan, engine).fingerprint, "{engine}");
    }
}
