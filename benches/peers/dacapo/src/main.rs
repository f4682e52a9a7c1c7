//! Dacapo's side of the comparison, on the event engine: `peer-dacapo <workload> <amount>`.
//!
//! It prints how much was done and how many trace records that were. Every run is judged by all properties of the bus,
//! and every record goes into the fingerprint.

use std::{env, time::Duration};

use dacapo_service::prelude::*;
use dacapo_sim::{Engine, Outcome, Plan, Profile, RunOptions, Settings, plan::StoreKind, prelude::*, run};

const CALLS_OF_A_SEED: usize = 20;
/// A plan is a list of tens or hundreds of operations, and what a customer does next is looked up in all that is left.
const CALLS_OF_A_RUN: usize = 500;
const SECOND_US: u64 = 1_000_000;

/// Answers with what it was asked.
#[derive(Clone)]
struct Echo;

impl Service for Echo {
    type State = ();

    fn name(&self) -> ServiceName {
        ServiceName::of("echo")
    }

    fn types(&self) -> Vec<EventType> {
        vec![EventType::of("Echoed")]
    }

    fn apply(&self, _: &Key, (): &mut (), _: &Event) {}

    fn routes(&self) -> Vec<Route> {
        vec![Route { method: Method::Get, path: "/echo/{word}" }]
    }

    fn request(&self, request: &Request, _: &mut Context<'_, ()>) -> Result<Response, Interrupt> {
        Ok(Response::json(200, request.parameter("word")))
    }
}

/// So many instances of [`Echo`], and customers who do nothing but ask.
struct Echoes {
    instances: usize,
}

impl Scenario for Echoes {
    fn name(&self) -> &'static str {
        "echoes"
    }

    fn describe(&self) -> &'static str {
        "a service without events"
    }

    fn services(&self) -> Vec<ServiceSpec> {
        vec![ServiceSpec::of(Echo, self.instances)]
    }

    fn workload(&self, _: &mut dyn Draw, _: u32, operations: usize, _: u64) -> Vec<Operation> {
        (1..=operations as u64).map(|id| Operation::get("echo", "/echo/ping").numbered(id)).collect()
    }

    fn inspections(&self, _: &[Operation], _: u64) -> Vec<Operation> {
        Vec::new()
    }

    fn properties(&self) -> Vec<Box<dyn Property>> {
        Vec::new()
    }
}

/// One customer, no faults, the store in memory.
fn profile(operations: usize, duration_us: u64) -> Profile {
    Profile { customers: 1, operations, duration_us, disk_permille: 0, ..Profile::calm() }
}

/// Settings without a spread, and one heartbeat a second.
fn plain(scenario: &dyn Scenario, profile: &Profile) -> Plan {
    let mut plan = Plan::draw(scenario, 1, profile);
    let (customers, duration_us) = (plan.settings.customers, plan.settings.duration_us);
    plan.settings = Settings { customers, duration_us, store: StoreKind::Memory, ..Settings::plain() };
    plan.settings.limits.heartbeat_deadline = Duration::from_secs(3);
    plan.settings.reconcile_every_us = duration_us;
    plan
}

fn passed(scenario: &dyn Scenario, plan: &Plan) -> Outcome {
    let options = RunOptions { engine: Engine::Event, ..RunOptions::default() };
    let outcome = run(scenario, plan, &options).expect("the plan was drawn for this scenario");
    assert!(outcome.passed(), "seed {}: {:?}", plan.seed, outcome.violation);
    outcome
}

/// Ten instances and nobody who asks them anything.
fn idle(seconds: u64) -> (u64, u64) {
    let echoes = Echoes { instances: 10 };
    let outcome = passed(&echoes, &plain(&echoes, &profile(0, seconds * SECOND_US)));
    (outcome.simulated.as_secs(), outcome.steps)
}

/// One customer asks one instance, again and again: run after run, until there were enough round trips.
fn echo(round_trips: u64) -> (u64, u64) {
    let echoes = Echoes { instances: 1 };
    let plan = plain(&echoes, &profile(CALLS_OF_A_RUN, SECOND_US));
    let both_ways = Duration::from_micros(plan.settings.latency_us.0 * 2);
    let (mut done, mut steps) = (0, 0);
    while done < round_trips {
        let outcome = passed(&echoes, &plan);
        assert_eq!(outcome.operations_succeeded, CALLS_OF_A_RUN as u64, "every echo comes back");
        assert!(outcome.simulated >= both_ways * CALLS_OF_A_RUN as u32, "every echo goes over the network");
        done += outcome.operations_succeeded;
        steps += outcome.steps;
    }
    (done, steps)
}

/// A plan is drawn from each seed and carried out.
fn seeds(scenario: &dyn Scenario, count: u64, profile: &Profile) -> (u64, u64) {
    let steps = (1..=count).map(|seed| passed(scenario, &Plan::draw(scenario, seed, profile)).steps).sum();
    (count, steps)
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [workload, amount] = arguments.as_slice() else { panic!("give a workload and an amount") };
    let amount = amount.parse().expect("the amount is a number");
    let (done, records) = match workload.as_str() {
        "idle" => idle(amount),
        "echo" => echo(amount),
        "seeds" => seeds(&Echoes { instances: 1 }, amount, &profile(CALLS_OF_A_SEED, SECOND_US)),
        "bank" => seeds(&dacapo_bank::Bank, amount, &Profile::swarm()),
        other => panic!("there is no workload {other}"),
    };
    println!("{done} {records}");
}
