//! What a property is.

use dacapo_core::trace::Record;
use serde::Serialize;

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
