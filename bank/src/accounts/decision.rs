//! What the accounts service decides, as pure functions of the states that it read.
//!
//! That the states still hold when the decision enters the log is the machine's affair: what was read becomes
//! expectations and guards. So several transfers may be decided on the same balance at once, and all but one of them
//! are decided again on what it left.

use crate::{
    accounts::account::{Account, State},
    events::{
        AcceptedTransaction, ConfirmedCredit, ConfirmedDebit, PendingTransaction, Reason, RejectedTransaction, Why,
    },
    http::Refusal,
    ids::{AccountId, TransactionId},
    money::Pence,
};

/// Why a transfer is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The sender's account does not exist.
    #[error("there is no account {0} to pay from; open it first")]
    UnknownSender(AccountId),
    /// The recipient's account does not exist.
    #[error("there is no account {0} to pay to; check the recipient")]
    UnknownRecipient(AccountId),
    /// The balance does not cover the amount.
    #[error("account {account} holds {balance} pence, {needed} are needed; pay in the rest or send less")]
    InsufficientFunds {
        /// Whose.
        account: AccountId,
        /// What it holds.
        balance: Pence,
        /// What is asked for.
        needed: Pence,
    },
    /// The recipient's balance would leave its range.
    #[error("account {account} holds {balance} pence and cannot take {added} more; send less")]
    BalanceTooLarge {
        /// Whose.
        account: AccountId,
        /// What it holds.
        balance: Pence,
        /// What should come on top.
        added: Pence,
    },
    /// Sender and recipient are the same.
    #[error("account {0} cannot pay itself; choose another recipient")]
    SelfTransfer(AccountId),
    /// The amount is zero.
    #[error("0 pence move nothing; use at least 1")]
    NoMoney,
}

impl Rejection {
    /// The word for programs.
    pub fn reason(&self) -> Reason {
        match self {
            Self::UnknownSender(_) => Reason::UnknownSender,
            Self::UnknownRecipient(_) => Reason::UnknownRecipient,
            Self::InsufficientFunds { .. } => Reason::InsufficientFunds,
            Self::BalanceTooLarge { .. } => Reason::BalanceTooLarge,
            Self::SelfTransfer(_) => Reason::SelfTransfer,
            Self::NoMoney => Reason::NoMoney,
        }
    }
}

impl From<Rejection> for RejectedTransaction {
    fn from(rejection: Rejection) -> Self {
        Self { reason: rejection.reason(), message: rejection.to_string() }
    }
}

/// Whether a transfer may happen. The route refuses zero and self-transfers already; a `PendingTransaction` may come
/// from elsewhere, so that they are judged here again.
pub fn decide_transfer(
    from: Option<&Account>,
    to: Option<&Account>,
    pending: &PendingTransaction,
) -> Result<(), Rejection> {
    if pending.pence.is_zero() {
        return Err(Rejection::NoMoney);
    }
    if pending.from == pending.to {
        return Err(Rejection::SelfTransfer(pending.from.clone()));
    }
    let from = from.ok_or_else(|| Rejection::UnknownSender(pending.from.clone()))?;
    let to = to.ok_or_else(|| Rejection::UnknownRecipient(pending.to.clone()))?;
    if from.balance.minus(pending.pence).is_none() {
        return Err(Rejection::InsufficientFunds {
            account: pending.from.clone(),
            balance: from.balance,
            needed: pending.pence,
        });
    }
    to.balance.plus(pending.pence).map(drop).map_err(|_| Rejection::BalanceTooLarge {
        account: pending.to.clone(),
        balance: to.balance,
        added: pending.pence,
    })
}

/// What handling a pending transaction puts into the log, whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Nothing: the transfer was decided before.
    DecidedBefore,
    /// No money moves.
    Rejected(RejectedTransaction),
    /// The money moves.
    Accepted {
        /// On the transaction's key.
        accepted: AcceptedTransaction,
        /// On the sender's key.
        debit: ConfirmedDebit,
        /// On the recipient's key.
        credit: ConfirmedCredit,
    },
}

/// Settles a transfer on the states of its transaction and its two accounts.
pub fn settle(
    id: &TransactionId,
    transaction: &State,
    from: Option<&Account>,
    to: Option<&Account>,
    pending: &PendingTransaction,
) -> Settlement {
    if *transaction == State::Decided {
        return Settlement::DecidedBefore;
    }
    if let Err(rejection) = decide_transfer(from, to, pending) {
        return Settlement::Rejected(rejection.into());
    }
    let PendingTransaction { from, to, pence, .. } = pending.clone();
    let (transaction, why) = (Some(id.clone()), Why::Transfer);
    Settlement::Accepted {
        accepted: AcceptedTransaction { from, to, pence },
        debit: ConfirmedDebit { transaction: transaction.clone(), why, pence, request: None },
        credit: ConfirmedCredit { transaction, why, pence, request: None },
    }
}

/// The balance after a deposit, if it may happen.
pub fn decide_deposit(id: &AccountId, account: &Account, pence: Pence) -> Result<Pence, Refusal> {
    account.balance.plus(pence).map_err(|_| {
        let balance = account.balance;
        Refusal::conflict(format!("account {id} holds {balance} pence and cannot take {pence} more; deposit less"))
    })
}

/// The balance after a withdrawal, if it may happen.
pub fn decide_withdrawal(id: &AccountId, account: &Account, pence: Pence) -> Result<Pence, Refusal> {
    account.balance.minus(pence).ok_or_else(|| {
        let balance = account.balance;
        Refusal::conflict(format!("account {id} holds {balance} pence, {pence} are needed; withdraw less"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    fn account(balance: u64) -> Account {
        let owner = UserId::new("alice").unwrap();
        Account { balance: Pence::new(balance).unwrap(), ..Account::opened(owner, String::new()) }
    }

    fn pending(from: &str, to: &str, pence: u64) -> PendingTransaction {
        PendingTransaction {
            from: AccountId::new(from).unwrap(),
            to: AccountId::new(to).unwrap(),
            pence: Pence::new(pence).unwrap(),
            reference: String::new(),
            request: None,
        }
    }

    #[test]
    fn a_transfer_is_decided_on_both_balances() {
        let max = Pence::MAX.get();
        for (from, to, pence, expected) in [
            (Some(100), Some(0), 99, None),
            (Some(100), Some(0), 100, None),
            (Some(100), Some(0), 101, Some(Reason::InsufficientFunds)),
            (Some(0), Some(0), 1, Some(Reason::InsufficientFunds)),
            (Some(100), Some(0), 0, Some(Reason::NoMoney)),
            (None, Some(0), 1, Some(Reason::UnknownSender)),
            (Some(100), None, 1, Some(Reason::UnknownRecipient)),
            (None, None, 1, Some(Reason::UnknownSender)),
            (Some(100), Some(max), 1, Some(Reason::BalanceTooLarge)),
            (Some(100), Some(max - 1), 1, None),
            (Some(100), Some(0), max, Some(Reason::InsufficientFunds)),
            (Some(max), Some(0), max, None),
        ] {
            let (from, to) = (from.map(account), to.map(account));
            let decided = decide_transfer(from.as_ref(), to.as_ref(), &pending("a", "b", pence));
            assert_eq!(decided.err().map(|rejection| rejection.reason()), expected, "{from:?} {to:?} {pence}");
        }
    }

    #[test]
    fn an_account_cannot_pay_itself() {
        let rich = account(100);
        let decided = decide_transfer(Some(&rich), Some(&rich), &pending("a", "a", 1));
        assert_eq!(decided, Err(Rejection::SelfTransfer(AccountId::new("a").unwrap())));
    }

    #[test]
    fn a_rejection_names_the_numbers_that_were_looked_at() {
        let rejection = decide_transfer(Some(&account(300)), Some(&account(0)), &pending("a", "b", 500)).unwrap_err();
        let event = RejectedTransaction::from(rejection);
        assert_eq!(event.reason, Reason::InsufficientFunds);
        assert_eq!(event.message, "account a holds 300 pence, 500 are needed; pay in the rest or send less");
    }

    #[test]
    fn a_withdrawal_may_take_everything_and_not_a_penny_more() {
        let id = AccountId::new("a").unwrap();
        let pence = |number| Pence::new(number).unwrap();
        assert_eq!(decide_withdrawal(&id, &account(10), pence(10)), Ok(Pence::ZERO));
        assert_eq!(decide_withdrawal(&id, &account(10), pence(11)).unwrap_err().status, 409);
        assert_eq!(decide_deposit(&id, &account(10), pence(1)), Ok(pence(11)));
        assert_eq!(decide_deposit(&id, &account(1), Pence::MAX).unwrap_err().status, 409);
    }
}
