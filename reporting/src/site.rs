//! From an address to a page: everything that the viewer answers, without a network.
//!
//! A site belongs to one thread; the server has several of them over the same files. It keeps logs and runs open and
//! nothing else, so that what it shows is what the files hold at that moment.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use dacapo_core::{CorrelationId, Event, Position, store::StoreError};
use maud::{Markup, html};

use crate::{
    ask::Ask,
    declared::Declared,
    export,
    filter::Filter,
    log::{Log, LogError},
    page::{
        self, Desk, PageError,
        frame::{self, Head, Here},
        parts,
    },
    run::{self, Manifest, Run, RunError},
};

/// What is shown.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// A store, the one that addresses without a run are about.
    pub store: Option<PathBuf>,
    /// A directory of recorded runs.
    pub runs: Option<PathBuf>,
    /// The run that is shown first, by the name of its directory.
    pub first: Option<String>,
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
    /// A page to save.
    File,
}

impl Kind {
    /// For the header.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Html | Self::File => "text/html; charset=utf-8",
            Self::Css => "text/css; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Svg => "image/svg+xml",
            Self::Dot => "text/vnd.graphviz; charset=utf-8",
            Self::JsonLines => "application/x-ndjson",
        }
    }

    /// Whether it is to be saved, not shown.
    pub const fn is_download(self) -> bool {
        matches!(self, Self::Svg | Self::Dot | Self::JsonLines | Self::File)
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
/// Runs that are kept in memory.
const RUNS_KEPT: usize = 4;

/// A run with its log.
#[derive(Debug)]
struct Opened {
    run: Arc<Run>,
    log: Log,
}

/// Answers.
#[derive(Debug)]
pub struct Site {
    shown: Arc<Shown>,
    log: Option<Log>,
    runs: BTreeMap<String, Opened>,
}

impl Site {
    /// Opens what is to be shown.
    pub fn open(shown: Arc<Shown>) -> Result<Self, StoreError> {
        let log = match &shown.store {
            Some(path) => Some(Log::open(path)?),
            None => None,
        };
        Ok(Self { shown, log, runs: BTreeMap::new() })
    }

    /// Answers a request for a page.
    pub fn answer(&mut self, ask: &Ask) -> Reply {
        self.route(ask).unwrap_or_else(|error| {
            let (status, title) = match &error {
                PageError::Missing(_) => (404, "Not here"),
                PageError::Asked(_) | PageError::Log(LogError::Filter(_)) => (400, "Not like this"),
                PageError::Log(LogError::Store(_)) | PageError::Run(_) => (500, "It cannot be read"),
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
            ["viewer.css"] => Ok(Reply::of(Kind::Css, frame::STYLE.to_owned())),
            ["viewer.js"] => Ok(Reply::of(Kind::Script, frame::SCRIPT.to_owned())),
            ["help"] => Ok(Reply::page(page::help::page())),
            [] if self.log.is_none() => Ok(Reply::to(match &self.shown.first {
                Some(id) => format!("/run/{}", crate::words::encoded(id)),
                None => "/runs".to_owned(),
            })),
            ["runs"] => {
                let body = page::runs::list(&self.list()?);
                Ok(Reply::page(frame::alone("Runs", &body)))
            }
            ["compare"] => self.compare(ask),
            ["run", id] => self.run_page(id, ask),
            ["in", id, ref rest @ ..] => {
                let (declared, has_runs) = (self.shown.declared.clone(), true);
                let opened = self.opened(id)?;
                let name = format!("the log of {}", opened.run.manifest.name);
                let base = format!("/in/{}", crate::words::encoded(id));
                let mut desk = Desk::new(&mut opened.log, declared.as_ref(), &base, &name)?;
                desk.has_runs = has_runs;
                desk.run = Some(Arc::clone(&opened.run));
                of_log(&mut desk, rest, ask)
            }
            _ => of_log(&mut self.desk()?, &path, ask),
        }
    }

    fn desk(&mut self) -> Result<Desk<'_>, PageError> {
        let name = self.shown.store.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let log = self.log.as_mut().ok_or_else(|| PageError::Missing("no store is shown here".to_owned()))?;
        let mut desk = Desk::new(log, self.shown.declared.as_ref(), "", &name)?;
        desk.has_runs = self.shown.runs.is_some();
        Ok(desk)
    }

    fn list(&self) -> Result<Vec<(String, Manifest)>, RunError> {
        match &self.shown.runs {
            Some(path) if path.is_dir() => run::list(path),
            _ => Ok(Vec::new()),
        }
    }

    /// A run by the name of its directory, read again if it was recorded anew.
    fn opened(&mut self, id: &str) -> Result<&mut Opened, PageError> {
        let missing = || PageError::Missing(format!("there is no run {id:?} here"));
        // A name of a directory, never a way to another one.
        let is_name = !id.is_empty() && Path::new(id).components().count() == 1 && !id.starts_with('.');
        let path = self.shown.runs.as_ref().filter(|_| is_name).map(|runs| runs.join(id)).ok_or_else(missing)?;
        if !Run::is_at(&path) {
            return Err(missing());
        }
        let manifest = run::manifest(&path)?;
        if self.runs.get(id).is_none_or(|opened| opened.run.manifest != manifest) {
            if self.runs.len() >= RUNS_KEPT {
                self.runs.clear();
            }
            let run = Arc::new(Run::open(&path)?);
            let log = Log::of_run(&run)?;
            self.runs.insert(id.to_owned(), Opened { run, log });
        }
        self.runs.get_mut(id).ok_or_else(missing)
    }

    fn run_page(&mut self, id: &str, ask: &Ask) -> Result<Reply, PageError> {
        let declared = self.shown.declared.clone();
        let opened = self.opened(id)?;
        let run = Arc::clone(&opened.run);
        match ask.get("as") {
            Some("html") => return Ok(Reply::of(Kind::File, export::html::run(&run, declared.as_ref())?)),
            Some("jsonl") => return Ok(Reply::of(Kind::JsonLines, export::lines::records(&run))),
            Some("svg") => return Ok(Reply::of(Kind::Svg, export::svg::run(&run, None))),
            _ => {}
        }
        let base = format!("/in/{}", crate::words::encoded(id));
        let body = page::run::body(&run, declared.as_ref(), ask, Some(&base))?;
        let mut desk = Desk::new(&mut opened.log, declared.as_ref(), &base, &run.manifest.name)?;
        desk.has_runs = true;
        let title = match &run.manifest.violation {
            Some(violation) => format!("{}: {}", run.manifest.name, violation.property),
            None => run.manifest.name.clone(),
        };
        Ok(Reply::page(frame::page(&desk, &Head { title: &title, here: Here::Runs, filter: "" }, &body)))
    }

    fn compare(&mut self, ask: &Ask) -> Result<Reply, PageError> {
        let named = |name: &str| {
            ask.get(name)
                .ok_or_else(|| PageError::Asked("name two runs: /compare?a=…&b=…".to_owned()))
                .map(str::to_owned)
        };
        let (a, b) = (named("a")?, named("b")?);
        let one = Arc::clone(&self.opened(&a)?.run);
        let other = Arc::clone(&self.opened(&b)?.run);
        Ok(Reply::page(frame::alone("Compare", &page::compare::show(&one, &other, self.shown.declared.as_ref(), ask)?)))
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
        ["correlation", id] if ask.get("as").is_some() => return saved(desk, id, ask),
        ["correlation", id] => page::correlation::show(desk, id, ask)?,
        ["closure", id] => page::closure::show(desk, id, ask)?,
        ["key", key] => page::key::show(desk, key, ask)?,
        ["service", name] => page::service::show(desk, name)?,
        ["map"] => page::map::show(desk)?,
        ["trace-money"] => page::money::show(desk, ask)?,
        _ => return Err(PageError::Missing("there is no such page".to_owned())),
    };
    Ok(Reply::page(page))
}

/// A correlation as a file.
fn saved(desk: &mut Desk<'_>, id: &str, ask: &Ask) -> Result<Reply, PageError> {
    let missing = || PageError::Missing(format!("there is no correlation {id:?} in this log"));
    let correlation = CorrelationId::new(id.to_owned()).map_err(|_| missing())?;
    let filter = Filter::parse(&[ask.get("q").unwrap_or_default()]).map_err(LogError::Filter)?;
    let filter = desk.log.ready(&filter)?;
    let standing = desk.standing.clone();
    let mut events: Vec<Arc<Event>> = desk.log.correlation(&correlation)?.events;
    let fares = desk.log.fares(&events, &standing)?;
    events.retain(|event| filter.matches(event, &fares.fared(event.position)));
    let graph = page::correlation::graph_of(desk, &events)?;
    Ok(match (ask.get("as"), ask.get("view")) {
        (Some("jsonl"), _) => Reply::of(Kind::JsonLines, export::lines::events(&events)),
        (Some("dot"), _) => Reply::of(Kind::Dot, export::dot::graph(&graph)),
        (Some("svg"), Some("lanes")) => Reply::of(Kind::Svg, export::svg::lanes(&graph, &desk.cast)),
        (Some("svg"), Some("timeline")) => Reply::of(Kind::Svg, export::svg::timeline(&graph, &desk.cast)),
        (Some("svg"), _) => Reply::of(Kind::Svg, export::svg::graph(&graph, &desk.cast, &fares)),
        (other, _) => {
            return Err(PageError::Asked(format!("{other:?} is no kind of file; there are svg, dot and jsonl")));
        }
    })
}
