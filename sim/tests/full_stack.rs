//! What holds of the full stack on one runtime whose time jumps: the dead are dead, chance decides no order, and nothing
//! is paid for while nothing happens.

mod support;

use std::time::Duration;

use dacapo_core::{NodeName, ServiceName, trace::What};
use dacapo_sim::{
    Engine, Family, Fault, Harm, Outcome, Plan, Profile, RunOptions, Trigger, plan::Survivors, recorder::Keep, run,
};
use support::{Flaw, Tally, short};

/// A plan with these faults, each from this time on and for so long, in milliseconds.
fn plan(profile: &Profile, faults: Vec<(u64, u64, Harm)>) -> Plan {
    let mut plan = Plan::draw(&Tally(Flaw::None), 5, &Profile { families: [].into(), ..profile.clone() });
    plan.settings.survivors = Survivors::All;
    let fault = |(id, (at_ms, for_ms, what))| Fault {
        id,
        family: Family::CrashLoop,
        trigger: Trigger::At { us: at_ms * 1_000 },
        duration_us: for_ms * 1_000,
        what,
    };
    plan.faults = (1..).zip(faults).map(fault).collect();
    plan
}

fn carry_out(plan: &Plan) -> Outcome {
    let options = RunOptions { engine: Engine::Turmoil, keep: Keep::All, ..RunOptions::default() };
    let outcome = run(&Tally(Flaw::None), plan, &options).expect("the plan is right");
    assert!(outcome.passed(), "{:?} {:#?}", outcome.end, outcome.violation);
    outcome
}

/// Every kind of host dies again and again, in the midst of everything.
fn deaths() -> Vec<(u64, u64, Harm)> {
    let crash_loop = |host: &str| Harm::CrashLoop { host: NodeName::of(host), down_us: 90_000, up_us: 210_000 };
    let crash = |host: &str, silent| Harm::Crash { host: NodeName::of(host), silent };
    let mut deaths = vec![
        (200, 1_500, crash_loop("bus")),
        (300, 2_000, crash_loop("mirrors-0")),
        (400, 1_000, crash_loop("customer-0")),
        (700, 50, crash("tallies-0", false)),
    ];
    deaths.extend([1_800, 2_100, 2_400].map(|at_ms| (at_ms, 100, crash("bus", true))));
    deaths.extend([1_900, 2_300].map(|at_ms| (at_ms, 100, crash("mirrors-1", true))));
    deaths
}

#[test]
fn a_dead_hosts_tasks_never_act_again() {
    // The engine itself makes sure that nothing outlives a life, at the start of the next.
    let outcome = carry_out(&plan(&short(), deaths()));
    for host in ["bus", "mirrors-0", "mirrors-1", "tallies-0"] {
        let (mut dead, mut lives) = (true, 0);
        for record in outcome.records.iter().filter(|record| record.node.as_str() == host) {
            match &record.what {
                What::Started { .. } => {
                    assert!(dead, "{host} starts twice at step {}", record.step);
                    (dead, lives) = (false, lives + 1);
                }
                What::Stopped { .. } => dead = true,
                // A life that said itself that it stops, and is then cleared away.
                What::Mark { .. } => {}
                // What an older build had written, before anyone lived.
                What::Found { .. } => assert_eq!(lives, 0, "{host} finds what it has written itself"),
                other => assert!(!dead, "{host} is dead and does this at step {}: {other:?}", record.step),
            }
        }
        assert!(lives >= 2, "{host} lived {lives} times");
    }
}

#[test]
fn no_order_is_left_to_chance_when_many_wait_for_one_word() {
    let plan = plan(&short(), deaths());
    let first = carry_out(&plan).fingerprint;
    for _ in 0..4 {
        assert_eq!(carry_out(&plan).fingerprint, first);
    }
}

#[test]
fn a_killed_process_refuses_and_a_machine_that_is_off_says_nothing() {
    let said = |silent| {
        let crash = |host: &str| (500, 2_000, Harm::Crash { host: NodeName::of(host), silent });
        let outcome = carry_out(&plan(&short(), vec![crash("tallies-0"), crash("tallies-1")]));
        let unknown = outcome.records.iter().filter_map(|record| match &record.what {
            What::OperationUnknown { error, .. } => Some(error.clone()),
            _ => None,
        });
        unknown.collect::<Vec<_>>().join("\n")
    };
    let (killed, off) = (said(false), said(true));
    assert!(killed.contains("refuses connections"), "{killed}");
    assert!(!off.contains("refuses connections") && off.contains("no answer in time"), "{off}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is the point")]
fn an_idle_hour_takes_less_than_a_second() {
    let hour = Duration::from_secs(3_600);
    let mut plan = plan(&short(), Vec::new());
    let idle = Duration::from_secs(120);
    plan.operations.truncate(2);
    plan.settings.duration_us = hour.as_micros() as u64;
    plan.settings.limits.heartbeat_deadline = idle;
    plan.settings.reconcile_every_us = idle.as_micros() as u64;
    let began = std::time::Instant::now();
    let outcome = carry_out(&plan);
    let took = began.elapsed();
    assert!(outcome.simulated >= hour, "{:?}", outcome.simulated);
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    let service = ServiceName::of("tallies");
    let told = |record: &&dacapo_core::trace::Record| record.node.as_str().starts_with(service.as_str());
    assert!(outcome.records.iter().filter(told).count() > 100, "its instances go on saying that they live");
}
