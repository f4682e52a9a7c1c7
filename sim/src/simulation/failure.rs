//! A broken promise, told so that a person can act on it: what was promised, who did what, what went wrong meanwhile,
//! the smallest plan that is known, and how to see it again.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use dacapo_core::{
    Timestamp,
    trace::{Fingerprint, Record, What},
};
use dacapo_properties::{Operation, Violation};
use dacapo_service::Method;

use crate::{
    engine::Engine,
    fault::Fault,
    narrate::{StoryLine, line},
    plan::Plan,
    shrink::Minimality,
};

/// Records that are told.
const STORY_LINES_MAX: usize = 12;
/// Operations and faults of a plan that are told one by one.
const ITEMS_SHOWN_MAX: usize = 12;

/// A broken promise.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The promise's name; `no_panic` for a service that panicked.
    pub property: String,
    /// The promise's sentence.
    pub sentence: String,
    /// Who did what, with the values.
    pub message: String,
    /// The seed that the plan was drawn from.
    pub seed: u64,
    /// The step at which it was seen; 0 at the end of the run.
    pub step: u64,
    /// When that was.
    pub at: Timestamp,
    /// The records that belong to it in words, oldest first.
    pub story: Vec<StoryLine>,
    /// The smallest plan that is known to break the promise: the story is of its run.
    pub plan: Plan,
    /// The plan as it was drawn or read.
    pub drawn: Plan,
    /// Whether it could be smaller; none if that was not tried.
    pub minimality: Option<Minimality>,
    /// What carried it out.
    pub engine: Engine,
    /// The file that the smallest plan is in, or why it could not be written.
    pub saved: Result<PathBuf, String>,
    /// The regression that failed, if it was one.
    pub regression: Option<PathBuf>,
    /// The fingerprint of the run of `plan`.
    pub fingerprint: Fingerprint,
    /// The name of the test, if it is known.
    pub(super) test: Option<String>,
}

impl Failure {
    /// The story of a violation from all records of its run.
    pub(super) fn story(violation: &Violation, records: &[Record]) -> Vec<StoryLine> {
        let at = |step: u64| records.get(usize::try_from(step.checked_sub(1)?).ok()?);
        let mut steps = violation.steps.clone();
        if steps.is_empty() {
            // Nobody says what belongs to it: the last things that customers and the log saw.
            let until = records.iter().take_while(|record| violation.step == 0 || record.step < violation.step);
            steps.extend(until.filter(|record| is_telling(&record.what)).map(|record| record.step));
        }
        steps.extend(Some(violation.step).filter(|step| *step > 0));
        let hidden = steps.len().saturating_sub(STORY_LINES_MAX);
        steps[hidden..].iter().filter_map(|step| at(*step)).map(line).collect()
    }
}

fn is_telling(what: &What) -> bool {
    match what {
        What::OperationSent { .. }
        | What::OperationAnswered { .. }
        | What::FaultBegun { .. }
        | What::FaultEnded { .. }
        | What::Healed { .. } => true,
        What::CommitDurable { commit } => !commit.events.is_empty(),
        _ => false,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "BROKEN {}: {}", self.property, self.sentence)?;
        if let Some(file) = &self.regression {
            writeln!(f, "it was mended once: {} breaks it again", file.display())?;
        }
        writeln!(f)?;
        let place = if self.step == 0 { "at the end of the run".to_owned() } else { format!("at step {}", self.step) };
        writeln!(f, "{} ({place}, {}, of seed {})", self.message, self.at, self.seed)?;
        for line in &self.story {
            writeln!(f, "{line}")?;
        }
        writeln!(f)?;
        let counts = |plan: &Plan| {
            let count = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
            format!("{}, {}", count(plan.operations.len(), "operation"), count(plan.faults.len(), "fault"))
        };
        write!(f, "plan       {}", counts(&self.plan))?;
        match self.minimality {
            None => writeln!(f)?,
            Some(Minimality::Minimal) => {
                writeln!(f, ", each of which it takes; {} were drawn", counts(&self.drawn))?;
            }
            Some(Minimality::TimeRanOut) => {
                writeln!(f, "; {} were drawn, and time ran out before it was as small as can be", counts(&self.drawn))?;
            }
        }
        items(f, &self.plan.operations, operation_words)?;
        items(f, &self.plan.faults, |fault: &Fault| format!("fault #{}: {}", fault.id, fault.describe()))?;
        writeln!(f)?;
        self.again(f)
    }
}

impl Failure {
    fn again(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let test = self.test.as_deref().map(|test| format!(" {test}")).unwrap_or_default();
        if self.regression.is_none() {
            writeln!(f, "again      DACAPO_SEED={} cargo test{test}", self.seed)?;
        }
        match &self.saved {
            Ok(file) => {
                // As a literal that can be pasted, whatever is in the path.
                let literal = format!("{:?}", shown(file).display().to_string());
                writeln!(f, "           .check(plan({literal}))")?;
                write!(f, "keep it    copy that file into the folder that `.regressions(…)` names")
            }
            Err(error) => write!(f, "           the plan could not be saved: {error}"),
        }
    }
}

fn items<T>(f: &mut fmt::Formatter<'_>, items: &[T], words: impl Fn(&T) -> String) -> fmt::Result {
    if items.len() > ITEMS_SHOWN_MAX {
        return Ok(());
    }
    items.iter().try_for_each(|item| writeln!(f, "           {}", words(item)))
}

fn operation_words(operation: &Operation) -> String {
    let Operation { id, customer, at_us, after, service, method, path, body } = operation;
    let method = match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
    };
    let after: Vec<String> = after.iter().map(u64::to_string).collect();
    let after = if after.is_empty() { String::new() } else { format!(", after {}", after.join(" and ")) };
    let body = if body.is_empty() { String::new() } else { format!(" {body}") };
    format!("operation {id}: customer-{customer} asks {service} at {}{after}: {method} {path}{body}", Timestamp(*at_us))
}

/// A path as short as it can be written from here.
fn shown(file: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    file.strip_prefix(here).unwrap_or(file).to_owned()
}
