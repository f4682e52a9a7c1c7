//! Settings towards the plain ones, and fewer customers.
//!
//! Settings are compared through their JSON form, field by field, so that one which is added later is lowered too.

use std::collections::BTreeMap;

use serde_json::Value;

use super::lower::lower_numbers;
use crate::{
    cast,
    plan::{Plan, Settings},
};

/// What has a rule of its own, or says how long a run is: not a matter of being plain.
const KEPT: &[&str] = &["customers", "duration_us", "tick_us", "store"];

/// A run must have some time before it is healed.
const DURATION_LEAST_US: u64 = 100_000;

/// The plan with every setting plain: the boldest candidate.
pub(super) fn plain(plan: &Plan) -> Option<Plan> {
    let (own, wanted) = (value(&plan.settings)?, value(&Settings::plain())?);
    let mut fields = own.as_object()?.clone();
    for (name, field) in wanted.as_object()? {
        if !KEPT.contains(&name.as_str()) {
            fields.insert(name.clone(), field.clone());
        }
    }
    with(plan, Value::Object(fields)).filter(|changed| changed.settings != plan.settings)
}

/// The plan with all ranges of times at their lower ends: draws of durations are all the same then, and what goes out
/// of the plan re-times even less.
pub(super) fn without_spread(plan: &Plan) -> Option<Plan> {
    let mut own = value(&plan.settings)?;
    for field in own.as_object_mut()?.values_mut() {
        if let Some(low) = low_end(field) {
            *field = low;
        }
    }
    with(plan, own).filter(|changed| changed.settings != plan.settings)
}

/// Plans with one setting closer to the plain ones.
pub(super) fn with_one_lowered(plan: &Plan) -> Vec<Plan> {
    let (Some(own), Some(wanted)) = (value(&plan.settings), value(&Settings::plain())) else { return Vec::new() };
    let mut lower = Vec::new();
    for path in paths(&own) {
        let (Some(field), Some(plain)) = (own.pointer(&path), wanted.pointer(&path)) else { continue };
        if field == plain || KEPT.iter().any(|kept| path == format!("/{kept}")) {
            continue;
        }
        for smaller in [Some(plain.clone()), low_end(field)].into_iter().flatten() {
            let mut changed = own.clone();
            if let Some(place) = changed.pointer_mut(&path) {
                *place = smaller;
            }
            lower.extend(with(plan, changed).filter(|changed| changed.settings != plan.settings));
        }
    }
    let durations = lower_numbers(plan.settings.duration_us, DURATION_LEAST_US).into_iter();
    lower.extend(durations.map(|duration_us| {
        let mut plan = plan.clone();
        plan.settings.duration_us = duration_us;
        plan
    }));
    lower
}

/// Plans with fewer customers: those with nothing to do go, and one does what two did.
pub(super) fn with_fewer_customers(plan: &Plan) -> Vec<Plan> {
    let named = |customer: u32| {
        let host = cast::customer(customer);
        plan.faults.iter().any(|fault| fault.what.hosts().contains(&&host))
    };
    let is_used =
        |customer: &u32| named(*customer) || plan.operations.iter().any(|operation| operation.customer == *customer);
    let used: Vec<u32> = (0..plan.settings.customers).filter(is_used).collect();
    let mut fewer = Vec::new();
    // Names of hosts stay as they are: who is named by a fault keeps its number.
    if (0..plan.settings.customers).any(named) {
        let count = used.last().map_or(1, |last| last + 1);
        fewer.extend(renumbered(plan, &BTreeMap::new(), count));
    } else {
        let compact: BTreeMap<u32, u32> = used.iter().copied().zip(0..).collect();
        fewer.extend(renumbered(plan, &compact, (used.len() as u32).max(1)));
        for (index, last) in used.iter().enumerate().skip(1).rev() {
            let merged = used.iter().copied().zip(0..).map(|(customer, number)| {
                (
                    customer,
                    if customer == *last {
                        0
                    } else if number as usize > index {
                        number - 1
                    } else {
                        number
                    },
                )
            });
            fewer.extend(renumbered(plan, &merged.collect(), used.len() as u32 - 1));
        }
    }
    fewer
}

/// The plan with customers renumbered; none if that changes nothing.
fn renumbered(plan: &Plan, numbers: &BTreeMap<u32, u32>, customers: u32) -> Option<Plan> {
    let mut plan = plan.clone();
    let mut changed = plan.settings.customers != customers;
    plan.settings.customers = customers;
    for operation in &mut plan.operations {
        if let Some(number) = numbers.get(&operation.customer) {
            changed |= operation.customer != *number;
            operation.customer = *number;
        }
    }
    changed.then_some(plan)
}

fn value(settings: &Settings) -> Option<Value> {
    serde_json::to_value(settings).ok()
}

fn with(plan: &Plan, settings: Value) -> Option<Plan> {
    let settings = serde_json::from_value(settings).ok()?;
    Some(Plan { settings, ..plan.clone() })
}

/// Of a range, both ends at the lower one.
fn low_end(field: &Value) -> Option<Value> {
    match field.as_array().map(Vec::as_slice) {
        Some([low, high]) if low.is_u64() && high.is_u64() && low != high => {
            Some(Value::Array(vec![low.clone(), low.clone()]))
        }
        _ => None,
    }
}

/// JSON pointers of the fields, those of nested objects too.
fn paths(settings: &Value) -> Vec<String> {
    let Some(fields) = settings.as_object() else { return Vec::new() };
    let mut all = Vec::new();
    for (name, field) in fields {
        match field.as_object() {
            Some(nested) => all.extend(nested.keys().map(|inner| format!("/{name}/{inner}"))),
            None => all.push(format!("/{name}")),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use dacapo_core::{NodeName, ServiceName};
    use dacapo_properties::Operation;
    use dacapo_service::Method;

    use super::*;
    use crate::{
        fault::{Family, Fault, Harm, Trigger},
        plan::Survivors,
    };

    fn plan(customers: &[u32]) -> Plan {
        let operation = |(id, customer): (u64, &u32)| Operation {
            id,
            customer: *customer,
            at_us: 0,
            after: Vec::new(),
            service: ServiceName::of("tallies"),
            method: Method::Get,
            path: "/".to_owned(),
            body: String::new(),
        };
        let mut settings = Settings::plain();
        settings.customers = 6;
        settings.latency_us = (3_000, 9_000);
        settings.credit = 1;
        settings.survivors = Survivors::One;
        settings.limits.heads_max = 8;
        Plan {
            version: crate::plan::VERSION,
            seed: 1,
            scenario: "tally".to_owned(),
            profile: "swarm".to_owned(),
            settings,
            mask: BTreeMap::new(),
            operations: (1..).zip(customers).map(operation).collect(),
            faults: Vec::new(),
            bug: None,
        }
    }

    #[test]
    fn settings_become_plain_at_once_or_one_by_one() {
        let plan = plan(&[0]);
        let at_once = plain(&plan).expect("something is not plain");
        assert_eq!((at_once.settings.credit, at_once.settings.limits.heads_max), (64, 131_072));
        assert_eq!(plain(&at_once), None);
        let one_by_one = with_one_lowered(&plan);
        let only = |test: fn(&Settings) -> bool| {
            one_by_one.iter().any(|candidate| {
                let mut back = candidate.settings.clone();
                let changed = test(&back);
                back.credit = 1;
                back.latency_us = (3_000, 9_000);
                back.limits.heads_max = 8;
                back.survivors = Survivors::One;
                changed && back == plan.settings
            })
        };
        assert!(only(|settings| settings.credit == 64) && only(|settings| settings.limits.heads_max == 131_072));
        assert!(only(|settings| settings.survivors == Survivors::All));
        assert!(only(|settings| settings.latency_us == (3_000, 3_000)));
        assert_eq!(without_spread(&plan).map(|plan| plan.settings.latency_us), Some((3_000, 3_000)));
    }

    #[test]
    fn customers_without_work_go_and_two_become_one() {
        let customers = |plan: &Plan| plan.operations.iter().map(|operation| operation.customer).collect::<Vec<_>>();
        let fewer = with_fewer_customers(&plan(&[5, 2, 5]));
        assert_eq!((fewer[0].settings.customers, customers(&fewer[0])), (2, vec![1, 0, 1]));
        assert_eq!((fewer[1].settings.customers, customers(&fewer[1])), (1, vec![0, 0, 0]));
        assert!(with_fewer_customers(&fewer[1]).is_empty());
    }

    #[test]
    fn a_customer_that_a_fault_names_keeps_its_number() {
        let mut plan = plan(&[0]);
        let what = Harm::Crash { host: NodeName::of("customer-3"), silent: false };
        let trigger = Trigger::At { us: 0 };
        plan.faults.push(Fault { id: 1, family: Family::CrashCustomer, trigger, duration_us: 1, what });
        let fewer = with_fewer_customers(&plan);
        assert_eq!((fewer.len(), fewer[0].settings.customers), (1, 4));
    }
}
