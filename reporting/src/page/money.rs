//! `/trace-money`: where the money of an account, or of one event, went or came from.

use std::collections::BTreeMap;

use dacapo_core::Position;
use maud::{Markup, html};

use super::{
    Desk, PageError, event,
    frame::{Head, Here, page},
    parts,
};
use crate::{
    ask::Ask,
    cast::Cast,
    declared::Declared,
    draw,
    money::{self, Start, Trail, Way},
    words::{count, encoded, grouped},
};

/// What stands for the world outside.
const OUTSIDE: &str = "outside";

/// The page.
pub fn show(desk: &mut Desk<'_>, ask: &Ask) -> Result<Markup, PageError> {
    let Some(declared) = desk.declared else {
        return Err(PageError::Missing(
            "nobody has declared what payloads mean here; see dacapo view --money".to_owned(),
        ));
    };
    let way = if ask.get("way") == Some("backwards") { Way::Backwards } else { Way::Forwards };
    let start = start(desk, declared, ask, way)?;
    let body = match &start {
        None => {
            html! { h1 { "Follow the money" } (form(None, way)) p.faint { "Name an account, or open an event that moves money and begin there." } }
        }
        Some(start) => {
            let trail = money::follow(desk.log, declared, start, way)?;
            found(desk, declared, start, way, &trail)
        }
    };
    Ok(page(desk, &Head { title: "Follow the money", here: Here::Money, filter: "" }, &body))
}

fn start(desk: &mut Desk<'_>, declared: &Declared, ask: &Ask, way: Way) -> Result<Option<Start>, PageError> {
    if let Some(id) = ask.get("event") {
        let event = event::find(desk, id)?;
        let flow = declared.flow(&event).ok_or_else(|| PageError::Asked("this event moves no money".to_owned()))?;
        let account = match way {
            Way::Forwards => flow.to.or(flow.from),
            Way::Backwards => flow.from.or(flow.to),
        };
        // The event itself is where it begins; what it did to the account is done.
        return Ok(account.map(|account| Start { account, at: event.position, amount: Some(flow.amount) }));
    }
    let Some(account) = ask.get("account") else { return Ok(None) };
    let at = ask.get("at").and_then(|text| text.parse().ok()).map(Position);
    let at = at.unwrap_or(if way == Way::Forwards { Position::ZERO } else { Position(u64::MAX >> 1) });
    let account = account.strip_prefix(declared.account_key.as_str()).unwrap_or(account);
    Ok(Some(Start { account: account.to_owned(), at, amount: None }))
}

fn form(account: Option<&str>, way: Way) -> Markup {
    html! {
        form.within method="get" role="search" {
            label for="account" { "Account" }
            input #account type="search" name="account" value=[account] spellcheck="false" placeholder="alice-1";
            select name="way" aria-label="Which way" {
                option value="forwards" selected[way == Way::Forwards] { "where it went" }
                option value="backwards" selected[way == Way::Backwards] { "where it came from" }
            }
            button { "Follow" }
        }
    }
}

fn found(desk: &Desk<'_>, declared: &Declared, start: &Start, way: Way, trail: &Trail) -> Markup {
    let unit = declared.unit.as_str();
    let mut flows: draw::map::Flows = BTreeMap::new();
    for one in &trail.moves {
        let end = |account: &Option<String>| account.clone().unwrap_or_else(|| OUTSIDE.to_owned());
        *flows.entry((end(&one.flow.from), end(&one.flow.to))).or_default().entry(unit.to_owned()).or_default() +=
            one.flow.amount;
    }
    let cast = Cast::of(flows.keys().flat_map(|(from, to)| [from.as_str(), to.as_str()]));
    let key = |account: &str| declared.key(account).map(|key| desk.link(&["key", key.as_str()]));
    let link = |account: &str| if account == OUTSIDE { None } else { key(account) };
    let has_traced = trail.moves.iter().any(|one| one.traced.is_some());
    let account = |account: &Option<String>| {
        html! {
            @match account { Some(name) => { @match key(name) { Some(link) => a.mono href=(link) { (name) }, None => (name) } } None => em { (OUTSIDE) } }
        }
    };
    html! {
        h1 { @if way == Way::Forwards { "Where the money went" } @else { "Where the money came from" } " " span.faint.mono { (start.account) } }
        (form(Some(&start.account), way))
        p {
            @if let Some(amount) = start.amount { (grouped(amount)) " " (unit) ", from position " (start.at) ". " }
            (count(trail.moves.len() as u64, "move", "moves")) " over " (count(flows.len() as u64, "pair of accounts", "pairs of accounts")) ". "
            @if has_traced { span.faint { "Of each move, it is told how much at most is the money in question, if that leaves every account before other money." } }
        }
        @if trail.gave_up { p.alert { "There is more: " (grouped(money::EVENTS_MAX as u64)) " events were looked at, and not beyond. Begin again at a later account or position." } }
        @if trail.moves.is_empty() { p.empty { "No money moved " @if way == Way::Forwards { "out of it after that." } @else { "into it before that." } } }
        @else {
            div.picture data-zoom tabindex="0" aria-label="Accounts and what moved between them" { (draw::map::draw(&flows, &cast, &link)) }
            div.scroll { table {
                thead { tr {
                    th scope="col" .number { "Position" } th scope="col" { "Time" } th scope="col" { "From" } th scope="col" { "To" } th scope="col" .number { (unit) }
                    @if has_traced { th scope="col" .number { "of it at most" } } th scope="col" { "Event" }
                } }
                tbody { @for one in &trail.moves { tr data-p=(one.event.position) {
                    td.number.mono { (one.event.position) }
                    td.mono.nowrap { (parts::time(one.event.time)) }
                    td { (account(&one.flow.from)) }
                    td { (account(&one.flow.to)) }
                    td.number.mono { (grouped(one.flow.amount)) }
                    @if has_traced { td.number.mono { @if let Some(traced) = one.traced { (grouped(traced)) } } }
                    td { a.event href=(desk.event(&one.event)) { (one.event.event_type) } " "
                        a.small href=(format!("{}?event={}", desk.link(&["trace-money"]), encoded(one.event.id.as_str()))) { "from here" } }
                } } }
            } }
        }
    }
}
