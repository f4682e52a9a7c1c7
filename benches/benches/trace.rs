//! What recording and judging cost: records of real runs of the bank, played again through the hash, through what the
//! observers know, through the judge, and through the recorder that does all of it.
//!
//! The share of the hash is its time over the recorder's.

use std::{hint::black_box, sync::LazyLock};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dacapo_bank::Bank;
use dacapo_core::trace::{Fingerprint, Record};
use dacapo_properties::{Judge, Known, Scenario, bus_observers};
use dacapo_sim::{
    Plan, Profile, RunOptions,
    recorder::{Keep, Recorder},
    run,
};

const SEEDS: u64 = 8;

/// Plans with their records.
static RUNS: LazyLock<Vec<(Plan, Vec<Record>)>> = LazyLock::new(|| {
    let played = |seed| {
        let plan = Plan::draw(&Bank, seed, &Profile::swarm());
        let options = RunOptions { keep: Keep::All, ..RunOptions::default() };
        let outcome = run(&Bank, &plan, &options).expect("the plan was drawn for this scenario");
        assert!(outcome.passed(), "seed {seed}: {:?}", outcome.violation);
        (plan, outcome.records)
    };
    (1..=SEEDS).map(played).collect()
});

fn judge(plan: &Plan) -> Judge {
    Judge::new(&plan.settings.limits, Bank.properties())
}

fn trace(criterion: &mut Criterion) {
    let records = RUNS.iter().map(|(_, records)| records.len() as u64).sum();
    let mut group = criterion.benchmark_group("trace");
    group.throughput(Throughput::Elements(records)).sample_size(20);
    group.bench_function("hash", |bencher| {
        bencher.iter(|| {
            let all = RUNS.iter().flat_map(|(_, records)| records);
            all.fold(Fingerprint::default(), dacapo_core::trace::Fingerprint::then)
        });
    });
    group.bench_function("known", |bencher| {
        bencher.iter(|| {
            for (_, records) in &*RUNS {
                let mut known = Known::default();
                for record in records {
                    known.observe(record);
                }
                black_box(known);
            }
        });
    });
    group.bench_function("judge", |bencher| {
        bencher.iter(|| {
            for (plan, records) in &*RUNS {
                let mut judge = judge(plan);
                for record in records {
                    judge.observe(record).expect("it held when it was recorded");
                }
                judge.finish().expect("it held when it was recorded");
            }
        });
    });
    group.bench_function("recorder", |bencher| {
        bencher.iter_batched(
            || RUNS.iter().map(|(plan, records)| (plan, records.clone())).collect::<Vec<_>>(),
            |runs| {
                for (plan, records) in runs {
                    let mut recorder = Recorder::new(judge(plan), Keep::None, None, None);
                    for Record { at, node, what, .. } in records {
                        recorder.record(at, &node, what);
                    }
                    recorder.finish();
                    assert_eq!(recorder.violation(), None);
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// Each observer with what it leans on; what that alone takes is `trace/known`.
fn observers(criterion: &mut Criterion) {
    let records = RUNS.iter().map(|(_, records)| records.len() as u64).sum();
    let mut group = criterion.benchmark_group("known and one observer");
    group.throughput(Throughput::Elements(records)).sample_size(10);
    for (index, observer) in bus_observers(&RUNS[0].0.settings.limits).iter().enumerate() {
        group.bench_function(observer.promise().name, |bencher| {
            bencher.iter(|| {
                for (plan, records) in &*RUNS {
                    let mut known = Known::default();
                    let mut observer = bus_observers(&plan.settings.limits).swap_remove(index);
                    for record in records {
                        known.observe(record);
                        observer.observe(&known, record).expect("it held when it was recorded");
                    }
                }
            });
        });
    }
    for index in 0..Bank.properties().len() {
        group.bench_function(Bank.properties()[index].name(), |bencher| {
            bencher.iter(|| {
                for (_, records) in &*RUNS {
                    let mut property = Bank.properties().swap_remove(index);
                    for record in records {
                        property.observe(record).expect("it held when it was recorded");
                    }
                }
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(std::time::Duration::from_millis(300)).measurement_time(std::time::Duration::from_secs(1));
    targets = trace, observers
}
criterion_main!(benches);
