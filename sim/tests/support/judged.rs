//! The tally under one property of a test's own.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::Arc;

use dacapo_core::trace::Record;
use dacapo_properties::{Operation, Property, Scenario, ServiceSpec, Verdict, Violation, scenario::Draw};

use super::{Flaw, Tally};

/// Looks at a record, or at the end (none); whether the property is broken there.
pub(crate) type Look = Arc<dyn Fn(&mut Seen, Option<&Record>) -> bool + Send + Sync>;

/// What a property remembers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) crashed: bool,
    pub(crate) count: u64,
}

/// The tally, judged by this alone (and by the bus's own promises).
pub(crate) struct JudgedTally(pub(crate) Look);

impl JudgedTally {
    pub(crate) fn by(look: impl Fn(&mut Seen, Option<&Record>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }
}

impl Scenario for JudgedTally {
    fn name(&self) -> &'static str {
        "tally"
    }
    fn describe(&self) -> &'static str {
        "customers add numbers, under a promise that is made to be broken"
    }
    fn services(&self) -> Vec<ServiceSpec> {
        Tally(Flaw::None).services()
    }
    fn workload(&self, draw: &mut dyn Draw, customers: u32, operations: usize, duration_us: u64) -> Vec<Operation> {
        Tally(Flaw::None).workload(draw, customers, operations, duration_us)
    }
    fn inspections(&self, operations: &[Operation], first_id: u64) -> Vec<Operation> {
        Tally(Flaw::None).inspections(operations, first_id)
    }
    fn properties(&self) -> Vec<Box<dyn Property>> {
        vec![Box::new(Made { look: Arc::clone(&self.0), seen: Seen::default() })]
    }
}

struct Made {
    look: Look,
    seen: Seen,
}

impl Made {
    fn broken(&self, step: u64) -> Verdict {
        let message = "as it was made to be".to_owned();
        Err(Box::new(Violation { property: self.name(), sentence: self.sentence(), step, message, steps: vec![] }))
    }
}

impl Property for Made {
    fn name(&self) -> &'static str {
        "made_to_be_broken"
    }
    fn sentence(&self) -> &'static str {
        "what a test does not want does not happen"
    }
    fn source(&self) -> &'static str {
        "the test"
    }
    fn observe(&mut self, record: &Record) -> Verdict {
        if (self.look)(&mut self.seen, Some(record)) { self.broken(record.step) } else { Ok(()) }
    }
    fn finish(&mut self) -> Verdict {
        if (self.look)(&mut self.seen, None) { self.broken(0) } else { Ok(()) }
    }
    fn checks(&self) -> u64 {
        1
    }
}
