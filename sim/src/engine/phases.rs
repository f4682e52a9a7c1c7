//! Where a run is, and what it takes to go on: the faults, the healing, the settling, the last looks.

use dacapo_core::{NodeName, ServiceName, trace::What};
use dacapo_properties::{Operation, Scenario, Violation};

use crate::{
    engine::{book::Book, faults::FaultTable},
    liveness::{self, LogProgress},
    plan::{Plan, Settings},
};

/// How long a healed and finished run goes on, so that what is under way arrives.
pub(crate) const SETTLE_US: u64 = 500_000;

/// Whose doing faults and healing are in the trace.
pub(crate) fn simulator() -> NodeName {
    NodeName::of("simulator")
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Faults are on.
    Faults,
    /// All is healed; everything must end before this time.
    Healed { until_us: u64 },
    /// Everything has ended; what is under way arrives.
    Settling { until_us: u64 },
    /// The customers look at everything; they must be done before this time.
    Inspecting { until_us: u64 },
}

/// Ends all faults and records it; the bound within which everything must be done.
pub(crate) fn heal(
    settings: &Settings,
    now_us: u64,
    faults: &mut FaultTable,
    progress: &LogProgress,
    book: &Book,
    mut record: impl FnMut(What),
) -> u64 {
    let (ended, never) = faults.heal(now_us);
    for fault in ended {
        record(What::FaultEnded { fault });
    }
    for fault in never {
        record(What::FaultNeverFired { fault });
    }
    // An operation that is still open may cause a few events, each handled by a few services.
    let backlog = progress.backlog() + book.open() * 8;
    let bound_us = liveness::bound_us(settings, backlog);
    record(What::Healed { bound_us });
    bound_us
}

/// Whether every operation and every event has ended.
pub(crate) fn is_done(book: &Book, progress: &LogProgress, services: &[ServiceName]) -> bool {
    book.open() == 0 && progress.is_done(services)
}

/// What customers ask when all is done.
pub(crate) fn inspections(scenario: &dyn Scenario, plan: &Plan) -> Vec<Operation> {
    let first_id = plan.operations.iter().map(|operation| operation.id).max().unwrap_or_default() + 1;
    let mut inspections = scenario.inspections(&plan.operations, first_id);
    for inspection in &mut inspections {
        inspection.customer %= plan.settings.customers;
        inspection.at_us = 0;
    }
    inspections
}

/// The bound is over, and no property says what is missing: the engine does.
pub(crate) fn stuck(book: &Book, progress: &LogProgress) -> Violation {
    let message = match book.describe_open(3) {
        open if open.is_empty() => progress.describe_undone(3),
        open => open,
    };
    Violation {
        property: "everything_ends",
        sentence: "once faults stop, every operation is answered and every event is completed, skipped, parked or \
                   behind a parked one, within the bound",
        step: 0,
        message,
        steps: Vec::new(),
    }
}

/// A process panicked.
pub(crate) fn panicked(step: u64, message: String) -> Violation {
    Violation {
        property: "no_panic",
        sentence: "no process panics: a machine that breaks one of its own rules stops loudly",
        step,
        message,
        steps: Vec::new(),
    }
}
