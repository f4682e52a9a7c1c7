//! Promise 8: a state is folded from every event of its service's types once, in order.

use std::collections::BTreeMap;

use dacapo_core::{
    InstanceName, Key, ServiceName, Timestamp, Version,
    digest::StableHasher,
    trace::{How, Record, What},
};
use std::hash::Hash as _;

use crate::{
    kinds::Kinds,
    known::Known,
    log::Log,
    observer::Observer,
    property::{Moment, Promise, Verdict},
    sometimes,
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "no_duplicate_processing",
    sentence: "within an incarnation, the versions applied to a key's state are consecutive over the service's types: \
               none twice, none missed",
    source: "ARCHITECTURE.md, promise 8",
};

/// The states of one incarnation: the last version that went into each, and when.
type States = BTreeMap<Key, (Version, Moment)>;

/// Judges [`PROMISE`].
#[derive(Debug, Clone, Default)]
pub struct NoDuplicateProcessing {
    /// By incarnation, for a former one may still be alive and not know that it has been replaced.
    lives: BTreeMap<ServiceName, BTreeMap<InstanceName, BTreeMap<u64, States>>>,
    hydrated: u64,
    rebuilt: u64,
    forgotten: u64,
    checks: u64,
}

impl Observer for NoDuplicateProcessing {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::APPLIED.and(Kinds::FORGOTTEN)
    }

    fn observe(&mut self, known: &Known, record: &Record) -> Verdict {
        match &record.what {
            What::Applied { how, .. } => {
                self.hydrated += u64::from(*how == How::Hydrated);
                self.rebuilt += u64::from(*how == How::Rebuilt);
                self.applied(known.log(), record)
            }
            What::Forgotten { service, instance, incarnation, key } => {
                self.forgotten += 1;
                let states = self.states(service, instance, *incarnation);
                match key {
                    Some(key) => drop(states.remove(key)),
                    None => states.clear(),
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn memory(&self, _known: &Known, _now: Timestamp, to: &mut StableHasher) {
        for (service, instances) in &self.lives {
            for (instance, lives) in instances {
                for (incarnation, states) in lives {
                    (service, instance, incarnation).hash(to);
                    for (key, (version, _)) in states {
                        (key, version).hash(to);
                    }
                }
            }
        }
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![
            (sometimes::HYDRATED, self.hydrated),
            (sometimes::REBUILT, self.rebuilt),
            (sometimes::STATE_FORGOTTEN, self.forgotten),
        ]
    }
}

impl NoDuplicateProcessing {
    fn states(&mut self, service: &ServiceName, instance: &InstanceName, incarnation: u64) -> &mut States {
        let lives = self.lives.entry(service.clone()).or_default().entry(instance.clone()).or_default();
        lives.entry(incarnation).or_default()
    }

    fn applied(&mut self, log: &Log, record: &Record) -> Verdict {
        let What::Applied { service, instance, incarnation, key, position, version, after, how, .. } = &record.what
        else {
            return Ok(());
        };
        self.checks += 1;
        let now = Moment::from(record);
        let told =
            || format!("{instance} of {service} applied version {version} of {key} (position {position}, {how:?})");
        let stands = log.at(*position).filter(|entry| entry.event.key == *key && entry.event.version == *version);
        if stands.is_none() {
            let message = format!("{}, which is not in the log", told());
            return PROMISE.broken(record, message, &[]);
        }
        let last = self.states(service, instance, *incarnation).insert(key.clone(), (*version, now));
        let (before, when) = last.unwrap_or_default();
        let earlier: Vec<Moment> = last.map(|(_, when)| when).into_iter().collect();
        if *version <= before {
            let message = format!("{}, but its state had version {before} already ({when})", told());
            return PROMISE.broken(record, message, &earlier);
        }
        // A state may have passed over versions of other types, which `after` then counts.
        if *after < before || *after >= *version {
            let message = format!(
                "{} to a state of version {after}, but the version that went into that state last is {before}{}",
                told(),
                last.map(|(_, when)| format!(" ({when})")).unwrap_or_default()
            );
            return PROMISE.broken(record, message, &earlier);
        }
        let Some(types) = log.service(service) else { return Ok(()) };
        let between = &log.positions_of(key)[before.0 as usize..version.0 as usize - 1];
        let missed = between
            .iter()
            .filter_map(|position| log.at(*position))
            .find(|entry| types.since(&entry.event.event_type).is_some());
        let Some(missed) = missed else { return Ok(()) };
        let message = format!(
            "{} after version {before}, but version {} (position {}, {}) between them, which {service} takes, never \
             went into that state",
            told(),
            missed.event.version,
            missed.event.position,
            missed.event.event_type
        );
        PROMISE.broken(record, message, &earlier.into_iter().chain([missed.durable]).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, applied, event};

    fn three_events() -> Run {
        let mut run = Run::new();
        run.register("accounts", &["Debit"]);
        let mut other = event("b", "acc-1", 2, 2);
        other.event_type = dacapo_core::EventType::of("Note");
        run.commit_events([event("a", "acc-1", 1, 1), other, event("c", "acc-1", 3, 3), event("d", "acc-1", 4, 4)]);
        run
    }

    #[test]
    fn consecutive_versions_hold_and_other_types_are_passed_over() {
        let mut run = three_events();
        run.node("accounts-1", applied("acc-1", 1, 1, 0));
        run.node("accounts-1", applied("acc-1", 3, 3, 1));
        run.node("accounts-1", applied("acc-1", 4, 4, 3));
        run.holds(NoDuplicateProcessing::default());
    }

    #[test]
    fn a_version_applied_twice_is_seen() {
        let mut run = three_events();
        run.node("accounts-1", applied("acc-1", 1, 1, 0));
        run.node("accounts-1", applied("acc-1", 1, 1, 0));
        run.fails(NoDuplicateProcessing::default(), "its state had version 1 already (step 3, 0.003s)");
    }

    #[test]
    fn a_missed_version_is_seen() {
        let mut run = three_events();
        run.node("accounts-1", applied("acc-1", 1, 1, 0));
        run.node("accounts-1", applied("acc-1", 4, 4, 1));
        run.fails(
            NoDuplicateProcessing::default(),
            "after version 1, but version 3 (position 3, Debit) between them, which accounts takes",
        );
    }

    #[test]
    fn a_forgotten_state_begins_afresh() {
        let mut run = three_events();
        run.node("accounts-1", applied("acc-1", 1, 1, 0));
        run.forgotten("accounts", "accounts-1", 1);
        run.node("accounts-1", applied("acc-1", 1, 1, 0));
        run.node("accounts-1", applied("acc-1", 3, 3, 1));
        assert!(run.clone().holds(NoDuplicateProcessing::default()).contains(&("state forgotten", 1)));
        run.forgotten("accounts", "accounts-1", 1);
        run.node("accounts-1", applied("acc-1", 3, 3, 1));
        run.fails(NoDuplicateProcessing::default(), "after version 0, but version 1");
    }

    #[test]
    fn an_event_that_is_not_in_the_log_is_seen() {
        let mut run = three_events();
        run.node("accounts-1", applied("acc-1", 9, 9, 0));
        run.fails(NoDuplicateProcessing::default(), "applied version 9 of acc-1 (position 9, Delivered), which is not");
    }
}
