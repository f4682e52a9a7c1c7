//! Liveness: every customer learns what became of its request.

use std::collections::BTreeMap;

use dacapo_core::{
    Timestamp,
    digest::StableHasher,
    trace::{Record, What},
};
use std::hash::Hash as _;

use crate::{
    kinds::Kinds,
    known::Known,
    observer::Observer,
    property::{Moment, Promise, Verdict},
    sometimes,
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "every_request_is_answered",
    sentence: "once the faults have stopped, every request gets its answer",
    source: "ARCHITECTURE.md, liveness",
};

/// The status of "ask again": what became of the request is not known.
const UNKNOWN: u16 = 503;

/// Judges [`PROMISE`].
#[derive(Debug, Clone, Default)]
pub struct EveryRequestIsAnswered {
    /// Operations without an answer: what was asked, and when it was sent last.
    unanswered: BTreeMap<u64, (String, Moment)>,
    healed: Option<Moment>,
    unknown: u64,
    checks: u64,
}

impl Observer for EveryRequestIsAnswered {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::OPERATION_SENT
            .and(Kinds::OPERATION_ANSWERED)
            .and(Kinds::OPERATION_UNKNOWN)
            .and(Kinds::OPERATION_SKIPPED)
            .and(Kinds::HEALED)
    }

    fn observe(&mut self, _known: &Known, record: &Record) -> Verdict {
        match &record.what {
            What::OperationSent { operation, attempt, service, method, path, .. } => {
                self.checks += 1;
                let asked = format!(
                    "{} asked {service} for {method} {path} (operation {operation}, attempt {attempt})",
                    record.node
                );
                self.unanswered.insert(*operation, (asked, Moment::from(record)));
            }
            What::OperationAnswered { operation, status, .. } if *status != UNKNOWN => {
                self.unanswered.remove(operation);
            }
            What::OperationAnswered { .. } | What::OperationUnknown { .. } => self.unknown += 1,
            What::OperationSkipped { operation, .. } => drop(self.unanswered.remove(operation)),
            What::Healed { .. } => self.healed = Some(Moment::from(record)),
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, _known: &Known) -> Verdict {
        let Some(healed) = self.healed else { return Ok(()) };
        let Some((asked, sent)) = self.unanswered.values().next() else { return Ok(()) };
        let message = format!(
            "{asked} at {sent} and had no answer at the end, although the faults had stopped at {healed}; {} operations \
             in all have none",
            self.unanswered.len()
        );
        PROMISE.broken_at_end(message, &[*sent, healed])
    }

    fn memory(&self, _known: &Known, _now: Timestamp, to: &mut StableHasher) {
        self.healed.is_some().hash(to);
        self.unanswered.keys().for_each(|operation| operation.hash(to));
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![(sometimes::OUTCOME_UNKNOWN, self.unknown)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Run;

    #[test]
    fn an_answer_after_a_repetition_is_one() {
        let mut run = Run::new();
        run.operation_sent(1, 1);
        run.operation_answered(1, 1, 503);
        run.operation_sent(1, 2);
        run.operation_answered(1, 2, 409);
        run.healed();
        assert_eq!(run.holds(EveryRequestIsAnswered::default()), [("outcome unknown", 1)]);
    }

    #[test]
    fn a_request_without_an_answer_is_seen_only_if_the_run_healed() {
        let mut run = Run::new();
        run.operation_sent(1, 1);
        run.clone().holds(EveryRequestIsAnswered::default());
        run.healed();
        run.fails(
            EveryRequestIsAnswered::default(),
            "customer-0 asked accounts for POST /accounts (operation 1, attempt 1) at step 1, 0.001s and had no answer",
        );
    }
}
