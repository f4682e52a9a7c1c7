//! What a run costs on the event engine: standard runs of the bank, properties on, on the store in memory and on real
//! SQLite over the simulated disk; and the same bank when nobody asks it for anything.
//!
//! Elements are runs in the first group and simulated seconds in the second.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dacapo_bank::Bank;
use dacapo_sim::{Engine, Plan, Profile, RunOptions, plan::StoreKind, run};

/// Plans of these seeds are carried out one after the other.
const SEEDS: u64 = 16;

fn carry_out(plans: &[Plan]) -> Duration {
    let options = RunOptions { engine: Engine::Event, ..RunOptions::default() };
    let mut simulated = Duration::ZERO;
    for plan in plans {
        let outcome = run(&Bank, plan, &options).expect("the plan was drawn for this scenario");
        assert!(outcome.passed(), "seed {}: {:?}", plan.seed, outcome.violation);
        simulated += outcome.simulated;
    }
    simulated
}

fn drawn(profile: &Profile, store: StoreKind) -> Vec<Plan> {
    let drawn = |seed| {
        let mut plan = Plan::draw(&Bank, seed, profile);
        plan.settings.store = store;
        plan
    };
    (1..=SEEDS).map(drawn).collect()
}

fn standard_runs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("standard runs");
    group.throughput(Throughput::Elements(SEEDS)).sample_size(10);
    for (name, store) in [("memory", StoreKind::Memory), ("simulated disk", StoreKind::Disk)] {
        let plans = drawn(&Profile::standard(), store);
        group.bench_function(name, |bencher| bencher.iter(|| carry_out(&plans)));
    }
    group.finish();
}

fn idle(criterion: &mut Criterion) {
    let profile = Profile { operations: 0, duration_us: 600_000_000, ..Profile::calm() };
    let plans = drawn(&profile, StoreKind::Memory);
    let simulated = carry_out(&plans[..1]);
    let mut group = criterion.benchmark_group("idle");
    group.throughput(Throughput::Elements(simulated.as_secs())).sample_size(10);
    group.bench_function("the bank's nodes", |bencher| bencher.iter(|| carry_out(&plans[..1])));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    targets = standard_runs, idle
}
criterion_main!(benches);
