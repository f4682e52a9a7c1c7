//! The accounts service: opens accounts, decides transfers, takes deposits and withdrawals, tells balances.
//!
//! It alone writes on `acc-…` keys. A transfer's decision, its debit and its credit are one batch, taken on the
//! balances that it read: either all of it stands in the log, on these balances, or none.

mod account;
mod decision;

pub use account::{Account, Direction, Entry, STATEMENT_ENTRIES_MAX, State};
pub use decision::{Rejection, Settlement, decide_deposit, decide_transfer, decide_withdrawal, settle};

use dacapo_core::{Event, EventType, Key, ServiceName, planted::Bug};
use dacapo_service::{Interrupt, Method, Request, Response, Route, Service, service::Context};
use serde::Deserialize;
use serde_json::json;

use crate::{
    events::{
        AcceptedTransaction, AccountCreated, AccountCreationRequest, ConfirmedCredit, ConfirmedDebit, Fact,
        PendingTransaction, RejectedTransaction, Why,
    },
    http::{self, Refusal, Stop},
    ids::{AccountId, TransactionId},
    money::Pence,
};

/// The service's name.
pub const NAME: &str = "accounts";

const BALANCE: &str = "/accounts/{id}";
const STATEMENT: &str = "/accounts/{id}/statement";
const DEPOSIT: &str = "/accounts/{id}/deposit";
const WITHDRAW: &str = "/accounts/{id}/withdraw";

/// The accounts service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accounts;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Amount {
    pence: Pence,
}

impl Accounts {
    /// The types that its handler does something with.
    pub(crate) fn decides_on() -> [EventType; 2] {
        [AccountCreationRequest::event_type(), PendingTransaction::event_type()]
    }
}

impl Service for Accounts {
    type State = State;

    fn name(&self) -> ServiceName {
        ServiceName::of(NAME)
    }

    fn types(&self) -> Vec<EventType> {
        vec![
            AccountCreationRequest::event_type(),
            AccountCreated::event_type(),
            PendingTransaction::event_type(),
            AcceptedTransaction::event_type(),
            RejectedTransaction::event_type(),
            ConfirmedDebit::event_type(),
            ConfirmedCredit::event_type(),
        ]
    }

    fn apply(&self, _key: &Key, state: &mut State, event: &Event) {
        state.apply(event);
    }

    fn handle(&self, event: &Event, context: &mut Context<'_, State>) -> Result<(), Interrupt> {
        match event.event_type.as_str() {
            AccountCreationRequest::TYPE => open_account(&read(event)?, context),
            PendingTransaction::TYPE => settle_pending(&event.key, &read(event)?, context),
            ConfirmedDebit::TYPE if context.planted().is(Bug::DebitTwice) => debit_again(event, context),
            _ => Ok(()),
        }
    }

    fn routes(&self) -> Vec<Route> {
        vec![
            Route { method: Method::Get, path: BALANCE },
            Route { method: Method::Get, path: STATEMENT },
            Route { method: Method::Post, path: DEPOSIT },
            Route { method: Method::Post, path: WITHDRAW },
        ]
    }

    fn request(&self, request: &Request, context: &mut Context<'_, State>) -> Result<Response, Interrupt> {
        http::answer(match (request.method, request.route) {
            (Method::Get, BALANCE) => balance(request, context),
            (Method::Get, STATEMENT) => statement(request, context),
            (Method::Post, DEPOSIT) => deposit(request, context),
            (Method::Post, WITHDRAW) => withdraw(request, context),
            _ => Err(Refusal::not_found("the accounts service has no such route").into()),
        })
    }
}

/// A payload that must be right before anything is done. If it is not, the delivery fails again and again until its
/// lane is parked, where people see it.
fn read<T: Fact>(event: &Event) -> Result<T, Interrupt> {
    T::read(event).map_err(|error| Interrupt::Failed(format!("{} {} cannot be read: {error}", T::TYPE, event.id)))
}

fn open_account(request: &AccountCreationRequest, context: &mut Context<'_, State>) -> Result<(), Interrupt> {
    let key = request.account.key();
    if context.state(&key)?.account().is_some() {
        return Ok(());
    }
    let created =
        AccountCreated { user: request.user.clone(), account: request.account.clone(), name: request.name.clone() };
    context.emit_first(AccountCreated::event_type(), key, &created);
    Ok(())
}

fn settle_pending(key: &Key, pending: &PendingTransaction, context: &mut Context<'_, State>) -> Result<(), Interrupt> {
    let Some(id) = TransactionId::of_key(key) else {
        return Err(Interrupt::Failed(format!("{key} is no transaction's key; publish it on trans-…")));
    };
    let transaction = context.state(key)?.clone();
    let from = context.state(&pending.from.key())?.account().cloned();
    let to = context.state(&pending.to.key())?.account().cloned();
    match settle(&id, &transaction, from.as_ref(), to.as_ref(), pending) {
        Settlement::DecidedBefore => {}
        Settlement::Rejected(rejected) => context.emit(RejectedTransaction::event_type(), key.clone(), &rejected),
        Settlement::Accepted { accepted, debit, credit } => {
            context.emit(AcceptedTransaction::event_type(), key.clone(), &accepted);
            context.emit(ConfirmedDebit::event_type(), pending.from.key(), &debit);
            context.emit(ConfirmedCredit::event_type(), pending.to.key(), &credit);
        }
    }
    Ok(())
}

/// The planted bug `debit-twice`: the debit was applied when it was decided, and is again now that its event comes.
fn debit_again(event: &Event, context: &mut Context<'_, State>) -> Result<(), Interrupt> {
    let debit: ConfirmedDebit = read(event)?;
    let Some(transaction) = &debit.transaction else { return Ok(()) };
    if context.state(&event.key)?.account().is_some_and(|account| account.debits_of(transaction) == 1) {
        context.emit(ConfirmedDebit::event_type(), event.key.clone(), &debit);
    }
    Ok(())
}

/// The account, to look at.
fn shown(id: &AccountId, context: &mut Context<'_, State>) -> Result<Account, Stop> {
    let account = context.state(&id.key())?.account().cloned();
    account.ok_or_else(|| Refusal::not_found(format!("there is no account {id}; open it first")).into())
}

/// The account, to move its money. One that was asked for is as good as open: who was just told that it will be opened
/// is asked to come again with the same request, and not told that it does not exist.
fn usable(id: &AccountId, context: &mut Context<'_, State>) -> Result<Account, Stop> {
    let shown = shown(id, context);
    if let Err(Stop::Refusal(_)) = &shown
        && *context.state(&id.creation_key())? == State::Requested
    {
        return Err(Refusal::ask_again(format!("account {id} is being opened; ask again")).into());
    }
    shown
}

fn balance(request: &Request, context: &mut Context<'_, State>) -> Result<Response, Stop> {
    let id = http::account_in_path(request)?;
    let account = shown(&id, context)?;
    let body = json!({"account": id, "owner": account.owner, "name": account.name, "balance": account.balance});
    Ok(Response::json(200, &body))
}

fn statement(request: &Request, context: &mut Context<'_, State>) -> Result<Response, Stop> {
    let id = http::account_in_path(request)?;
    let account = shown(&id, context)?;
    let body = json!({
        "account": id,
        "balance": account.balance,
        "entries": account.entries,
        "entries_before": account.entries_before,
    });
    Ok(Response::json(200, &body))
}

fn deposit(request: &Request, context: &mut Context<'_, State>) -> Result<Response, Stop> {
    let id = http::account_in_path(request)?;
    let pence = http::amount(http::body::<Amount>(request)?.pence)?;
    let balance = decide_deposit(&id, &usable(&id, context)?, pence)?;
    let credit =
        ConfirmedCredit { transaction: None, why: Why::Deposit, pence, request: request.idempotency_key.clone() };
    context.emit(ConfirmedCredit::event_type(), id.key(), &credit);
    Ok(Response::json(200, &json!({"account": id, "deposited": pence, "balance": balance})))
}

fn withdraw(request: &Request, context: &mut Context<'_, State>) -> Result<Response, Stop> {
    let id = http::account_in_path(request)?;
    let pence = http::amount(http::body::<Amount>(request)?.pence)?;
    let balance = decide_withdrawal(&id, &usable(&id, context)?, pence)?;
    let debit =
        ConfirmedDebit { transaction: None, why: Why::Withdrawal, pence, request: request.idempotency_key.clone() };
    context.emit(ConfirmedDebit::event_type(), id.key(), &debit);
    Ok(Response::json(200, &json!({"account": id, "withdrawn": pence, "balance": balance})))
}
