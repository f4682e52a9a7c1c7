//! What a run is made of.

use std::{sync::Arc, time::Duration};

use dacapo_core::{Data, ServiceName};
use dacapo_service::{Instance, InstanceConfig, Machine, Method, Service};
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

impl Operation {
    /// A GET of this path, by customer 0 at the beginning. What it is not yet is said by the methods below; a workload
    /// that leaves the id at 0 has its operations numbered in their order.
    ///
    /// # Panics
    /// When the service's name is no name.
    #[track_caller]
    pub fn get(service: &str, path: impl Into<String>) -> Self {
        Self::asking(service, Method::Get, path.into())
    }

    /// A POST, as [`get`](Self::get).
    #[track_caller]
    pub fn post(service: &str, path: impl Into<String>) -> Self {
        Self::asking(service, Method::Post, path.into())
    }

    /// A PUT, as [`get`](Self::get).
    #[track_caller]
    pub fn put(service: &str, path: impl Into<String>) -> Self {
        Self::asking(service, Method::Put, path.into())
    }

    /// A DELETE, as [`get`](Self::get).
    #[track_caller]
    pub fn delete(service: &str, path: impl Into<String>) -> Self {
        Self::asking(service, Method::Delete, path.into())
    }

    #[track_caller]
    fn asking(service: &str, method: Method, path: String) -> Self {
        let service = ServiceName::of(service);
        Self { id: 0, customer: 0, at_us: 0, after: Vec::new(), service, method, path, body: String::new() }
    }

    /// With this body, as JSON.
    #[must_use]
    pub fn body<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        Data::of(body).as_str().clone_into(&mut self.body);
        self
    }

    /// Done by this customer.
    #[must_use]
    pub fn by(mut self, customer: u32) -> Self {
        self.customer = customer;
        self
    }

    /// Not before this time of the run.
    #[must_use]
    pub fn at(mut self, at: Duration) -> Self {
        self.at_us = at.as_micros() as u64;
        self
    }

    /// Only if this operation has succeeded.
    #[must_use]
    pub fn after(mut self, operation: u64) -> Self {
        self.after.push(operation);
        self
    }

    /// With this id, which is not 0.
    #[must_use]
    pub fn numbered(mut self, id: u64) -> Self {
        self.id = id;
        self
    }
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

impl ServiceSpec {
    /// This service, with so many instances.
    pub fn of<S: Service>(service: S, instances: usize) -> Self {
        let name = service.name();
        let make =
            move |config: InstanceConfig| -> Box<dyn Machine> { Box::new(Instance::new(service.clone(), config)) };
        Self { name, instances, make: Arc::new(make) }
    }
}

/// A source of chance for workloads: a number below `n`, which is at least 1.
pub trait Draw {
    /// Draws uniformly from `0..n`.
    fn below(&mut self, n: u64) -> u64;
}

impl dyn Draw + '_ {
    /// One of these.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// True so many times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
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
    /// What an administrator may pass over: types that the handler of a service does nothing with, so that the service
    /// promises as much without having handled them.
    fn may_be_skipped(&self) -> Vec<(ServiceName, dacapo_core::EventType)> {
        Vec::new()
    }
    /// Whether a campaign that misses a mark which it could reach has proved nothing. Only where it is known that this
    /// scenario leads everywhere.
    fn leads_everywhere(&self) -> bool {
        false
    }
    /// The scenario's own properties, besides those of the bus.
    fn properties(&self) -> Vec<Box<dyn Property>>;
}
