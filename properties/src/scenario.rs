//! What a run is made of.

use std::sync::Arc;

use dacapo_core::ServiceName;
use dacapo_service::{InstanceConfig, Machine, Method};
use serde::{Deserialize, Serialize};

use crate::property::Property;

/// Something that a customer does: one HTTP request to a service, repeated with the same idempotency key until its
/// outcome is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Operation {
    /// Its identity in the plan, and (as `op-<id>`) its idempotency key.
    pub id: u64,
    /// Who does it: customers are numbered from 0, and each does one thing at a time.
    pub customer: u32,
    /// Not before this time of the run, in microseconds.
    pub at_us: u64,
    /// Only after these have ended with a 2xx; if one did not, or is not in the plan, this one is skipped.
    #[serde(default)]
    pub after: Vec<u64>,
    /// The service that is asked.
    pub service: ServiceName,
    /// The method.
    pub method: Method,
    /// The path, with its query.
    pub path: String,
    /// JSON, or empty.
    pub body: String,
}

/// A service of a scenario.
#[derive(Clone)]
pub struct ServiceSpec {
    /// Its name.
    pub name: ServiceName,
    /// How many instances a standard run has.
    pub instances: usize,
    /// Makes an instance.
    pub make: Arc<dyn Fn(InstanceConfig) -> Box<dyn Machine> + Send + Sync>,
}

/// A source of chance for workloads: a number below `n`, which is at least 1.
pub trait Draw {
    /// Draws uniformly from `0..n`.
    fn below(&mut self, n: u64) -> u64;
}

/// What a run is made of.
pub trait Scenario: Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;
    /// One line for people.
    fn describe(&self) -> &'static str;
    /// Its services.
    fn services(&self) -> Vec<ServiceSpec>;
    /// Draws what customers do: about `operations` of them over `duration_us`, by `customers` customers.
    fn workload(&self, draw: &mut dyn Draw, customers: u32, operations: usize, duration_us: u64) -> Vec<Operation>;
    /// What is asked at the end, when all is healed and done, so that properties can compare read models with the log.
    /// Their ids begin at `first_id`.
    fn inspections(&self, operations: &[Operation], first_id: u64) -> Vec<Operation>;
    /// The scenario's own properties, besides those of the bus.
    fn properties(&self) -> Vec<Box<dyn Property>>;
}
