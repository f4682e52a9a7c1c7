//! Promise 2: versions and positions are numbers without gaps.
//!
//! It keeps heads of its own, because the shared log leaves out what does not fit.

use std::collections::BTreeMap;

use dacapo_core::{
    Event, Key, Position, Timestamp, Version,
    digest::StableHasher,
    trace::{Record, What},
};

use crate::{
    kinds::Kinds,
    known::Known,
    observer::Observer,
    property::{Moment, Promise, Verdict},
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "versions_are_gap_free",
    sentence: "a key's versions are 1..n and the log's positions are 1..m, without gap or repeat, in the same order",
    source: "ARCHITECTURE.md, promise 2",
};

/// Judges [`PROMISE`].
#[derive(Debug, Clone, Default)]
pub struct VersionsAreGapFree {
    end: (Position, Moment),
    heads: BTreeMap<Key, (Version, Moment)>,
    checks: u64,
}

impl Observer for VersionsAreGapFree {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::COMMIT_DURABLE.and(Kinds::FOUND)
    }

    fn observe(&mut self, _known: &Known, record: &Record) -> Verdict {
        let (What::CommitDurable { commit } | What::Found { commit }) = &record.what else { return Ok(()) };
        commit.events.iter().try_for_each(|event| self.enter(record, event))
    }

    fn memory(&self, _known: &Known, _now: Timestamp, _to: &mut StableHasher) {} // The log is all that it goes by.

    fn checks(&self) -> u64 {
        self.checks
    }
}

impl VersionsAreGapFree {
    fn enter(&mut self, record: &Record, event: &Event) -> Verdict {
        self.checks += 1;
        let now = Moment::from(record);
        let (end, ended) = self.end;
        if event.position != end.next() {
            let message = format!(
                "{} committed event {} at position {}, but the log ended at position {end} ({ended})",
                record.node, event.id, event.position
            );
            return PROMISE.broken(record, message, &[ended]);
        }
        let (head, reached) = self.heads.get(&event.key).copied().unwrap_or_default();
        if event.version != head.next() {
            let message = format!(
                "{} committed event {} as version {} of {}, whose head was version {head} ({reached})",
                record.node, event.id, event.version, event.key
            );
            return PROMISE.broken(record, message, &[reached]);
        }
        self.end = (event.position, now);
        match self.heads.get_mut(&event.key) {
            Some(known) => *known = (event.version, now),
            None => {
                self.heads.insert(event.key.clone(), (event.version, now));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, event};

    #[test]
    fn consecutive_numbers_over_commits_and_keys_hold() {
        let mut run = Run::new();
        run.commit_events([event("a", "acc-1", 1, 1), event("b", "acc-2", 2, 1)]);
        run.commit_events([event("c", "acc-1", 3, 2)]);
        run.holds(VersionsAreGapFree::default());
    }

    #[test]
    fn a_gap_in_the_log_is_seen() {
        let mut run = Run::new();
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.commit_events([event("b", "acc-1", 3, 2)]);
        run.fails(VersionsAreGapFree::default(), "event b at position 3, but the log ended at position 1 (step 1,");
    }

    #[test]
    fn a_repeated_version_is_seen() {
        let mut run = Run::new();
        run.commit_events([event("a", "acc-1", 1, 1), event("b", "acc-1", 2, 1)]);
        run.fails(VersionsAreGapFree::default(), "event b as version 1 of acc-1, whose head was version 1");
    }
}
