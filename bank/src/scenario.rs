//! The bank as something that a simulator can run: its services, its customers, its promises.

use std::{collections::BTreeSet, sync::Arc};

use dacapo_core::{EventType, ServiceName};
use dacapo_properties::{Operation, Property, Scenario, ServiceSpec, scenario::Draw};
use dacapo_service::{Instance, InstanceConfig, Machine, Method, Service};
use serde_json::Value;

use crate::{accounts, properties, transactions, users, workload};

/// The bank: users, accounts and transactions, and customers that move money about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bank;

/// The bank.
pub fn bank() -> Bank {
    Bank
}

/// What an inspection says in its query, so that a property can tell it from a customer's own look: it demands to see
/// everything that is in the log when it is sent.
pub const INSPECTION: &str = "?inspection=1";

/// A service of the bank. Three instances decide on money, so that decisions meet; two do elsewhere.
fn spec<S: Service>(service: S, instances: usize) -> ServiceSpec {
    let name = service.name();
    let make = move |config: InstanceConfig| -> Box<dyn Machine> { Box::new(Instance::new(service.clone(), config)) };
    ServiceSpec { name, instances, make: Arc::new(make) }
}

impl Scenario for Bank {
    fn name(&self) -> &'static str {
        "bank"
    }

    fn describe(&self) -> &'static str {
        "users, accounts and transfers: no account is overdrawn, no penny appears or vanishes"
    }

    fn services(&self) -> Vec<ServiceSpec> {
        vec![spec(accounts::Accounts, 3), spec(users::Users, 2), spec(transactions::Transactions, 2)]
    }

    fn workload(&self, draw: &mut dyn Draw, customers: u32, operations: usize, duration_us: u64) -> Vec<Operation> {
        workload::draw(draw, customers, operations, duration_us)
    }

    /// Every user's accounts, every account's balance and every transaction's status, each once, in the order in which
    /// the plan names them first; shared out among the customers of the plan.
    fn inspections(&self, operations: &[Operation], first_id: u64) -> Vec<Operation> {
        let customers = operations.iter().map(|operation| operation.customer + 1).max().unwrap_or(1);
        let mut seen = BTreeSet::new();
        let named = operations.iter().filter_map(subject).filter(|subject| seen.insert(subject.clone()));
        (first_id..)
            .zip(named)
            .map(|(id, (service, path))| Operation {
                id,
                customer: (id % u64::from(customers)) as u32,
                at_us: 0,
                after: Vec::new(),
                service: ServiceName::of(service),
                method: Method::Get,
                path: format!("{path}{INSPECTION}"),
                body: String::new(),
            })
            .collect()
    }

    /// Only the accounts service decides on events; the others, and it too for what it has decided, fold them.
    fn may_be_skipped(&self) -> Vec<(ServiceName, EventType)> {
        let decided: BTreeSet<EventType> = accounts::Accounts::decides_on().into_iter().collect();
        let accounts = accounts::Accounts.types().into_iter().filter(|folded| !decided.contains(folded));
        let mut may: Vec<_> = accounts.map(|folded| (accounts::Accounts.name(), folded)).collect();
        may.extend(users::Users.types().into_iter().map(|folded| (users::Users.name(), folded)));
        may.extend(
            transactions::Transactions.types().into_iter().map(|folded| (transactions::Transactions.name(), folded)),
        );
        may
    }

    fn leads_everywhere(&self) -> bool {
        true
    }

    fn properties(&self) -> Vec<Box<dyn Property>> {
        properties::all()
    }
}

/// Where to look for what an operation makes, if it makes something that can be looked at.
fn subject(operation: &Operation) -> Option<(&'static str, String)> {
    if operation.method != Method::Post {
        return None;
    }
    let body: Value = serde_json::from_str(&operation.body).ok()?;
    let segments: Vec<&str> = operation.path.trim_matches('/').split('/').collect();
    match segments[..] {
        ["users"] => Some((users::NAME, format!("/users/{}/accounts", body["id"].as_str()?))),
        ["users", _, "accounts"] => Some((accounts::NAME, format!("/accounts/{}", body["account"].as_str()?))),
        ["transactions"] => Some((transactions::NAME, format!("/transactions/{}", body["id"].as_str()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use dacapo_core::InstanceName;

    use super::*;
    use crate::workload::tests::Counter;

    /// Whether a route of the service takes this request.
    fn routed(spec: &ServiceSpec, operation: &Operation) -> bool {
        let path = operation.path.split('?').next().unwrap_or_default();
        let fits = |pattern: &str| {
            let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
            pattern.len() == path.len() && pattern.iter().zip(&path).all(|(p, s)| p == s || p.starts_with('{'))
        };
        (spec.make)(InstanceConfig::new(InstanceName::of("one"), 1))
            .routes()
            .iter()
            .any(|route| route.method == operation.method && fits(route.path))
    }

    #[test]
    fn every_operation_and_inspection_finds_its_route() {
        let plan = Bank.workload(&mut Counter::new(3), 4, 120, 10_000_000);
        let specs = Bank.services();
        let inspections = Bank.inspections(&plan, 1_000);
        for operation in plan.iter().chain(&inspections) {
            let spec = specs.iter().find(|spec| spec.name == operation.service).expect("the service is the bank's");
            assert!(routed(spec, operation), "{} {:?} {}", spec.name, operation.method, operation.path);
        }
    }

    #[test]
    fn inspections_look_at_everything_once() {
        let plan = Bank.workload(&mut Counter::new(5), 4, 120, 10_000_000);
        let inspections = Bank.inspections(&plan, 1_000);
        let paths: BTreeSet<_> = inspections.iter().map(|operation| &operation.path).collect();
        assert_eq!(paths.len(), inspections.len(), "each once");
        assert!(inspections.iter().zip(1_000..).all(|(operation, id)| operation.id == id && operation.customer < 4));
        for start in ["/users/", "/accounts/", "/transactions/"] {
            assert!(paths.iter().any(|path| path.starts_with(start)), "{start}");
        }
    }
}
