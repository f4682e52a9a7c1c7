//! `/events`: a window on the log, with a filter that hides what it does not want.

use dacapo_core::Position;
use maud::{Markup, html};

use super::{
    Desk, PageError,
    frame::{Head, Here, page},
    parts,
};
use crate::{
    ask::Ask,
    filter::Filter,
    log::{Anchor, Found, LogError},
    words::{count, encoded, grouped},
};

/// Rows of a page.
const ROWS: usize = 60;

/// The page.
pub fn show(desk: &mut Desk<'_>, ask: &Ask) -> Result<Markup, PageError> {
    let text = ask.get("q").unwrap_or_default();
    let anchor = anchor(ask)?;
    let found = match Filter::parse(&[text])
        .map_err(LogError::Filter)
        .and_then(|filter| desk.log.page(&filter, anchor, ROWS))
    {
        Ok(found) => found,
        Err(LogError::Filter(error)) => return Ok(refused(desk, text, &error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let link = |anchor: &str| format!("{}?q={}{anchor}", desk.link(&["events"]), encoded(text));
    let pages = html! {
        nav.pages aria-label="Pages of the table" {
            @if anchor != Anchor::Newest { a href=(link("")) rel="first" { "Newest" } } @else { span { "Newest" } }
            @match found.newer { Some(position) => a href=(link(&format!("&after={position}"))) rel="prev" { "Newer" }, None => span { "Newer" } }
            @match found.older { Some(position) => a href=(link(&format!("&before={position}"))) rel="next" { "Older" }, None => span { "Older" } }
            @if anchor != Anchor::Oldest { a href=(link("&at=oldest")) rel="last" { "Oldest" } } @else { span { "Oldest" } }
        }
    };
    let is_live = desk.live && anchor == Anchor::Newest;
    let body = html! {
        h1 { "Events" @if is_live { " " span.live data-live data-after=(found.end) data-q=(text) hidden { "live" } } }
        (said(&found, text))
        @if found.events.is_empty() {
            p.empty { "No event " @if text.is_empty() { "is in the log yet." } @else if found.gave_up { "was found so far." } @else { "is like that." } }
        } @else { (parts::rows(desk, &found.events, &found.fares, None)) }
        (pages)
    };
    Ok(page(desk, &Head { title: "Events", here: Here::Events, filter: text }, &body))
}

/// Where the address says that the page begins.
fn anchor(ask: &Ask) -> Result<Anchor, PageError> {
    let position = |name: &str| {
        let number = |text: &str| {
            text.parse().map(Position).map_err(|_| PageError::Asked(format!("{text:?} is no position; give a number")))
        };
        ask.get(name).map(number).transpose()
    };
    Ok(match (position("before")?, position("after")?, ask.get("at")) {
        (Some(before), ..) => Anchor::Before(before),
        (_, Some(after), _) => Anchor::After(after),
        (_, _, Some("oldest")) => Anchor::Oldest,
        _ => Anchor::Newest,
    })
}

fn said(found: &Found, text: &str) -> Markup {
    html! {
        p.faint {
            @if text.is_empty() { (count(found.end.0, "event", "events")) " in the log." }
            @else {
                (count(found.events.len() as u64, "event", "events")) " on this page; "
                (grouped(found.looked_at as u64)) " were looked at, of " (grouped(found.end.0)) "."
            }
            @if found.gave_up { " " strong { "There may be more: " } "go on with “" @if found.older.is_some() { "Older" } @else { "Newer" } "”." }
        }
    }
}

fn refused(desk: &Desk<'_>, text: &str, why: &str) -> Markup {
    let body = html! {
        h1 { "Events" }
        p.alert role="alert" { (why) }
        p { a href=(desk.link(&["events"])) { "All events" } " · " a href="/help" { "How filters are written" } }
    };
    page(desk, &Head { title: "Events", here: Here::Events, filter: text }, &body)
}
