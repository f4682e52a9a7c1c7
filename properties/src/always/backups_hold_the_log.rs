//! Promise 17: a backup is the log up to some commit, with the state of the bus at that very commit.
//!
//! What somebody was told is a backup is restored, and everything in it is held against the commits of the run.

use std::{collections::BTreeMap, sync::Arc};

use dacapo_core::{
    Key, Position, ServiceName, Timestamp,
    digest::StableHasher,
    event::Event,
    store::{Commit, Completion, LaneChange, LaneRecord, Recovered, ServiceRecord},
    trace::{Record, What},
};

use crate::{
    kinds::Kinds,
    known::Known,
    observer::Observer,
    property::{Promise, Verdict},
    sometimes,
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "backups_hold_the_log",
    sentence: "a backup that was said to be made can be restored, and holds the log up to a commit, with the completions, \
               services and lanes of that commit",
    source: "ARCHITECTURE.md, promise 17",
};

/// Judges [`PROMISE`].
#[derive(Debug, Clone, Default)]
pub struct BackupsHoldTheLog {
    commits: Vec<Arc<Commit>>,
    restored: u64,
    behind: u64,
}

impl Observer for BackupsHoldTheLog {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::COMMIT_DURABLE.and(Kinds::FOUND).and(Kinds::RESTORED)
    }

    fn observe(&mut self, known: &Known, record: &Record) -> Verdict {
        match &record.what {
            What::CommitDurable { commit } | What::Found { commit } => self.commits.push(Arc::clone(commit)),
            What::Restored { recovered, events, completions } => {
                self.restored += 1;
                self.behind += u64::from(recovered.position < known.log().end());
                if let Some(how) = self.differs(recovered, events, completions) {
                    let message = format!("a backup whose log ends at position {} {how}", recovered.position);
                    return PROMISE.broken(record, message, &[]);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The commits are in the store.
    fn memory(&self, _known: &Known, _now: Timestamp, _to: &mut StableHasher) {}

    fn checks(&self) -> u64 {
        self.restored
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![(sometimes::BACKUP_RESTORED, self.restored), (sometimes::RESTORED_BEHIND_THE_LOG, self.behind)]
    }
}

/// What stands beside the log after some commits.
#[derive(Default)]
struct Beside {
    completions: BTreeMap<(Position, ServiceName), Completion>,
    services: BTreeMap<ServiceName, ServiceRecord>,
    lanes: BTreeMap<(ServiceName, Key), LaneRecord>,
}

impl Beside {
    fn apply(&mut self, commit: &Commit) {
        for record in &commit.services {
            self.services.insert(record.name.clone(), record.clone());
        }
        for (service, frontier) in &commit.frontiers {
            if let Some(record) = self.services.get_mut(service) {
                record.frontier = *frontier;
            }
        }
        for completion in &commit.completions {
            self.completions.insert((completion.position, completion.service.clone()), completion.clone());
        }
        for change in &commit.lanes {
            match change {
                LaneChange::Put(lane) => {
                    self.lanes.insert((lane.service.clone(), lane.key.clone()), lane.clone());
                }
                LaneChange::Remove { service, key } => {
                    self.lanes.remove(&(service.clone(), key.clone()));
                }
            }
        }
    }

    /// What is not as in the backup; none if all is.
    fn differs(&self, recovered: &Recovered, completions: &[Completion]) -> Option<&'static str> {
        let found = |found: &Completion| ((found.position, found.service.clone()), found.clone());
        if self.completions != completions.iter().map(found).collect() {
            Some("completions")
        } else if !self.services.values().eq(&recovered.services) {
            Some("services")
        } else if !self.lanes.values().eq(&recovered.lanes) {
            Some("lanes")
        } else {
            None
        }
    }
}

impl BackupsHoldTheLog {
    /// How the backup is no moment of the run; none if it is one.
    fn differs(&self, recovered: &Recovered, events: &[Arc<Event>], completions: &[Completion]) -> Option<String> {
        let log: Vec<&Arc<Event>> = self.commits.iter().flat_map(|commit| &commit.events).collect();
        let end = usize::try_from(recovered.position.0).unwrap_or(usize::MAX);
        if events.len() != end {
            return Some(format!("holds {} events", events.len()));
        }
        let Some(log) = log.get(..end) else { return Some(format!("is ahead of the log, which has {}", log.len())) };
        if let Some((found, durable)) = events.iter().zip(log).find(|(found, durable)| found != *durable) {
            return Some(format!("holds {} where {} is durable", found.id, durable.id));
        }
        let (mut beside, mut reached, mut last) = (Beside::default(), 0, Some("log"));
        // Before the first commit there is a moment, too.
        let moments = std::iter::once(None).chain(self.commits.iter().map(Some));
        for commit in moments {
            if let Some(commit) = commit {
                beside.apply(commit);
                reached += commit.events.len();
            }
            if reached == end {
                last = Some(beside.differs(recovered, completions)?);
            }
        }
        last.map(|what| format!("is of no commit: its {what} are others than they ever were there"))
    }
}

#[cfg(test)]
mod tests {
    use dacapo_core::Term;

    use super::*;
    use crate::testing::{Run, event};

    fn restored(end: u64, events: Vec<Event>) -> What {
        let recovered = Recovered { term: Term(1), position: Position(end), ..Recovered::default() };
        let events = events.into_iter().map(Arc::new).collect();
        What::Restored { recovered: Box::new(recovered), events, completions: Vec::new() }
    }

    fn run() -> Run {
        let mut run = Run::new();
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.commit_events([event("b", "acc-1", 2, 2), event("c", "acc-2", 3, 1)]);
        run
    }

    #[test]
    fn the_log_up_to_a_commit_is_a_backup() {
        for (end, ids) in [(0, &[][..]), (1, &["a"])] {
            let mut run = run();
            run.node("bus", restored(end, ids.iter().map(|id| event(id, "acc-1", 1, 1)).collect()));
            run.holds(BackupsHoldTheLog::default());
        }
    }

    #[test]
    fn half_a_commit_is_none() {
        let mut run = run();
        run.node("bus", restored(2, vec![event("a", "acc-1", 1, 1), event("b", "acc-1", 2, 2)]));
        run.fails(BackupsHoldTheLog::default(), "is of no commit");
    }

    #[test]
    fn another_event_is_seen_and_so_is_one_too_many() {
        let mut other = run();
        other.node("bus", restored(1, vec![event("x", "acc-1", 1, 1)]));
        other.fails(BackupsHoldTheLog::default(), "holds x where a is durable");
        let mut ahead = run();
        ahead.node("bus", restored(4, ["a", "b", "c", "d"].map(|id| event(id, "acc-1", 1, 1)).to_vec()));
        ahead.fails(BackupsHoldTheLog::default(), "is ahead of the log");
    }
}
