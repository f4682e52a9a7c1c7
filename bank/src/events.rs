//! The bank's facts: what stands in the log.
//!
//! ```text
//! users         UserCreated on user-…            AccountCreationRequest on creation-…
//! accounts      AccountCreated on acc-…          (for each request)
//!               AcceptedTransaction on trans-…   with ConfirmedDebit and ConfirmedCredit on acc-…,
//!               or RejectedTransaction on trans-…
//! transactions  PendingTransaction on trans-…
//! ```
//!
//! An event that came of a customer's request carries the request's idempotency key, so that the log itself says
//! which request it answers.

use dacapo_core::{Event, EventType};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    ids::{AccountId, TransactionId, UserId},
    money::Pence,
};

/// A payload with its type.
pub trait Fact: Serialize + DeserializeOwned {
    /// The type, as in the log.
    const TYPE: &'static str;

    /// The type, as the bus wants it.
    fn event_type() -> EventType {
        EventType::of(Self::TYPE)
    }

    /// Reads the payload of an event of this type; why not, if it is not of this shape.
    fn read(event: &Event) -> Result<Self, serde_json::Error> {
        debug_assert_eq!(event.event_type.as_str(), Self::TYPE, "the caller looked at the type");
        event.data.to()
    }
}

macro_rules! facts {
    ($($name:ident),*) => {$(
        impl Fact for $name {
            const TYPE: &'static str = stringify!($name);
        }
    )*};
}

facts!(
    UserCreated,
    AccountCreationRequest,
    AccountCreated,
    PendingTransaction,
    AcceptedTransaction,
    RejectedTransaction,
    ConfirmedDebit,
    ConfirmedCredit
);

/// Somebody became a user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserCreated {
    /// For people.
    pub name: String,
    /// The idempotency key of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// A user asks for an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AccountCreationRequest {
    /// Who asks.
    pub user: UserId,
    /// What the account shall be called.
    pub account: AccountId,
    /// For people.
    pub name: String,
    /// The idempotency key of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// An account is open.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AccountCreated {
    /// Whose it is.
    pub user: UserId,
    /// Its id, as in its key.
    pub account: AccountId,
    /// For people.
    pub name: String,
}

/// A transfer was ordered; the accounts service will decide on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PendingTransaction {
    /// Who pays.
    pub from: AccountId,
    /// Who is paid.
    pub to: AccountId,
    /// How much.
    pub pence: Pence,
    /// For people.
    #[serde(default)]
    pub reference: String,
    /// The idempotency key of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// A transfer was decided, and the money moved in the same batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AcceptedTransaction {
    /// Who pays.
    pub from: AccountId,
    /// Who is paid.
    pub to: AccountId,
    /// How much.
    pub pence: Pence,
}

/// Why a transfer was rejected, in a word that programs can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The sender's account does not exist.
    UnknownSender,
    /// The recipient's account does not exist.
    UnknownRecipient,
    /// The sender's balance does not cover the amount.
    InsufficientFunds,
    /// The recipient's balance would become larger than the bank can count.
    BalanceTooLarge,
    /// Sender and recipient are the same account.
    SelfTransfer,
    /// The amount is zero.
    NoMoney,
}

/// A transfer was decided, and no money moves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RejectedTransaction {
    /// For programs.
    pub reason: Reason,
    /// For people, with the numbers that were looked at.
    pub message: String,
}

/// Why money came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// From or to another account.
    Transfer,
    /// From outside.
    Deposit,
    /// To the outside.
    Withdrawal,
    /// From the bank, for points.
    Cashback,
}

/// Money left the account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConfirmedDebit {
    /// The transfer that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<TransactionId>,
    /// Why.
    pub why: Why,
    /// How much.
    pub pence: Pence,
    /// The idempotency key of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// Money came into the account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConfirmedCredit {
    /// The transfer that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<TransactionId>,
    /// Why.
    pub why: Why,
    /// How much.
    pub pence: Pence,
    /// The idempotency key of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn payloads_are_what_the_log_shows() {
        let debit = ConfirmedDebit {
            transaction: Some(TransactionId::new("t7").unwrap()),
            why: Why::Transfer,
            pence: Pence::new(250).unwrap(),
            request: None,
        };
        assert_eq!(
            serde_json::to_value(&debit).unwrap(),
            json!({"transaction": "t7", "why": "transfer", "pence": 250})
        );
        assert_eq!(ConfirmedDebit::event_type().as_str(), "ConfirmedDebit");
    }

    #[test]
    fn a_negative_amount_cannot_be_read_as_a_payload() {
        let payload = json!({"from": "a", "to": "b", "pence": -5, "reference": ""});
        assert!(serde_json::from_value::<PendingTransaction>(payload).is_err());
    }
}
