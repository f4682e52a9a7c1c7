//! The filter language: `type:Transfer* key:acc-7 -source:users pence>1000 "free text"`.
//!
//! One language for the viewer's filter box, its addresses, and the terminal. A [`Filter`] is read by `parse`, written by
//! its `Display`, and the two are inverse to each other. What a store can answer by an index is handed to it
//! ([`Filter::query`]); the rest is sieved here ([`Filter::matches`]). It refuses to be a language with parentheses:
//! whoever needs these has `dacapo events --json`.

mod matching;
mod parse;
mod print;
mod query;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use dacapo_core::{NameError, Position, WallTime};

pub use matching::glob;

/// For `--help`, and for the viewer's page of help.
pub const HELP: &str = "\
Filter:
  key:acc-7          the consistency key          corr:4f2a    the correlation
  type:Transfer*     the event's type             cause:9c1b   what this event caused
  source:accounts    who published it             id:9c1b      this event
  service:accounts   what a service has handled   pence>1000   a field of the payload: = != > >= < <=
  status:parked      how services fared with it: completed, redelivered, skipped, parked, pending;
                     of a recorded run also conflict: a completion or publication of it met one
  after:, before:    a position (120), a time since the log's first event (12.5s), or a date (2026-11-21,
                     2026-11-21T08:15:00Z); after a position or at a time, before either
  -term negates, a,b is or, a space is and, * stands for anything, \"free text\" looks into the payload";

/// A filter: every term must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// In the order in which they were given.
    pub terms: Vec<Term>,
}

/// A condition, or its opposite.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// It must not hold.
    pub negated: bool,
    /// What is looked at.
    pub what: What,
}

/// What a term looks at.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A part of the event; one of the patterns must match.
    Field(Field, Vec<String>),
    /// A service has handled it, or was to: one of the patterns must match its name.
    Service(Vec<String>),
    /// How services fared with it: one of these.
    Status(Vec<Status>),
    /// At or after a time, or after a position.
    After(Bound),
    /// Before a time or position.
    Before(Bound),
    /// A field of the payload.
    Payload {
        /// Its name; dots lead into objects.
        path: String,
        /// How it is compared.
        comparison: Comparison,
        /// With what.
        value: Value,
    },
    /// The payload's text contains this.
    Text(String),
}

/// A part of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `key:`
    Key,
    /// `type:`
    Type,
    /// `corr:`
    Correlation,
    /// `cause:`
    Causation,
    /// `source:`
    Source,
    /// `id:`
    Id,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Key, Self::Type, Self::Correlation, Self::Causation, Self::Source, Self::Id];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Type => "type",
            Self::Correlation => "corr",
            Self::Causation => "cause",
            Self::Source => "source",
            Self::Id => "id",
        }
    }
}

/// How a service fared with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It handled it.
    Completed,
    /// It handled it, and not at the first attempt.
    Redelivered,
    /// It was told to pass it over.
    Skipped,
    /// Its lane is parked here.
    Parked,
    /// It takes the event and has not ended it.
    Pending,
    /// What it depends on had changed: a completion of it was answered with a conflict, or it was published in vain before it
    /// entered the log. Only a trace can tell.
    Conflict,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Completed, Self::Redelivered, Self::Skipped, Self::Parked, Self::Pending, Self::Conflict];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Redelivered => "redelivered",
            Self::Skipped => "skipped",
            Self::Parked => "parked",
            Self::Pending => "pending",
            Self::Conflict => "conflict",
        }
    }
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// By number.
    Position(Position),
    /// By the wall clock.
    Time(WallTime),
    /// In microseconds since the log's first event; becomes a time in [`Filter::resolve`].
    Since(u64),
}

/// How a field of the payload is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    Different,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `<`
    Less,
    /// `<=`
    AtMost,
}

impl Comparison {
    /// The longer ones first, so that the first that fits is the right one.
    const ALL: [Self; 6] = [Self::AtLeast, Self::AtMost, Self::Different, Self::Equal, Self::Greater, Self::Less];

    /// As it is written.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Different => "!=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::Less => "<",
            Self::AtMost => "<=",
        }
    }
}

/// What a field of the payload is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A pattern; only `=` and `!=` take one.
    Text(String),
}

/// What a filter asks of an event besides what stands in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fared {
    /// The services that take it.
    pub services: BTreeSet<String>,
    /// How they fared.
    pub statuses: BTreeSet<Status>,
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoFilter {
    /// There is no such field.
    #[error(
        "there is no field {0:?} to filter by; there are key, type, corr, cause, source, id, service, status, after and before"
    )]
    Field(String),
    /// Nothing stands behind the colon.
    #[error("{0:?} has no value; write something like key:acc-7")]
    Empty(String),
    /// No place in the log.
    #[error(
        "{0:?} is no place in the log; give a position (120), a time since the first event (12.5s), or a date \
         (2026-11-21T08:15:00Z)"
    )]
    Bound(String),
    /// No status.
    #[error("{0:?} is no status; there are completed, redelivered, skipped, parked, pending and conflict")]
    Status(String),
    /// Conflicts, of a log without a trace.
    #[error(
        "a store does not know what met a conflict, since a conflict leaves nothing in the log; ask the log of a recorded run, \
         such as dacapo replay SEED --view shows"
    )]
    Conflict,
    /// Larger or smaller than something that is no number.
    #[error("{0:?} compares with something that is no number; write something like pence>1000")]
    Number(String),
    /// An open quotation mark.
    #[error("a quotation mark is not closed; add the other one")]
    Quote,
    /// A value that can be no name.
    #[error("{0}")]
    Name(#[from] NameError),
}

impl Filter {
    /// A filter for one exact value.
    pub fn of(field: Field, value: &str) -> Self {
        Self { terms: vec![Term { negated: false, what: What::Field(field, vec![value.to_owned()]) }] }
    }

    /// Whether a bound counts from the log's first event.
    pub fn needs_first(&self) -> bool {
        let since = |what: &What| matches!(what, What::After(Bound::Since(_)) | What::Before(Bound::Since(_)));
        self.terms.iter().any(|term| since(&term.what))
    }

    /// Whether it asks how services fared, which only a store can tell.
    pub fn needs_fared(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.what, What::Status(_) | What::Service(_)))
    }

    /// Whether it asks what only a trace can tell.
    pub fn needs_trace(&self) -> bool {
        let conflict = |what: &What| matches!(what, What::Status(statuses) if statuses.contains(&Status::Conflict));
        self.terms.iter().any(|term| conflict(&term.what))
    }

    /// Turns times since the log's first event into times.
    pub fn resolve(&mut self, first: WallTime) {
        for term in &mut self.terms {
            if let What::After(bound) | What::Before(bound) = &mut term.what
                && let Bound::Since(since) = *bound
            {
                *bound = Bound::Time(WallTime(first.0.saturating_add(since)));
            }
        }
    }
}
