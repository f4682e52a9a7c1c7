//! Making what is left smaller: earlier, shorter, weaker, rounder, with fewer hosts.
//!
//! A fault is lowered through its JSON form, so that a kind of fault which did not exist when this was written is
//! lowered too: numbers go towards the least, switches off, lists of hosts get shorter. Each candidate changes one
//! thing; the boldest come first.

use std::collections::BTreeSet;

use serde_json::Value;

use super::items::{self, Item};
use crate::{
    fault::{Fault, Harm, Trigger},
    plan::Plan,
};

/// Smaller numbers to try, the boldest first. Round ones, so that people can read what is left.
pub(super) fn lower_numbers(number: u64, least: u64) -> Vec<u64> {
    if number <= least {
        return Vec::new();
    }
    let span = number - least;
    let between = [8, 4, 2].map(|part| rounded(least + span / part, 1));
    let near = [rounded(least + span / 4 * 3, 2), rounded(number, 1), rounded(number, 2)];
    let mut numbers: Vec<u64> = [least].into_iter().chain(between).chain(near).collect();
    numbers.retain(|lower| (least..number).contains(lower));
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// The number with so many leading digits, the others 0.
fn rounded(number: u64, digits: u32) -> u64 {
    let length = number.checked_ilog10().map_or(1, |log| log + 1);
    let unit = 10_u64.pow(length.saturating_sub(digits));
    number / unit * unit
}

/// Smaller forms of a value, each with one thing changed.
fn lower_values(value: &Value) -> Vec<Value> {
    match value {
        Value::Number(number) => {
            let magnitude = number.as_i64().map_or_else(|| number.as_u64().unwrap_or(0), i64::unsigned_abs);
            let negative = number.as_i64().is_some_and(i64::is_negative);
            let signed = |lower: u64| if negative { Value::from(-(lower as i64)) } else { Value::from(lower) };
            lower_numbers(magnitude, 1).into_iter().map(signed).collect()
        }
        Value::Bool(true) => vec![Value::Bool(false)],
        Value::Array(items) if items.len() > 1 => {
            let without = |index: usize| {
                let mut fewer = items.clone();
                fewer.remove(index);
                Value::Array(fewer)
            };
            let first = Value::Array(items[..1].to_vec());
            std::iter::once(first).chain((0..items.len()).rev().map(without)).collect()
        }
        Value::Object(fields) => {
            let mut lower = Vec::new();
            for (name, field) in fields {
                for smaller in lower_values(field) {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), smaller);
                    lower.push(Value::Object(fields));
                }
            }
            lower
        }
        _ => Vec::new(),
    }
}

fn lower_harms(what: &Harm) -> Vec<Harm> {
    let Ok(value) = serde_json::to_value(what) else { return Vec::new() };
    lower_values(&value).into_iter().filter_map(|lower| serde_json::from_value(lower).ok()).collect()
}

fn lower_triggers(trigger: &Trigger) -> Vec<Trigger> {
    match trigger {
        Trigger::At { us } => lower_numbers(*us, 0).into_iter().map(|us| Trigger::At { us }).collect(),
        Trigger::On { host, point, identity, nth } => lower_numbers(*nth, 1)
            .into_iter()
            .map(|nth| Trigger::On { host: host.clone(), point: point.clone(), identity: *identity, nth })
            .collect(),
    }
}

/// Smaller forms of a fault, each with one thing changed.
pub(super) fn lower_faults(fault: &Fault) -> Vec<Fault> {
    let strength = lower_harms(&fault.what).into_iter().map(|what| Fault { what, ..fault.clone() });
    let lengths = lower_numbers(fault.duration_us, 0).into_iter();
    let length = lengths.map(|duration_us| Fault { duration_us, ..fault.clone() });
    let triggers = lower_triggers(&fault.trigger).into_iter();
    let earlier = triggers.map(|trigger| Fault { trigger, ..fault.clone() });
    strength.chain(length).chain(earlier).collect()
}

/// Plans with one fault lowered in one way; `which` counts the plan's faults.
pub(super) fn with_fault_lowered(plan: &Plan, which: usize) -> impl Iterator<Item = Plan> {
    lower_faults(&plan.faults[which]).into_iter().map(move |fault| {
        let mut plan = plan.clone();
        plan.faults[which] = fault;
        plan
    })
}

/// What is asked, with one of its numbers replaced by smaller ones. Switches and lists stay as they are, since they say what is
/// asked rather than how much of it.
fn replaced(value: &Value, smaller: &dyn Fn(u64) -> Vec<u64>) -> Vec<Value> {
    match value {
        Value::Number(number) => number.as_u64().map(smaller).into_iter().flatten().map(Value::from).collect(),
        Value::Object(fields) => {
            let each = fields.iter().flat_map(|(name, field)| {
                replaced(field, smaller).into_iter().map(move |less| {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), less);
                    Value::Object(fields)
                })
            });
            each.collect()
        }
        _ => Vec::new(),
    }
}

/// The same of what stands in a body; nothing if that is no JSON.
fn lower_bodies(body: &str, smaller: &dyn Fn(u64) -> Vec<u64>) -> Vec<String> {
    let Ok(value) = serde_json::from_str(body) else { return Vec::new() };
    replaced(&value, smaller).iter().map(Value::to_string).collect()
}

/// The numbers in what a plan's operations ask for.
fn amounts(plan: &Plan) -> BTreeSet<u64> {
    fn gather(value: &Value, into: &mut BTreeSet<u64>) {
        match value {
            Value::Number(number) => into.extend(number.as_u64()),
            Value::Object(fields) => fields.values().for_each(|field| gather(field, into)),
            _ => {}
        }
    }
    let mut amounts = BTreeSet::new();
    let bodies = plan.operations.iter().filter_map(|operation| serde_json::from_str(&operation.body).ok());
    bodies.for_each(|body: Value| gather(&body, &mut amounts));
    amounts
}

/// Plans without one operation, in which another asks for no more than a third does: who pays in once instead of twice can
/// spend less, and only both together still fail. The latest goes first, since earlier ones are often there for it alone.
pub(super) fn with_operation_traded(plan: &Plan) -> impl Iterator<Item = Plan> {
    let amounts = amounts(plan);
    items::operations(plan).into_iter().rev().flat_map(move |out| {
        let kept: Vec<Item> =
            items::faults(plan).into_iter().chain(items::operations(plan)).filter(|item| *item != out).collect();
        let fewer = items::with_only(plan, &kept);
        let amounts = amounts.clone();
        (0..fewer.operations.len()).flat_map(move |which| {
            let below = |number: u64| amounts.range(..number).rev().copied().filter(|less| *less > 0).collect();
            let fewer = fewer.clone();
            lower_bodies(&fewer.operations[which].body, &below).into_iter().map(move |body| {
                let mut plan = fewer.clone();
                plan.operations[which].body = body;
                plan
            })
        })
    })
}

/// Plans with one operation earlier, waiting for less, or asking for less; `which` counts the plan's operations.
pub(super) fn with_operation_lowered(plan: &Plan, which: usize) -> impl Iterator<Item = Plan> {
    let operation = &plan.operations[which];
    let less = lower_bodies(&operation.body, &|number| lower_numbers(number, 1)).into_iter().map(move |body| {
        let mut plan = plan.clone();
        plan.operations[which].body = body;
        plan
    });
    let free = (0..operation.after.len()).map(move |index| {
        let mut plan = plan.clone();
        plan.operations[which].after.remove(index);
        plan
    });
    let earlier = lower_numbers(operation.at_us, 0).into_iter().map(move |at_us| {
        let mut plan = plan.clone();
        plan.operations[which].at_us = at_us;
        plan
    });
    free.chain(less).chain(earlier)
}

/// Plans in which everything happens sooner: nothing before the first operation, then a half and nine tenths of all times.
pub(super) fn sooner(plan: &Plan) -> impl Iterator<Item = Plan> {
    type Change = fn(u64, u64) -> u64;
    let first = plan.operations.iter().map(|operation| operation.at_us).min().unwrap_or(0);
    let changes: [Change; 3] =
        [|us, first| us.saturating_sub(first), |us, _| rounded(us / 2, 3), |us, _| rounded(us / 10 * 9, 3)];
    changes.into_iter().map(move |change| {
        let mut plan = plan.clone();
        for operation in &mut plan.operations {
            operation.at_us = change(operation.at_us, first);
        }
        for fault in &mut plan.faults {
            if let Trigger::At { us } = &mut fault.trigger {
                *us = change(*us, first);
            }
        }
        plan
    })
}

/// Plans with fewer faults in which one operation happens when another does. Faults often do no more than bring two
/// operations together that are far apart.
pub(super) fn with_meeting_operations(plan: &Plan) -> impl Iterator<Item = Plan> {
    let fewer = (!plan.faults.is_empty()).then(Vec::new).into_iter();
    let fewer = fewer.chain((0..plan.faults.len()).map(|out| {
        let mut faults = plan.faults.clone();
        faults.remove(out);
        faults
    }));
    let operations = plan.operations.len();
    fewer.flat_map(move |faults| {
        let pairs = (0..operations).flat_map(move |moved| (0..operations).map(move |other| (moved, other)));
        pairs.filter(|(moved, other)| moved != other).map(move |(moved, other)| {
            let mut plan = Plan { faults: faults.clone(), ..plan.clone() };
            plan.operations[moved].at_us = plan.operations[other].at_us;
            items::adjust_mask(&mut plan);
            plan
        })
    })
}

#[cfg(test)]
mod tests {
    use dacapo_core::NodeName;
    use dacapo_properties::Operation;
    use proptest::prelude::*;

    use super::*;
    use crate::{fault::Family, plan::Settings, profile::Profile};

    #[test]
    fn numbers_go_to_the_least_first_and_to_round_ones_then() {
        assert!(lower_numbers(0, 0).is_empty());
        assert_eq!(lower_numbers(1, 0), [0]);
        assert!(lower_numbers(7, 7).is_empty());
        assert_eq!(lower_numbers(1_234_567, 0), [0, 100_000, 300_000, 600_000, 920_000, 1_000_000, 1_200_000]);
        assert_eq!(lower_numbers(400, 1), [1, 50, 100, 200, 290]);
    }

    proptest! {
        #[test]
        fn every_number_gets_down_to_the_least_that_still_fails(number in 1_u64..100_000_000, needed in 0_u64..100_000_000) {
            let needed = needed.min(number);
            let (mut left, mut asked) = (number, 0);
            while let Some(lower) = lower_numbers(left, 0).into_iter().find(|lower| {
                asked += 1;
                *lower >= needed
            }) {
                prop_assert!(lower < left);
                left = lower;
            }
            // A third less, in round numbers, is close enough for a person.
            prop_assert!(left >= needed && left <= needed / 2 * 3 + 10, "{left} for {needed}");
            prop_assert!(asked < 200, "{asked}");
        }
    }

    fn fault(what: Harm) -> Fault {
        Fault { id: 1, family: Family::Partition, trigger: Trigger::At { us: 0 }, duration_us: 0, what }
    }

    #[test]
    fn a_partition_loses_hosts_and_keeps_two_sides() {
        let hosts = |names: &[&str]| names.iter().map(|name| NodeName::of(*name)).collect::<Vec<_>>();
        let what = Harm::Partition { a: hosts(&["bus"]), b: hosts(&["accounts-0", "users-1"]) };
        let lower: Vec<Harm> = lower_faults(&fault(what)).into_iter().map(|fault| fault.what).collect();
        let one = |name| Harm::Partition { a: hosts(&["bus"]), b: hosts(&[name]) };
        assert!(lower.contains(&one("accounts-0")) && lower.contains(&one("users-1")), "{lower:?}");
        assert!(lower.iter().all(|what| what.hosts().len() == 2), "{lower:?}");
    }

    #[test]
    fn amounts_go_down_and_nothing_else_of_what_is_asked_changes() {
        let lower_bodies = |body| lower_bodies(body, &|number| lower_numbers(number, 1));
        assert_eq!(lower_bodies(r#"{"from":"a","pence":2,"to":"b"}"#), [r#"{"from":"a","pence":1,"to":"b"}"#]);
        let lower = lower_bodies(r#"{"gift":true,"seats":[4,5],"what":{"price":400}}"#);
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let of_price = |price| format!(r#"{{"gift":true,"seats":[4,5],"what":{{"price":{price}}}}}"#);
        assert_eq!(lower, [1, 50, 100, 200, 290].map(of_price));
        for none in ["", "no JSON", r#"{"pence":1}"#, r#"{"pence":-3,"rate":0.5}"#, "[7]"] {
            assert!(lower_bodies(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn an_operation_is_traded_for_an_amount_that_another_asks_for() {
        let asks = |id: u64, pence: u64| {
            let body = serde_json::json!({ "pence": pence });
            Operation { id, at_us: id, ..Operation::post("tallies", "/").body(&body) }
        };
        let plan = Plan {
            version: crate::plan::VERSION,
            seed: 1,
            scenario: "tally".to_owned(),
            profile: Profile::swarm().name,
            settings: Settings::plain(),
            mask: [].into(),
            operations: vec![asks(1, 0), asks(2, 5), asks(3, 9)],
            faults: Vec::new(),
            bug: None,
        };
        let traded: Vec<Vec<String>> = with_operation_traded(&plan)
            .map(|plan| plan.operations.into_iter().map(|operation| operation.body).collect())
            .collect();
        let asking = |pence: [u64; 2]| pence.map(|pence| format!(r#"{{"pence":{pence}}}"#)).to_vec();
        assert_eq!(traded, [asking([0, 5]), asking([5, 5])], "never for nothing, and the latest goes first");
    }

    #[test]
    fn strengths_go_down_and_switches_off() {
        let host = NodeName::of("bus");
        let lower = lower_faults(&fault(Harm::Crash { host: host.clone(), silent: true }));
        assert_eq!(lower, [fault(Harm::Crash { host: host.clone(), silent: false })]);
        let lower = lower_faults(&fault(Harm::ClockOffset { host: host.clone(), offset_us: -500 }));
        let offset_us = lower.iter().map(|fault| match fault.what {
            Harm::ClockOffset { offset_us, .. } => offset_us,
            _ => 0,
        });
        assert!(offset_us.clone().count() > 3 && offset_us.clone().all(|us| us < 0 && us > -500), "{lower:?}");
    }
}
