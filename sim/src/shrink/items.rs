//! What can be taken out of a plan: an operation with all that depend on it, or a fault.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::NodeName;

use crate::{
    fault::{Family, Fault, Trigger},
    plan::Plan,
};

/// One thing that a plan can be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Item {
    /// An operation, by its id.
    Operation(u64),
    /// A fault, by its id.
    Fault(u32),
}

/// The plan's faults.
pub(super) fn faults(plan: &Plan) -> Vec<Item> {
    let mut faults: Vec<&Fault> = plan.faults.iter().collect();
    faults.sort_by_key(|fault| (begins_us(fault), fault.id));
    faults.into_iter().map(|fault| Item::Fault(fault.id)).collect()
}

/// The plan's operations, in the order in which they are done.
pub(super) fn operations(plan: &Plan) -> Vec<Item> {
    let mut operations: Vec<(u64, u64)> =
        plan.operations.iter().map(|operation| (operation.at_us, operation.id)).collect();
    operations.sort_unstable();
    operations.into_iter().map(|(_, id)| Item::Operation(id)).collect()
}

/// When a fault begins, as far as the plan tells.
fn begins_us(fault: &Fault) -> u64 {
    match fault.trigger {
        Trigger::At { us } => us,
        Trigger::On { .. } => u64::MAX,
    }
}

/// The plan with these items alone, without the operations that would wait for one that is gone.
pub(super) fn with_only(plan: &Plan, items: &[Item]) -> Plan {
    let kept: BTreeSet<Item> = items.iter().copied().collect();
    let mut plan = plan.clone();
    plan.faults.retain(|fault| kept.contains(&Item::Fault(fault.id)));
    plan.operations.retain(|operation| kept.contains(&Item::Operation(operation.id)));
    drop_dangling(&mut plan);
    adjust_mask(&mut plan);
    plan
}

/// Takes out whatever waits for an operation that is not in the plan: it would be skipped.
fn drop_dangling(plan: &mut Plan) {
    loop {
        let there: BTreeSet<u64> = plan.operations.iter().map(|operation| operation.id).collect();
        let before = plan.operations.len();
        plan.operations.retain(|operation| operation.after.iter().all(|id| there.contains(id)));
        if plan.operations.len() == before {
            return;
        }
    }
}

/// The mask says what is left.
pub(super) fn adjust_mask(plan: &mut Plan) {
    let mut mask: BTreeMap<Family, u32> = BTreeMap::new();
    for fault in &plan.faults {
        *mask.entry(fault.family).or_default() += 1;
    }
    plan.mask = mask;
}

/// Groups of faults that may go together: those of a family, those that name a host.
pub(super) fn fault_groups(plan: &Plan) -> Vec<BTreeSet<u32>> {
    let mut families: BTreeMap<Family, BTreeSet<u32>> = BTreeMap::new();
    let mut hosts: BTreeMap<NodeName, BTreeSet<u32>> = BTreeMap::new();
    for fault in &plan.faults {
        families.entry(fault.family).or_default().insert(fault.id);
        for host in fault.what.hosts() {
            hosts.entry(host.clone()).or_default().insert(fault.id);
        }
    }
    let mut groups: Vec<BTreeSet<u32>> = families.into_values().chain(hosts.into_values()).collect();
    // The most first: what goes early makes everything after it cheaper.
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    groups.dedup();
    groups
}

#[cfg(test)]
mod tests {
    use dacapo_core::ServiceName;
    use dacapo_properties::Operation;
    use dacapo_service::Method;

    use super::*;
    use crate::{fault::Harm, plan::Settings, profile::Profile};

    fn operation(id: u64, after: &[u64]) -> Operation {
        Operation {
            id,
            customer: 0,
            at_us: 1_000 * (10 - id),
            after: after.to_vec(),
            service: ServiceName::of("tallies"),
            method: Method::Post,
            path: "/".to_owned(),
            body: String::new(),
        }
    }

    fn plan() -> Plan {
        let bus = NodeName::of("bus");
        let fault = |id, family, what| Fault { id, family, trigger: Trigger::At { us: 5 }, duration_us: 1, what };
        Plan {
            version: crate::plan::VERSION,
            seed: 1,
            scenario: "tally".to_owned(),
            profile: Profile::swarm().name,
            settings: Settings::plain(),
            mask: [(Family::CrashBus, 2), (Family::Pause, 1)].into(),
            operations: vec![operation(1, &[]), operation(2, &[1]), operation(3, &[2]), operation(4, &[])],
            faults: vec![
                fault(1, Family::CrashBus, Harm::Crash { host: bus.clone(), silent: false }),
                fault(2, Family::CrashBus, Harm::Crash { host: bus.clone(), silent: true }),
                fault(3, Family::Pause, Harm::Pause { host: bus }),
            ],
            bug: None,
        }
    }

    #[test]
    fn what_depends_on_a_lost_operation_goes_with_it() {
        let plan = plan();
        let all: Vec<Item> = faults(&plan).into_iter().chain(operations(&plan)).collect();
        let without = |gone: Item| -> Vec<u64> {
            let items: Vec<Item> = all.iter().copied().filter(|item| *item != gone).collect();
            with_only(&plan, &items).operations.iter().map(|operation| operation.id).collect()
        };
        assert_eq!(without(Item::Operation(1)), [4]);
        assert_eq!(without(Item::Operation(2)), [1, 4]);
        assert_eq!(without(Item::Operation(4)), [1, 2, 3]);
    }

    #[test]
    fn the_mask_says_what_is_left() {
        let plan = plan();
        let left = with_only(&plan, &[Item::Fault(2), Item::Operation(1)]);
        assert_eq!(left.mask, [(Family::CrashBus, 1)].into());
        assert_eq!(left.faults.len(), 1);
    }

    #[test]
    fn operations_come_in_the_order_of_their_times() {
        assert_eq!(operations(&plan())[0], Item::Operation(4));
    }

    #[test]
    fn faults_of_a_family_and_of_a_host_may_go_together() {
        let groups = fault_groups(&plan());
        assert_eq!(groups[0], [1, 2, 3].into(), "those of the bus");
        assert!(groups.contains(&[1, 2].into()) && groups.contains(&[3].into()));
    }
}
