//! A payment as its payer sees it: pending, then accepted or rejected with the reason.

use dacapo_bank::{
    events::{PendingTransaction, Reason},
    ids::{AccountId, TransactionId},
    money::Pence,
};
use dacapo_core::{CorrelationId, Event};
use serde::Serialize;

use crate::outcome;

/// What became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is not decided yet.
    Pending,
    /// The money moved.
    Accepted,
    /// No money moved.
    Rejected,
}

/// A payment that was ordered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Payment {
    /// Its name.
    pub id: TransactionId,
    /// Who pays.
    pub from: AccountId,
    /// Who is paid.
    pub to: AccountId,
    /// How much.
    pub pence: Pence,
    /// What the payer wrote.
    pub reference: String,
    /// When it was ordered, in microseconds since 1970.
    pub time: u64,
    /// What became of it.
    pub status: Status,
    /// Why it was rejected, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why it was rejected, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentence: Option<String>,
    /// The request that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// All that came of one request.
    pub correlation: CorrelationId,
}

impl Payment {
    pub(super) fn ordered(id: TransactionId, order: PendingTransaction, event: &Event) -> Self {
        let PendingTransaction { from, to, pence, reference, request } = order;
        Self {
            id,
            from,
            to,
            pence,
            reference,
            time: event.time.0,
            status: Status::Pending,
            reason: None,
            sentence: None,
            request,
            correlation: event.correlation.clone(),
        }
    }

    /// The decision's own words stay behind: they may tell what the other account holds.
    pub(super) fn decided(&mut self, status: Status, reason: Option<Reason>) {
        self.status = status;
        self.sentence = reason.map(|reason| outcome::sentence(reason, &self.from, &self.to));
        self.reason = reason;
    }
}
