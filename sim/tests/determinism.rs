//! The same plan gives the same trace; and if something leaks into it, that is found.

mod support;

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use dacapo_core::trace::What;
use dacapo_sim::{
    Campaign, End, Engine, Harm, Plan, RunOptions, explore,
    recorder::{Keep, Tamper},
    run,
    verify::{Subject, verify},
};
use support::{Flaw, Tally, plan, short};

fn keeping() -> RunOptions {
    RunOptions { keep: Keep::All, ..RunOptions::default() }
}

#[test]
fn a_plan_gives_the_same_trace_every_time() {
    for seed in 1..=12 {
        let verified = verify(&Tally(Flaw::None), &plan(seed), &RunOptions::default()).expect("the plan is right");
        assert!(verified.difference.is_none(), "seed {seed}: {:#?}", verified.difference);
        assert!(verified.outcome.steps > 500, "seed {seed} did something: {} steps", verified.outcome.steps);
    }
}

#[test]
fn threads_change_nothing() {
    let seeds: Vec<u64> = (1..=8).collect();
    let explored = |jobs| {
        let campaign = Campaign { profile: short(), jobs, keep_going: true, ..Campaign::default() };
        let mut told = 0;
        let report = explore(&Tally(Flaw::None), &seeds, &campaign, &mut |progress| {
            told = progress.done;
            ControlFlow::Continue(())
        });
        assert_eq!(told, seeds.len());
        report.expect("the plans are right")
    };
    let (one, many) = (explored(1), explored(3));
    assert_eq!(one.fingerprint, many.fingerprint);
    assert_eq!(one.seeds, many.seeds);
}

#[test]
fn a_saved_plan_is_the_same_plan() {
    let drawn = plan(3);
    let read = Plan::from_json(&drawn.to_json()).expect("it was written by us");
    assert_eq!(drawn, read);
    let run =
        |plan: &Plan| run(&Tally(Flaw::None), plan, &RunOptions::default()).expect("the plan is right").fingerprint;
    assert_eq!(run(&drawn), run(&read));
}

#[test]
fn a_fault_that_never_fired_leaves_no_trace_but_its_name() {
    let mut taken_out = 0;
    for seed in 1..=20 {
        let plan = plan(seed);
        let whole = run(&Tally(Flaw::None), &plan, &keeping()).expect("the plan is right");
        // An extra instance is a host even if nobody calls it.
        let never = whole.faults.iter().find(|fault| {
            let brings_a_host = |id| plan.faults.iter().any(|f| f.id == id && matches!(f.what, Harm::ScaleOut { .. }));
            fault.begun == 0 && !brings_a_host(fault.id)
        });
        let Some(never) = never.filter(|_| whole.end == End::Passed) else { continue };
        let without = run(&Tally(Flaw::None), &plan.clone().without_fault(never.id), &keeping()).expect("still right");
        let rest = |records: &[dacapo_core::trace::Record]| -> Vec<(dacapo_core::Timestamp, What)> {
            let is_name = |what: &What| matches!(what, What::FaultNeverFired { fault } if *fault == never.id);
            records.iter().filter(|r| !is_name(&r.what)).map(|r| (r.at, r.what.clone())).collect()
        };
        assert_eq!(rest(&whole.records), rest(&without.records), "seed {seed}, fault {}", never.id);
        taken_out += 1;
    }
    assert!(taken_out > 0, "no seed had a fault that never fired");
}

#[test]
fn a_run_can_be_stopped_at_a_step() {
    let whole = run(&Tally(Flaw::None), &plan(2), &keeping()).expect("the plan is right");
    let until = RunOptions { until: Some(512), keep: Keep::Last(1), ..RunOptions::default() };
    let part = run(&Tally(Flaw::None), &plan(2), &until).expect("the plan is right");
    assert_eq!((part.end, part.steps), (End::Stopped, 512));
    assert_eq!(part.fingerprint, whole.checkpoints[1]);
    assert_eq!(part.records, whole.records[511..512]);
}

/// Lets something that differs from run to run into the reasons why processes ended, and expects it to be found there, on
/// both engines: the very record, and what led to it.
fn leak(leak: impl Fn() -> String + Send + Sync + 'static) {
    let tamper = move |what: &mut What| {
        if let What::Stopped { reason } = what {
            *reason = leak();
        }
    };
    let tamper: Tamper = Arc::new(tamper);
    let plan = (1..100).map(plan).find(|plan| plan.faults.iter().any(|fault| matches!(fault.what, Harm::Crash { .. })));
    let plan = plan.expect("some seed crashes a host");
    for engine in [Engine::Event, Engine::Turmoil] {
        let options = RunOptions { engine, tamper: Some(Arc::clone(&tamper)), ..RunOptions::default() };
        let verified = verify(&Tally(Flaw::None), &plan, &options).expect("the plan is right");
        let difference = verified.difference.expect("the leak is seen");
        let (one, other) = (difference.one.expect("a record"), difference.other.expect("a record"));
        assert_eq!(one.step, other.step);
        assert!(matches!((&one.what, &other.what), (What::Stopped { .. }, What::Stopped { .. })), "{one:?} {other:?}");
        assert!(one.step > difference.equal_until);
        assert!(difference.before.iter().all(|before| before.step < one.step));
        assert!(!difference.before.is_empty());
        let about_the_node = difference.led.iter().find(|context| context.about == Subject::Node(one.node.clone()));
        let led = &about_the_node.expect("what the node did before is told").records;
        assert!(led.iter().all(|record| record.node == one.node && record.step < one.step), "{led:?}");
        assert!(led.is_sorted_by_key(|record| record.step) && !led.is_empty());
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the leak is the point")]
fn a_clock_that_leaks_into_the_trace_is_found() {
    leak(|| format!("{:?}", std::time::Instant::now()));
}

#[test]
#[expect(clippy::disallowed_types, reason = "the leak is the point")]
fn an_order_that_differs_from_run_to_run_is_found() {
    leak(|| {
        let names = ["accounts", "users", "transactions", "bus", "customer", "store", "lane", "key"];
        let map: std::collections::HashMap<&str, usize> = names.into_iter().zip(0..).collect();
        format!("{:?}", map.keys().collect::<Vec<_>>())
    });
}

#[test]
fn a_count_over_runs_that_leaks_is_found() {
    let count = AtomicU64::new(0);
    leak(move || count.fetch_add(1, Ordering::Relaxed).to_string());
}

#[test]
fn a_generator_that_the_whole_process_shares_is_found() {
    leak(|| {
        // Seeded by the system, anew for each.
        let state = std::hash::RandomState::new();
        std::hash::BuildHasher::hash_one(&state, "stopped").to_string()
    });
}

#[test]
fn a_thread_that_is_raced_is_found() {
    leak(|| {
        let done = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&done);
        let counting = std::thread::spawn(move || {
            let mut counted = 0_u64;
            while !watched.load(Ordering::Relaxed) {
                counted += 1;
            }
            counted
        });
        (0..1_000).for_each(|_| std::thread::yield_now());
        done.store(true, Ordering::Relaxed);
        counting.join().expect("it only counts").to_string()
    });
}

#[test]
fn an_address_in_memory_is_found() {
    // What is kept is never handed out again, so that each address is a new one.
    let kept = Mutex::new(Vec::new());
    leak(move || {
        let boxed = Box::new(0_u8);
        let address = format!("{:p}", &raw const *boxed);
        kept.lock().expect("nobody panics").push(boxed);
        address
    });
}

#[test]
fn a_file_that_the_first_run_changed_is_found() {
    let path = std::env::temp_dir().join(format!("dacapo-leak-{}", std::process::id()));
    std::fs::write(&path, "").expect("can be written");
    let leaking = path.clone();
    leak(move || {
        let text = std::fs::read_to_string(&leaking).expect("can be read");
        std::fs::write(&leaking, format!("{text}.")).expect("can be written");
        text.len().to_string()
    });
    std::fs::remove_file(&path).expect("is there");
}

#[test]
fn a_leak_that_shows_now_and_then_is_found_where_it_shows() {
    let count = AtomicU64::new(0);
    let tamper = move |what: &mut What| {
        if let What::Stopped { reason } = what
            && count.fetch_add(1, Ordering::Relaxed).is_multiple_of(7)
        {
            reason.push_str(", on a seventh day");
        }
    };
    let plan = (1..100).map(plan).find(|plan| plan.faults.iter().any(|fault| matches!(fault.what, Harm::Crash { .. })));
    let plan = plan.expect("some seed crashes a host");
    let tamper: Option<Tamper> = Some(Arc::new(tamper));
    let options = RunOptions { engine: Engine::Event, tamper, ..RunOptions::default() };
    // One pair may be equal by chance; of a few, one differs.
    let difference = (0..20).find_map(|_| verify(&Tally(Flaw::None), &plan, &options).expect("is right").difference);
    let difference = difference.expect("the leak is seen");
    for record in [difference.one, difference.other].into_iter().flatten() {
        assert!(matches!(record.what, What::Stopped { .. }), "{record:?}");
    }
}
