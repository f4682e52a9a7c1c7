//! No penny appears, and none vanishes.

use std::collections::{BTreeMap, VecDeque};

use super::reading::{Payload, broken, durable, id_of, named, payload, pence, text, text_of};
use dacapo_core::{Event, store::Commit, trace::Record};
use dacapo_properties::{Kinds, Property, Verdict};

/// In every commit an accepted transfer has exactly one debit of its sender and one credit of its recipient, of its
/// amount and correlation, and there is no other transfer of money; a transfer is decided once; all balances together
/// are what was paid in less what was paid out.
#[derive(Debug, Default)]
pub struct MoneyIsConserved {
    /// By transaction, since it was ordered or decided.
    transfers: BTreeMap<String, Transfer>,
    balances: BTreeMap<String, i128>,
    paid_in: i128,
    paid_out: i128,
    /// Transfers in the order of their decisions, where only the latest are remembered.
    decided: VecDeque<String>,
    /// How many of them; none: all, as in a run.
    decided_max: Option<usize>,
    /// Whether the scenario has declared that the bank itself pays for points.
    pays_back: bool,
    checks: u64,
    accepted: u64,
    rejected_for_funds: u64,
}

#[derive(Debug, Default)]
struct Transfer {
    ordered: Option<Order>,
    ordered_at: u64,
    /// What it was decided to be, and at which step.
    decided: Option<(String, u64)>,
}

/// What a transfer is about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Order {
    from: String,
    to: String,
    pence: i128,
}

/// A debit or credit of a commit.
struct Move<'a> {
    event: &'a Event,
    account: &'a str,
    is_debit: bool,
    pence: i128,
    why: String,
    transaction: Option<String>,
}

impl Order {
    fn of(data: &Payload<'_>) -> Option<Self> {
        Some(Self { from: text(data.from), to: text(data.to), pence: pence(data)? })
    }
}

impl<'a> Move<'a> {
    fn of(event: &'a Event) -> Option<Result<Self, String>> {
        let is_debit = match event.event_type.as_str() {
            "ConfirmedDebit" => true,
            "ConfirmedCredit" => false,
            _ => return None,
        };
        let data = payload(event);
        let (Some(pence), Some(account)) = (pence(&data).filter(|pence| *pence > 0), id_of(&event.key, "acc-")) else {
            return Some(Err(format!(
                "{} is no move of at least 1 penny on an account: {:?}",
                named(event),
                event.data
            )));
        };
        let transaction = text_of(data.transaction);
        Some(Ok(Self { event, account, is_debit, pence, why: text(data.why), transaction }))
    }
}

impl MoneyIsConserved {
    /// Of a bank that pays money back for points, once it has accepted a transfer.
    pub fn with_cashback() -> Self {
        Self { pays_back: true, ..Self::default() }
    }

    /// The same, remembering only so many transfers that were decided: for logs that have no end.
    #[must_use]
    pub fn remembering(self, decided_max: usize) -> Self {
        Self { decided_max: Some(decided_max), ..self }
    }

    fn judge(&mut self, commit: &Commit, step: u64) -> Verdict {
        let mut moves = Vec::new();
        for event in &commit.events {
            match Move::of(event) {
                Some(Ok(money)) => moves.push(money),
                Some(Err(message)) => return broken(self, step, message, Vec::new()),
                None => {}
            }
        }
        for money in &moves {
            self.judge_move(money, commit, step)?;
        }
        for event in &commit.events {
            match event.event_type.as_str() {
                "PendingTransaction" => self.judge_order(event, step)?,
                "AcceptedTransaction" | "RejectedTransaction" => self.judge_decision(event, &moves, step)?,
                _ => {}
            }
        }
        let held: i128 = self.balances.values().sum();
        if held == self.paid_in - self.paid_out {
            return Ok(());
        }
        let (paid_in, paid_out) = (self.paid_in, self.paid_out);
        let message = format!("all accounts hold {held} pence, but {paid_in} were paid in and {paid_out} paid out");
        broken(self, step, message, Vec::new())
    }

    /// Adds the move up, and sees that it has a source.
    fn judge_move(&mut self, money: &Move<'_>, commit: &Commit, step: u64) -> Verdict {
        self.checks += 1;
        let signed = if money.is_debit { -money.pence } else { money.pence };
        *self.balances.entry(money.account.to_owned()).or_default() += signed;
        match (money.why.as_str(), &money.transaction) {
            ("deposit", None) if !money.is_debit => self.paid_in += money.pence,
            ("withdrawal", None) if money.is_debit => self.paid_out += money.pence,
            ("cashback", Some(transaction)) if !money.is_debit && self.pays_back => {
                let is_accepted = |transfer: &Transfer| {
                    transfer.decided.as_ref().is_some_and(|(decided, _)| decided == "AcceptedTransaction")
                };
                if !self.transfers.get(transaction).is_some_and(is_accepted) {
                    let message = format!("{} pays back for a transfer that was not accepted", named(money.event));
                    return broken(self, step, message, self.steps_of(transaction));
                }
                self.paid_in += money.pence;
            }
            ("transfer", Some(transaction)) => {
                let key = format!("trans-{transaction}");
                let is_it = |event: &Event| {
                    event.event_type.as_str() == "AcceptedTransaction" && event.key.as_str() == key.as_str()
                };
                if !commit.events.iter().any(|event| is_it(event)) {
                    let message = format!(
                        "{} moves {} pence for transfer {transaction}, which this commit does not accept",
                        named(money.event),
                        money.pence
                    );
                    return broken(self, step, message, self.steps_of(transaction));
                }
            }
            (why, transaction) => {
                let message = format!("{} has no source: why {why:?}, transaction {transaction:?}", named(money.event));
                return broken(self, step, message, Vec::new());
            }
        }
        Ok(())
    }

    fn judge_order(&mut self, event: &Event, step: u64) -> Verdict {
        let Some(id) = id_of(&event.key, "trans-") else { return Ok(()) };
        let order = Order::of(&payload(event));
        if order.as_ref().is_none_or(|order| order.pence < 1 || order.from == order.to) {
            let message = format!("{} orders what can never be: {:?}", named(event), event.data);
            return broken(self, step, message, Vec::new());
        }
        let steps = self.steps_of(id);
        let transfer = self.transfers.entry(id.to_owned()).or_default();
        let before = transfer.ordered.replace(order.expect("it was just looked at"));
        transfer.ordered_at = step;
        if before.is_some() {
            return broken(self, step, format!("{} orders transfer {id} a second time", named(event)), steps);
        }
        Ok(())
    }

    fn judge_decision(&mut self, event: &Event, moves: &[Move<'_>], step: u64) -> Verdict {
        let Some(id) = id_of(&event.key, "trans-") else { return Ok(()) };
        self.checks += 1;
        let steps = self.steps_of(id);
        let transfer = self.transfers.entry(id.to_owned()).or_default();
        let decision = event.event_type.to_string();
        if let Some((before, _)) = transfer.decided.replace((decision.clone(), step)) {
            let message = format!("{} decides transfer {id}, which was decided before: {before}", named(event));
            return broken(self, step, message, steps);
        }
        let ordered = transfer.ordered.clone();
        self.forget(id);
        let Some(ordered) = ordered else {
            let message = format!("{} decides transfer {id}, which nobody ordered", named(event));
            return broken(self, step, message, steps);
        };
        let data = payload(event);
        if decision == "RejectedTransaction" {
            self.rejected_for_funds += u64::from(text(data.reason) == "insufficient_funds");
            return Ok(());
        }
        self.accepted += 1;
        if Order::of(&data).as_ref() != Some(&ordered) {
            let message = format!("{} accepts {:?}, but {ordered:?} was ordered", named(event), event.data);
            return broken(self, step, message, steps);
        }
        let of_it: Vec<&Move<'_>> =
            moves.iter().filter(|money| money.transaction.as_deref() == Some(id) && money.why == "transfer").collect();
        for (is_debit, what, account) in [(true, "debit", &ordered.from), (false, "credit", &ordered.to)] {
            let right = |money: &&&Move<'_>| {
                money.account == account && money.pence == ordered.pence && money.event.correlation == event.correlation
            };
            let all: Vec<_> = of_it.iter().filter(|money| money.is_debit == is_debit).collect();
            if all.len() != 1 || all.iter().filter(|money| right(money)).count() != 1 {
                let seen: Vec<String> = all
                    .iter()
                    .map(|money| {
                        format!("{} of {} pence under {}", named(money.event), money.pence, money.event.correlation)
                    })
                    .collect();
                let message = format!(
                    "transfer {id} of {} pence must have one {what} on acc-{account} under {}, but its commit has: [{}]",
                    ordered.pence,
                    event.correlation,
                    seen.join(", ")
                );
                return broken(self, step, message, steps);
            }
        }
        Ok(())
    }

    /// A transfer was decided; the oldest such one is forgotten, where only so many are remembered.
    fn forget(&mut self, decided: &str) {
        let Some(decided_max) = self.decided_max else { return };
        self.decided.push_back(decided.to_owned());
        if self.decided.len() > decided_max
            && let Some(oldest) = self.decided.pop_front()
        {
            self.transfers.remove(&oldest);
        }
    }

    /// The steps that a transfer's story has so far.
    fn steps_of(&self, transaction: &str) -> Vec<u64> {
        let Some(transfer) = self.transfers.get(transaction) else { return Vec::new() };
        let ordered = transfer.ordered.as_ref().map(|_| transfer.ordered_at);
        ordered.into_iter().chain(transfer.decided.as_ref().map(|(_, step)| *step)).collect()
    }
}

impl Property for MoneyIsConserved {
    fn name(&self) -> &'static str {
        "money_is_conserved"
    }

    fn sentence(&self) -> &'static str {
        "an accepted transfer has exactly one debit and one credit of its amount; money comes by deposits and goes by \
         withdrawals alone; no transfer is decided twice"
    }

    fn source(&self) -> &'static str {
        "promise 13"
    }

    fn looks_at(&self) -> Kinds {
        Kinds::COMMIT_DURABLE
    }

    fn observe(&mut self, record: &Record) -> Verdict {
        durable(record).map_or(Ok(()), |commit| self.judge(commit, record.step))
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    /// Risk if they never happen: a workload in which all transfers end the same way shows nothing about decisions.
    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("a transfer was accepted", self.accepted),
            ("a transfer was rejected for want of money", self.rejected_for_funds),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::properties::story::Story;

    type Told = (&'static str, &'static str, Value);

    fn pending() -> Told {
        ("PendingTransaction", "trans-t", json!({"from": "a", "to": "b", "pence": 60}))
    }

    fn accepted() -> Told {
        ("AcceptedTransaction", "trans-t", json!({"from": "a", "to": "b", "pence": 60}))
    }

    fn debit(pence: i64) -> Told {
        ("ConfirmedDebit", "acc-a", json!({"why": "transfer", "transaction": "t", "pence": pence}))
    }

    fn credit(key: &'static str, pence: i64) -> Told {
        ("ConfirmedCredit", key, json!({"why": "transfer", "transaction": "t", "pence": pence}))
    }

    fn ordered() -> Story {
        let deposit = ("ConfirmedCredit", "acc-a", json!({"why": "deposit", "pence": 100}));
        Story::new().commit([deposit]).commit([pending()])
    }

    #[track_caller]
    fn breaks(story: Story, words: &str) {
        let violation = story.judge(&mut MoneyIsConserved::default()).expect_err("the promise is broken");
        assert!(violation.message.contains(words), "{}", violation.message);
    }

    #[test]
    fn a_transfer_that_moves_its_amount_once_conserves_money() {
        let mut property = MoneyIsConserved::default();
        let withdrawal = ("ConfirmedDebit", "acc-b", json!({"why": "withdrawal", "pence": 10}));
        ordered()
            .commit([accepted(), debit(60), credit("acc-b", 60)])
            .commit([withdrawal])
            .judge(&mut property)
            .unwrap();
        assert_eq!(property.sometimes()[0], ("a transfer was accepted", 1));
        assert_eq!(property.checks(), 5);
    }

    #[test]
    fn only_the_latest_decisions_are_remembered_where_a_log_has_no_end() {
        let mut property = MoneyIsConserved::default().remembering(2);
        let mut story = ordered().commit([accepted(), debit(60), credit("acc-b", 60)]);
        for key in ["trans-u", "trans-v"] {
            let order = json!({"from": "a", "to": "b", "pence": 60});
            let refusal = json!({"from": "a", "to": "b", "pence": 60, "reason": "insufficient_funds"});
            story = story.commit([("PendingTransaction", key, order)]).commit([("RejectedTransaction", key, refusal)]);
        }
        story.judge(&mut property).unwrap();
        assert_eq!(property.transfers.keys().map(String::as_str).collect::<Vec<_>>(), ["u", "v"]);
    }

    #[test]
    fn a_credit_that_comes_twice_is_seen() {
        breaks(
            ordered().commit([accepted(), debit(60), credit("acc-b", 60), credit("acc-b", 60)]),
            "one credit on acc-b",
        );
        let twice = ordered().commit([accepted(), debit(60), credit("acc-b", 60)]).commit([credit("acc-b", 60)]);
        breaks(twice, "which this commit does not accept");
    }

    #[test]
    fn a_transfer_in_two_commits_is_seen() {
        breaks(ordered().commit([accepted(), debit(60)]).commit([credit("acc-b", 60)]), "one credit on acc-b");
        breaks(ordered().commit([debit(60), credit("acc-b", 60)]).commit([accepted()]), "does not accept");
    }

    #[test]
    fn another_amount_or_recipient_or_correlation_is_seen() {
        breaks(ordered().commit([accepted(), debit(60), credit("acc-b", 61)]), "one credit on acc-b");
        breaks(ordered().commit([accepted(), debit(59), credit("acc-b", 60)]), "one debit on acc-a");
        breaks(ordered().commit([accepted(), debit(60), credit("acc-c", 60)]), "one credit on acc-b");
        let more = ("AcceptedTransaction", "trans-t", json!({"from": "a", "to": "b", "pence": 61}));
        breaks(ordered().commit([more, debit(61), credit("acc-b", 61)]), "was ordered");
    }

    #[test]
    fn a_transfer_is_decided_once_and_only_if_it_was_ordered() {
        let rejected = ("RejectedTransaction", "trans-t", json!({"reason": "insufficient_funds", "message": ""}));
        let both = ordered().commit([rejected.clone()]).commit([accepted(), debit(60), credit("acc-b", 60)]);
        breaks(both, "which was decided before: RejectedTransaction");
        breaks(Story::new().commit([rejected]), "which nobody ordered");
        breaks(ordered().commit([pending()]), "a second time");
    }

    #[test]
    fn money_without_a_source_is_seen() {
        breaks(ordered().commit([("ConfirmedCredit", "acc-a", json!({"why": "cashback", "pence": 1}))]), "no source");
        breaks(ordered().commit([("ConfirmedDebit", "acc-a", json!({"why": "deposit", "pence": 1}))]), "no source");
        breaks(ordered().commit([credit("acc-b", -60)]), "at least 1 penny");
        breaks(ordered().commit([credit("purse", 60)]), "at least 1 penny");
    }

    #[test]
    fn an_order_of_a_negative_amount_is_seen() {
        let negative = ("PendingTransaction", "trans-n", json!({"from": "a", "to": "b", "pence": -1}));
        breaks(Story::new().commit([negative]), "can never be");
        let own = ("PendingTransaction", "trans-n", json!({"from": "a", "to": "a", "pence": 1}));
        breaks(Story::new().commit([own]), "can never be");
    }
}
