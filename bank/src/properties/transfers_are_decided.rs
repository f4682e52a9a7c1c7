//! Every transfer that was ordered is decided in the end.

use std::collections::BTreeMap;

use dacapo_core::trace::{Record, What};
use dacapo_properties::{Kinds, Property, Verdict};

use super::reading::{ParkedLanes, broken, durable, id_of};

/// Once all is healed, every pending transaction becomes accepted or rejected. One whose lane is parked waits for
/// people, by design.
#[derive(Debug, Default)]
pub struct TransfersAreDecided {
    /// Ordered and not decided, with the step of the order.
    undecided: BTreeMap<String, u64>,
    parked: ParkedLanes,
    healed: bool,
    checks: u64,
}

impl Property for TransfersAreDecided {
    fn name(&self) -> &'static str {
        "transfers_are_decided"
    }

    fn sentence(&self) -> &'static str {
        "every transfer that was ordered is accepted or rejected, once all is healed"
    }

    fn source(&self) -> &'static str {
        "liveness: every event is completed, skipped or parked"
    }

    fn looks_at(&self) -> Kinds {
        Kinds::COMMIT_DURABLE.and(Kinds::HEALED)
    }

    fn observe(&mut self, record: &Record) -> Verdict {
        self.healed |= matches!(record.what, What::Healed { .. });
        let Some(commit) = durable(record) else { return Ok(()) };
        self.parked.observe(commit);
        for event in &commit.events {
            let Some(id) = id_of(&event.key, "trans-") else { continue };
            match event.event_type.as_str() {
                "PendingTransaction" => drop(self.undecided.insert(id.to_owned(), record.step)),
                "AcceptedTransaction" | "RejectedTransaction" => {
                    self.undecided.remove(id);
                    self.checks += 1;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Verdict {
        if !self.healed {
            return Ok(());
        }
        let waits: Vec<(&String, u64)> = self
            .undecided
            .iter()
            .filter(|(id, _)| !self.parked.contains(&format!("trans-{id}")))
            .map(|(id, step)| (id, *step))
            .collect();
        let Some((first, _)) = waits.first() else { return Ok(()) };
        let message = format!("transfers that were ordered and never decided: {}, among them {first}", waits.len());
        broken(self, 0, message, waits.iter().map(|(_, step)| *step).take(8).collect())
    }

    fn checks(&self) -> u64 {
        self.checks
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::properties::story::Story;

    fn ordered() -> Story {
        Story::new().commit([("PendingTransaction", "trans-t", json!({"from": "a", "to": "b", "pence": 1}))])
    }

    #[test]
    fn a_transfer_that_is_never_decided_is_seen_at_the_end() {
        let violation = ordered().healed().judge(&mut TransfersAreDecided::default()).unwrap_err();
        assert_eq!((violation.step, violation.steps.as_slice()), (0, [1].as_slice()));
        assert_eq!(violation.message, "transfers that were ordered and never decided: 1, among them t");
    }

    #[test]
    fn what_is_decided_or_parked_or_cut_short_is_no_violation() {
        let rejected = ("RejectedTransaction", "trans-t", json!({"reason": "no_money", "message": ""}));
        let mut property = TransfersAreDecided::default();
        ordered().commit([rejected]).healed().judge(&mut property).unwrap();
        assert_eq!(property.checks(), 1);
        ordered().parked("trans-t").healed().judge(&mut TransfersAreDecided::default()).unwrap();
        ordered().judge(&mut TransfersAreDecided::default()).unwrap();
    }
}
