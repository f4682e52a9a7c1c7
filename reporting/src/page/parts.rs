//! What several pages are made of: times, services, keys, rows of events, how services fared.

use dacapo_core::{CorrelationId, Event, Key, Position, WallTime};
use maud::{Markup, html};

use super::Desk;
use crate::{
    cast,
    fared::{Fares, Handling, State},
    words::{clipped, day_and_clock, shortened, span},
};

/// Payloads in tables are cut after so many characters; the event's page has all of it.
const DATA_CHARS_MAX: usize = 90;

/// A time, with its day apart.
pub fn time(time: WallTime) -> Markup {
    let (day, clock) = day_and_clock(time);
    html! { time datetime={ (day) "T" (clock) "Z" } { span.day { (day) " " } (clock) } }
}

/// A source or service: its sign and its name, a link if there is a page about it.
pub fn service(desk: &Desk<'_>, name: &str) -> Markup {
    let sign = cast::mark(&desk.cast.look(name));
    html! {
        @if desk.has_service(name) { a.who href=(desk.link(&["service", name])) { (sign) (name) } }
        @else { span.who { (sign) (name) } }
    }
}

/// A key.
pub fn key(desk: &Desk<'_>, key: &Key) -> Markup {
    html! { a.mono href=(desk.link(&["key", key.as_str()])) title=(key) { (shortened(key.as_str(), 30)) } }
}

/// A correlation, shortened.
pub fn correlation(desk: &Desk<'_>, id: &CorrelationId) -> Markup {
    html! {
        a.mono href=(desk.link(&["correlation", id.as_str()])) title=(id) { (shortened(id.as_str(), 14)) }
    }
}

/// An event by its position.
pub fn position(desk: &Desk<'_>, position: Position) -> Markup {
    html! { a.mono href=(desk.link(&["at", &position.to_string()])) { (position) } }
}

/// How services fared, in a few words each.
pub fn fared(handlings: &[Handling]) -> Markup {
    html! {
        @for handling in handlings {
            @let (class, text) = chip(&handling.state);
            span .chip .(class) title={ (handling.service) ": " (text) } { (handling.service) " " (text) } " "
        }
    }
}

/// How often an event met a conflict, if it did.
pub fn conflicts(times: u64) -> Markup {
    html! {
        @if times > 0 { " " span.chip.warn title="what it depended on had changed" { "conflict ×" (times) } " " }
    }
}

/// A state's class and words.
pub fn chip(state: &State) -> (&'static str, String) {
    match state {
        State::Completed { attempt, .. } if *attempt > 1 => ("warn", format!("done ×{attempt}")),
        State::Completed { .. } => ("good", "done".to_owned()),
        State::Skipped { .. } => ("warn", "skipped".to_owned()),
        State::Parked { failures, .. } => ("bad", format!("parked after {failures}")),
        State::Behind { .. } => ("warn", "behind a parked one".to_owned()),
        State::Pending { failures: 0 } => ("quiet", "pending".to_owned()),
        State::Pending { failures } => ("warn", format!("pending, failed {failures}×")),
    }
}

/// A table of events.
pub fn rows(desk: &Desk<'_>, events: &[std::sync::Arc<Event>], fares: &Fares, since: Option<WallTime>) -> Markup {
    html! {
        div.scroll {
            table.events {
                thead {
                    tr {
                        th scope="col" .number { "Position" } th scope="col" { "Time" }
                        @if since.is_some() { th scope="col" .number { "After" } }
                        th scope="col" { "Type" } th scope="col" { "Key" } th scope="col" { "Source" }
                        th scope="col" { "Correlation" } th scope="col" { "Services" } th scope="col" { "Payload" }
                    }
                }
                tbody #rows { @for event in events { (row(desk, event, fares, since)) } }
            }
        }
    }
}

/// A row of the table.
pub fn row(desk: &Desk<'_>, event: &Event, fares: &Fares, since: Option<WallTime>) -> Markup {
    html! {
        tr data-p=(event.position) {
            td.number.mono { (event.position) }
            td.mono.nowrap { (time(event.time)) }
            @if let Some(since) = since {
                td.number.mono.nowrap { (span(event.time.0.saturating_sub(since.0))) }
            }
            td.nowrap { a.event href=(desk.event(event)) { (event.event_type) } }
            td.nowrap { (key(desk, &event.key)) span.faint.mono { "@" (event.version) } }
            td.nowrap { (service(desk, event.source.as_str())) }
            td { (correlation(desk, &event.correlation)) }
            td.chips { (conflicts(fares.conflicts(event.position))) (fared(fares.of(event.position))) }
            td.data.mono { (clipped(event.data.as_str(), DATA_CHARS_MAX)) }
        }
    }
}

/// A figure with its name.
pub fn figure(name: &str, value: &str) -> Markup {
    html! { div.figure { dt { (name) } dd { (value) } } }
}

/// A bar whose length is a share of the largest.
pub fn bar(value: u64, most: u64) -> Markup {
    let width = u128::from(value) * 120 / u128::from(most.max(1));
    html! {
        svg.bar width="120" height="8" aria-hidden="true" {
            rect.back width="120" height="8" rx="4" {}
            rect.front width=(width.max(2)) height="8" rx="4" {}
        }
    }
}
