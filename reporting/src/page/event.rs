//! `/event/{id}`: what it says, what led to it, what came of it, and how services fared with it.

use std::sync::Arc;

use dacapo_core::{Event, EventId, Key, Version};
use maud::{Markup, html};

use super::{
    Desk, PageError,
    frame::{Head, page},
    parts,
};
use crate::{
    fared::{Handling, State},
    run,
    words::{count, encoded, signed, span},
};

/// Effects that are shown beside the event; the graph has all.
const EFFECTS_SHOWN: usize = 12;

/// The page of an event by its id.
pub fn show(desk: &mut Desk<'_>, id: &str) -> Result<Markup, PageError> {
    let event = find(desk, id)?;
    of(desk, &event)
}

/// The event of this id.
pub fn find(desk: &mut Desk<'_>, id: &str) -> Result<Arc<Event>, PageError> {
    let missing = || PageError::Missing(format!("there is no event {id:?} in {}", desk.name));
    let id = EventId::new(id.to_owned()).map_err(|_| missing())?;
    desk.log
        .event(&id)?
        .ok_or_else(|| PageError::Missing(format!("there is no event {:?} in {}", id.as_str(), desk.name)))
}

fn of(desk: &mut Desk<'_>, event: &Arc<Event>) -> Result<Markup, PageError> {
    let cause = match &event.causation {
        Some(cause) => desk.log.event(cause)?,
        None => None,
    };
    let (effects, more) = desk.log.effects(&event.id, EFFECTS_SHOWN)?;
    let [previous, next] = neighbours(desk, event)?;
    let standing = desk.standing.clone();
    let fares = desk.log.fares(std::slice::from_ref(event), &standing)?;
    let correlation = desk.link(&["correlation", event.correlation.as_str()]);
    let mentions = mentions(desk, event)?;
    let money = desk.declared.and_then(|declared| declared.flow(event)).is_some();
    let body = html! {
        p.crumbs { (parts::correlation(desk, &event.correlation)) " › " (event.event_type) }
        h1 { (event.event_type) " " span.faint.mono { (event.key) "@" (event.version) } }
        dl.facts {
            dt { "Position" } dd.mono { (event.position) }
            dt { "Time" } dd.mono { (parts::time(event.time)) }
            dt { "Key" } dd { (parts::key(desk, &event.key)) " version " span.mono { (event.version) } }
            dt { "Source" } dd { (parts::service(desk, event.source.as_str())) }
            dt { "Correlation" } dd { a.mono href=(correlation) { (event.correlation) } }
            dt { "Id" } dd.mono { (event.id) }
        }
        p.actions {
            a.button href=(format!("{correlation}?on={}", event.position)) { "In its graph" }
            a.button href=(desk.link(&["closure", event.id.as_str()])) { "What led to it, what came of it" }
            @if money { a.button href=(format!("{}?event={}", desk.link(&["trace-money"]), encoded(event.id.as_str()))) { "Follow the money" } }
        }
        section aria-labelledby="payload" {
            h2 #payload { "Payload" }
            pre.payload { (pretty(event)) }
            @if !mentions.is_empty() { p { "It names " @for key in &mentions { (parts::key(desk, key)) " " } } }
        }
        section aria-labelledby="chain" {
            h2 #chain { "Cause → this → effects" }
            div.chain {
                div.causes {
                    @match (&cause, &event.causation) {
                        (Some(cause), _) => (card(desk, cause, event.time.0 as i64 - cause.time.0 as i64)),
                        (None, Some(id)) => div.card.bad { h3 { "Orphan" } p { "Its cause " span.mono { (id) } " is not in the log." } },
                        (None, None) => div.card.quiet { h3 { "No cause" } p { "It began this correlation, or was published beside its first event." } },
                    }
                }
                div.this { (card(desk, event, 0)) }
                div.effects {
                    @if effects.is_empty() { div.card.quiet { h3 { "No effect" } p { "No event names it as its cause." } } }
                    @for effect in &effects { (card(desk, effect, effect.time.0 as i64 - event.time.0 as i64)) }
                    @if more { p { "and more: " a href=(desk.table(&format!("cause:\"{}\"", event.id))) { "all effects" } } }
                }
            }
        }
        nav.neighbours aria-label="Neighbours on the key" {
            @if let Some(previous) = &previous { a rel="prev" href=(desk.event(previous)) { "← " (previous.event_type) " @" (previous.version) } }
            span.grow {}
            @if let Some(next) = &next { a rel="next" href=(desk.event(next)) { (next.event_type) " @" (next.version) " →" } }
        }
        @if !fares.of(event.position).is_empty() {
            section aria-labelledby="services" { h2 #services { "Services" (parts::conflicts(fares.conflicts(event.position))) } (handled(desk, event, fares.of(event.position))) }
        }
    };
    let body = html! { (body) (deliveries(desk, event)) };
    let title = format!("{} {}@{}", event.event_type, event.key, event.version);
    Ok(page(desk, &Head::below(&title), &body))
}

/// What was tried, which only a trace can tell.
fn deliveries(desk: &Desk<'_>, event: &Event) -> Markup {
    let Some(run) = &desk.run else { return html! {} };
    let found = run::deliveries(&run.records, event.position);
    let step = |step: u64| {
        html! {
            a.mono href=(format!("/run/{}?step={step}#diagram", encoded(&run.id))) { (step) }
        }
    };
    html! {
        @if !found.is_empty() {
            section aria-labelledby="deliveries" {
                h2 #deliveries { "Deliveries" }
                div.scroll { table {
                    thead { tr {
                        th scope="col" .number { "Step" } th scope="col" .number { "Time" } th scope="col" { "To" } th scope="col" .number { "Epoch" }
                        th scope="col" .number { "Attempt" } th scope="col" { "Arrived" } th scope="col" { "What came of it" }
                    } }
                    tbody { @for delivery in &found { tr {
                        td.number { (step(delivery.step)) }
                        td.number.mono { (delivery.at) }
                        td.mono { @if let Some(to) = &delivery.to { (to) } @else { "–" } }
                        td.number.mono { (delivery.token.epoch) }
                        td.number.mono { (delivery.token.attempt) }
                        td { @if delivery.arrived { "yes" } @else { span.chip.bad { "lost" } } }
                        td {
                            @if delivery.answers.is_empty() { span.faint { "no answer" } }
                            @for (at, what) in &delivery.answers { (what) " at " (step(*at)) " " }
                        }
                    } } }
                } }
            }
        }
    }
}

/// The keys of accounts that its payload names, those that have events.
fn mentions(desk: &mut Desk<'_>, event: &Event) -> Result<Vec<Key>, PageError> {
    let Some(declared) = desk.declared else { return Ok(Vec::new()) };
    let payload: serde_json::Value = event.data.to().unwrap_or_default();
    let names = payload.as_object().into_iter().flat_map(|fields| fields.values()).filter_map(|value| value.as_str());
    let mut keys: Vec<Key> = names.filter_map(|name| declared.key(name)).filter(|key| *key != event.key).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut known = Vec::new();
    for key in keys {
        if desk.log.key(&key, Version::ZERO, 1)?.1 > Version::ZERO {
            known.push(key);
        }
    }
    Ok(known)
}

/// The events before and after it on its key.
fn neighbours(desk: &mut Desk<'_>, event: &Event) -> Result<[Option<Arc<Event>>; 2], PageError> {
    let after = Version(event.version.0.saturating_sub(2));
    let (around, _) = desk.log.key(&event.key, after, 3)?;
    let at = |version: u64| around.iter().find(|other| other.version.0 == version).cloned();
    Ok([at(event.version.0.wrapping_sub(1)), at(event.version.0 + 1)])
}

fn card(desk: &Desk<'_>, event: &Event, since_us: i64) -> Markup {
    html! {
        a.card.link href=(desk.event(event)) {
            span.who { (crate::cast::mark(&desk.cast.look(event.source.as_str()))) (event.event_type) }
            span.mono.faint { (event.key) "@" (event.version) @if since_us != 0 { " · " (signed(since_us)) } }
        }
    }
}

/// The payload with line breaks, as it is if it is no object.
pub fn pretty(event: &Event) -> String {
    let value: Result<serde_json::Value, _> = event.data.to();
    value.and_then(|value| serde_json::to_string_pretty(&value)).unwrap_or_else(|_| event.data.as_str().to_owned())
}

fn handled(desk: &Desk<'_>, event: &Event, handlings: &[Handling]) -> Markup {
    html! {
        div.scroll { table {
            thead { tr {
                th scope="col" { "Service" } th scope="col" { "State" } th scope="col" { "Instance" } th scope="col" .number { "Epoch" }
                th scope="col" .number { "Attempt" } th scope="col" .number { "After" } th scope="col" { "Produced" }
            } }
            tbody { @for handling in handlings {
                @let (class, words) = parts::chip(&handling.state);
                tr {
                    td { (parts::service(desk, handling.service.as_str())) }
                    td { span .chip .(class) { (words) } }
                    @match &handling.state {
                        State::Completed { instance, epoch, attempt, at, produced } => {
                            td.mono { @if let Some(instance) = instance { (instance) } }
                            td.number.mono { (epoch) }
                            td.number.mono { (attempt) }
                            td.number.mono { (span(at.0.saturating_sub(event.time.0))) }
                            td {
                                @if produced.is_empty() { span.faint { "nothing" } }
                                @for position in produced { (parts::position(desk, *position)) " " }
                            }
                        }
                        State::Skipped { at } => {
                            td {} td {} td {} td.number.mono { (span(at.0.saturating_sub(event.time.0))) } td {}
                        }
                        State::Parked { reason, failures } => td colspan="5" { (count(u64::from(*failures), "failure", "failures")) ": " (reason) },
                        State::Behind { .. } | State::Pending { .. } => td colspan="5" {},
                    }
                }
            } }
        } }
    }
}
