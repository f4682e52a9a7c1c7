//! No account ever holds less than nothing.

use std::collections::BTreeMap;

use dacapo_core::{Event, trace::Record};
use dacapo_properties::{Kinds, Property, Verdict};

use super::reading::{broken, durable, id_of, named, payload, pence};

/// At every prefix of the log, event by event, each account's credits cover its debits; and money moves on accounts
/// that are open, and on no others.
#[derive(Debug, Default)]
pub struct NoOverdraft {
    /// By account: what it holds, and the steps that changed it last.
    accounts: BTreeMap<String, Held>,
    checks: u64,
    spent_exactly: u64,
}

#[derive(Debug, Default)]
struct Held {
    pence: i128,
    changed_at: Vec<u64>,
}

/// The steps that a violation names: enough to see which debits met.
const STEPS_KEPT: usize = 4;

impl NoOverdraft {
    fn judge(&mut self, event: &Event, step: u64) -> Verdict {
        let Some(account) = id_of(&event.key, "acc-") else { return Ok(()) };
        let sign = match event.event_type.as_str() {
            "AccountCreated" => {
                self.accounts.entry(account.to_owned()).or_default().changed_at.push(step);
                return Ok(());
            }
            "ConfirmedDebit" => -1,
            "ConfirmedCredit" => 1,
            _ => return Ok(()),
        };
        self.checks += 1;
        let Some(pence) = pence(&payload(event)) else {
            return broken(self, step, format!("{} moves no whole number of pence", named(event)), Vec::new());
        };
        let Some(held) = self.accounts.get_mut(account) else {
            return broken(self, step, format!("{} moves money, but there is no such account", named(event)), vec![]);
        };
        let before = held.pence;
        held.pence += sign * pence;
        let after = held.pence;
        let steps = held.changed_at.clone();
        held.changed_at.push(step);
        if held.changed_at.len() > STEPS_KEPT {
            held.changed_at.remove(0);
        }
        if after < 0 {
            let message =
                format!("account {account} held {before} pence; {} of {pence} pence leaves {after}", named(event));
            return broken(self, step, message, steps);
        }
        self.spent_exactly += u64::from(after == 0 && before > 0);
        Ok(())
    }
}

impl Property for NoOverdraft {
    fn name(&self) -> &'static str {
        "no_overdraft"
    }

    fn sentence(&self) -> &'static str {
        "no account ever holds less than nothing, and only open accounts hold money"
    }

    fn source(&self) -> &'static str {
        "promise 12"
    }

    fn looks_at(&self) -> Kinds {
        Kinds::COMMIT_DURABLE
    }

    fn observe(&mut self, record: &Record) -> Verdict {
        durable(record)
            .map_or(Ok(()), |commit| commit.events.iter().try_for_each(|event| self.judge(event, record.step)))
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    /// Risk if it never happens: an off-by-one in the comparison of balance and amount goes unseen.
    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![("an account was spent to the last penny", self.spent_exactly)]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::properties::story::Story;

    fn credit(pence: i64) -> (&'static str, &'static str, serde_json::Value) {
        ("ConfirmedCredit", "acc-a", json!({"why": "deposit", "pence": pence}))
    }

    fn debit(pence: i64) -> (&'static str, &'static str, serde_json::Value) {
        ("ConfirmedDebit", "acc-a", json!({"why": "withdrawal", "pence": pence}))
    }

    fn opened() -> Story {
        Story::new().commit([("AccountCreated", "acc-a", json!({"user": "alice", "account": "a", "name": ""}))])
    }

    #[test]
    fn spending_everything_is_no_overdraft() {
        let mut property = NoOverdraft::default();
        opened().commit([credit(100)]).commit([debit(40), debit(60)]).judge(&mut property).unwrap();
        assert_eq!((property.checks(), property.sometimes()[0].1), (3, 1));
    }

    #[test]
    fn a_debit_beyond_the_balance_is_seen_even_if_a_later_event_of_the_commit_covers_it() {
        let violation = opened()
            .commit([credit(100)])
            .commit([debit(60), debit(60), credit(60)])
            .judge(&mut NoOverdraft::default())
            .unwrap_err();
        assert_eq!((violation.step, violation.steps.as_slice()), (3, [1, 2].as_slice()));
        let message = "account a held 40 pence; ConfirmedDebit on acc-a@4 at position 4 of 60 pence leaves -20";
        assert_eq!(violation.message, message);
    }

    #[test]
    fn a_negative_credit_is_an_overdraft_in_disguise() {
        let violation = opened().commit([credit(-1)]).judge(&mut NoOverdraft::default()).unwrap_err();
        assert!(violation.message.contains("leaves -1"), "{}", violation.message);
    }

    #[test]
    fn money_on_an_account_that_is_not_open_is_seen() {
        let violation = Story::new().commit([credit(1)]).judge(&mut NoOverdraft::default()).unwrap_err();
        assert!(violation.message.contains("there is no such account"), "{}", violation.message);
    }

    #[test]
    fn half_a_penny_is_seen() {
        let half = ("ConfirmedCredit", "acc-a", json!({"why": "deposit", "pence": 0.5}));
        let violation = opened().commit([half]).judge(&mut NoOverdraft::default()).unwrap_err();
        assert!(violation.message.contains("no whole number"), "{}", violation.message);
    }
}
