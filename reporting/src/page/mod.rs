//! The pages: HTML that reads without a script, and gains keys, zoom and live rows with one.
//!
//! A page asks the log, says everything it has left out, and links only to what exists. Whatever comes from a log is text:
//! it is escaped by the template, and no address is made of it but through [`Desk::link`].

pub mod closure;
pub mod compare;
pub mod correlation;
pub mod event;
pub mod events;
pub mod frame;
pub mod help;
pub mod key;
pub mod map;
mod moment;
pub mod money;
pub mod overview;
pub mod parts;
pub mod run;
pub mod runs;
pub mod service;

use std::sync::Arc;

use dacapo_backends::Standing;
use dacapo_core::{Event, store::StoreError};

use crate::{
    cast::Cast,
    declared::Declared,
    log::{Log, LogError},
    run::{Run, RunError},
    words::encoded,
};

/// What a page works with.
pub struct Desk<'a> {
    /// The log that it is about.
    pub log: &'a mut Log,
    /// What stands beside it.
    pub standing: Standing,
    /// How services look.
    pub cast: Cast,
    /// What payloads mean, if somebody has said.
    pub declared: Option<&'a Declared>,
    /// What every address of this log begins with: empty, or `/in/<run>`.
    pub base: String,
    /// What is shown, for the head of the page.
    pub name: String,
    /// Whether there are recorded runs to look at.
    pub has_runs: bool,
    /// Whether the log may grow while somebody looks.
    pub live: bool,
    /// The run that the log is of, if it is a recorded one's.
    pub run: Option<Arc<Run>>,
}

impl<'a> Desk<'a> {
    /// A desk for one page.
    pub fn new(log: &'a mut Log, declared: Option<&'a Declared>, base: &str, name: &str) -> Result<Self, StoreError> {
        let standing = log.standing()?;
        let services = standing.services.iter().map(|service| service.name.as_str());
        let cast = Cast::of(services.chain(["$bus"]));
        Ok(Self {
            log,
            standing,
            cast,
            declared,
            base: base.to_owned(),
            name: name.to_owned(),
            has_runs: false,
            live: base.is_empty(),
            run: None,
        })
    }

    /// The address of a page of this log.
    pub fn link(&self, parts: &[&str]) -> String {
        let mut link = self.base.clone();
        for part in parts {
            link.push('/');
            link.push_str(&encoded(part));
        }
        if link.is_empty() { "/".to_owned() } else { link }
    }

    /// The address of an event's page.
    pub fn event(&self, event: &Event) -> String {
        self.link(&["event", event.id.as_str()])
    }

    /// The address of the table with a filter.
    pub fn table(&self, filter: &str) -> String {
        format!("{}?q={}", self.link(&["events"]), encoded(filter))
    }

    /// Whether there is a page about a service of this name.
    pub fn has_service(&self, name: &str) -> bool {
        self.standing.services.iter().any(|service| service.name.as_str() == name)
    }
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// There is nothing at this address.
    #[error("{0}")]
    Missing(String),
    /// The address asks for something that does not make sense.
    #[error("{0}")]
    Asked(String),
    /// The log cannot be read.
    #[error("{0}")]
    Log(#[from] LogError),
    /// A recorded run cannot be read.
    #[error("{0}")]
    Run(#[from] RunError),
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        Self::Log(LogError::Store(error))
    }
}
