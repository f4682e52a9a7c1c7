//! What changes something: forms that are answered with their outcome.
//!
//! The script is answered with JSON, always with status 200: that an order was refused is an answer. Without script, the
//! outcome is put by for the page that the form leads to.

use std::sync::{Arc, PoisonError};

use axum::{
    Form, Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use super::{Site, TOLD_MAX, answers, visitor::Visitor};
use crate::{
    Outcome,
    teller::{Deed, Fields},
    weather::Weather,
};

pub(super) async fn open(site: State<Arc<Site>>, visitor: Visitor, fields: Form<Fields>) -> Response {
    act(&site, &visitor, Deed::Open, &fields).await
}

pub(super) async fn deposit(site: State<Arc<Site>>, visitor: Visitor, fields: Form<Fields>) -> Response {
    act(&site, &visitor, Deed::Deposit, &fields).await
}

pub(super) async fn withdraw(site: State<Arc<Site>>, visitor: Visitor, fields: Form<Fields>) -> Response {
    act(&site, &visitor, Deed::Withdraw, &fields).await
}

pub(super) async fn pay(site: State<Arc<Site>>, visitor: Visitor, fields: Form<Fields>) -> Response {
    act(&site, &visitor, Deed::Pay, &fields).await
}

async fn act(site: &Site, visitor: &Visitor, deed: Deed, fields: &Fields) -> Response {
    let user = match visitor.vouch(fields).and_then(|()| visitor.user()) {
        Ok(user) => user,
        Err(refused) => return refused.into_response(),
    };
    let outcome = site.teller.act(deed, &user.id, fields).await;
    if visitor.wants_json {
        return Json(outcome).into_response();
    }
    site.tell(visitor, outcome);
    // The account is put into a path only if it can be one of ours.
    let account = fields.get("account").filter(|id| dacapo_bank::ids::AccountId::new(id.as_str()).is_ok());
    answers::to(&account.map_or_else(|| "/".to_owned(), |id| format!("/accounts/{id}")))
}

/// Destroys the state of every service, where faults may happen.
pub(super) async fn destroy(State(site): State<Arc<Site>>, visitor: Visitor, Form(fields): Form<Fields>) -> Response {
    chaos(&site, &visitor, &fields, "destroyed", Weather::destroy).await
}

/// Holds up those who decide on payments, where faults may happen, or lets them go on.
pub(super) async fn hold(State(site): State<Arc<Site>>, visitor: Visitor, Form(fields): Form<Fields>) -> Response {
    chaos(&site, &visitor, &fields, "held", Weather::hold).await
}

async fn chaos(
    site: &Site,
    visitor: &Visitor,
    fields: &Fields,
    done: &str,
    wish: impl AsyncFnOnce(&Weather) -> Option<String>,
) -> Response {
    if let Err(refused) = visitor.vouch(fields) {
        return refused.into_response();
    }
    let Some(weather) = &site.config.weather else {
        return answers::plain(StatusCode::NOT_FOUND, "Not here", "Nothing goes wrong on purpose without --chaos.");
    };
    let Some(sentence) = wish(weather).await else {
        return answers::error(StatusCode::SERVICE_UNAVAILABLE, "The demo is ending.");
    };
    if visitor.wants_json {
        return Json(json!({ done: sentence })).into_response();
    }
    answers::to("/")
}

impl Site {
    /// Puts an outcome by for the visitor's next page. The oldest make room: whoever never looks needs no answer.
    fn tell(&self, visitor: &Visitor, outcome: Outcome) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= TOLD_MAX {
            told.pop_first();
        }
        told.insert(visitor.secret.kept(), outcome);
    }

    pub(super) fn told(&self, visitor: &Visitor) -> Option<Outcome> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&visitor.secret.kept())
    }
}
