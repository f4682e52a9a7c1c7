//! `/key/{key}`: its history, who handled what of it, and its balance if somebody has declared one.

use std::collections::BTreeMap;

use dacapo_core::{Key, Version};
use maud::{Markup, html};

use super::{
    Desk, PageError,
    frame::{Head, page},
    parts,
};
use crate::{
    ask::Ask,
    fared::State,
    words::{clipped, grouped},
};

/// Rows of a page.
const ROWS: usize = 200;
/// Events that are folded for a balance; beyond it no balance is shown, and the page says so.
const FOLDED_MAX: u64 = 20_000;

/// The page.
pub fn show(desk: &mut Desk<'_>, name: &str, ask: &Ask) -> Result<Markup, PageError> {
    let missing = || PageError::Missing(format!("there is no key {name:?} in this log"));
    let key = Key::new(name.to_owned()).map_err(|_| missing())?;
    let after = Version(ask.get("after").and_then(|text| text.parse().ok()).unwrap_or(0));
    let (events, head) = desk.log.key(&key, after, ROWS)?;
    if head == Version::ZERO {
        return Err(missing());
    }
    let standing = desk.standing.clone();
    let fares = desk.log.fares(&events, &standing)?;
    let balances = balances(desk, &key, head, after, events.len())?;
    let services: Vec<String> = standing
        .services
        .iter()
        .filter(|service| {
            let handled = |handling: &crate::fared::Handling| handling.service == service.name;
            events.iter().any(|event| fares.of(event.position).iter().any(handled))
        })
        .map(|service| service.name.to_string())
        .collect();
    let last = events.last().map_or(after, |event| event.version);
    let unit = desk.declared.map_or("", |declared| declared.unit.as_str());
    let body = html! {
        p.crumbs { "Key" }
        h1.mono { (key) }
        dl.figures {
            (parts::figure("Versions", &grouped(head.0)))
            @if let Some(balance) = balances.as_ref().and_then(|balances| balances.get(&head)) {
                (parts::figure("Balance", &format!("{balance} {unit}")))
            }
            @for service in &services {
                @if let Some(owner) = owner(&events, &fares, service) { (parts::figure(&format!("Owner in {service}"), &owner)) }
            }
        }
        p.actions {
            a.button href=(desk.table(&format!("key:\"{key}\""))) { "In the table" }
            @if desk.declared.is_some_and(|declared| declared.account(&key).is_some()) {
                a.button href=(format!("{}?account={}", desk.link(&["trace-money"]), crate::words::encoded(desk.declared.and_then(|declared| declared.account(&key)).unwrap_or_default()))) { "Follow the money" }
            }
        }
        @if balances.is_none() && desk.declared.is_some_and(|declared| declared.account(&key).is_some()) {
            p.faint { "No balance is shown: the key has more than " (grouped(FOLDED_MAX)) " events." }
        }
        div.scroll { table {
            thead { tr {
                th scope="col" .number { "Version" } th scope="col" .number { "Position" } th scope="col" { "Time" } th scope="col" { "Type" }
                @if balances.is_some() { th scope="col" .number { "Change" } th scope="col" .number { "Balance" } }
                th scope="col" { "Correlation" }
                @for service in &services { th scope="col" { (parts::service(desk, service)) } }
                th scope="col" { "Payload" }
            } }
            tbody { @for event in &events { tr data-p=(event.position) {
                td.number.mono { (event.version) }
                td.number.mono { (event.position) }
                td.mono.nowrap { (parts::time(event.time)) }
                td.nowrap { a.event href=(desk.event(event)) { (event.event_type) } (parts::conflicts(fares.conflicts(event.position))) }
                @if let Some(balances) = &balances {
                    td.number.mono { @if let Some(change) = desk.declared.and_then(|declared| declared.change(event)) { (format!("{change:+}")) } }
                    @let balance = balances.get(&event.version).copied().unwrap_or_default();
                    td .number .mono .bad[balance < 0] { (balance) }
                }
                td { (parts::correlation(desk, &event.correlation)) }
                @for service in &services { td.nowrap { (by_whom(fares.of(event.position), service)) } }
                td.data.mono { (clipped(event.data.as_str(), 90)) }
            } } }
        } }
        nav.pages aria-label="Pages of the history" {
            @if after > Version::ZERO { a rel="first" href=(desk.link(&["key", name])) { "From the beginning" } } @else { span { "From the beginning" } }
            @if last < head { a rel="next" href=(format!("{}?after={last}", desk.link(&["key", name]))) { "Later" } } @else { span { "Later" } }
            @if head.0 > ROWS as u64 { a rel="last" href=(format!("{}?after={}", desk.link(&["key", name]), head.0 - ROWS as u64)) { "Latest" } }
        }
    };
    Ok(page(desk, &Head::below(name), &body))
}

/// The balance after each version that is shown, folded from the beginning.
fn balances(
    desk: &mut Desk<'_>,
    key: &Key,
    head: Version,
    after: Version,
    shown: usize,
) -> Result<Option<BTreeMap<Version, i128>>, PageError> {
    let Some(declared) = desk.declared.filter(|declared| declared.account(key).is_some()) else { return Ok(None) };
    let wanted = after.0 + shown as u64;
    if head.0 > FOLDED_MAX {
        return Ok(None);
    }
    let (mut balance, mut at, mut balances) = (0_i128, Version::ZERO, BTreeMap::new());
    loop {
        let (events, _) = desk.log.key(key, at, 1_000)?;
        for event in &events {
            balance += declared.change(event).unwrap_or_default();
            balances.insert(event.version, balance);
        }
        match events.last() {
            Some(last) => at = last.version,
            None => break,
        }
    }
    balances.retain(|version, _| (after.0 < version.0 && version.0 <= wanted) || *version == head);
    Ok(Some(balances))
}

/// Who completed the last event of those shown.
fn owner(events: &[std::sync::Arc<dacapo_core::Event>], fares: &crate::fared::Fares, service: &str) -> Option<String> {
    let completed = |event: &std::sync::Arc<dacapo_core::Event>| {
        fares.of(event.position).iter().find(|handling| handling.service.as_str() == service).and_then(|handling| {
            match &handling.state {
                State::Completed { instance: Some(instance), epoch, .. } => Some(format!("{instance}, epoch {epoch}")),
                _ => None,
            }
        })
    };
    events.iter().rev().find_map(completed)
}

fn by_whom(handlings: &[crate::fared::Handling], service: &str) -> Markup {
    let found = handlings.iter().find(|handling| handling.service.as_str() == service);
    html! {
        @if let Some(handling) = found {
            @match &handling.state {
                State::Completed { instance, epoch, attempt, at, .. } => {
                    span.mono title={ "completed at " (crate::calendar::show(*at)) ", epoch " (epoch) ", attempt " (attempt) } {
                        @if let Some(instance) = instance { (instance) } span.faint { " e" (epoch) }
                    }
                    @if *attempt > 1 { " " span.chip.warn { "×" (attempt) } }
                }
                other => { @let (class, words) = parts::chip(other); span .chip .(class) { (words) } }
            }
        }
    }
}
