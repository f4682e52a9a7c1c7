//! `dacapo events`: looks into a store, whether a bus runs on it or not, or into a recorded run, or asks a running bus.
//!
//! All are asked the same [`Query`], page by page with a cursor; following is asking again after the last position, so
//! nothing is missed and nothing comes twice.

mod source;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dacapo_core::{Event, EventId, Position, store::Query};
use dacapo_reporting::{calendar, filter::Filter, graph::Graph, tree};
use source::Source;

use crate::{
    arguments::EventsArguments,
    exit::{Exit, Usage},
    interrupt::Interrupt,
    terminal::{Terminal, count, faint},
};

/// How soon after an event a follower sees it: fast for a person, slow for a disk.
const FOLLOW_EVERY: Duration = Duration::from_millis(300);
/// Payloads beyond this are cut in the table; `--json` shows all of it.
const DATA_CHARS_MAX: usize = 100;

/// Queries.
pub(crate) fn run(terminal: &Terminal, arguments: &EventsArguments) -> anyhow::Result<Exit> {
    let filter = Filter::parse(&arguments.filter).map_err(|error| Usage::error(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(show(terminal, arguments, filter))
}

async fn show(terminal: &Terminal, arguments: &EventsArguments, filter: Filter) -> anyhow::Result<Exit> {
    let mut source = Source::of(arguments)?;
    let filter = source.ready(filter).await?;
    let query = filter.query(None).map_err(|error| Usage::error(error.to_string()))?;
    let (events, read_at) = match arguments.limit {
        Some(limit) => newest(&mut source, &filter, &query, limit as usize).await?,
        None if arguments.tree => all(&mut source, &filter, &query).await?,
        None => (Vec::new(), Position::ZERO),
    };
    if arguments.tree {
        if terminal.is_json() {
            for event in &events {
                terminal.object("event", &**event);
            }
        }
        for line in tree::lines(&graph(&events, &mut source).await?) {
            terminal.line(line);
        }
        return Ok(Exit::Passed);
    }
    let mut shown = events.len() as u64;
    for event in &events {
        one(terminal, event);
    }
    if arguments.limit.is_none() || arguments.follow {
        shown +=
            stream(terminal, &mut source, &filter, Query { cursor: Some(read_at), ..query }, arguments.follow).await?;
    }
    if !terminal.is_json() && !arguments.follow {
        terminal.note(faint(count(shown, "event", "events")));
    }
    Ok(Exit::Passed)
}

/// Shows what comes after the query's cursor; with `follow`, until the user has had enough.
async fn stream(
    terminal: &Terminal,
    source: &mut Source,
    filter: &Filter,
    mut query: Query,
    follow: bool,
) -> anyhow::Result<u64> {
    let interrupt = if follow { Some(Interrupt::listen()?) } else { None };
    let mut shown = 0;
    loop {
        let page = source.wanted(&query, filter).await?;
        for event in &page.events {
            one(terminal, event);
            shown += 1;
        }
        if terminal.is_closed() {
            return Ok(shown);
        }
        match (page.next, &interrupt) {
            (Some(next), _) => query.cursor = Some(next),
            (None, None) => return Ok(shown),
            (None, Some(interrupt)) => {
                query.cursor = query.cursor.max(Some(page.read_at));
                tokio::select! {
                    biased;
                    () = interrupt.wait() => return Ok(shown),
                    () = tokio::time::sleep(FOLLOW_EVERY) => {}
                }
            }
        }
    }
}

/// What caused what among the events; a cause that the filter hides, but that the log has, makes no orphan.
async fn graph(events: &[Arc<Event>], source: &mut Source) -> anyhow::Result<Graph> {
    let own: BTreeSet<&EventId> = events.iter().map(|event| &event.id).collect();
    let outside: BTreeSet<EventId> =
        events.iter().filter_map(|event| event.causation.clone()).filter(|cause| !own.contains(cause)).collect();
    let mut elsewhere = BTreeSet::new();
    for id in outside {
        let query = Query { id: Some(id.clone()), limit: 1, ..Query::default() };
        if !source.ask(&query).await?.events.is_empty() {
            elsewhere.insert(id);
        }
    }
    Ok(Graph::of(events, &elsewhere))
}

/// All that match, and where the log ended.
async fn all(source: &mut Source, filter: &Filter, query: &Query) -> anyhow::Result<(Vec<Arc<Event>>, Position)> {
    let mut query = query.clone();
    let mut found = Vec::new();
    loop {
        let page = source.wanted(&query, filter).await?;
        found.extend(page.events);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return Ok((found, page.read_at)),
        }
    }
}

/// The newest that match, oldest first, and where the log ended when the first page was read.
async fn newest(
    source: &mut Source,
    filter: &Filter,
    query: &Query,
    limit: usize,
) -> anyhow::Result<(Vec<Arc<Event>>, Position)> {
    let mut query = Query { newest_first: true, ..query.clone() };
    let mut found = Vec::new();
    let mut read_at = None;
    loop {
        let page = source.wanted(&query, filter).await?;
        let read_at = *read_at.get_or_insert(page.read_at);
        found.extend(page.events);
        match page.next {
            Some(next) if found.len() < limit => query.cursor = Some(next),
            _ => {
                found.sort_unstable_by_key(|event| std::cmp::Reverse(event.position));
                found.truncate(limit);
                found.reverse();
                return Ok((found, read_at));
            }
        }
    }
}

fn one(terminal: &Terminal, event: &Event) {
    terminal.object("event", event);
    let data = event.data.as_str();
    let cut = data.char_indices().nth(DATA_CHARS_MAX).map_or(data.len(), |(at, _)| at);
    let dots = if cut < data.len() { "…" } else { "" };
    terminal.line(format_args!(
        "{:>7}  {}  {:<24} {:<24} {:<14} {}{dots}",
        event.position,
        faint(calendar::show(event.time)),
        event.event_type,
        format!("{}@{}", event.key, event.version),
        event.source,
        &data[..cut],
    ));
}
