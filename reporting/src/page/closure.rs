//! `/closure/{event}`: everything that led to it and everything that came of it, also across correlations.
//!
//! Cause and effect stay within a correlation. What ties correlations together are keys: a decision rests on what stood on
//! its keys before. With `across=1` the events before and after on the same keys are followed too, as far as a bound.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use dacapo_core::{Event, Position, Version, store::StoreError};
use maud::{Markup, html};

use super::{
    Desk, PageError,
    correlation::{Selection, selected},
    event,
    frame::{Head, page},
};
use crate::{ask::Ask, words::grouped};

/// Events of each side.
const SIDE_MAX: usize = 400;
/// Effects of one event.
const EFFECTS_MAX: usize = 200;

/// Which events, and how far they are followed.
struct Walk {
    found: BTreeMap<Position, Arc<Event>>,
    gave_up: bool,
}

/// The page.
pub fn show(desk: &mut Desk<'_>, id: &str, ask: &Ask) -> Result<Markup, PageError> {
    let event = event::find(desk, id)?;
    let across = ask.get("across").is_some();
    let before = walk(desk, &event, across, causes)?;
    let after = walk(desk, &event, across, effects)?;
    let gave_up = before.gave_up || after.gave_up;
    let (led, came) = (before.found.len() - 1, after.found.len() - 1);
    let events: Vec<Arc<Event>> =
        before.found.into_iter().chain(after.found).collect::<BTreeMap<_, _>>().into_values().collect();
    let kept = if across { "&across=1".to_owned() } else { String::new() };
    let selection = Selection { events, link: desk.link(&["closure", id]), kept, has_files: false };
    let link = desk.link(&["closure", id]);
    let above = html! {
        p.crumbs { a href=(desk.event(&event)) { (event.event_type) " " (event.key) "@" (event.version) } }
        h1 { "What led to it, what came of it" }
        p { (grouped(led as u64)) " before it, " (grouped(came as u64)) " after it. "
            @if across { a href=(link) { "Causes alone" } }
            @else { a href=(format!("{link}?across=1")) { "Also across correlations, over shared keys" } } }
        @if gave_up { p.alert { "There is more: " (grouped(SIDE_MAX as u64)) " events of each side are shown, the nearest ones. Begin again from one of them." } }
    };
    let on = Ask { path: ask.path.clone(), parameters: with(ask, "on", &event.position.to_string()) };
    let body = selected(desk, &selection, &on, &above)?;
    Ok(page(desk, &Head::below("What led to it, what came of it"), &body))
}

fn with(ask: &Ask, name: &str, value: &str) -> Vec<(String, String)> {
    let mut parameters = ask.parameters.clone();
    if ask.get(name).is_none() {
        parameters.push((name.to_owned(), value.to_owned()));
    }
    parameters
}

type Step = fn(&mut Desk<'_>, &Event, bool) -> Result<Vec<Arc<Event>>, StoreError>;

/// The nearest first, until there are enough.
fn walk(desk: &mut Desk<'_>, from: &Arc<Event>, across: bool, step: Step) -> Result<Walk, PageError> {
    let mut found = BTreeMap::from([(from.position, Arc::clone(from))]);
    let mut open = VecDeque::from([Arc::clone(from)]);
    while let Some(event) = open.pop_front() {
        for next in step(desk, &event, across)? {
            if found.len() > SIDE_MAX {
                return Ok(Walk { found, gave_up: true });
            }
            if found.insert(next.position, Arc::clone(&next)).is_none() {
                open.push_back(next);
            }
        }
    }
    Ok(Walk { found, gave_up: false })
}

fn causes(desk: &mut Desk<'_>, event: &Event, across: bool) -> Result<Vec<Arc<Event>>, StoreError> {
    let mut found = Vec::new();
    if let Some(cause) = &event.causation {
        found.extend(desk.log.event(cause)?);
    }
    if across && event.version.0 > 1 {
        found.extend(desk.log.key(&event.key, Version(event.version.0 - 2), 1)?.0);
    }
    Ok(found)
}

fn effects(desk: &mut Desk<'_>, event: &Event, across: bool) -> Result<Vec<Arc<Event>>, StoreError> {
    let mut found = desk.log.effects(&event.id, EFFECTS_MAX)?.0;
    if across {
        found.extend(desk.log.key(&event.key, event.version, 1)?.0);
    }
    Ok(found)
}
