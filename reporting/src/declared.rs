//! What a log's payloads mean, as far as the viewer needs to know it: which events move money, and what a key's balance is.
//!
//! It is declared, as data, by whoever has such events; this room knows no bank. Without a declaration the pages that need
//! one are not offered.

use dacapo_core::{Event, Key};
use serde::{Deserialize, Serialize};

/// What payloads mean.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// What amounts are counted in: `pence`.
    pub unit: String,
    /// How an account's key begins: `acc-`. The account's name is the rest.
    pub account_key: String,
    /// Events that move money from one account to another.
    #[serde(default)]
    pub transfers: Vec<Transfer>,
    /// Events on an account's key that add to its balance.
    #[serde(default)]
    pub credits: Vec<Change>,
    /// Events on an account's key that take from its balance.
    #[serde(default)]
    pub debits: Vec<Change>,
}

/// A type of event that moves money.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// The type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The field that holds the amount.
    pub amount: String,
    /// The field that names the account which pays.
    pub from: String,
    /// The field that names the account which is paid.
    pub to: String,
}

/// A type of event that changes the balance of the account on whose key it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The field that holds the amount.
    pub amount: String,
    /// The field that says why.
    pub why: String,
    /// What it says where money comes from outside or leaves: not from, or to, another account.
    pub outside: String,
}

/// Money that moves. An end that is none is the world outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Who pays.
    pub from: Option<String>,
    /// Who is paid.
    pub to: Option<String>,
    /// How much.
    pub amount: u64,
}

impl Declared {
    /// The account of a key.
    pub fn account<'a>(&self, key: &'a Key) -> Option<&'a str> {
        key.as_str().strip_prefix(self.account_key.as_str()).filter(|name| !name.is_empty())
    }

    /// The key of an account; none if the name can be no key.
    pub fn key(&self, account: &str) -> Option<Key> {
        Key::new(format!("{}{account}", self.account_key)).ok()
    }

    /// By how much an event changes the balance of its key.
    pub fn change(&self, event: &Event) -> Option<i128> {
        let of = |changes: &[Change]| {
            let change = changes.iter().find(|change| change.event_type == event.event_type.as_str())?;
            amount(&payload(event), &change.amount)
        };
        self.account(&event.key)?;
        of(&self.credits).map(i128::from).or_else(|| of(&self.debits).map(|amount| -i128::from(amount)))
    }

    /// The money that an event moves by itself: a transfer, or something from or to outside.
    pub fn flow(&self, event: &Event) -> Option<Flow> {
        let payload = payload(event);
        let text = |field: &str| payload.get(field).and_then(|value| value.as_str()).map(str::to_owned);
        if let Some(transfer) = self.transfers.iter().find(|one| one.event_type == event.event_type.as_str()) {
            let (from, to) = (text(&transfer.from)?, text(&transfer.to)?);
            return Some(Flow { from: Some(from), to: Some(to), amount: amount(&payload, &transfer.amount)? });
        }
        let account = self.account(&event.key)?.to_owned();
        let outside = |changes: &[Change]| {
            let change = changes.iter().find(|change| {
                change.event_type == event.event_type.as_str()
                    && text(&change.why).as_deref() == Some(change.outside.as_str())
            })?;
            amount(&payload, &change.amount)
        };
        if let Some(amount) = outside(&self.credits) {
            return Some(Flow { from: None, to: Some(account), amount });
        }
        outside(&self.debits).map(|amount| Flow { from: Some(account), to: None, amount })
    }
}

fn payload(event: &Event) -> serde_json::Value {
    event.data.to().unwrap_or_default()
}

fn amount(payload: &serde_json::Value, field: &str) -> Option<u64> {
    payload.get(field)?.as_u64()
}
