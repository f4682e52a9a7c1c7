//! Who takes part in a run, and what their hosts are called.

use dacapo_core::{NodeName, ServiceName};
use dacapo_properties::Scenario;

/// The hosts of a run, without the extra instances that faults bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cast {
    /// Each service with the number of its standing instances, in the scenario's order.
    pub services: Vec<(ServiceName, usize)>,
    /// Customers are numbered from 0.
    pub customers: u32,
}

/// The host of the bus.
pub fn bus() -> NodeName {
    NodeName::of("bus")
}

/// The host of a service's n-th instance, from 0.
pub fn instance(service: &ServiceName, n: usize) -> NodeName {
    NodeName::of(format!("{service}-{n}"))
}

/// The host of a customer.
pub fn customer(n: u32) -> NodeName {
    NodeName::of(format!("customer-{n}"))
}

/// The host of the administrator, who comes when all is healed.
pub fn administrator() -> NodeName {
    NodeName::of("administrator")
}

/// The host of the stranger, who is about where the bus demands tokens.
pub fn stranger() -> NodeName {
    NodeName::of("stranger")
}

/// The host of the operator, who comes while the plan wants a backup, or the disk has filled up.
pub fn operator() -> NodeName {
    NodeName::of("operator")
}

impl Cast {
    /// The cast of a scenario.
    pub fn of(scenario: &dyn Scenario, customers: u32) -> Self {
        let services = scenario.services().into_iter().map(|spec| (spec.name, spec.instances)).collect();
        Self { services, customers }
    }

    /// The hosts of all standing instances.
    pub fn instances(&self) -> Vec<NodeName> {
        self.services.iter().flat_map(|(service, count)| (0..*count).map(move |n| instance(service, n))).collect()
    }

    /// The hosts of all customers.
    pub fn customers(&self) -> Vec<NodeName> {
        (0..self.customers).map(customer).collect()
    }

    /// Every host: the bus, the instances, the customers.
    pub fn hosts(&self) -> Vec<NodeName> {
        let mut hosts = vec![bus()];
        hosts.extend(self.instances());
        hosts.extend(self.customers());
        hosts
    }
}
