//! The state of an account, a wish for one, and a decided transfer: pure folds over one key's events.

use std::collections::VecDeque;

use dacapo_core::Event;
use serde::{Deserialize, Serialize};

use crate::{
    events::{
        AcceptedTransaction, AccountCreated, AccountCreationRequest, ConfirmedCredit, ConfirmedDebit, Fact,
        RejectedTransaction, Why,
    },
    ids::{TransactionId, UserId},
    money::Pence,
};

/// The entries that a state keeps: a screen of them. The whole statement is in the log.
pub const STATEMENT_ENTRIES_MAX: usize = 20;

/// What the accounts service knows of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing happened here.
    #[default]
    Nothing,
    /// Of a key `creation-…`: a user asked for the account.
    Requested,
    /// Of a key `acc-…`: the account is open.
    Account(Account),
    /// Of a key `trans-…`: the transfer was accepted or rejected.
    Decided,
}

/// An open account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Account {
    /// Whose it is.
    pub owner: UserId,
    /// For people.
    pub name: String,
    /// What it holds.
    pub balance: Pence,
    /// The latest [`STATEMENT_ENTRIES_MAX`] entries, oldest first.
    pub entries: VecDeque<Entry>,
    /// How many entries there were before these.
    pub entries_before: u64,
}

/// A line of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Whether money came or went.
    pub direction: Direction,
    /// Why.
    pub why: Why,
    /// The transfer that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<TransactionId>,
    /// How much.
    pub pence: Pence,
    /// What the account held afterwards.
    pub balance: Pence,
}

/// Whether money came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It came.
    Credit,
    /// It went.
    Debit,
}

impl State {
    /// The account, if there is one.
    pub fn account(&self) -> Option<&Account> {
        match self {
            Self::Account(account) => Some(account),
            _ => None,
        }
    }

    /// Folds one event. What is not of the bank's shape changes nothing: a fold cannot refuse a fact, and a stranger's
    /// event must not stop an account.
    pub fn apply(&mut self, event: &Event) {
        match event.event_type.as_str() {
            AccountCreationRequest::TYPE => *self = Self::Requested,
            AcceptedTransaction::TYPE | RejectedTransaction::TYPE => *self = Self::Decided,
            AccountCreated::TYPE => {
                if let (Self::Nothing, Ok(created)) = (&*self, AccountCreated::read(event)) {
                    *self = Self::Account(Account::opened(created.user, created.name));
                }
            }
            ConfirmedDebit::TYPE => {
                if let (Self::Account(account), Ok(debit)) = (self, ConfirmedDebit::read(event)) {
                    account.enter(Direction::Debit, debit.why, debit.transaction, debit.pence);
                }
            }
            ConfirmedCredit::TYPE => {
                if let (Self::Account(account), Ok(credit)) = (self, ConfirmedCredit::read(event)) {
                    account.enter(Direction::Credit, credit.why, credit.transaction, credit.pence);
                }
            }
            _ => {}
        }
    }
}

impl Account {
    /// An account without money.
    pub fn opened(owner: UserId, name: String) -> Self {
        Self { owner, name, balance: Pence::ZERO, entries: VecDeque::new(), entries_before: 0 }
    }

    /// Whether the money of this transfer has left the account, according to the entries that are kept.
    pub fn debits_of(&self, transaction: &TransactionId) -> usize {
        let is_it =
            |entry: &&Entry| entry.direction == Direction::Debit && entry.transaction.as_ref() == Some(transaction);
        self.entries.iter().filter(is_it).count()
    }

    /// Money that came or went. Whoever decided it made sure that the balance stays within its range; should a wrong
    /// log say otherwise, the balance stops at the edge of the range, and the bank's properties tell.
    fn enter(&mut self, direction: Direction, why: Why, transaction: Option<TransactionId>, pence: Pence) {
        self.balance = match direction {
            Direction::Credit => self.balance.plus(pence).unwrap_or(Pence::MAX),
            Direction::Debit => self.balance.minus(pence).unwrap_or(Pence::ZERO),
        };
        if self.entries.len() == STATEMENT_ENTRIES_MAX {
            self.entries.pop_front();
            self.entries_before += 1;
        }
        self.entries.push_back(Entry { direction, why, transaction, pence, balance: self.balance });
        debug_assert!(self.entries.len() <= STATEMENT_ENTRIES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::{event, fold};

    fn balance_after(events: &[(&str, Value)]) -> Option<u64> {
        fold(State::apply, "acc-a", events).account().map(|account| account.balance.get())
    }

    fn opened() -> (&'static str, Value) {
        ("AccountCreated", json!({"user": "alice", "account": "a", "name": "Purse"}))
    }

    #[test]
    fn a_balance_is_what_came_less_what_went() {
        let credit = |pence| ("ConfirmedCredit", json!({"why": "deposit", "pence": pence}));
        let debit = |pence| ("ConfirmedDebit", json!({"why": "withdrawal", "pence": pence}));
        assert_eq!(balance_after(&[]), None);
        assert_eq!(balance_after(&[opened()]), Some(0));
        assert_eq!(balance_after(&[opened(), credit(100), debit(30), credit(5)]), Some(75));
        assert_eq!(balance_after(&[opened(), credit(100), debit(100)]), Some(0));
    }

    #[test]
    fn what_is_not_of_the_banks_shape_changes_nothing() {
        let before = balance_after(&[opened(), ("ConfirmedCredit", json!({"why": "deposit", "pence": 7}))]);
        for strange in [json!({"why": "deposit", "pence": -7}), json!({"pence": 1}), json!(null), json!("7")] {
            let credit = ("ConfirmedCredit", json!({"why": "deposit", "pence": 7}));
            assert_eq!(balance_after(&[opened(), credit, ("ConfirmedCredit", strange)]), before);
        }
        assert_eq!(balance_after(&[opened(), opened()]), Some(0));
        assert_eq!(balance_after(&[("ConfirmedCredit", json!({"why": "deposit", "pence": 7}))]), None);
    }

    #[test]
    fn a_statement_keeps_its_latest_entries_with_the_running_balance() {
        let mut events = vec![opened()];
        let deposits = STATEMENT_ENTRIES_MAX as u64 + 3;
        events.extend((1..=deposits).map(|_| ("ConfirmedCredit", json!({"why": "deposit", "pence": 2}))));
        let state = fold(State::apply, "acc-a", &events);
        let account = state.account().unwrap();
        assert_eq!((account.entries.len(), account.entries_before), (STATEMENT_ENTRIES_MAX, 3));
        assert_eq!(account.entries.back().unwrap().balance, account.balance);
        assert_eq!(account.entries.front().unwrap().balance.get(), 8);
    }

    #[test]
    fn a_transfer_is_decided_once_it_is_accepted_or_rejected() {
        let mut state = State::Nothing;
        state.apply(&event(1, "trans-t", "PendingTransaction", &json!({"from": "a", "to": "b", "pence": 1})));
        assert_eq!(state, State::Nothing);
        state.apply(&event(2, "trans-t", "RejectedTransaction", &json!({"reason": "no_money", "message": ""})));
        assert_eq!(state, State::Decided);
    }

    #[test]
    fn a_state_survives_being_written_and_read() {
        let state =
            fold(State::apply, "acc-a", &[opened(), ("ConfirmedCredit", json!({"why": "deposit", "pence": 7}))]);
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }
}
