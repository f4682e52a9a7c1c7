//! What every store must do, as a table of facts: the memory store, SQLite, and any that a user plugs in.
//!
//! Each case begins with an empty store and knows nothing of its inside; durability is not judged here, since it takes
//! a power cut. A store of yours passes with
//!
//! ```ignore
//! #[test]
//! fn my_store_conforms() {
//!     dacapo_properties::conformance::check(&mut || Box::new(MyStore::empty()));
//! }
//! ```

mod commits;
mod fixture;
mod look_ups;
mod model;
mod queries;
mod random;
mod reads;
mod services;

use std::panic::{AssertUnwindSafe, catch_unwind};

use dacapo_core::store::Store;

use fixture::Fixture;

/// A fact, and what shows it.
type Case = (&'static str, fn(&mut Fixture));

/// The cases that begin with an empty store.
const TABLES: &[&[Case]] = &[commits::CASES, look_ups::CASES, reads::CASES, queries::CASES, services::CASES];

/// Seeds of the random comparison with the model.
const SEEDS: u64 = 4;

/// Steps for each of them.
const STEPS: usize = 1_000;

/// Runs every case, each on a store of its own that `make` makes empty.
///
/// # Panics
/// With the name of the first case that does not hold.
pub fn check(make: &mut dyn FnMut() -> Box<dyn Store>) {
    for (name, case) in TABLES.iter().copied().flatten() {
        named(name, || case(&mut Fixture::new(make())));
    }
    for seed in 1..=SEEDS {
        named(&format!("answers_as_the_model_does (seed {seed})"), || random::check(make(), seed, STEPS));
    }
}

/// Runs a case; if it panics, panics with its name.
fn named(name: &str, case: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(case)) {
        let message = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("it panicked without a message");
        panic!("the store breaks `{name}`: {message}");
    }
}
