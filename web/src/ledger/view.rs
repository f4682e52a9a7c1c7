//! What is told to a page: the whole of what a user may see, and the changes of it.

use dacapo_bank::{ids::AccountId, money::Pence};
use dacapo_core::Position;
use serde::Serialize;

use super::{Entry, Payment};

/// The whole of what a user may see.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    /// It is as the log was here.
    pub position: Position,
    /// By name.
    pub accounts: Vec<AccountView>,
    /// Newest first.
    pub payments: Vec<Payment>,
}

/// An account of a user.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccountView {
    /// Its name for others.
    pub id: AccountId,
    /// Its name for its owner.
    pub name: String,
    /// What it holds.
    pub balance: Pence,
    /// Points of nectar.
    pub points: u64,
    /// Newest first.
    pub entries: Vec<Entry>,
    /// Whether there were entries before these.
    pub more: bool,
}

/// A change of what a user sees, with its place in the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct News {
    /// The place.
    pub position: Position,
    /// The change.
    #[serde(flatten)]
    pub change: Change,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// An account is open.
    Opened {
        /// Which.
        account: AccountView,
    },
    /// Money came or went.
    Entry {
        /// On which account.
        account: AccountId,
        /// What it holds now.
        balance: Pence,
        /// The statement's new line.
        entry: Entry,
    },
    /// A payment was ordered or decided.
    Payment {
        /// As it is now.
        payment: Payment,
    },
    /// Points were earned or spent.
    Points {
        /// Of which account.
        account: AccountId,
        /// How many there are now.
        points: u64,
    },
}

impl View {
    /// All the money of the user.
    pub fn total(&self) -> u64 {
        self.accounts.iter().map(|account| account.balance.get()).sum()
    }
}
