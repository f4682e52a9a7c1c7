//! The part of a statement that the books do not keep: read from the log, by the key of the account, newest first.
//!
//! What the account held after each entry is reckoned backwards from what the books know. So a page far back costs the
//! pages before it, and there is an end to how far a page of ours goes: the viewer shows the rest.

use std::sync::Arc;

use dacapo_bank::{
    events::{ConfirmedCredit, ConfirmedDebit, Fact as _},
    ids::{AccountId, UserId},
    money::Pence,
};
use dacapo_core::{Event, Position};
use serde::{Deserialize, Serialize};

use crate::{
    books::Books,
    doors,
    ledger::{Direction, ENTRIES_MAX, Entry, Ledger, Move},
};

/// Events asked for at once; the bus gives no more.
const EVENTS: usize = 1_000;
/// Times that the bus is asked for one page.
const PAGES_MAX: usize = 10;

/// Earlier entries, newest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Earlier {
    pub(crate) entries: Vec<Entry>,
    /// Whether there are still earlier ones.
    pub(crate) more: bool,
}

/// Why there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoStatement {
    /// The user has no such account.
    NotTheirs,
    /// The bus or the books do not answer.
    NotNow,
    /// It is too long ago.
    TooFar,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Arc<Event>>,
    next: Option<Position>,
}

/// The entries of a user's account before a position.
pub(crate) async fn earlier(
    bus: &str,
    books: &Books,
    user: &UserId,
    id: &AccountId,
    before: Position,
) -> Result<Earlier, NoStatement> {
    let (mut cursor, mut balance) = books
        .read(|_, ledger| beginning(ledger, user, id))
        .ok_or(NoStatement::NotNow)?
        .ok_or(NoStatement::NotTheirs)?;
    let mut entries = Vec::new();
    for _ in 0..PAGES_MAX {
        let path = format!("/v1/events?key={}&order=desc&limit={EVENTS}&cursor={cursor}", id.key());
        let page: Page = doors::read(bus, &path).await.ok_or(NoStatement::NotNow)?;
        for event in &page.events {
            let Some(money) = money_of(event) else { continue };
            let after = balance;
            balance = money.direction.taken_back(balance, money.pence);
            if event.position >= before {
                continue;
            }
            if entries.len() == ENTRIES_MAX {
                return Ok(Earlier { entries, more: true });
            }
            let entry = books.read(|_, ledger| {
                let order = money.transaction.clone().and_then(|transaction| ledger.payment(&transaction));
                Entry::of(event, money, after, order)
            });
            entries.push(entry.ok_or(NoStatement::NotNow)?);
        }
        match page.next {
            Some(next) => cursor = next,
            None => return Ok(Earlier { entries, more: false }),
        }
    }
    Err(NoStatement::TooFar)
}

/// Where the books' entries begin, and what the account held before.
fn beginning(ledger: &Ledger, user: &UserId, id: &AccountId) -> Option<(Position, Pence)> {
    let account = ledger.account(id).filter(|account| account.owner == *user)?;
    Some(match account.entries.front() {
        Some(first) => {
            let Entry { direction, pence, balance, position, .. } = first;
            (*position, direction.taken_back(*balance, *pence))
        }
        None => (ledger.position().next(), account.balance),
    })
}

fn money_of(event: &Event) -> Option<Move> {
    match event.event_type.as_str() {
        ConfirmedDebit::TYPE => {
            let ConfirmedDebit { transaction, why, pence, request } = ConfirmedDebit::read(event).ok()?;
            Some(Move { direction: Direction::Debit, transaction, why, pence, request })
        }
        ConfirmedCredit::TYPE => {
            let ConfirmedCredit { transaction, why, pence, request } = ConfirmedCredit::read(event).ok()?;
            Some(Move { direction: Direction::Credit, transaction, why, pence, request })
        }
        _ => None,
    }
}
