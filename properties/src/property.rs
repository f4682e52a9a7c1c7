//! What a property is, and the words in which a broken one is told.

use std::fmt;

use dacapo_core::{Timestamp, trace::Record};
use serde::Serialize;

use crate::kinds::Kinds;

/// A promise was broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The property's name.
    pub property: &'static str,
    /// The property's sentence.
    pub sentence: &'static str,
    /// The step at which it was seen; 0 at the end of the run.
    pub step: u64,
    /// Who did what, in sentences, with the values.
    pub message: String,
    /// The other steps that belong to it, oldest first.
    pub steps: Vec<u64>,
}

/// A step and its time, as messages name them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// The record's number.
    pub step: u64,
    /// The run's time.
    pub at: Timestamp,
}

impl From<&Record> for Moment {
    fn from(record: &Record) -> Self {
        Self { step: record.step, at: record.at }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}, {}", self.step, self.at)
    }
}

/// What is promised: a name, a sentence and where the sentence is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// `no_overdraft`.
    pub name: &'static str,
    /// One sentence that a person can check.
    pub sentence: &'static str,
    /// Where the rule is written.
    pub source: &'static str,
}

impl Promise {
    /// The promise is broken at this record; `earlier` are the other moments that belong to it.
    pub fn broken(&self, record: &Record, message: impl Into<String>, earlier: &[Moment]) -> Verdict {
        self.violation(record.step, message.into(), earlier)
    }

    /// The promise is not kept at the end of the run.
    pub fn broken_at_end(&self, message: impl Into<String>, earlier: &[Moment]) -> Verdict {
        self.violation(0, message.into(), earlier)
    }

    fn violation(&self, step: u64, message: String, earlier: &[Moment]) -> Verdict {
        let mut steps: Vec<u64> = earlier.iter().map(|moment| moment.step).filter(|earlier| *earlier != step).collect();
        steps.sort_unstable();
        steps.dedup();
        Err(Box::new(Violation { property: self.name, sentence: self.sentence, step, message, steps }))
    }
}

/// What `observe` answers.
pub type Verdict = Result<(), Box<Violation>>;

/// A promise, judged incrementally from the records of a run.
pub trait Property: Send {
    /// `no_overdraft`.
    fn name(&self) -> &'static str;
    /// One sentence that a person can check.
    fn sentence(&self) -> &'static str;
    /// Where the rule is written.
    fn source(&self) -> &'static str;
    /// The records that it has to see; the others change nothing for it.
    fn looks_at(&self) -> Kinds {
        Kinds::ALL
    }
    /// Looks at one record.
    fn observe(&mut self, record: &Record) -> Verdict;
    /// Looks back at the end of a run. What must come eventually is judged here.
    fn finish(&mut self) -> Verdict {
        Ok(())
    }
    /// How often it was in a position to fail; a property that never was has proved nothing.
    fn checks(&self) -> u64;
    /// Interesting situations, and how often each happened.
    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![]
    }
}
