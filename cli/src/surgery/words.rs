//! A plan in words, a line for each item.

use dacapo_core::Timestamp;
use dacapo_properties::Operation;
use dacapo_sim::{Fault, Minimality, Plan, fault::Trigger};

use crate::terminal::count;

/// The lines of a plan: what customers do and what goes wrong, in the order of their times. What begins at a point of
/// the run, and not at a time, comes last.
pub(crate) fn lines(plan: &Plan) -> Vec<String> {
    let mut lines: Vec<(u64, String)> =
        plan.operations.iter().map(|operation| (operation.at_us, operation_line(operation))).collect();
    lines.extend(plan.faults.iter().map(|fault| {
        let at_us = match fault.trigger {
            Trigger::At { us } => us,
            Trigger::On { .. } => u64::MAX,
        };
        (at_us, fault_line(fault))
    }));
    lines.sort_by_key(|(at_us, _)| *at_us);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// `operation 7    1.204s  customer 2 asks accounts: POST /accounts/a-1/deposit {"pence":5}`
pub(crate) fn operation_line(operation: &Operation) -> String {
    let Operation { id, customer, at_us, after, service, method, path, body } = operation;
    let after = match &after[..] {
        [] => String::new(),
        ids => format!(", after {}", ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")),
    };
    let space = if body.is_empty() { "" } else { " " };
    let (at, method) = (Timestamp(*at_us).to_string(), format!("{method:?}").to_uppercase());
    format!("operation {id:<4} {at:>9}  customer {customer} asks {service}: {method} {path}{space}{body}{after}")
}

/// `fault #901      0.700s  crash of bus at 0.700s for 0.300s`
pub(crate) fn fault_line(fault: &Fault) -> String {
    let at = match fault.trigger {
        Trigger::At { us } => Timestamp(us).to_string(),
        Trigger::On { .. } => String::new(),
    };
    format!("fault #{:<7} {at:>9}  {}", fault.id, fault.describe())
}

/// `7 operations and 1 fault`
pub(crate) fn size(plan: &Plan) -> String {
    let (operations, faults) = (plan.operations.len() as u64, plan.faults.len() as u64);
    format!("{} and {}", count(operations, "operation", "operations"), count(faults, "fault", "faults"))
}

/// Whether it could be smaller.
pub(crate) fn minimality(minimality: Minimality) -> &'static str {
    match minimality {
        Minimality::Minimal => "minimal: without any one of them it fails no more",
        Minimality::TimeRanOut => "time ran out, so it may not be minimal: give more with --time",
    }
}

/// What the smaller plan is without, a line for each kind.
pub(crate) fn taken_out(whole: &Plan, small: &Plan) -> Vec<String> {
    let gone = |before: usize, after: usize, one: &str, many: &str| {
        (before > after).then(|| format!("{} of {}", before - after, count(before as u64, one, many)))
    };
    let mut lines: Vec<String> = [
        gone(whole.operations.len(), small.operations.len(), "operation", "operations"),
        gone(whole.faults.len(), small.faults.len(), "fault", "faults"),
        gone(whole.settings.customers as usize, small.settings.customers as usize, "customer", "customers"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let lost: Vec<&str> =
        whole.mask.keys().filter(|family| !small.mask.contains_key(family)).map(|family| family.name()).collect();
    if !lost.is_empty() {
        lines.push(format!("every fault of {}", lost.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use dacapo_core::{NodeName, ServiceName};
    use dacapo_service::Method;
    use dacapo_sim::{Family, Harm};

    use super::*;

    #[test]
    fn items_are_told_in_a_line_each() {
        let operation = Operation {
            id: 7,
            customer: 2,
            at_us: 1_204_000,
            after: vec![1, 3],
            service: ServiceName::of("accounts"),
            method: Method::Post,
            path: "/accounts/a-1/deposit".to_owned(),
            body: "{\"pence\":5}".to_owned(),
        };
        assert_eq!(
            operation_line(&operation),
            "operation 7       1.204s  customer 2 asks accounts: POST /accounts/a-1/deposit {\"pence\":5}, after 1 and 3"
        );
        let fault = Fault {
            id: 901,
            family: Family::CrashBus,
            trigger: Trigger::At { us: 700_000 },
            duration_us: 300_000,
            what: Harm::Crash { host: NodeName::of("bus"), silent: false },
        };
        assert_eq!(fault_line(&fault), "fault #901        0.700s  crash of bus at 0.700s for 0.300s");
    }
}
