//! Where events are read from: a store's file, the log of a recorded run, or a bus's `GET /v1/events`.

use std::sync::Arc;

use anyhow::Context as _;
use dacapo_core::{
    CorrelationId, Event, EventId, Key, Position, Source as EventSource,
    store::{Query, StoreError},
};
use dacapo_reporting::{
    filter::{Fared, Filter},
    log::Log,
    run::Run,
};
use serde::Deserialize;

use crate::{arguments::EventsArguments, client::Bus, exit::Usage, http};

/// A page of an answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    /// In order.
    pub(crate) events: Vec<Arc<Event>>,
    /// The cursor for the next page; none when this was the last.
    pub(crate) next: Option<Position>,
    /// Where the log ended.
    #[serde(rename = "position")]
    pub(crate) read_at: Position,
}

/// Where events are read from.
pub(crate) enum Source {
    /// A store's file, on a connection that cannot write; if it is a recorded run's, its trace tells the rest.
    Store(Box<Log>),
    /// A running bus.
    Bus(Bus),
}

impl Source {
    /// The one that the command line names.
    pub(crate) fn of(arguments: &EventsArguments) -> anyhow::Result<Self> {
        if let Some(url) = &arguments.bus {
            return Ok(Self::Bus(Bus::of(url, &arguments.client)?));
        }
        let path = arguments.db.as_deref().context("clap demands --db or --bus")?;
        let log = if Run::is_at(path) {
            Log::of_run(&Run::open(path).map_err(|error| Usage::error(error.to_string()))?)
        } else {
            Log::open(path)
        };
        let log = log.map_err(|error| match error {
            StoreError::NotAStore(sentence) => Usage::error(sentence),
            error => anyhow::Error::new(error),
        })?;
        Ok(Self::Store(Box::new(log)))
    }

    /// The filter with its times resolved, if this source knows what it asks for.
    pub(crate) async fn ready(&mut self, mut filter: Filter) -> anyhow::Result<Filter> {
        match self {
            Self::Store(log) => return log.ready(&filter).map_err(|error| Usage::error(error.to_string())),
            Self::Bus(_) if filter.needs_fared() => {
                return Err(Usage::error(
                    "a bus does not tell how services fared with events; read its store for status: and service:, with --db FILE",
                ));
            }
            Self::Bus(_) => {}
        }
        if filter.needs_first() {
            let first = self.ask(&Query { limit: 1, ..Query::default() }).await?;
            filter.resolve(first.events.first().map(|event| event.time).unwrap_or_default());
        }
        Ok(filter)
    }

    /// Asks for one page, and keeps of it what the filter wants; it must be ready.
    pub(crate) async fn wanted(&mut self, query: &Query, filter: &Filter) -> anyhow::Result<Page> {
        let mut page = self.ask(query).await?;
        match self {
            Self::Store(log) => page.events = log.wanted(filter, page.events)?,
            Self::Bus(_) => page.events.retain(|event| filter.matches(event, &Fared::default())),
        }
        Ok(page)
    }

    /// Asks for one page.
    pub(crate) async fn ask(&mut self, query: &Query) -> anyhow::Result<Page> {
        match self {
            Self::Store(log) => {
                let answer = log.ask(query)?;
                Ok(Page { events: answer.events, next: answer.next, read_at: answer.read_at })
            }
            Self::Bus(bus) => bus.ask("GET", &path_of(query), String::new()).await,
        }
    }
}

/// The query as a path with its parameters.
fn path_of(query: &Query) -> String {
    let mut path = "/v1/events".to_owned();
    let mut put = |name: &str, value: &str| {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(name);
        path.push('=');
        path.push_str(&http::percent_encoded(value));
    };
    let texts = [
        ("key", query.key.as_ref().map(Key::as_str)),
        ("correlation", query.correlation.as_ref().map(CorrelationId::as_str)),
        ("causation", query.causation.as_ref().map(EventId::as_str)),
        ("source", query.source.as_ref().map(EventSource::as_str)),
        ("id", query.id.as_ref().map(EventId::as_str)),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            put(name, value);
        }
    }
    for event_type in &query.types {
        put("type", event_type.as_str());
    }
    let numbers = [
        ("cursor", query.cursor.map(|position| position.0)),
        ("from", query.from.map(|time| time.0)),
        ("until", query.until.map(|time| time.0)),
        ("limit", Some(query.limit as u64).filter(|limit| *limit > 0)),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            put(name, &value.to_string());
        }
    }
    if query.newest_first {
        put("order", "desc");
    }
    path
}

#[cfg(test)]
mod tests {
    use dacapo_core::EventType;

    use super::*;

    #[test]
    fn a_query_becomes_a_path() {
        assert_eq!(path_of(&Query::default()), "/v1/events");
        let query = Query {
            key: Some(Key::of("acc 7/ä")),
            types: vec![EventType::of("A"), EventType::of("B")],
            cursor: Some(Position(12)),
            newest_first: true,
            ..Query::default()
        };
        assert_eq!(path_of(&query), "/v1/events?key=acc%207%2F%C3%A4&type=A&type=B&cursor=12&order=desc");
    }
}
