//! A scenario that is as small as can be: customers add numbers to tallies, and a second service mirrors each addition.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{collections::BTreeMap, sync::Arc};

use dacapo_core::{
    Event, EventType, Key, ServiceName,
    trace::{Record, What},
};
use dacapo_properties::{Operation, Property, Scenario, ServiceSpec, Verdict, Violation, scenario::Draw};
use dacapo_service::{
    Instance, InstanceConfig, Interrupt, Machine, Method, Request, Response, Route, Service, service::Context,
};
use dacapo_sim::{Plan, Profile};
use serde::{Deserialize, Serialize};

/// What goes wrong in the services themselves, for tests of the harness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// The mirror panics at its third event.
    Panics,
    /// Every request ends with an error of the server.
    NeverAnswers,
}

#[derive(Serialize, Deserialize)]
struct Added {
    n: u64,
}

#[derive(Clone)]
struct Tallies(Flaw);

impl Service for Tallies {
    type State = u64;

    fn name(&self) -> ServiceName {
        ServiceName::of("tallies")
    }

    fn types(&self) -> Vec<EventType> {
        vec![EventType::of("Added")]
    }

    fn apply(&self, _key: &Key, sum: &mut u64, event: &Event) {
        let Added { n } = event.data.to().expect("an addition");
        *sum += n;
    }

    fn routes(&self) -> Vec<Route> {
        vec![
            Route { method: Method::Post, path: "/tallies/{id}" },
            Route { method: Method::Get, path: "/tallies/{id}" },
        ]
    }

    fn request(&self, request: &Request, context: &mut Context<'_, u64>) -> Result<Response, Interrupt> {
        if self.0 == Flaw::NeverAnswers {
            return Err(Interrupt::Failed("it never answers".to_owned()));
        }
        let key = Key::of(format!("tally-{}", request.parameter("id")));
        let sum = *context.state(&key)?;
        if request.method == Method::Get {
            return Ok(Response::json(200, &sum));
        }
        let Ok(added) = serde_json::from_str::<Added>(&request.body) else {
            return Ok(Response::error(400, "say how much: {\"n\": 1}"));
        };
        context.emit(EventType::of("Added"), key, &added);
        Ok(Response::json(201, &(sum + added.n)))
    }
}

#[derive(Clone)]
struct Mirrors(Flaw);

impl Service for Mirrors {
    type State = u64;

    fn name(&self) -> ServiceName {
        ServiceName::of("mirrors")
    }

    fn types(&self) -> Vec<EventType> {
        vec![EventType::of("Added"), EventType::of("Mirrored")]
    }

    fn apply(&self, _key: &Key, count: &mut u64, _event: &Event) {
        *count += 1;
    }

    fn handle(&self, event: &Event, context: &mut Context<'_, u64>) -> Result<(), Interrupt> {
        assert!(self.0 != Flaw::Panics || event.position.0 < 8, "the mirror breaks");
        if event.event_type.as_str() == "Added" {
            let added: Added = event.data.to().map_err(|error| Interrupt::Failed(error.to_string()))?;
            context.emit(EventType::of("Mirrored"), Key::of(format!("mirror-of-{}", event.key)), &added);
        }
        Ok(())
    }
}

/// The scenario.
pub(crate) struct Tally(pub(crate) Flaw);

fn spec<S: Service>(service: S, instances: usize) -> ServiceSpec {
    let name = service.name();
    let make = move |config: InstanceConfig| -> Box<dyn Machine> { Box::new(Instance::new(service.clone(), config)) };
    ServiceSpec { name, instances, make: Arc::new(make) }
}

const TALLIES: u64 = 3;

impl Scenario for Tally {
    fn name(&self) -> &'static str {
        "tally"
    }

    fn describe(&self) -> &'static str {
        "customers add numbers"
    }

    fn services(&self) -> Vec<ServiceSpec> {
        vec![spec(Tallies(self.0), 2), spec(Mirrors(self.0), 2)]
    }

    fn workload(&self, draw: &mut dyn Draw, customers: u32, operations: usize, duration_us: u64) -> Vec<Operation> {
        let operation = |id| Operation {
            id,
            customer: draw.below(u64::from(customers)) as u32,
            at_us: draw.below(duration_us),
            after: Vec::new(),
            service: ServiceName::of("tallies"),
            method: Method::Post,
            path: format!("/tallies/{}", draw.below(TALLIES)),
            body: format!("{{\"n\":{}}}", draw.below(100)),
        };
        (1..=operations as u64).map(operation).collect()
    }

    fn inspections(&self, _operations: &[Operation], first_id: u64) -> Vec<Operation> {
        let look = |tally| Operation {
            id: first_id + tally,
            customer: 0,
            at_us: 0,
            after: Vec::new(),
            service: ServiceName::of("tallies"),
            method: Method::Get,
            path: format!("/tallies/{tally}"),
            body: String::new(),
        };
        (0..TALLIES).map(look).collect()
    }

    fn properties(&self) -> Vec<Box<dyn Property>> {
        vec![Box::new(SumsAgree::default())]
    }
}

/// What is told of a tally at the end is the sum of what the log has.
#[derive(Default)]
struct SumsAgree {
    sums: BTreeMap<String, u64>,
    asked: BTreeMap<u64, String>,
    checks: u64,
}

impl Property for SumsAgree {
    fn name(&self) -> &'static str {
        "sums_agree"
    }

    fn sentence(&self) -> &'static str {
        "what is told of a tally at the end is the sum of what the log has"
    }

    fn source(&self) -> &'static str {
        "this file"
    }

    fn observe(&mut self, record: &Record) -> Verdict {
        match &record.what {
            What::CommitDurable { commit } => {
                for event in commit.events.iter().filter(|event| event.event_type.as_str() == "Added") {
                    let Added { n } = event.data.to().expect("an addition");
                    *self.sums.entry(event.key.to_string()).or_default() += n;
                }
            }
            What::OperationSent { operation, method, path, .. } if method == "GET" => {
                self.asked.insert(*operation, path.replace("/tallies/", "tally-"));
            }
            What::OperationAnswered { operation, body, .. } => {
                let Some(key) = self.asked.get(operation) else { return Ok(()) };
                self.checks += 1;
                let sum = self.sums.get(key).copied().unwrap_or_default();
                if *body != sum.to_string() {
                    return Err(Box::new(Violation {
                        property: self.name(),
                        sentence: self.sentence(),
                        step: record.step,
                        message: format!("{key} is {sum} in the log and {body} in the answer"),
                        steps: Vec::new(),
                    }));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn checks(&self) -> u64 {
        self.checks
    }
}

/// A swarm that is over soon.
pub(crate) fn short() -> Profile {
    Profile { customers: 2, operations: 20, duration_us: 4_000_000, ..Profile::swarm() }
}

/// The plan of a seed.
pub(crate) fn plan(seed: u64) -> Plan {
    Plan::draw(&Tally(Flaw::None), seed, &short())
}
