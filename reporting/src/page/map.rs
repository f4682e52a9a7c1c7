//! `/map`: services as nodes, what goes from one to another as edges.

use maud::{Markup, html};

use super::{
    Desk, PageError,
    frame::{Head, Here, page},
    parts,
};
use crate::{draw, survey::Survey, words::grouped};

/// The page.
pub fn show(desk: &mut Desk<'_>) -> Result<Markup, PageError> {
    let standing = desk.standing.clone();
    let survey = Survey::of(desk.log, &standing)?;
    let link = |name: &str| desk.has_service(name).then(|| desk.link(&["service", name]));
    let body = html! {
        h1 { "Map" }
        @if !survey.is_whole() { p.faint { "Counted over the newest " (grouped(survey.looked_at)) " events." } }
        @if survey.flows.is_empty() { p.empty { "No service takes any of these events." } }
        @else {
            div.picture data-zoom tabindex="0" aria-label="The map" { (draw::map::draw(&survey.flows, &desk.cast, &link)) }
            div.scroll { table {
                thead { tr { th scope="col" { "From" } th scope="col" { "To" } th scope="col" { "Type" } th scope="col" .number { "Events" } } }
                tbody { @for ((from, to), types) in &survey.flows { @for (name, number) in types { tr {
                    td { (parts::service(desk, from)) }
                    td { (parts::service(desk, to)) }
                    td { a href=(desk.table(&format!("type:\"{name}\" source:\"{from}\""))) { (name) } }
                    td.number.mono { (grouped(*number)) }
                } } } }
            } }
        }
    };
    Ok(page(desk, &Head { title: "Map", here: Here::Map, filter: "" }, &body))
}
