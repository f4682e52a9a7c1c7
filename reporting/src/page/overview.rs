//! `/`: what needs attention, what is new, how much of what there is.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{
    Desk, PageError,
    frame::{Head, Here, page},
    parts,
};
use crate::{
    survey::Survey,
    words::{count, grouped, span},
};

/// Lanes that are listed; all of them are on the services' pages.
const LANES_SHOWN: usize = 8;

/// The page.
pub fn show(desk: &mut Desk<'_>) -> Result<Markup, PageError> {
    let standing = desk.standing.clone();
    let survey = Survey::of(desk.log, &standing)?;
    let body = html! {
        h1 { (desk.name) }
        dl.figures {
            (parts::figure("Events", &grouped(standing.end.0)))
            (parts::figure("Keys", &grouped(standing.keys)))
            (parts::figure("Correlations", &grouped(standing.correlations)))
            (parts::figure("Types", &grouped(standing.types.len() as u64)))
            (parts::figure("Services", &grouped(standing.services.len() as u64)))
            (parts::figure("Term", &standing.term.to_string()))
        }
        section aria-labelledby="attention" { h2 #attention { "What needs attention" } (attention(desk, &survey)) }
        section aria-labelledby="recent" {
            h2 #recent { "Newest events" @if desk.live { " " span.live data-live data-after=(standing.end) hidden { "live" } } }
            @if survey.newest.is_empty() { p.empty { "The log is empty. As soon as something is published, it stands here." } }
            @else {
                (parts::rows(desk, &survey.newest, &survey.fares, None))
                p { a href=(desk.link(&["events"])) { "All events" } }
            }
        }
        section.columns {
            div { h2 { "By type" } (totals(&survey, &survey.types, &|name| html! { a href=(desk.table(&format!("type:{name}"))) { (name) } })) }
            div { h2 { "By source" } (totals(&survey, &survey.sources, &|name| parts::service(desk, name))) }
        }
    };
    Ok(page(desk, &Head { title: "Overview", here: Here::Overview, filter: "" }, &body))
}

fn attention(desk: &Desk<'_>, survey: &Survey) -> Markup {
    let standing = &desk.standing;
    let parked: Vec<_> = standing.lanes.iter().filter(|lane| lane.parked.is_some()).collect();
    let failing: Vec<_> = standing.lanes.iter().filter(|lane| lane.parked.is_none() && lane.failures > 0).collect();
    let waiting: Vec<(&str, u64)> = standing
        .services
        .iter()
        .map(|service| (service.name.as_str(), survey.of_service(service.name.as_str()).pending))
        .filter(|(_, waiting)| *waiting > 0)
        .collect();
    let redelivered: u64 = survey.handled.values().map(|handled| handled.redelivered).sum();
    let quiet = parked.is_empty() && failing.is_empty();
    html! {
        div.cards {
            @if quiet { div.card.good { h3 { "No lane is parked, and none is failing" } p { "Every service handles what it takes." } } }
            @if !parked.is_empty() {
                div.card.bad {
                    h3 { (count(parked.len() as u64, "lane is parked", "lanes are parked")) }
                    ul { @for lane in parked.iter().take(LANES_SHOWN) {
                        li { (parts::key(desk, &lane.key)) " of " (parts::service(desk, lane.service.as_str()))
                            " at version " (lane.next_version) ", after " (lane.failures) ": " (lane.parked.as_deref().unwrap_or_default()) }
                    } }
                    @if parked.len() > LANES_SHOWN { p { "and " (count((parked.len() - LANES_SHOWN) as u64, "other", "others")) " on the services' pages" } }
                }
            }
            @if !failing.is_empty() {
                div.card.warn {
                    h3 { (count(failing.len() as u64, "lane is failing", "lanes are failing")) }
                    ul { @for lane in failing.iter().take(LANES_SHOWN) {
                        li { (parts::key(desk, &lane.key)) " of " (parts::service(desk, lane.service.as_str())) ": " (lane.failures) " failures" }
                    } }
                    @if failing.len() > LANES_SHOWN { p { "and " (count((failing.len() - LANES_SHOWN) as u64, "other", "others")) " on the services' pages" } }
                }
            }
            @if !waiting.is_empty() {
                div.card.warn {
                    h3 { "Waiting to be handled" }
                    ul { @for (name, number) in &waiting {
                        li { (parts::service(desk, name)) " " a href=(desk.table(&format!("service:{name} status:pending"))) { (count(*number, "event", "events")) } }
                    } }
                    p.faint { (of_window(survey)) }
                }
            }
            @if redelivered > 0 {
                div.card.warn {
                    h3 { (count(redelivered, "handling", "handlings")) " took more than one attempt" }
                    p { a href=(desk.table("status:redelivered")) { "Show them" } (of_window(survey)) }
                }
            }
            @if let Some(conflicts) = desk.log.conflicts().filter(|conflicts| !conflicts.is_empty()) {
                div.card.warn {
                    h3 { (count(conflicts.len() as u64, "event", "events")) " met a conflict" }
                    p { a href=(desk.table("status:conflict")) { "Show them" } ": what they depended on had changed, so that they were decided again" }
                }
            }
            @if !survey.slow.is_empty() {
                div.card {
                    h3 { "Slowest correlations" }
                    ul { @for slow in &survey.slow {
                        li { (parts::correlation(desk, &slow.correlation)) " " (span(slow.took_us)) ", "
                            (count(slow.events, "event", "events")) ", begins with " (slow.first) }
                    } }
                    p.faint { (of_window(survey)) }
                }
            }
        }
    }
}

fn of_window(survey: &Survey) -> String {
    if survey.is_whole() { String::new() } else { format!(" among the newest {} events", grouped(survey.looked_at)) }
}

fn totals(survey: &Survey, counts: &BTreeMap<String, u64>, name: &dyn Fn(&str) -> Markup) -> Markup {
    let mut sorted: Vec<(&String, u64)> = counts.iter().map(|(name, number)| (name, *number)).collect();
    sorted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let most = sorted.first().map_or(1, |(_, number)| *number);
    html! {
        table.totals { tbody {
            @for (text, number) in sorted {
                tr { th scope="row" { (name(text)) } td { (parts::bar(number, most)) } td.number.mono { (grouped(number)) } }
            }
        } }
        @if !survey.is_whole() { p.faint { "Of the newest " (grouped(survey.looked_at)) " events." } }
    }
}
