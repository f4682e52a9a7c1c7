//! `dacapo export`: a run or a selection of events as a file that stands alone.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use dacapo_core::Event;
use dacapo_reporting::{
    export::{
        dot, html, lines,
        svg::{self, Theme},
    },
    filter::Filter,
    graph::Graph,
    log::{Anchor, Log},
    run::{Knew, Run},
};

use super::{declared, record::DIRECTORY};
use crate::{
    arguments::{ExportArguments, ThemeName},
    exit::{Exit, Usage},
    terminal::Terminal,
};

/// Events that a file of a log holds at most; a filter makes it fewer.
const EVENTS_MAX: usize = 20_000;
/// Events that are asked for at once.
const PAGE: usize = 1_000;

/// What a file is, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Html,
    Svg,
    Dot,
    JsonLines,
}

impl Format {
    fn of(path: &Path) -> anyhow::Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("html") => Ok(Self::Html),
            Some("svg") => Ok(Self::Svg),
            Some("dot") => Ok(Self::Dot),
            Some("jsonl") => Ok(Self::JsonLines),
            _ => Err(Usage::error(format!(
                "{} says by its end what it is to be: give a name with .html, .svg, .dot or .jsonl",
                path.display()
            ))),
        }
    }
}

/// Writes the file.
pub(crate) fn run(terminal: &Terminal, arguments: &ExportArguments) -> anyhow::Result<Exit> {
    let format = Format::of(&arguments.output)?;
    let path = found(&arguments.what)?;
    let text = if Run::is_at(&path) {
        let run = Run::open(&path).map_err(|error| Usage::error(error.to_string()))?;
        if arguments.filter.is_empty() {
            of_run(&run, arguments, format)?
        } else {
            of_log(Log::of_run(&run)?, arguments, format)?
        }
    } else {
        of_log(Log::open(&path).map_err(|error| Usage::error(error.to_string()))?, arguments, format)?
    };
    fs::write(&arguments.output, &text).with_context(|| format!("cannot write {}", arguments.output.display()))?;
    let file = arguments.output.display().to_string();
    terminal.object("exported", &serde_json::json!({ "file": file, "bytes": text.len() }));
    terminal.line(format_args!("{file}, {} bytes", text.len()));
    Ok(Exit::Passed)
}

/// A path, or the name of a run that was recorded here.
pub(crate) fn found(what: &Path) -> anyhow::Result<PathBuf> {
    let recorded = Path::new(DIRECTORY).join(what);
    if what.exists() {
        Ok(what.to_owned())
    } else if Run::is_at(&recorded) {
        Ok(recorded)
    } else {
        Err(Usage::error(format!(
            "there is neither a file nor a recorded run {}; {DIRECTORY} holds the runs that were recorded here",
            what.display()
        )))
    }
}

fn of_run(run: &Run, arguments: &ExportArguments, format: Format) -> anyhow::Result<String> {
    Ok(match format {
        Format::Html => html::run(run, Some(&declared(arguments.money.as_deref())?))?,
        Format::Svg => svg::themed(&svg::run(run, arguments.rows), theme(arguments)),
        Format::JsonLines => lines::records(run),
        Format::Dot => {
            let steps: Vec<u64> = run.manifest.violation.iter().flat_map(|violation| violation.steps.clone()).collect();
            let mut log = Log::of_run(run)?;
            let mut events: Vec<Arc<Event>> = Vec::new();
            for position in Knew::positions_of(&run.records, &steps) {
                if let Some(event) = log.at(position)? {
                    events.extend(log.correlation(&event.correlation)?.events);
                }
            }
            if events.is_empty() {
                events = log.newest(PAGE)?;
            }
            dot::graph(&graph(&mut log, &events)?)
        }
    })
}

/// Of a store, or of a run's log, the events that the filter wants.
fn of_log(mut log: Log, arguments: &ExportArguments, format: Format) -> anyhow::Result<String> {
    let filter = Filter::parse(&arguments.filter).map_err(|error| Usage::error(error.to_string()))?;
    let mut events: Vec<Arc<Event>> = Vec::new();
    let mut anchor = Anchor::Oldest;
    loop {
        let page = log.page(&filter, anchor, PAGE).map_err(|error| Usage::error(error.to_string()))?;
        events.extend(page.events.into_iter().rev());
        match page.newer {
            Some(position) if events.len() < EVENTS_MAX => anchor = Anchor::After(position),
            Some(_) => {
                return Err(Usage::error(format!(
                    "more than {EVENTS_MAX} events are like that; give a narrower filter, such as corr:… or key:…"
                )));
            }
            None => break,
        }
    }
    if format == Format::JsonLines {
        return Ok(lines::events(&events));
    }
    let graph = graph(&mut log, &events)?;
    let standing = log.standing()?;
    let fares = log.fares(&events, &standing)?;
    let cast = svg::cast_of(&events);
    Ok(match format {
        Format::Dot => dot::graph(&graph),
        Format::Svg => svg::themed(&svg::graph(&graph, &cast, &fares), theme(arguments)),
        Format::Html | Format::JsonLines => html::events(&graph, &cast, &fares, &filter.to_string()),
    })
}

fn theme(arguments: &ExportArguments) -> Theme {
    match arguments.theme {
        None => Theme::Either,
        Some(ThemeName::Light) => Theme::Light,
        Some(ThemeName::Dark) => Theme::Dark,
    }
}

fn graph(log: &mut Log, events: &[Arc<Event>]) -> anyhow::Result<Graph> {
    let causes = events.iter().filter_map(|event| event.causation.clone());
    let elsewhere = log.known(causes)?;
    Ok(Graph::of(events, &elsewhere))
}
