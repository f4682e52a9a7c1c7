//! The bank's promises over generated plans: proptest draws a plan, the simulator carries it out, a failing plan shrinks.
//!
//! A case is a seed, from which a whole plan is drawn, and what is kept of its operations and faults. Since whatever is
//! drawn during a run depends on the seed and on identities alone, leaving an item out re-times no other, and shrinking
//! compares like with like. `DACAPO_BANK_CASES` changes how many, `DACAPO_BANK_SEED` which.

use std::{fs, sync::Arc};

use dacapo_core::trace::{Record, What};
use dacapo_properties::{Operation, Promise, Property, Scenario, ServiceSpec, Verdict, scenario::Draw};
use dacapo_sim::{Plan, Profile, RunOptions, run};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};

const CASES: u32 = 128;
const SEED: u8 = 1;
/// Items kept, in hundredths: some plans have holes, most are nearly whole.
const KEPT_PERCENT: f64 = 0.93;
/// Each step of shrinking is a run; enough to try every item of a plan twice.
const SHRINK_STEPS_MAX: u32 = 400;

fn from_environment<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Half the size of a campaign's, so that many of them fit into a test.
fn profile() -> Profile {
    Profile { operations: 40, duration_us: 6_000_000, ..Profile::swarm() }
}

/// Plans of the scenario: a seed, and what is kept of its plan.
fn plans<S: Scenario + 'static>(scenario: Arc<S>, profile: Profile) -> impl Strategy<Value = Plan> {
    // Another seed is another plan, so there is no smaller one to shrink to.
    any::<u64>().no_shrink().prop_flat_map(move |seed| {
        let plan = Plan::draw(&*scenario, seed, &profile);
        let keep = |count: usize| prop::collection::vec(prop::bool::weighted(KEPT_PERCENT), count);
        (keep(plan.faults.len()), keep(plan.operations.len())).prop_map(move |(faults, operations)| {
            let mut plan = plan.clone();
            let mut kept = faults.iter();
            plan.faults.retain(|_| *kept.next().expect("one for each"));
            let mut kept = operations.iter();
            plan.operations.retain(|_| *kept.next().expect("one for each"));
            plan
        })
    })
}

fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, max_shrink_iters: SHRINK_STEPS_MAX, failure_persistence: None, ..Config::default() };
    let seed = [from_environment("DACAPO_BANK_SEED", SEED); 32];
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

fn holds(scenario: &dyn Scenario, plan: &Plan) -> Result<(), TestCaseError> {
    let outcome =
        run(scenario, plan, &RunOptions::default()).map_err(|error| TestCaseError::fail(error.to_string()))?;
    match outcome.violation {
        None => Ok(()),
        Some(violation) => Err(TestCaseError::fail(format!(
            "{} at step {}: {}\n{}",
            violation.property, violation.step, violation.sentence, violation.message
        ))),
    }
}

#[test]
fn the_bank_keeps_its_promises_under_every_plan() {
    let bank = dacapo_bank::bank();
    let plans = plans(Arc::new(bank), profile());
    let result = runner(from_environment("DACAPO_BANK_CASES", CASES)).run(&plans, |plan| holds(&bank, &plan));
    if let Err(TestError::Fail(reason, plan)) = result {
        let path = std::env::temp_dir().join(format!("dacapo-plan-{}.json", plan.seed));
        fs::write(&path, plan.to_json()).expect("can be written");
        panic!(
            "{reason}\nthe shrunk plan has {} operations and {} faults; see it again with\n  cargo run -- replay {}",
            plan.operations.len(),
            plan.faults.len(),
            path.display()
        );
    }
    result.expect("no case is given up");
}

/// The bank, under a promise that its customers break.
struct Cashless;

impl Scenario for Cashless {
    fn name(&self) -> &'static str {
        "bank"
    }
    fn describe(&self) -> &'static str {
        "a bank where nobody pays money in"
    }
    fn services(&self) -> Vec<ServiceSpec> {
        dacapo_bank::bank().services()
    }
    fn workload(&self, draw: &mut dyn Draw, customers: u32, operations: usize, duration_us: u64) -> Vec<Operation> {
        dacapo_bank::bank().workload(draw, customers, operations, duration_us)
    }
    fn inspections(&self, operations: &[Operation], first_id: u64) -> Vec<Operation> {
        dacapo_bank::bank().inspections(operations, first_id)
    }
    fn properties(&self) -> Vec<Box<dyn Property>> {
        vec![Box::new(NobodyPaysIn)]
    }
}

struct NobodyPaysIn;

const NOBODY_PAYS_IN: Promise =
    Promise { name: "nobody_pays_in", sentence: "nobody pays money in", source: "nowhere: it is made to be broken" };

impl Property for NobodyPaysIn {
    fn name(&self) -> &'static str {
        NOBODY_PAYS_IN.name
    }
    fn sentence(&self) -> &'static str {
        NOBODY_PAYS_IN.sentence
    }
    fn source(&self) -> &'static str {
        NOBODY_PAYS_IN.source
    }
    fn observe(&mut self, record: &Record) -> Verdict {
        match &record.what {
            What::OperationAnswered { operation, status: 200..300, body, .. } if body.contains("deposited") => {
                NOBODY_PAYS_IN.broken(record, format!("operation {operation} was granted: {body}"), &[])
            }
            _ => Ok(()),
        }
    }
    fn checks(&self) -> u64 {
        1
    }
}

#[test]
fn a_failing_plan_shrinks_to_what_it_takes_to_fail() {
    let profile = Profile { operations: 24, duration_us: 3_000_000, ..Profile::swarm() };
    let plans = plans(Arc::new(Cashless), profile);
    let result = runner(8).run(&plans, |plan| holds(&Cashless, &plan));
    let Err(TestError::Fail(reason, plan)) = result else { panic!("some customer pays in: {result:?}") };
    assert!(reason.message().contains("nobody_pays_in"), "{reason}");
    assert!(plan.faults.is_empty(), "no fault is needed: {:?}", plan.faults);
    assert!(plan.operations.len() <= 3, "a user, an account and a payment are enough: {:?}", plan.operations);
}
