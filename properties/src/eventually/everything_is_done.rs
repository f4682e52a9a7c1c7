//! Liveness: no event is left lying.

use dacapo_core::{
    ServiceName, Timestamp,
    digest::StableHasher,
    trace::{Record, What},
};
use std::hash::Hash as _;

use crate::{
    kinds::Kinds,
    known::Known,
    log::{Entry, Log, ServiceLog},
    observer::Observer,
    property::{Moment, Promise, Verdict},
    sometimes,
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "everything_is_done",
    sentence: "once the faults have stopped, every event is completed, skipped, or in a parked lane, for every service \
               that takes it",
    source: "ARCHITECTURE.md, liveness",
};

/// Judges [`PROMISE`], at the end, by one walk over the log for each service.
#[derive(Debug, Clone, Default)]
pub struct EverythingIsDone {
    healed: Option<(Moment, u64)>,
    with_backlog: u64,
    checks: u64,
}

impl Observer for EverythingIsDone {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::HEALED
    }

    fn observe(&mut self, known: &Known, record: &Record) -> Verdict {
        if let What::Healed { bound_us } = &record.what {
            self.healed = Some((Moment::from(record), *bound_us));
            let log = known.log();
            let backlog = log.services().any(|(_, service)| undone(log, service).next().is_some());
            self.with_backlog += u64::from(backlog);
        }
        Ok(())
    }

    fn finish(&mut self, known: &Known) -> Verdict {
        let Some((healed, bound_us)) = self.healed else { return Ok(()) };
        let log = known.log();
        for (name, service) in log.services() {
            self.checks += log.entries().iter().filter(|entry| service.takes(&entry.event)).count() as u64;
            let mut undone = undone(log, service);
            if let Some(first) = undone.next() {
                return left(name, service, first, undone.count(), healed, bound_us);
            }
        }
        Ok(())
    }

    fn memory(&self, _known: &Known, _now: Timestamp, to: &mut StableHasher) {
        self.healed.is_some().hash(to);
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![(sometimes::HEALED_WITH_BACKLOG, self.with_backlog)]
    }
}

/// What the service takes and has not ended, and is in no parked lane.
fn undone<'a>(log: &'a Log, service: &'a ServiceLog) -> impl Iterator<Item = &'a Entry> {
    log.entries().iter().filter(|entry| {
        let event = &entry.event;
        let parked = || service.behind(&event.key).is_some_and(|behind| behind.record.parked.is_some());
        service.takes(event) && service.done(event.position).is_none() && !parked()
    })
}

fn left(
    name: &ServiceName,
    service: &ServiceLog,
    first: &Entry,
    others: usize,
    healed: Moment,
    bound_us: u64,
) -> Verdict {
    let event = &first.event;
    let last = service.delivery(event.position);
    let message = format!(
        "event {} ({}, version {} of {}, position {}) is not done for {name} at the end, although the faults had \
         stopped at {healed} and {} ms were enough; it {}; {others} others are left for {name}",
        event.id,
        event.event_type,
        event.version,
        event.key,
        event.position,
        bound_us / 1_000,
        last.map_or_else(|| "was never delivered".to_owned(), |last| format!("was last {last}"))
    );
    let mut earlier = vec![first.durable, healed];
    earlier.extend(last.map(|last| last.sent));
    PROMISE.broken_at_end(message, &earlier)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, completion, event, parked, skipped};

    /// Four events in three lanes; the last is of a type that nobody takes.
    fn run() -> Run {
        let mut run = Run::new();
        run.register("accounts", &["Debit"]);
        let mut note = event("d", "acc-3", 4, 1);
        note.event_type = dacapo_core::EventType::of("Note");
        run.commit_events([event("a", "acc-1", 1, 1), event("b", "acc-1", 2, 2), event("c", "acc-2", 3, 1), note]);
        run.hello(7, "accounts", "accounts-1", 1);
        run.healed();
        run
    }

    #[test]
    fn completed_skipped_and_parked_events_are_done() {
        let mut run = run();
        run.commit_completion(skipped("accounts", 3, "acc-2", 1), []);
        run.commit_lane(parked("accounts", "acc-1", 1, "it failed 8 times"));
        let met = run.clone().holds(EverythingIsDone::default());
        assert_eq!(met, [("healed with a backlog", 1)]);
        run.lane_behind("accounts", "acc-1", 1, 0);
        run.commit_completion(completion("accounts", 1, "acc-1", 1), []);
        run.commit_completion(completion("accounts", 2, "acc-1", 2), []);
        run.holds(EverythingIsDone::default());
    }

    #[test]
    fn an_event_that_is_left_is_seen() {
        let mut run = run();
        run.deliver(7, 1, 1, 1);
        run.commit_completion(completion("accounts", 1, "acc-1", 1), []);
        run.fails(
            EverythingIsDone::default(),
            "event b (Debit, version 2 of acc-1, position 2) is not done for accounts at the end",
        );
    }

    #[test]
    fn a_run_that_did_not_heal_owes_nothing() {
        let mut run = Run::new();
        run.register("accounts", &["Debit"]);
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.passes(EverythingIsDone::default());
    }
}
