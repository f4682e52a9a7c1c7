//! Promise 9: a state is what its events make it, whichever way they came.
//!
//! For that a rebuild must bring what the live stream brought, so its pages are held against the log too.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

use dacapo_core::{
    InstanceName, Key, Position, ServiceName, Timestamp, Version,
    digest::StableHasher,
    trace::{Check, How, Record, What},
};
use std::hash::Hash as _;

use crate::{
    kinds::Kinds,
    known::Known,
    observer::Observer,
    property::{Moment, Promise, Verdict},
    sometimes,
    streams::Streams,
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "rebuild_equals_live",
    sentence: "states of one service, code, key and version are the same, whether reached live, rebuilt, hydrated or \
               after a restart; so are views at one position, and a rebuild leaves out nothing and brings nothing twice",
    source: "ARCHITECTURE.md, promise 9",
};

/// A digest, and where it was seen.
#[derive(Debug, Clone)]
struct Seen {
    digest: u64,
    instance: InstanceName,
    incarnation: u64,
    /// The way into a state; a view has none.
    how: Option<How>,
    when: Moment,
}

/// Judges [`PROMISE`]. The first digest that is seen is what the others are held against.
#[derive(Debug, Clone, Default)]
pub struct RebuildEqualsLive {
    states: BTreeMap<(ServiceName, u32), BTreeMap<Key, BTreeMap<Version, Seen>>>,
    views: BTreeMap<ServiceName, BTreeMap<Position, Seen>>,
    streams: Streams,
    rebuilds: u64,
    checks: u64,
}

impl Observer for RebuildEqualsLive {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Streams::KINDS.and(Kinds::APPLIED).and(Kinds::VIEWED).and(Kinds::REBUILD_AT_INSTANCE).and(Kinds::CHECKED)
    }

    fn observe(&mut self, known: &Known, record: &Record) -> Verdict {
        if let Some((flaw, moments)) = self.streams.observe(known, record) {
            return PROMISE.broken(record, format!("{}: a rebuild {flaw}", record.node), &moments);
        }
        let when = Moment::from(record);
        match &record.what {
            What::Applied { service, instance, incarnation, code, key, version, digest, how, .. } => {
                let how = Some(*how);
                let now = Seen { digest: *digest, instance: instance.clone(), incarnation: *incarnation, how, when };
                let states = self.states.entry((service.clone(), *code)).or_default();
                match states.entry(key.clone()).or_default().entry(*version) {
                    Entry::Occupied(first) => {
                        self.checks += 1;
                        same(record, || format!("the state of {key} at version {version}"), service, first.get(), &now)
                    }
                    Entry::Vacant(place) => {
                        place.insert(now);
                        Ok(())
                    }
                }
            }
            What::Viewed { service, instance, incarnation, position, digest } => {
                let now =
                    Seen { digest: *digest, instance: instance.clone(), incarnation: *incarnation, how: None, when };
                match self.views.entry(service.clone()).or_default().entry(*position) {
                    Entry::Occupied(first) => {
                        self.checks += 1;
                        same(record, || format!("the view at position {position}"), service, first.get(), &now)
                    }
                    Entry::Vacant(place) => {
                        place.insert(now);
                        Ok(())
                    }
                }
            }
            What::HandlerChecked { check: Check::RebuildHandler, flaw, .. } => {
                self.checks += 1;
                match flaw {
                    Some(flaw) => PROMISE.broken(record, flaw.clone(), &[]),
                    None => Ok(()),
                }
            }
            What::RebuildEnded { .. } => {
                self.rebuilds += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn memory(&self, _known: &Known, _now: Timestamp, to: &mut StableHasher) {
        for (code, states) in &self.states {
            for (key, versions) in states {
                (code, key).hash(to);
                for (version, seen) in versions {
                    (version, seen.digest).hash(to);
                }
            }
        }
        for (service, views) in &self.views {
            service.hash(to);
            for (position, seen) in views {
                (position, seen.digest).hash(to);
            }
        }
        self.streams.memory(to);
    }

    fn checks(&self) -> u64 {
        self.checks + self.streams.pages()
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![(sometimes::REBUILD_ENDED, self.rebuilds), (sometimes::DIGEST_COMPARED, self.checks)]
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x} at {} (incarnation {}", self.digest, self.instance, self.incarnation)?;
        if let Some(how) = self.how {
            write!(f, ", {how:?}")?;
        }
        write!(f, "; {})", self.when)
    }
}

fn same(record: &Record, what: impl FnOnce() -> String, service: &ServiceName, first: &Seen, now: &Seen) -> Verdict {
    if now.digest == first.digest {
        return Ok(());
    }
    PROMISE.broken(record, format!("{} of {service} has the digest {now}, but had {first}", what()), &[first.when])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, applied_with, event, viewed};

    #[test]
    fn equal_digests_hold() {
        let mut run = Run::new();
        run.node("accounts-1", applied_with("accounts-1", "acc-1", 1, 77));
        run.node("accounts-2", applied_with("accounts-2", "acc-1", 1, 77));
        run.node("accounts-2", applied_with("accounts-2", "acc-1", 2, 78));
        run.node("accounts-1", viewed("accounts-1", 2, 5));
        run.node("accounts-2", viewed("accounts-2", 2, 5));
        assert_eq!(run.holds(RebuildEqualsLive::default()), [("rebuild ended", 0), ("digest compared", 2)]);
    }

    #[test]
    fn a_state_that_differs_is_seen() {
        let mut run = Run::new();
        run.node("accounts-1", applied_with("accounts-1", "acc-1", 1, 77));
        run.node("accounts-2", applied_with("accounts-2", "acc-1", 1, 78));
        run.fails(
            RebuildEqualsLive::default(),
            "the state of acc-1 at version 1 of accounts has the digest 000000000000004e at accounts-2",
        );
    }

    #[test]
    fn a_view_that_differs_is_seen() {
        let mut run = Run::new();
        run.node("accounts-1", viewed("accounts-1", 2, 5));
        run.node("accounts-2", viewed("accounts-2", 2, 6));
        run.fails(RebuildEqualsLive::default(), "the view at position 2 of accounts has the digest 0000000000000006");
    }

    /// Three events, and an instance that plays them again from the first on.
    fn playing() -> Run {
        let mut run = Run::new();
        run.commit_events([event("a", "acc-1", 1, 1), event("b", "acc-1", 2, 2), event("c", "acc-2", 3, 1)]);
        run.rebuild(7, 1, 0);
        run
    }

    #[test]
    fn a_rebuild_that_meets_the_present_without_gap_holds() {
        let mut run = playing();
        run.page(7, 1, [1, 2], 2);
        run.page(7, 1, [3], 3);
        run.rebuilt(7, 1, 3);
        run.commit_events([event("d", "acc-2", 4, 2)]);
        run.page(7, 1, [4], 4);
        run.holds(RebuildEqualsLive::default());
    }

    #[test]
    fn a_rebuild_that_leaves_one_out_is_seen() {
        let mut run = playing();
        run.page(7, 1, [1, 2], 3);
        run.fails(RebuildEqualsLive::default(), "bus: a rebuild left out position 3 in its page from position 0");
    }

    #[test]
    fn a_rebuild_that_overlaps_is_seen() {
        let mut run = playing();
        run.page(7, 1, [1, 2, 3], 3);
        run.commit_events([event("d", "acc-2", 4, 2)]);
        run.page(7, 1, [3, 4], 4);
        run.fails(RebuildEqualsLive::default(), "brought position 3 twice or out of turn in its page from position 3");
    }

    #[test]
    fn a_rebuilt_that_names_another_end_is_seen() {
        let mut run = playing();
        run.page(7, 1, [1, 2], 2);
        run.rebuilt(7, 1, 3);
        run.fails(RebuildEqualsLive::default(), "played up to position 3, but it has come to 2");
    }
}
