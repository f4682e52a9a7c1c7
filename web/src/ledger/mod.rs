//! What people see of the bank, folded from the log: accounts with their latest entries, payments, points, and for each
//! user the news about them.
//!
//! Everything here can be lost at any moment and is made again by following the log from the beginning. What grows with
//! the use of an account (entries, payments, news) is kept up to a number; older entries are in the log.

mod account;
mod payment;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dacapo_bank::{
    events::{
        AcceptedTransaction, AccountCreated, AccountCreationRequest, ConfirmedCredit, ConfirmedDebit, Fact as _,
        PendingTransaction, RejectedTransaction, UserCreated,
    },
    ids::{AccountId, TransactionId, UserId},
};
use dacapo_core::{Event, EventType, Position};
use serde::Deserialize;

pub use account::{Account, Direction, Entry};
pub use payment::{Payment, Status};
pub use view::{AccountView, Change, News, View};

pub(crate) use account::Move;

/// Entries that an account keeps: what fits on a long screen. The rest is read from the log.
pub const ENTRIES_MAX: usize = 40;
/// Payments that a user sees at a glance.
pub const PAYMENTS_MAX: usize = 20;
/// News that a page may have missed and still be told one by one; one that missed more gets the whole state.
pub const NEWS_MAX: usize = 256;
/// Orders that were decided and may still be asked about: a cashback comes after its transfer.
pub const ORDERS_MAX: usize = 20_000;

const POINTS_EARNED: &str = "PointsEarned";
const POINTS_SPENT: &str = "PointsSpent";

/// The types that the ledger follows.
pub fn types() -> Vec<EventType> {
    vec![
        UserCreated::event_type(),
        AccountCreationRequest::event_type(),
        AccountCreated::event_type(),
        PendingTransaction::event_type(),
        AcceptedTransaction::event_type(),
        RejectedTransaction::event_type(),
        ConfirmedDebit::event_type(),
        ConfirmedCredit::event_type(),
        EventType::of(POINTS_EARNED),
        EventType::of(POINTS_SPENT),
    ]
}

/// The fold.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    position: Position,
    accounts: BTreeMap<AccountId, Account>,
    users: BTreeMap<UserId, Customer>,
    /// Whose account was asked for, until it is open.
    wishes: BTreeMap<AccountId, UserId>,
    orders: BTreeMap<TransactionId, Payment>,
    /// Orders in the order of their decisions; the oldest are forgotten.
    decided: VecDeque<TransactionId>,
}

/// What is known of a user.
#[derive(Debug, Clone, Default)]
struct Customer {
    name: String,
    accounts: BTreeSet<AccountId>,
    /// Oldest first.
    payments: VecDeque<TransactionId>,
    /// Oldest first.
    news: VecDeque<News>,
    /// The position of the latest news that is not kept any more.
    forgotten: Position,
}

#[derive(Deserialize)]
struct Points {
    points: u64,
}

impl Ledger {
    /// Everything up to here is in it.
    pub fn position(&self) -> Position {
        self.position
    }

    /// An account.
    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.get(id)
    }

    /// Whether somebody has asked for this account and it is not open yet.
    pub fn is_asked_for(&self, id: &AccountId) -> bool {
        self.wishes.contains_key(id)
    }

    /// Whether the account is this user's.
    pub fn owns(&self, user: &UserId, account: &AccountId) -> bool {
        self.accounts.get(account).is_some_and(|account| account.owner == *user)
    }

    /// A payment, while it is remembered.
    pub fn payment(&self, id: &TransactionId) -> Option<&Payment> {
        self.orders.get(id)
    }

    /// Takes the next event of the log; one that it has seen changes nothing. What is not of the bank's shape changes
    /// nothing either: a fold cannot refuse a fact.
    pub fn take(&mut self, event: &Event) {
        if event.position <= self.position {
            return;
        }
        self.position = event.position;
        match event.event_type.as_str() {
            UserCreated::TYPE => self.user_created(event),
            AccountCreationRequest::TYPE => {
                if let Ok(wish) = AccountCreationRequest::read(event)
                    && !self.accounts.contains_key(&wish.account)
                {
                    self.wishes.insert(wish.account, wish.user);
                }
            }
            AccountCreated::TYPE => self.account_created(event),
            PendingTransaction::TYPE => self.ordered(event),
            AcceptedTransaction::TYPE => self.decide(event, Status::Accepted, None),
            RejectedTransaction::TYPE => {
                if let Ok(rejected) = RejectedTransaction::read(event) {
                    self.decide(event, Status::Rejected, Some(rejected.reason));
                }
            }
            ConfirmedDebit::TYPE => {
                if let Ok(ConfirmedDebit { transaction, why, pence, request }) = ConfirmedDebit::read(event) {
                    self.moved(event, Move { direction: Direction::Debit, transaction, why, pence, request });
                }
            }
            ConfirmedCredit::TYPE => {
                if let Ok(ConfirmedCredit { transaction, why, pence, request }) = ConfirmedCredit::read(event) {
                    self.moved(event, Move { direction: Direction::Credit, transaction, why, pence, request });
                }
            }
            POINTS_EARNED => self.counted(event, u64::saturating_add),
            POINTS_SPENT => self.counted(event, u64::saturating_sub),
            _ => {}
        }
    }

    fn user_created(&mut self, event: &Event) {
        let id = event.key.as_str().strip_prefix("user-").and_then(|id| UserId::new(id).ok());
        if let (Some(id), Ok(created)) = (id, UserCreated::read(event)) {
            self.users.entry(id).or_default().name = created.name;
        }
    }

    fn account_created(&mut self, event: &Event) {
        let Ok(AccountCreated { user, account: id, name }) = AccountCreated::read(event) else { return };
        self.wishes.remove(&id);
        if self.accounts.contains_key(&id) || event.key != id.key() {
            return;
        }
        let account = Account::opened(user.clone(), name);
        let change = Change::Opened { account: account.view(&id) };
        self.users.entry(user.clone()).or_default().accounts.insert(id.clone());
        self.accounts.insert(id, account);
        self.tell(&user, event.position, change);
    }

    fn ordered(&mut self, event: &Event) {
        let Some(id) = TransactionId::of_key(&event.key) else { return };
        let Ok(order) = PendingTransaction::read(event) else { return };
        if self.orders.contains_key(&id) {
            return;
        }
        let payment = Payment::ordered(id.clone(), order, event);
        if let Some(payer) = self.accounts.get(&payment.from).map(|account| account.owner.clone()) {
            let customer = self.users.entry(payer.clone()).or_default();
            customer.payments.push_back(id.clone());
            if customer.payments.len() > PAYMENTS_MAX {
                customer.payments.pop_front();
            }
            self.tell(&payer, event.position, Change::Payment { payment: payment.clone() });
        }
        self.orders.insert(id, payment);
    }

    fn decide(&mut self, event: &Event, status: Status, reason: Option<dacapo_bank::events::Reason>) {
        let Some(payment) = TransactionId::of_key(&event.key).and_then(|id| self.orders.get_mut(&id)) else { return };
        if payment.status != Status::Pending {
            return;
        }
        payment.decided(status, reason);
        let payment = payment.clone();
        self.decided.push_back(payment.id.clone());
        if let Some(payer) = self.accounts.get(&payment.from).map(|account| account.owner.clone()) {
            self.tell(&payer, event.position, Change::Payment { payment });
        }
        if self.decided.len() > ORDERS_MAX
            && let Some(oldest) = self.decided.pop_front()
        {
            self.orders.remove(&oldest);
        }
    }

    fn moved(&mut self, event: &Event, money: Move) {
        let Some(id) = event.key.as_str().strip_prefix("acc-").and_then(|id| AccountId::new(id).ok()) else { return };
        let order = money.transaction.as_ref().and_then(|transaction| self.orders.get(transaction));
        let Some(account) = self.accounts.get_mut(&id) else { return };
        let entry = account.enter(event, money, order);
        let owner = account.owner.clone();
        let balance = account.balance;
        self.tell(&owner, event.position, Change::Entry { account: id, balance, entry });
    }

    fn counted(&mut self, event: &Event, count: impl Fn(u64, u64) -> u64) {
        let Some(id) = event.key.as_str().strip_prefix("nectar-").and_then(|id| AccountId::new(id).ok()) else {
            return;
        };
        let (Some(account), Ok(Points { points })) = (self.accounts.get_mut(&id), event.data.to()) else { return };
        account.points = count(account.points, points);
        let (owner, points) = (account.owner.clone(), account.points);
        self.tell(&owner, event.position, Change::Points { account: id, points });
    }

    /// An event concerns one user at most, so that its position names the news.
    fn tell(&mut self, user: &UserId, position: Position, change: Change) {
        let customer = self.users.entry(user.clone()).or_default();
        debug_assert!(customer.news.back().is_none_or(|news| news.position < position), "news come in order");
        customer.news.push_back(News { position, change });
        if customer.news.len() > NEWS_MAX
            && let Some(oldest) = customer.news.pop_front()
        {
            customer.forgotten = oldest.position;
        }
    }

    /// The whole of what a user may see.
    pub fn view(&self, user: &UserId) -> View {
        let none = Customer::default();
        let customer = self.users.get(user).unwrap_or(&none);
        let accounts = customer.accounts.iter().filter_map(|id| Some(self.accounts.get(id)?.view(id))).collect();
        let payments = customer.payments.iter().rev().filter_map(|id| self.orders.get(id)).cloned().collect();
        View { position: self.position, accounts, payments }
    }

    /// The news of a user after a position; none if some of them are not kept any more.
    pub fn news(&self, user: &UserId, after: Position) -> Option<Vec<News>> {
        let Some(customer) = self.users.get(user) else { return Some(Vec::new()) };
        if after < customer.forgotten {
            return None;
        }
        Some(customer.news.iter().filter(|news| news.position > after).cloned().collect())
    }
}

#[cfg(test)]
mod tests;
