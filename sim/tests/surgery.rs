//! Taking something out of a plan leaves everything as it was that it did not touch: identities are stable, and draws
//! know no history. Without this, shrinking, `--without-fault` and blame would compare unrelated runs.

mod support;

use dacapo_core::{
    NodeName, Timestamp,
    trace::{Record, What},
};
use dacapo_sim::{Engine, Family, Fault, Harm, Outcome, Plan, RunOptions, Trigger, plan::hosts, recorder::Keep, run};
use support::{Flaw, Tally, plan};

const ENGINES: [Engine; 2] = [Engine::Turmoil, Engine::Event];

fn carry_out(engine: Engine, plan: &Plan) -> Outcome {
    let options = RunOptions { engine, keep: Keep::All, ..RunOptions::default() };
    run(&Tally(Flaw::None), plan, &options).expect("the plan can be carried out")
}

/// What was done, by whom and when; without steps, which a record that is gone shifts.
fn deeds(records: &[Record], counts: impl Fn(&Record) -> bool) -> Vec<(Timestamp, NodeName, What)> {
    let counted = records.iter().filter(|record| counts(record));
    counted.map(|record| (record.at, record.node.clone(), record.what.clone())).collect()
}

fn is_about(record: &Record, id: u32) -> bool {
    matches!(
        record.what,
        What::FaultBegun { fault } | What::FaultEnded { fault } | What::FaultNeverFired { fault } if fault == id
    )
}

/// The records up to a place, or all.
fn up_to(records: &[Record], place: impl Fn(&Record) -> bool) -> &[Record] {
    &records[..records.iter().position(place).unwrap_or(records.len())]
}

/// Whether a fault acts before it begins: handlers fail by event and attempt, whatever the time.
fn acts_always(fault: &Fault) -> bool {
    matches!(fault.what, Harm::FailingHandler { .. })
}

#[test]
fn a_fault_that_never_fired_was_not_there() {
    for engine in ENGINES {
        let mut taken_out = 0;
        for seed in 1..=25 {
            let plan = plan(seed);
            let whole = carry_out(engine, &plan);
            for never in whole.faults.iter().filter(|fault| fault.begun == 0) {
                let fault = plan.faults.iter().find(|fault| fault.id == never.id).expect("it is in the plan");
                if acts_always(fault) || !whole.passed() {
                    continue;
                }
                let without = carry_out(engine, &plan.clone().without_fault(never.id));
                let rest = |outcome: &Outcome| deeds(&outcome.records, |record| !is_about(record, never.id));
                assert_eq!(rest(&whole), rest(&without), "{engine:?}, seed {seed}, fault {}", never.id);
                taken_out += 1;
            }
        }
        assert!(taken_out > 0, "{engine:?}: no seed had a fault that never fired");
    }
}

#[test]
fn whatever_comes_before_a_fault_does_not_know_of_it() {
    for engine in ENGINES {
        let (mut taken_out, mut compared) = (0, 0);
        for seed in 1..=16 {
            let plan = plan(seed);
            let whole = carry_out(engine, &plan);
            // One of each kind of trigger is enough of each plan.
            let on = plan.faults.iter().filter(|fault| matches!(fault.trigger, Trigger::On { .. })).take(1);
            let at = plan.faults.iter().filter(|fault| matches!(fault.trigger, Trigger::At { us } if us > 0)).take(2);
            for fault in on.chain(at).filter(|fault| !acts_always(fault)) {
                let begins = |record: &Record| matches!(record.what, What::FaultBegun { fault: id } if id == fault.id);
                if !whole.records.iter().any(begins) {
                    continue;
                }
                let without = carry_out(engine, &plan.clone().without_fault(fault.id));
                let before = up_to(&whole.records, begins);
                assert_eq!(before, &without.records[..before.len()], "{engine:?}, seed {seed}, {}", fault.describe());
                taken_out += 1;
                compared += before.len();
            }
        }
        assert!(taken_out >= 12 && compared > 5_000, "{engine:?}: {taken_out} faults, {compared} records");
    }
}

#[test]
fn whatever_comes_before_an_operation_does_not_know_of_it() {
    for engine in ENGINES {
        let mut compared = 0;
        for seed in 1..=8 {
            let plan = plan(seed);
            let whole = carry_out(engine, &plan);
            for operation in plan.operations.iter().skip(seed as usize % 5).step_by(7) {
                // What must come after the healing is computed from what is open then, sent or not.
                let sent = |record: &Record| match record.what {
                    What::OperationSent { operation: id, .. } => id == operation.id,
                    What::Healed { .. } => true,
                    _ => false,
                };
                let without = carry_out(engine, &plan.clone().without_operation(operation.id));
                let before = up_to(&whole.records, sent);
                assert_eq!(before, &without.records[..before.len()], "{engine:?}, seed {seed}, {operation:?}");
                compared += before.len();
            }
        }
        assert!(compared > 2_000, "{engine:?}: {compared} records");
    }
}

/// A customer that has nothing to do, and whatever happens to it.
fn idle_customer(what: Harm) -> (Plan, NodeName) {
    let mut plan = plan(3);
    plan.settings.customers += 1;
    let idle = hosts(&Tally(Flaw::None), plan.settings.customers).pop().expect("customers come last");
    let trigger = Trigger::At { us: 700_000 };
    plan.faults.push(Fault { id: 9_999, family: Family::CrashCustomer, trigger, duration_us: 900_000, what });
    (plan, idle)
}

#[test]
fn what_happens_to_a_host_without_part_in_anything_touches_nobody_else() {
    let idle = NodeName::of("customer-2");
    let other = NodeName::of("customer-0");
    for engine in ENGINES {
        for what in [
            Harm::Crash { host: idle.clone(), silent: true },
            Harm::Crash { host: idle.clone(), silent: false },
            Harm::Pause { host: idle.clone() },
            Harm::Isolate { host: idle.clone() },
            Harm::ClockOffset { host: idle.clone(), offset_us: 77_000_000 },
            Harm::SlowPair { a: idle.clone(), b: other.clone(), extra_us: 90_000 },
            Harm::Partition { a: vec![idle.clone()], b: vec![other.clone()] },
            Harm::Refuse { host: idle.clone(), hang: true },
        ] {
            let (plan, host) = idle_customer(what.clone());
            assert_eq!(host, idle);
            let whole = carry_out(engine, &plan);
            let without = carry_out(engine, &plan.clone().without_fault(9_999));
            assert_eq!(whole.faults.last().map(|fault| fault.begun), Some(1), "{engine:?}: it happened");
            let of_others =
                |outcome: &Outcome| deeds(&outcome.records, |record| record.node != idle && !is_about(record, 9_999));
            assert_eq!(of_others(&whole), of_others(&without), "{engine:?}: {}", what.describe());
        }
    }
}
