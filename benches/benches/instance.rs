//! One instance of the accounts service without IO: deliveries that it folds and completes, and requests that it answers
//! from its states.

use std::collections::BTreeMap;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dacapo_bank::accounts::Accounts;
use dacapo_benches::{Pair, config};
use dacapo_service::{Input, Instance, InstanceConfig, Method, Request};

const ACCOUNTS: u64 = 100;
const ROUNDS: u64 = 20;

/// An instance that records, as in the simulator.
fn pair() -> Pair {
    Pair::new(Box::new(Instance::new(Accounts, InstanceConfig { record: true, ..config() })), ACCOUNTS)
}

fn request(id: u64, account: u64, method: Method, route: &'static str, body: &str) -> Input {
    let request = Request {
        method,
        route,
        parameters: BTreeMap::from([("id".to_owned(), format!("a{account}"))]),
        idempotency_key: Some(format!("op-{id}")),
        caller: None,
        at_least: None,
        body: body.to_owned(),
    };
    Input::Request { id, request }
}

fn instance(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("instance without IO");
    group.throughput(Throughput::Elements(ACCOUNTS * ROUNDS)).sample_size(20);
    group.bench_function("deliver, fold, complete", |bencher| {
        let credit = serde_json::json!({"why": "deposit", "pence": 5});
        bencher.iter_batched(
            pair,
            |mut pair| {
                for number in 0..ACCOUNTS * ROUNDS {
                    pair.deliver(number % ACCOUNTS, "ConfirmedCredit", &credit);
                }
                assert_eq!(pair.completed, ACCOUNTS * (ROUNDS + 1));
                pair
            },
            BatchSize::LargeInput,
        );
    });
    for (name, method, route, body) in [
        ("request that reads", Method::Get, "/accounts/{id}", ""),
        ("request that publishes", Method::Post, "/accounts/{id}/deposit", r#"{"pence":5}"#),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                pair,
                |mut pair| {
                    for number in 0..ACCOUNTS * ROUNDS {
                        pair.input(request(number + 1, number % ACCOUNTS, method, route, body));
                    }
                    assert_eq!(pair.answered, ACCOUNTS * ROUNDS);
                    pair
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = instance
}
criterion_main!(benches);
