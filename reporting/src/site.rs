//! From an address to a page: everything that the viewer answers, without a network.
//!
//! A site belongs to one thread; the server has several of them over the same files. It keeps logs open and nothing else,
//! so that what it shows is what the file holds at that moment.

use std::{path::PathBuf, sync::Arc};

use dacapo_core::{Position, store::StoreError};
use maud::{Markup, html};

use crate::{
    ask::Ask,
    declared::Declared,
    filter::Filter,
    log::{Log, LogError},
    page::{self, Desk, PageError, frame, parts},
};

/// What is shown.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// A store, the one that addresses without a run are about.
    pub store: Option<PathBuf>,
    /// This very process writes to that store.
    pub beside: bool,
    /// What payloads mean.
    pub declared: Option<Declared>,
}

/// What kind of answer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A page.
    Html,
    /// The stylesheet.
    Css,
    /// The script.
    Script,
    /// A picture to save.
    Svg,
    /// A graph for graphviz.
    Dot,
    /// Events or records, a line each.
    JsonLines,
}

impl Kind {
    /// For the header.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Css => "text/css; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Svg => "image/svg+xml",
            Self::Dot => "text/vnd.graphviz; charset=utf-8",
            Self::JsonLines => "application/x-ndjson",
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// What kind of body it has.
    pub kind: Kind,
    /// The body.
    pub body: String,
    /// Where to go instead.
    pub location: Option<String>,
}

impl Reply {
    /// A page.
    pub fn page(markup: Markup) -> Self {
        Self::of(Kind::Html, markup.into_string())
    }

    /// Something else than a page.
    pub fn of(kind: Kind, body: String) -> Self {
        Self { status: 200, kind, body, location: None }
    }

    fn to(location: String) -> Self {
        Self { status: 302, location: Some(location), ..Self::of(Kind::Html, String::new()) }
    }
}

/// New rows of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// As HTML, oldest first.
    pub rows: Vec<String>,
    /// Everything up to here was looked at.
    pub reached: Position,
}

/// New rows that are handed out at once.
const LIVE_ROWS_MAX: usize = 200;

/// Answers.
#[derive(Debug)]
pub struct Site {
    shown: Arc<Shown>,
    log: Option<Log>,
}

impl Site {
    /// Opens what is to be shown.
    pub fn open(shown: Arc<Shown>) -> Result<Self, StoreError> {
        let log = match &shown.store {
            Some(path) if shown.beside => Some(Log::open_beside(path)?),
            Some(path) => Some(Log::open(path)?),
            None => None,
        };
        Ok(Self { shown, log })
    }

    /// Answers a request for a page.
    pub fn answer(&mut self, ask: &Ask) -> Reply {
        self.route(ask).unwrap_or_else(|error| {
            let (status, title) = match &error {
                PageError::Missing(_) => (404, "Not here"),
                PageError::Asked(_) | PageError::Log(LogError::Filter(_)) => (400, "Not like this"),
                PageError::Log(LogError::Store(_)) => (500, "The store cannot be read"),
            };
            let body = html! {
                h1 { (title) }
                p.alert role="alert" { (error) }
                p { a href="/" { "To the beginning" } }
            };
            Reply { status, ..Reply::page(frame::alone(title, &body)) }
        })
    }

    fn route(&mut self, ask: &Ask) -> Result<Reply, PageError> {
        let path: Vec<&str> = ask.path.iter().map(String::as_str).collect();
        match path[..] {
            ["viewer.css"] => return Ok(Reply::of(Kind::Css, frame::STYLE.to_owned())),
            ["viewer.js"] => return Ok(Reply::of(Kind::Script, frame::SCRIPT.to_owned())),
            ["help"] => return Ok(Reply::page(page::help::page())),
            _ => {}
        }
        let mut desk = self.desk()?;
        of_log(&mut desk, &path, ask)
    }

    fn desk(&mut self) -> Result<Desk<'_>, PageError> {
        let name = self.shown.store.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let log = self.log.as_mut().ok_or_else(|| PageError::Missing("no store is shown here".to_owned()))?;
        Ok(Desk::new(log, self.shown.declared.as_ref(), "", &name)?)
    }

    /// What came into the log behind a position.
    pub fn live(&mut self, ask: &Ask, after: Position) -> Result<Live, PageError> {
        let filter = Filter::parse(&[ask.get("q").unwrap_or_default()]).map_err(LogError::Filter)?;
        let desk = self.desk()?;
        let (events, reached) = desk.log.since(&filter, after, LIVE_ROWS_MAX)?;
        let standing = desk.standing.clone();
        let fares = desk.log.fares(&events, &standing)?;
        let rows = events.iter().map(|event| parts::row(&desk, event, &fares, None).into_string()).collect();
        Ok(Live { rows, reached })
    }
}

/// The pages of one log.
fn of_log(desk: &mut Desk<'_>, path: &[&str], ask: &Ask) -> Result<Reply, PageError> {
    let page = match path {
        [] | ["overview"] => page::overview::show(desk)?,
        ["events"] => page::events::show(desk, ask)?,
        ["event", id] => page::event::show(desk, id)?,
        ["at", position] => {
            let at = position.parse().ok().map(Position);
            let event = at.map(|at| desk.log.at(at)).transpose()?.flatten();
            let event = event.ok_or_else(|| PageError::Missing(format!("there is no event at position {position}")))?;
            return Ok(Reply::to(desk.event(&event)));
        }
        ["correlation", id] => page::correlation::show(desk, id, ask)?,
        ["key", key] => page::key::show(desk, key, ask)?,
        ["service", name] => page::service::show(desk, name)?,
        ["map"] => page::map::show(desk)?,
        _ => return Err(PageError::Missing("there is no such page".to_owned())),
    };
    Ok(Reply::page(page))
}
