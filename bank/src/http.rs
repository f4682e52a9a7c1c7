//! From a request to its parts, and from a refusal to an answer.
//!
//! 400: the body is no JSON. 422: it is JSON, but not what the route takes. 404: what it is about does not exist.
//! 409: it cannot be done as things stand. 503: ask again.

use dacapo_service::{Interrupt, Request, Response};
use serde::de::DeserializeOwned;

use crate::{
    ids::{AccountId, IdError, TransactionId, UserId},
    money::{MoneyError, Pence},
};

/// The most bytes that a name or a reference for people may have: a line or two.
pub const TEXT_BYTES_MAX: usize = 200;

/// A request that is answered with an error, and leaves no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Why, and what to do.
    pub sentence: String,
}

impl Refusal {
    /// What it is about does not exist.
    pub fn not_found(sentence: impl Into<String>) -> Self {
        Self { status: 404, sentence: sentence.into() }
    }

    /// It cannot be done as things stand.
    pub fn conflict(sentence: impl Into<String>) -> Self {
        Self { status: 409, sentence: sentence.into() }
    }

    /// It is not what the route takes.
    pub fn unprocessable(sentence: impl Into<String>) -> Self {
        Self { status: 422, sentence: sentence.into() }
    }

    /// Not yet: the same request, repeated, will find things settled.
    pub fn ask_again(sentence: impl Into<String>) -> Self {
        Self { status: 503, sentence: sentence.into() }
    }
}

impl From<IdError> for Refusal {
    fn from(error: IdError) -> Self {
        Self::unprocessable(error.to_string())
    }
}

impl From<MoneyError> for Refusal {
    fn from(error: MoneyError) -> Self {
        Self::unprocessable(error.to_string())
    }
}

/// Why a route ends early: the machine must fetch something, or the customer is refused. Both are handed on with `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// For the machine.
    Interrupt(Interrupt),
    /// For the customer.
    Refusal(Refusal),
}

impl From<Interrupt> for Stop {
    fn from(interrupt: Interrupt) -> Self {
        Self::Interrupt(interrupt)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

/// What a route hands to its machine.
pub fn answer(result: Result<Response, Stop>) -> Result<Response, Interrupt> {
    match result {
        Ok(response) => Ok(response),
        Err(Stop::Refusal(refusal)) => Ok(Response::error(refusal.status, &refusal.sentence)),
        Err(Stop::Interrupt(interrupt)) => Err(interrupt),
    }
}

/// Reads the body.
pub fn body<T: DeserializeOwned>(request: &Request) -> Result<T, Refusal> {
    serde_json::from_str(&request.body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Refusal::unprocessable(format!("the body does not fit: {error}")),
        _ => Refusal { status: 400, sentence: format!("the body is no JSON: {error}; send one JSON object") },
    })
}

/// An amount that somebody wants to move: at least one penny.
pub fn amount(pence: Pence) -> Result<Pence, Refusal> {
    if pence.is_zero() { Err(Refusal::unprocessable("0 pence move nothing; use at least 1")) } else { Ok(pence) }
}

/// A text for people.
pub fn text(what: &str, text: String) -> Result<String, Refusal> {
    if text.len() > TEXT_BYTES_MAX {
        let bytes = text.len();
        return Err(Refusal::unprocessable(format!("{what} has {bytes} bytes; give at most {TEXT_BYTES_MAX}")));
    }
    Ok(text)
}

/// The user that the path names.
pub fn user_in_path(request: &Request) -> Result<UserId, Refusal> {
    Ok(UserId::new(request.parameter("id"))?)
}

/// The account that the path names.
pub fn account_in_path(request: &Request) -> Result<AccountId, Refusal> {
    Ok(AccountId::new(request.parameter("id"))?)
}

/// The transaction that the path names.
pub fn transaction_in_path(request: &Request) -> Result<TransactionId, Refusal> {
    Ok(TransactionId::new(request.parameter("id"))?)
}

#[cfg(test)]
pub(crate) fn request(body: &str) -> Request {
    Request {
        method: dacapo_service::Method::Post,
        route: "/",
        parameters: std::collections::BTreeMap::new(),
        idempotency_key: Some("op-1".into()),
        caller: None,
        at_least: None,
        body: body.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Body {
        pence: Pence,
    }

    #[test]
    fn a_body_that_does_not_fit_is_told_from_one_that_is_no_json() {
        for (text, status, words) in [
            ("", 400, "the body is no JSON"),
            ("{\"pence\":", 400, "the body is no JSON"),
            ("{\"pence\":-5}", 422, "-5 pence are less than nothing"),
            ("{\"pence\":1.5}", 422, "1.5 is no whole number of pence"),
            ("{\"pence\":\"100\"}", 422, "not the text \"100\""),
            ("{\"pounds\":1}", 422, "unknown field `pounds`"),
            ("{}", 422, "missing field `pence`"),
        ] {
            let refusal = body::<Body>(&request(text)).expect_err("it must be refused");
            assert_eq!(refusal.status, status, "{text}");
            assert!(refusal.sentence.contains(words), "{text}: {refusal}");
        }
        assert!(body::<Body>(&request("{\"pence\":5}")).is_ok());
    }

    #[test]
    fn nothing_is_no_amount_and_a_novel_is_no_reference() {
        assert_eq!(amount(Pence::ZERO).unwrap_err().status, 422);
        assert_eq!(text("the reference", "x".repeat(201)).unwrap_err().status, 422);
        assert_eq!(text("the reference", "x".repeat(200)).unwrap().len(), 200);
    }

    #[test]
    fn a_refusal_is_an_answer_and_an_interrupt_is_the_machines() {
        let refused = answer(Err(Refusal::conflict("no").into())).unwrap();
        assert_eq!((refused.status, refused.body.as_str()), (409, "{\"error\":\"no\"}"));
        let missing = Interrupt::Missing(dacapo_core::Key::of("acc-1"));
        assert_eq!(answer(Err(missing.clone().into())), Err(missing));
    }
}
