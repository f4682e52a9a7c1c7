//! The transactions service: takes orders for transfers and tells what became of them.
//!
//! It decides nothing about money. It refuses only what no balance could ever make right (nothing, a self-transfer),
//! and says of the rest what the accounts service decided.

use dacapo_core::{Event, EventType, Key, ServiceName};
use dacapo_service::{Interrupt, Method, Request, Response, Route, Service, service::Context};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    events::{AcceptedTransaction, Fact, PendingTransaction, RejectedTransaction},
    http::{self, Refusal, Stop},
    ids::{AccountId, TransactionId},
    money::Pence,
};

/// The service's name.
pub const NAME: &str = "transactions";

const TRANSACTIONS: &str = "/transactions";
const TRANSACTION: &str = "/transactions/{id}";

/// The transactions service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Transactions;

/// What the transactions service knows of one key `trans-…`: nothing, or a transfer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State(Option<Transaction>);

/// A transfer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Transaction {
    /// What was ordered.
    pub ordered: PendingTransaction,
    /// What became of it.
    pub status: Status,
}

/// What became of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is not decided yet.
    Pending,
    /// The money moved.
    Accepted,
    /// No money moved.
    Rejected(RejectedTransaction),
}

impl State {
    /// The transfer, if there is one.
    pub fn transaction(&self) -> Option<&Transaction> {
        self.0.as_ref()
    }

    /// Folds one event; what is not of the bank's shape changes nothing, and neither does a second decision.
    pub fn apply(&mut self, event: &Event) {
        match (event.event_type.as_str(), &mut self.0) {
            (PendingTransaction::TYPE, transaction @ None) => {
                *transaction = PendingTransaction::read(event)
                    .ok()
                    .map(|ordered| Transaction { ordered, status: Status::Pending });
            }
            (AcceptedTransaction::TYPE, Some(Transaction { status: status @ Status::Pending, .. })) => {
                *status = Status::Accepted;
            }
            (RejectedTransaction::TYPE, Some(Transaction { status: status @ Status::Pending, .. })) => {
                if let Ok(rejected) = RejectedTransaction::read(event) {
                    *status = Status::Rejected(rejected);
                }
            }
            _ => {}
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    id: TransactionId,
    from: AccountId,
    to: AccountId,
    pence: Pence,
    #[serde(default)]
    reference: String,
}

impl Service for Transactions {
    type State = State;

    fn name(&self) -> ServiceName {
        ServiceName::of(NAME)
    }

    fn types(&self) -> Vec<EventType> {
        vec![PendingTransaction::event_type(), AcceptedTransaction::event_type(), RejectedTransaction::event_type()]
    }

    fn apply(&self, _key: &Key, state: &mut State, event: &Event) {
        state.apply(event);
    }

    fn routes(&self) -> Vec<Route> {
        vec![Route { method: Method::Post, path: TRANSACTIONS }, Route { method: Method::Get, path: TRANSACTION }]
    }

    fn request(&self, request: &Request, context: &mut Context<'_, State>) -> Result<Response, Interrupt> {
        http::answer(match (request.method, request.route) {
            (Method::Post, TRANSACTIONS) => order(request, context),
            (Method::Get, TRANSACTION) => show(request, context),
            _ => Err(Refusal::not_found("the transactions service has no such route").into()),
        })
    }
}

/// What is ordered, if it could ever happen.
fn decide_order(request: &Request) -> Result<(TransactionId, PendingTransaction), Refusal> {
    let Order { id, from, to, pence, reference } = http::body(request)?;
    let pence = http::amount(pence)?;
    if from == to {
        return Err(Refusal::unprocessable(format!("account {from} cannot pay itself; choose another recipient")));
    }
    let reference = http::text("the reference", reference)?;
    Ok((id, PendingTransaction { from, to, pence, reference, request: request.idempotency_key.clone() }))
}

fn order(request: &Request, context: &mut Context<'_, State>) -> Result<Response, Stop> {
    let (id, ordered) = decide_order(request)?;
    if context.state(&id.key())?.transaction().is_some() {
        return Err(Refusal::conflict(format!("transaction {id} exists already; choose another id")).into());
    }
    context.emit_first(PendingTransaction::event_type(), id.key(), &ordered);
    Ok(Response::json(202, &shown(&id, &Transaction { ordered, status: Status::Pending })))
}

fn show(request: &Request, context: &mut Context<'_, State>) -> Result<Response, Stop> {
    let id = http::transaction_in_path(request)?;
    match context.state(&id.key())?.transaction() {
        Some(transaction) => Ok(Response::json(200, &shown(&id, transaction))),
        None => Err(Refusal::not_found(format!("there is no transaction {id}")).into()),
    }
}

fn shown(id: &TransactionId, transaction: &Transaction) -> Value {
    let Transaction { ordered, status } = transaction;
    let (status, reason, message) = match status {
        Status::Pending => ("pending", None, None),
        Status::Accepted => ("accepted", None, None),
        Status::Rejected(rejected) => ("rejected", Some(rejected.reason), Some(&rejected.message)),
    };
    let mut shown = json!({
        "transaction": id,
        "from": ordered.from,
        "to": ordered.to,
        "pence": ordered.pence,
        "reference": ordered.reference,
        "status": status,
    });
    if let (Some(reason), Some(message)) = (reason, message) {
        shown["reason"] = json!(reason);
        shown["message"] = json!(message);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures::fold, http::request};

    fn status_after(events: &[(&str, Value)]) -> Option<Value> {
        let state = fold(State::apply, "trans-t", events);
        state.transaction().map(|transaction| shown(&TransactionId::new("t").unwrap(), transaction)["status"].clone())
    }

    #[test]
    fn a_transfer_is_pending_until_it_is_decided_once() {
        let pending = || ("PendingTransaction", json!({"from": "a", "to": "b", "pence": 5}));
        let accepted = || ("AcceptedTransaction", json!({"from": "a", "to": "b", "pence": 5}));
        let rejected = || ("RejectedTransaction", json!({"reason": "insufficient_funds", "message": "no"}));
        assert_eq!(status_after(&[]), None);
        assert_eq!(status_after(&[accepted()]), None);
        assert_eq!(status_after(&[pending()]), Some(json!("pending")));
        assert_eq!(status_after(&[pending(), accepted()]), Some(json!("accepted")));
        assert_eq!(status_after(&[pending(), rejected()]), Some(json!("rejected")));
        assert_eq!(status_after(&[pending(), accepted(), rejected()]), Some(json!("accepted")));
    }

    #[test]
    fn an_order_that_could_never_happen_is_refused_with_its_reason() {
        let body = |to: &str, pence: &str| format!(r#"{{"id":"t","from":"a","to":"{to}","pence":{pence}}}"#);
        for (body, status, words) in [
            (body("b", "0"), 422, "0 pence move nothing"),
            (body("b", "-1"), 422, "-1 pence are less than nothing"),
            (body("b", "0.5"), 422, "is no whole number of pence"),
            (body("b", "\"5\""), 422, "not the text"),
            (body("b", "1000000000000001"), 422, "more than the limit"),
            (body("b", "99999999999999999999"), 422, "is no whole number of pence"),
            (body("a", "5"), 422, "cannot pay itself"),
            (body("a/b", "5"), 422, "contains '/'"),
            ("{".to_owned(), 400, "no JSON"),
            ("{}".to_owned(), 422, "missing field"),
        ] {
            let refusal = decide_order(&request(&body)).expect_err("it must be refused");
            assert_eq!(refusal.status, status, "{body}");
            assert!(refusal.sentence.contains(words), "{body}: {refusal}");
        }
        let (id, ordered) = decide_order(&request(&body("b", "5"))).unwrap();
        assert_eq!((id.as_str(), ordered.pence.get(), ordered.request.as_deref()), ("t", 5, Some("op-1")));
    }

    #[test]
    fn a_rejection_is_shown_with_its_reason() {
        let events = [
            ("PendingTransaction", json!({"from": "a", "to": "b", "pence": 5})),
            ("RejectedTransaction", json!({"reason": "unknown_sender", "message": "there is no account a"})),
        ];
        let state = fold(State::apply, "trans-t", &events);
        let shown = shown(&TransactionId::new("t").unwrap(), state.transaction().unwrap());
        assert_eq!(shown["reason"], json!("unknown_sender"));
        assert_eq!(shown["message"], json!("there is no account a"));
    }
}
