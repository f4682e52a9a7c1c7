//! An account as its owner sees it: what it holds, its latest entries, its points.

use std::collections::VecDeque;

use dacapo_bank::{
    events::Why,
    ids::{AccountId, TransactionId, UserId},
    money::Pence,
};
use dacapo_core::{CorrelationId, Event, Position, Version};
use serde::Serialize;

use super::{ENTRIES_MAX, Payment, view::AccountView};

/// An open account.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Whose it is.
    pub owner: UserId,
    /// For people.
    pub name: String,
    /// What it holds.
    pub balance: Pence,
    /// Points of nectar.
    pub points: u64,
    /// The latest [`ENTRIES_MAX`] entries, oldest first.
    pub entries: VecDeque<Entry>,
    /// Whether there were entries before these.
    pub more: bool,
}

/// Whether money came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It came.
    Credit,
    /// It went.
    Debit,
}

/// A line of a statement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its event's place in the log.
    pub position: Position,
    /// Its number among the events of the account.
    pub version: Version,
    /// Microseconds since 1970.
    pub time: u64,
    /// Whether money came or went.
    pub direction: Direction,
    /// Why.
    pub why: Why,
    /// In a few words, for people.
    pub title: String,
    /// How much.
    pub pence: Pence,
    /// What the account held afterwards.
    pub balance: Pence,
    /// What the payer wrote.
    pub reference: String,
    /// The payment that it is part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<TransactionId>,
    /// The request that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// All that came of one request.
    pub correlation: CorrelationId,
}

/// What an event says that moves money.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Move {
    pub(crate) direction: Direction,
    pub(crate) transaction: Option<TransactionId>,
    pub(crate) why: Why,
    pub(crate) pence: Pence,
    pub(crate) request: Option<String>,
}

impl Direction {
    /// What there is after such a move. The services made sure that a balance stays within its range; a log that says
    /// otherwise is told by the audit, not hidden here by a panic.
    pub(crate) fn moved(self, balance: Pence, pence: Pence) -> Pence {
        match self {
            Self::Credit => balance.plus(pence).unwrap_or(Pence::MAX),
            Self::Debit => balance.minus(pence).unwrap_or(Pence::ZERO),
        }
    }

    /// What there was before such a move.
    pub(crate) fn taken_back(self, balance: Pence, pence: Pence) -> Pence {
        match self {
            Self::Credit => Self::Debit.moved(balance, pence),
            Self::Debit => Self::Credit.moved(balance, pence),
        }
    }
}

impl Entry {
    /// The line of a statement that an event makes, after which the account held `balance`.
    pub(crate) fn of(event: &Event, money: Move, balance: Pence, order: Option<&Payment>) -> Self {
        let Move { direction, transaction, why, pence, request } = money;
        Self {
            position: event.position,
            version: event.version,
            time: event.time.0,
            direction,
            why,
            title: title(direction, why, order),
            pence,
            balance,
            reference: order.map(|order| order.reference.clone()).unwrap_or_default(),
            transaction,
            request,
            correlation: event.correlation.clone(),
        }
    }
}

impl Account {
    pub(super) fn opened(owner: UserId, name: String) -> Self {
        Self { owner, name, balance: Pence::ZERO, points: 0, entries: VecDeque::new(), more: false }
    }

    /// Money that came or went.
    pub(super) fn enter(&mut self, event: &Event, money: Move, order: Option<&Payment>) -> Entry {
        self.balance = money.direction.moved(self.balance, money.pence);
        let entry = Entry::of(event, money, self.balance, order);
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
            self.more = true;
        }
        self.entries.push_back(entry.clone());
        entry
    }

    pub(super) fn view(&self, id: &AccountId) -> AccountView {
        AccountView {
            id: id.clone(),
            name: self.name.clone(),
            balance: self.balance,
            points: self.points,
            entries: self.entries.iter().rev().cloned().collect(),
            more: self.more,
        }
    }
}

fn title(direction: Direction, why: Why, order: Option<&Payment>) -> String {
    match (why, direction, order) {
        (Why::Deposit, ..) => "Paid in".to_owned(),
        (Why::Withdrawal, ..) => "Withdrawn".to_owned(),
        (Why::Cashback, ..) => "Nectar cashback".to_owned(),
        (Why::Transfer, Direction::Credit, Some(order)) => format!("From {}", order.from),
        (Why::Transfer, Direction::Debit, Some(order)) => format!("To {}", order.to),
        (Why::Transfer, _, None) => "Transfer".to_owned(),
    }
}
