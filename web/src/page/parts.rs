//! Accounts, entries and orders: written once for the page, and once as the script's templates.
//!
//! What changes bears `data-f`, the name of what stands there; the script writes into those and nowhere else.

use dacapo_bank::ids::AccountId;
use dacapo_core::{CorrelationId, WallTime};
use dacapo_reporting::{calendar, words};
use maud::{Markup, html};

use crate::{
    ledger::{AccountView, Direction, Entry, Payment, Status},
    outcome::pounds,
};

/// Where a payment's causes are shown.
fn trail(viewer: Option<&str>, correlation: Option<&CorrelationId>) -> Option<String> {
    Some(format!("{}/correlation/{}", viewer?, words::encoded(correlation?.as_str())))
}

/// A point in time; the script shows it by the reader's own clock.
fn time(us: u64) -> Markup {
    let text = calendar::show(WallTime(us));
    let (day, clock) = text.split_once('T').unwrap_or((&text, ""));
    html! { time data-f="time" datetime=(text) { (day) " " (clock.get(..5).unwrap_or_default()) } }
}

fn trail_link(href: Option<&str>, what: &str) -> Markup {
    html! {
        a.trail data-f="trail" href=[href] hidden[href.is_none()] target="_blank" rel="noopener"
            aria-label={ "What caused this: " (what) } title="What caused this" {
            svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true" {
                circle cx="8" cy="3" r="2" {} circle cx="4" cy="13" r="2" {} circle cx="12" cy="13" r="2" {}
                path d="M8 5v3M8 8L4.6 11M8 8l3.4 3" {}
            }
        }
    }
}

/// A card of an account; without one, the template.
pub(super) fn account(account: Option<&AccountView>, is_current: bool) -> Markup {
    let id = account.map(|account| account.id.as_str());
    let points = account.map_or(0, |account| account.points);
    html! {
        li data-id=[id] {
            a.account data-f="link" href=[id.map(|id| format!("/accounts/{id}"))] aria-current=[is_current.then_some("page")] {
                span.name data-f="name" { (account.map_or("", |account| &account.name)) }
                span.id.mono data-f="id" { (id.unwrap_or_default()) }
                span.balance data-f="balance" { @if let Some(account) = account { (pounds(account.balance)) } }
                span.under {
                    span.points data-f="points" hidden[points == 0] { (points_text(points)) }
                    span.pending data-f="pending" hidden {}
                }
            }
        }
    }
}

fn points_text(points: u64) -> String {
    format!("{} nectar {}", words::grouped(points), if points == 1 { "point" } else { "points" })
}

/// A line of a statement; without one, the template.
pub(super) fn entry(entry: Option<&Entry>, viewer: Option<&str>) -> Markup {
    let tone = match entry.map(|entry| entry.direction) {
        Some(Direction::Credit) => "in",
        Some(Direction::Debit) => "out",
        None => "",
    };
    let title = entry.map_or("", |entry| &entry.title);
    let trail = trail(viewer, entry.map(|entry| &entry.correlation));
    html! {
        li.entry data-id=[entry.map(|entry| entry.position)] data-tone=(tone) {
            span.mark aria-hidden="true" {}
            span.what {
                span.title data-f="title" { (title) }
                span.reference data-f="reference" { (entry.map_or("", |entry| &entry.reference)) }
            }
            (time(entry.map_or(0, |entry| entry.time)))
            span.amount data-f="amount" { @if let Some(entry) = entry { (signed(entry)) } }
            span.holds { span.hidden { "balance " } span data-f="holds" { @if let Some(entry) = entry { (pounds(entry.balance)) } } }
            (trail_link(trail.as_deref(), title))
        }
    }
}

fn signed(entry: &Entry) -> String {
    let sign = if entry.direction == Direction::Credit { "+" } else { "−" };
    format!("{sign}{}", pounds(entry.pence))
}

/// Something that was asked for; without one, the template.
pub(super) fn order(payment: Option<&Payment>, viewer: Option<&str>) -> Markup {
    let status = match payment.map(|payment| payment.status) {
        Some(Status::Accepted) => "accepted",
        Some(Status::Rejected) => "rejected",
        Some(Status::Pending) | None => "pending",
    };
    let title = payment.map(|payment| format!("{} to {}", pounds(payment.pence), payment.to)).unwrap_or_default();
    let sentence = payment.and_then(|payment| payment.sentence.as_deref());
    let trail = trail(viewer, payment.map(|payment| &payment.correlation));
    html! {
        li.order data-id=[payment.and_then(|payment| payment.request.as_deref()).or(payment.map(|payment| payment.id.as_str()))]
            data-status=(status) {
            span.what {
                span.title data-f="title" { (title) }
                span.reference data-f="reference" { (payment.map_or("", |payment| &payment.reference)) }
                span.sentence data-f="sentence" { (sentence.unwrap_or_default()) }
            }
            span.badge data-f="status" { (status) }
            (time(payment.map_or(0, |payment| payment.time)))
            (trail_link(trail.as_deref(), &title))
        }
    }
}

/// A choice between the user's accounts.
pub(super) fn choice(id: &str, accounts: &[AccountView], chosen: Option<&AccountId>) -> Markup {
    html! {
        select id=(id) name="account" data-accounts {
            @for account in accounts {
                option value=(account.id) selected[Some(&account.id) == chosen] { (account.name) " · " (pounds(account.balance)) }
            }
        }
    }
}
