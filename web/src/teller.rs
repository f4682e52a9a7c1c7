//! What a user asks for, from the fields of a form to an outcome.
//!
//! Each request has an id that the page chose. It becomes the idempotency key, and the name of a payment, so that sending a
//! request again finds what became of it and can never make it happen twice. An outcome is waited for, since people want to
//! know; after a bound it is `pending`, and the live channel tells the rest.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dacapo_bank::{
    ids::{AccountId, TransactionId, UserId},
    money::Pence,
};
use dacapo_core::Position;
use serde_json::json;

use crate::{
    books::Books,
    doors::{self, Ask, Doors},
    ledger::{Ledger, Status},
    outcome::{Outcome, amount, pounds},
};

/// How long a request waits for its deciding event: long enough for a lane that was moved to another owner.
const DECISION: Duration = Duration::from_secs(3);
/// How long it waits for books that are being made anew.
const BOOKS: Duration = Duration::from_secs(8);
/// Digits of a request's id: 128 random bits.
pub const REQUEST_DIGITS: usize = 32;
/// An account is called by its owner and this many letters at most.
const SLUG_MAX: usize = 24;
/// What a payer may write, in letters.
pub const REFERENCE_MAX: usize = 60;

/// The fields of a form.
pub type Fields = BTreeMap<String, String>;

/// What a user may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// An account.
    Open,
    /// Money from outside.
    Deposit,
    /// Money to the outside.
    Withdraw,
    /// Money for somebody.
    Pay,
}

/// Takes requests.
#[derive(Debug, Clone)]
pub struct Teller {
    books: Arc<Books>,
    doors: Doors,
}

/// Why a request goes no further; `?` makes an outcome of it.
type Refused = Outcome;

impl Teller {
    /// One that asks at these doors and looks into these books.
    pub fn new(books: Arc<Books>, doors: Doors) -> Self {
        Self { books, doors }
    }

    /// Does what is asked for, and says what became of it.
    pub async fn act(&self, deed: Deed, user: &UserId, fields: &Fields) -> Outcome {
        let result = match deed {
            Deed::Open => self.open(user, fields).await,
            Deed::Deposit | Deed::Withdraw => self.move_money(deed, user, fields).await,
            Deed::Pay => self.pay(user, fields).await,
        };
        result.unwrap_or_else(|refused| refused)
    }

    async fn open(&self, user: &UserId, fields: &Fields) -> Result<Outcome, Refused> {
        let request = request_of(fields)?;
        let name = field(fields, "name").trim();
        let slug = slug(name);
        if slug.is_empty() || name.chars().count() > SLUG_MAX {
            let told = format!("Give the account a name of 1 to {SLUG_MAX} letters, such as Holidays.");
            return Err(Outcome::rejected("name", told));
        }
        // A user's id holds no "-", so that no two users can mean the same account.
        let account =
            AccountId::new(format!("{user}-{slug}")).map_err(|error| Outcome::rejected("name", error.to_string()))?;
        let ask = Ask {
            door: &self.doors.users,
            path: format!("/users/{user}/accounts"),
            body: json!({ "account": account, "name": name }),
            key: request,
            caller: user,
        };
        let Some(answer) = doors::ask(&ask).await else { return Err(unknown()) };
        match answer.status {
            200..300 => {}
            409 => {
                return Err(Outcome::rejected(
                    "taken",
                    format!("You have an account {name} already. Choose another name."),
                ));
            }
            status => return Err(refused(status)),
        }
        let opened = |ledger: &Ledger| ledger.owns(user, &account).then(|| ledger.position());
        match self.books.until(DECISION, opened).await {
            Some(position) => {
                Ok(Outcome::Accepted { sentence: format!("{name} is open. Others pay to {account}."), position })
            }
            None => Err(unknown()),
        }
    }

    async fn move_money(&self, deed: Deed, user: &UserId, fields: &Fields) -> Result<Outcome, Refused> {
        let request = request_of(fields)?;
        let pence = amount(field(fields, "amount")).map_err(|sentence| Outcome::rejected("amount", sentence))?;
        let (account, name) = self.own(user, field(fields, "account")).await?;
        let (verb, sentence) = match deed {
            Deed::Withdraw => ("withdraw", format!("{} withdrawn from {name}.", pounds(pence))),
            _ => ("deposit", format!("{} paid into {name}.", pounds(pence))),
        };
        let ask = Ask {
            door: &self.doors.accounts,
            path: format!("/accounts/{account}/{verb}"),
            body: json!({ "pence": pence }),
            key: request,
            caller: user,
        };
        let Some(answer) = doors::ask(&ask).await else { return Err(unknown()) };
        match (answer.status, deed) {
            (200..300, _) => {}
            (409, Deed::Withdraw) => {
                let told = format!("There is not enough money in {name}. Withdraw less, or pay in first.");
                return Err(Outcome::rejected("insufficient_funds", told));
            }
            (409, _) => {
                return Err(Outcome::rejected(
                    "balance_too_large",
                    format!("{name} cannot hold that much. Pay in less."),
                ));
            }
            (status, _) => return Err(refused(status)),
        }
        // The answer itself is proof; waiting for the books spares the page a look at what was. The answer's position is
        // that of its last event, which may be of a kind that the books do not follow.
        let position = answer.position.unwrap_or(Position::ZERO);
        let entered = |ledger: &Ledger| {
            let entries = ledger.account(&account).map(|account| account.entries.iter().rev());
            let entry = entries.into_iter().flatten().find(|entry| entry.request.as_deref() == Some(request));
            entry.map(|entry| entry.position).or_else(|| (ledger.position() >= position).then_some(position))
        };
        let position = self.books.until(DECISION, entered).await.unwrap_or(position);
        Ok(Outcome::Accepted { sentence, position })
    }

    async fn pay(&self, user: &UserId, fields: &Fields) -> Result<Outcome, Refused> {
        let request = request_of(fields)?;
        let pence = amount(field(fields, "amount")).map_err(|sentence| Outcome::rejected("amount", sentence))?;
        let to = field(fields, "to").trim();
        let to = AccountId::new(to).map_err(|_| {
            Outcome::rejected("recipient", format!("“{to}” is no account. Accounts are called like ada-everyday."))
        })?;
        let reference = field(fields, "reference").trim();
        if reference.chars().count() > REFERENCE_MAX {
            return Err(Outcome::rejected("reference", format!("Write at most {REFERENCE_MAX} letters.")));
        }
        let (from, _) = self.own(user, field(fields, "account")).await?;
        if from == to {
            return Err(Outcome::rejected("self_transfer", "An account cannot pay itself. Choose another recipient."));
        }
        let payment = payment_of(user, request);
        let ask = Ask {
            door: &self.doors.transactions,
            path: "/transactions".to_owned(),
            body: json!({ "id": payment, "from": from, "to": to, "pence": pence, "reference": reference }),
            key: request,
            caller: user,
        };
        let Some(answer) = doors::ask(&ask).await else { return Err(unknown()) };
        if !(200..300).contains(&answer.status) {
            return Err(refused(answer.status));
        }
        let decided = |ledger: &Ledger| decided(ledger, &payment, pence, &to);
        let pending = || Outcome::Pending {
            sentence: format!("{} to {to} is on its way. You will see here what becomes of it.", pounds(pence)),
            payment: Some(payment.clone()),
        };
        Ok(self.books.until(DECISION, decided).await.unwrap_or_else(pending))
    }

    /// The account, if it is the user's; with its name. Books that are being made anew are waited for.
    async fn own(&self, user: &UserId, account: &str) -> Result<(AccountId, String), Refused> {
        let none = || Outcome::rejected("account", "That is no account of yours. Choose one of yours.");
        let id = AccountId::new(account).map_err(|_| none())?;
        let own = |ledger: &Ledger| {
            let account = ledger.account(&id).filter(|account| account.owner == *user);
            Some(account.map(|account| account.name.clone()))
        };
        let name = self.books.until(BOOKS, own).await.ok_or_else(unknown)?;
        Ok((id, name.ok_or_else(none)?))
    }
}

fn decided(ledger: &Ledger, id: &TransactionId, pence: Pence, to: &AccountId) -> Option<Outcome> {
    let payment = ledger.payment(id)?;
    match payment.status {
        Status::Pending => None,
        Status::Accepted => Some(Outcome::Accepted {
            sentence: format!("{} sent to {to}.", pounds(pence)),
            position: ledger.position(),
        }),
        Status::Rejected => {
            let reason = payment.reason.and_then(|reason| serde_json::to_value(reason).ok());
            let reason = reason.as_ref().and_then(|reason| reason.as_str()).unwrap_or("rejected");
            Some(Outcome::rejected(reason, payment.sentence.clone().unwrap_or_default()))
        }
    }
}

fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).map_or("", String::as_str)
}

/// The request's id; only what a page of ours makes is taken.
fn request_of(fields: &Fields) -> Result<&str, Refused> {
    let request = field(fields, "request");
    let is_one =
        request.len() == REQUEST_DIGITS && request.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_one.then_some(request).ok_or_else(|| Outcome::rejected("request", "The form is not whole. Load the page again."))
}

/// A payment is called after its user, whose id has no "-", and its request: nobody can take another's name.
pub fn payment_of(user: &UserId, request: &str) -> TransactionId {
    TransactionId::new(format!("{user}-{request}")).expect("both are checked, and short")
}

/// `My holidays!` as `my-holidays`.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.to_lowercase().chars().take(SLUG_MAX) {
        if letter.is_ascii_alphanumeric() {
            slug.push(letter);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

fn unknown() -> Outcome {
    Outcome::Pending {
        sentence: "The bank is not answering. Ask again: nothing can happen twice.".to_owned(),
        payment: None,
    }
}

/// What only a form that was changed after it was sent, or a page from before a change of ours, can meet.
fn refused(status: u16) -> Outcome {
    Outcome::rejected(
        "refused",
        format!("The bank did not take this ({status}). Load the page again and try once more."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_called_after_what_its_owner_says() {
        for (name, called) in [("Holidays", "holidays"), ("  My  new Car! ", "my-new-car"), ("Ünï", "n"), ("!!!", "")]
        {
            assert_eq!(slug(name), called, "{name}");
        }
    }

    #[test]
    fn a_request_that_no_page_of_ours_made_is_not_taken() {
        let with = |request: &str| Fields::from([("request".to_owned(), request.to_owned())]);
        assert!(request_of(&with("0123456789abcdef0123456789abcdef")).is_ok());
        for request in ["", "0", "0123456789ABCDEF0123456789abcdef", "../../../../../../../../../../../"] {
            assert!(request_of(&with(request)).is_err(), "{request}");
        }
    }
}
