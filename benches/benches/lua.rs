//! Services in Lua without IO: what a call of a handler costs, and an instance beside the one in Rust that does the same.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dacapo_bank::{accounts::Accounts, lua::script};
use dacapo_benches::{Pair, config, event};
use dacapo_core::{Key, Position, Version};
use dacapo_service::{
    Instance, Machine,
    lua::{LuaMachine, LuaService, LuaSettings, Script},
};
use serde_json::json;

const CALLS: u64 = 10_000;
const ACCOUNTS: u64 = 100;

/// A listener that does nothing.
const TRIVIAL: &str = "bus:register('idle') bus:add_event_listener('Happened', function() end)";

fn loaded(script: &Script) -> LuaService {
    LuaService::load(script, &LuaSettings::default()).expect("the script loads")
}

type Make<'a> = Box<dyn Fn() -> Box<dyn Machine> + 'a>;

fn lua(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lua without IO");
    group.throughput(Throughput::Elements(CALLS)).sample_size(20);
    let idle = loaded(&Script::of("idle.lua", TRIVIAL));
    let happened = event(Position(1), Key::of("key-1"), Version(1), "Happened", &json!({"pence": 5}));
    group.bench_function("call of a trivial listener", |bencher| {
        bencher.iter(|| {
            for _ in 0..CALLS {
                assert_eq!(idle.rehearse(&happened), Ok(0));
            }
        });
    });
    let accounts = script("accounts").expect("the bank has it");
    let makes: [(&str, Make<'_>); 2] = [
        ("deliver, fold, complete: accounts in Rust", Box::new(|| Box::new(Instance::new(Accounts, config())))),
        (
            "deliver, fold, complete: accounts in Lua",
            Box::new(|| Box::new(LuaMachine::new(loaded(&accounts), config()))),
        ),
    ];
    for (name, make) in makes {
        group.bench_function(name, |bencher| {
            let credit = json!({"why": "deposit", "pence": 5});
            bencher.iter_batched(
                || Pair::new(make(), ACCOUNTS),
                |mut pair| {
                    for number in 0..CALLS {
                        pair.deliver(number % ACCOUNTS, "ConfirmedCredit", &credit);
                    }
                    assert_eq!(pair.completed, CALLS + ACCOUNTS);
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
    targets = lua
}
criterion_main!(benches);
