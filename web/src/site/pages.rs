//! What is read: pages, the page's one state, the stylesheet and the script.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use dacapo_bank::ids::{AccountId, UserId};
use dacapo_core::Position;
use serde::{Deserialize, Serialize};

use super::{
    Site,
    answers::{self, Refused},
    visitor::{User, Visitor},
};
use crate::{
    ledger::View,
    page::{self, home::Home, welcome::Welcome},
    statement::{self, Earlier, NoStatement},
    weather::Report,
};

/// How long a page waits for books that are being made anew before it says so.
const BOOKS: std::time::Duration = std::time::Duration::from_secs(5);

/// Everything that the page's script knows, to begin with.
#[derive(Serialize)]
struct Init {
    user: Named,
    /// Where the viewer is.
    viewer: Option<String>,
    weather: Option<Report>,
    #[serde(flatten)]
    view: View,
}

#[derive(Serialize)]
struct Named {
    id: UserId,
    name: String,
}

/// From where on a statement goes back.
#[derive(Deserialize)]
pub(super) struct Back {
    before: u64,
}

pub(super) async fn home(State(site): State<Arc<Site>>, visitor: Visitor) -> Response {
    if let Some(user) = visitor.user.clone() {
        return show(&site, &visitor, &user, None, None).await;
    }
    let token = visitor.secret.form_token();
    let welcome = Welcome { token: &token, name: "", wrong: None, is_new: false };
    let markup = page::welcome::page(&welcome, site.config.weather.as_ref());
    answers::page(StatusCode::OK, &visitor, site.config.is_secure, markup)
}

pub(super) async fn account(State(site): State<Arc<Site>>, Path(id): Path<String>, visitor: Visitor) -> Response {
    let user = match visitor.user() {
        Ok(user) => user.clone(),
        Err(refused) => return refused.into_response(),
    };
    match AccountId::new(id) {
        Ok(id) => show(&site, &visitor, &user, Some(&id), None).await,
        Err(_) => nowhere().await,
    }
}

/// Entries that the books do not keep any more.
pub(super) async fn earlier(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    Query(back): Query<Back>,
    visitor: Visitor,
) -> Response {
    let user = match visitor.user() {
        Ok(user) => user.clone(),
        Err(refused) => return refused.into_response(),
    };
    let Ok(id) = AccountId::new(id) else { return nowhere().await };
    let found = statement::earlier(&site.doors.bus, &site.books, &user.id, &id, Position(back.before)).await;
    match found {
        Ok(earlier) if visitor.wants_json => ([(header::CACHE_CONTROL, "no-store")], Json(earlier)).into_response(),
        Ok(earlier) => show(&site, &visitor, &user, Some(&id), Some(&earlier)).await,
        Err(NoStatement::NotTheirs) => {
            answers::plain(StatusCode::NOT_FOUND, "Not here", "You have no account of that name.")
        }
        Err(NoStatement::NotNow) => answers::reading(visitor.wants_json),
        Err(NoStatement::TooFar) => {
            let told = "That is further back than a page goes. The viewer shows all of it.";
            answers::plain(StatusCode::NOT_FOUND, "Too long ago", told)
        }
    }
}

async fn show(
    site: &Site,
    visitor: &Visitor,
    user: &User,
    account: Option<&AccountId>,
    earlier: Option<&Earlier>,
) -> Response {
    let Some(view) = view(site, &user.id, Position::ZERO).await else { return answers::reading(visitor.wants_json) };
    if account.is_some_and(|id| view.accounts.iter().all(|account| account.id != *id)) {
        // Whether somebody else has it is nobody's business.
        return answers::plain(StatusCode::NOT_FOUND, "Not here", "You have no account of that name.");
    }
    let outcome = site.told(visitor);
    let home = Home {
        user,
        view: &view,
        account,
        earlier,
        token: &visitor.secret.form_token(),
        viewer: site.config.viewer.as_deref(),
        outcome: outcome.as_ref(),
        weather: site.config.weather.as_ref(),
    };
    answers::page(StatusCode::OK, visitor, site.config.is_secure, page::home::page(&home))
}

/// What a user may see, once the books can be read.
async fn view(site: &Site, user: &UserId, at_least: Position) -> Option<View> {
    site.books.until(BOOKS, |ledger| (ledger.position() >= at_least).then(|| ledger.view(user))).await
}

pub(super) async fn init(State(site): State<Arc<Site>>, visitor: Visitor) -> Response {
    let Ok(user) = visitor.user() else { return Refused::LogInFirst { wants_json: true }.into_response() };
    let Some(view) = view(&site, &user.id, Position::ZERO).await else { return answers::reading(true) };
    let init = Init {
        user: Named { id: user.id.clone(), name: user.name.clone() },
        viewer: site.config.viewer.clone(),
        weather: site.config.weather.as_ref().map(crate::weather::Weather::now),
        view,
    };
    ([(header::CACHE_CONTROL, "no-store")], Json(init)).into_response()
}

/// Whether everything adds up, read from the log.
pub(super) async fn audit(State(site): State<Arc<Site>>) -> Response {
    let Some(weather) = &site.config.weather else { return nowhere().await };
    match weather.audit().await {
        Some(report) => Json(report).into_response(),
        None => answers::error(StatusCode::SERVICE_UNAVAILABLE, "The demo is ending."),
    }
}

/// Whether pages can be shown.
pub(super) async fn health(State(site): State<Arc<Site>>) -> Response {
    if site.books.read(|_, _| ()).is_some() { "ready\n".into_response() } else { answers::reading(true) }
}

pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], page::STYLE.as_str()).into_response()
}

pub(super) async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], page::SCRIPT).into_response()
}

pub(super) async fn nowhere() -> Response {
    answers::plain(StatusCode::NOT_FOUND, "Not here", "There is no such page.")
}
