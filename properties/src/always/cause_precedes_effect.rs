//! Promise 10: every event but the first of a correlation has a cause before it, in the same correlation.

use std::sync::Arc;

use dacapo_core::{
    Event, Timestamp,
    digest::StableHasher,
    store::{Commit, Completion},
    trace::{Record, What},
};

use crate::{
    kinds::Kinds,
    known::Known,
    observer::Observer,
    property::{Promise, Verdict},
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "cause_precedes_effect",
    sentence: "a causation id names an earlier event of the same correlation; what a completion produced was caused \
               by the event that it completes",
    source: "ARCHITECTURE.md, promise 10",
};

/// Judges [`PROMISE`]. System events are judged like all others: they are roots, or follow their cause's correlation.
#[derive(Debug, Clone, Default)]
pub struct CausePrecedesEffect {
    checks: u64,
}

impl Observer for CausePrecedesEffect {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::COMMIT_DURABLE
    }

    fn observe(&mut self, known: &Known, record: &Record) -> Verdict {
        let What::CommitDurable { commit } = &record.what else { return Ok(()) };
        commit.events.iter().try_for_each(|event| self.has_earlier_cause(known, record, event))?;
        commit.completions.iter().try_for_each(|completion| self.is_cause(known, record, commit, completion))
    }

    fn memory(&self, _known: &Known, _now: Timestamp, _to: &mut StableHasher) {} // The log is all that it goes by.

    fn checks(&self) -> u64 {
        self.checks
    }
}

impl CausePrecedesEffect {
    fn has_earlier_cause(&mut self, known: &Known, record: &Record, event: &Event) -> Verdict {
        let Some(cause) = &event.causation else { return Ok(()) };
        self.checks += 1;
        let entry = known.log().position_of(cause).and_then(|position| known.log().at(position));
        let Some(entry) = entry.filter(|entry| entry.event.position < event.position) else {
            let message = format!(
                "event {} ({} of {}, position {}) names {cause} as its cause, which is no earlier event of the log",
                event.id, event.event_type, event.key, event.position
            );
            return PROMISE.broken(record, message, &[]);
        };
        if entry.event.correlation == event.correlation {
            return Ok(());
        }
        let message = format!(
            "event {} has correlation {}, but its cause {cause} at position {} has correlation {} ({})",
            event.id, event.correlation, entry.event.position, entry.event.correlation, entry.durable
        );
        PROMISE.broken(record, message, &[entry.durable])
    }

    fn is_cause(&mut self, known: &Known, record: &Record, commit: &Commit, completion: &Completion) -> Verdict {
        let Some(handled) = known.log().at(completion.position) else { return Ok(()) };
        for position in &completion.produced {
            let Some(effect) = position_in(commit, position.0) else { continue };
            self.checks += 1;
            let right =
                effect.causation.as_ref() == Some(&handled.event.id) && effect.correlation == handled.event.correlation;
            if !right {
                let message = format!(
                    "{} produced event {} by completing {} (position {}, correlation {}), but its cause is {} and its \
                     correlation {}",
                    completion.service,
                    effect.id,
                    handled.event.id,
                    handled.event.position,
                    handled.event.correlation,
                    effect.causation.as_ref().map_or("none", |id| id.as_str()),
                    effect.correlation
                );
                return PROMISE.broken(record, message, &[handled.durable]);
            }
        }
        Ok(())
    }
}

/// The event of a commit that stands at this position of the log.
fn position_in(commit: &Commit, position: u64) -> Option<&Arc<Event>> {
    let first = commit.events.first()?.position.0;
    commit.events.get(usize::try_from(position.checked_sub(first)?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, caused, completion, event};

    #[test]
    fn a_chain_of_causes_holds() {
        let mut run = Run::new();
        run.register("accounts", &["Debit"]);
        run.commit_events([event("a", "acc-1", 1, 1), caused(event("b", "acc-2", 2, 1), "a")]);
        run.commit_completion(
            completion("accounts", 1, "acc-1", 1).producing([3]),
            [caused(event("c", "acc-3", 3, 1), "a")],
        );
        run.holds(CausePrecedesEffect::default());
    }

    #[test]
    fn an_effect_before_its_cause_is_seen() {
        let mut run = Run::new();
        run.commit_events([caused(event("a", "acc-1", 1, 1), "b"), event("b", "acc-2", 2, 1)]);
        run.fails(CausePrecedesEffect::default(), "names b as its cause, which is no earlier event of the log");
    }

    #[test]
    fn a_cause_of_another_correlation_is_seen() {
        let mut run = Run::new();
        let mut other = event("a", "acc-1", 1, 1);
        other.correlation = dacapo_core::CorrelationId::of("other");
        run.commit_events([other, caused(event("b", "acc-2", 2, 1), "a")]);
        run.fails(CausePrecedesEffect::default(), "has correlation other");
    }

    #[test]
    fn a_produced_event_with_another_cause_is_seen() {
        let mut run = Run::new();
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.commit_completion(completion("accounts", 1, "acc-1", 1).producing([2]), [event("b", "acc-2", 2, 1)]);
        run.fails(CausePrecedesEffect::default(), "accounts produced event b by completing a (position 1");
    }
}
