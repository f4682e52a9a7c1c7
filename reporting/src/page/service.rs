//! `/service/{name}`: what it takes, how long that takes, what it emits for what it hears, what waits.

use maud::{Markup, html};

use super::{
    Desk, PageError,
    frame::{Head, page},
    parts,
};
use crate::{
    survey::{Handled, Survey},
    words::{count, grouped, span},
};

/// Lanes that are listed.
const LANES_SHOWN: usize = 200;

/// The page.
pub fn show(desk: &mut Desk<'_>, name: &str) -> Result<Markup, PageError> {
    let standing = desk.standing.clone();
    let Some(service) = standing.services.iter().find(|service| service.name.as_str() == name) else {
        return Err(PageError::Missing(format!("no service {name:?} has ever registered in this log")));
    };
    let survey = Survey::of(desk.log, &standing)?;
    let sum = survey.of_service(name);
    let lanes: Vec<_> = standing.lanes.iter().filter(|lane| lane.service == service.name).collect();
    let none = Handled::default();
    let quantile =
        |handled: &Handled, permille: usize| handled.quantile_us(permille).map_or_else(|| "–".to_owned(), span);
    let body = html! {
        p.crumbs { "Service" }
        h1 { span.who { (crate::cast::mark(&desk.cast.look(name))) (name) } }
        dl.figures {
            (parts::figure("Completed", &grouped(sum.count)))
            (parts::figure("Median", &quantile(&sum, 500)))
            (parts::figure("95 %", &quantile(&sum, 950)))
            (parts::figure("Redelivered", &grouped(sum.redelivered)))
            (parts::figure("Pending", &grouped(sum.pending)))
            (parts::figure("Parked", &grouped(sum.parked)))
            (parts::figure("Frontier", &format!("{} of {}", grouped(service.frontier.0), grouped(standing.end.0))))
        }
        @if !survey.is_whole() { p.faint { "Counted over the newest " (grouped(survey.looked_at)) " events." } }
        section aria-labelledby="takes" {
            h2 #takes { "What it takes" }
            div.scroll { table {
                thead { tr {
                    th scope="col" { "Type" } th scope="col" .number { "Since" } th scope="col" .number { "Completed" } th scope="col" .number { "Median" }
                    th scope="col" .number { "95 %" } th scope="col" .number { "Redelivered" } th scope="col" .number { "Attempts at most" } th scope="col" .number { "Pending" }
                    th scope="col" .number { "Parked" } th scope="col" { "Emits" }
                } }
                tbody { @for taken in &service.types {
                    @let handled = survey.handled.get(&(name.to_owned(), taken.event_type.to_string())).unwrap_or(&none);
                    tr {
                        th scope="row" { a href=(desk.table(&format!("type:\"{}\"", taken.event_type))) { (taken.event_type) } }
                        td.number.mono { (taken.since) }
                        td.number.mono { (grouped(handled.count)) }
                        td.number.mono { (quantile(handled, 500)) }
                        td.number.mono { (quantile(handled, 950)) }
                        td.number.mono { (grouped(handled.redelivered)) }
                        td.number.mono { @if handled.attempts_max > 0 { (handled.attempts_max) } @else { "–" } }
                        td.number.mono { (grouped(handled.pending)) }
                        td.number.mono { (grouped(handled.parked)) }
                        td { @for (emitted, number) in &handled.emitted { span.chip.quiet { (grouped(*number)) " × " (emitted) } " " } }
                    }
                } }
            } }
        }
        section aria-labelledby="lanes" {
            h2 #lanes { "Lanes behind" }
            @if lanes.is_empty() { p.empty { "None." } }
            @else {
                p.faint { (count(lanes.len() as u64, "lane", "lanes")) @if lanes.len() > LANES_SHOWN { ", of which " (LANES_SHOWN) " are shown" } "." }
                div.scroll { table {
                    thead { tr { th scope="col" { "Key" } th scope="col" .number { "Stands at version" } th scope="col" .number { "Failures" } th scope="col" { "Parked" } } }
                    tbody { @for lane in lanes.iter().take(LANES_SHOWN) { tr {
                        td { (parts::key(desk, &lane.key)) }
                        td.number.mono { (lane.next_version) }
                        td.number.mono { (lane.failures) }
                        td { @match &lane.parked { Some(reason) => span.chip.bad { (reason) }, None => span.faint { "no" } } }
                    } } }
                } }
            }
        }
    };
    Ok(page(desk, &Head::below(name), &body))
}
