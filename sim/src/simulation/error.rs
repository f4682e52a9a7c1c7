//! Why a check did not pass.

use std::path::PathBuf;

use crate::{plan::PlanError, simulation::failure::Failure, verify::Difference};

/// The simulation was put together wrongly: nothing was run, or nothing more.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Nothing to simulate.
    #[error("the simulation has no services; give at least one: `Simulation::of([service(MyService, 2)])`")]
    NoServices,
    /// Two services of one name.
    #[error("two services are called `{0}`; give one of them another name")]
    ServiceTwice(String),
    /// A service that nobody runs.
    #[error("the service `{0}` has no instances; give it at least one")]
    NoInstances(String),
    /// Nobody does anything.
    #[error("the simulation has no workload; say what customers do: `.workload(|draw, shape| …)`")]
    NoWorkload,
    /// Nobody does anything.
    #[error("the workload of seed {0} has no operations; return at least one, or ask for more by `.operations(n)`")]
    NoOperations(u64),
    /// More than anybody can do, and than numbers are kept for.
    #[error("the workload of seed {seed} has {operations} operations; return fewer than 1000000")]
    TooManyOperations {
        /// The seed.
        seed: u64,
        /// How many.
        operations: usize,
    },
    /// An operation asks a service that there is not.
    #[error("operation {operation} asks the service `{service}`; there are: {known}")]
    NoSuchService {
        /// Which operation.
        operation: u64,
        /// Whom it asks.
        service: String,
        /// Whom it may ask.
        known: String,
    },
    /// An operation is done by a customer that there is not.
    #[error(
        "operation {operation} is done by customer {customer}, and there are {customers}, numbered from 0; draw one by \
         `shape.customer(draw)`, or ask for more by `.customers(n)`"
    )]
    NoSuchCustomer {
        /// Which operation.
        operation: u64,
        /// By whom.
        customer: u32,
        /// How many there are.
        customers: u32,
    },
    /// A number of customers that no run has.
    #[error("{0} customers are asked for; give 1 to 100")]
    Customers(u32),
    /// A run without time.
    #[error("the simulation lasts {0:?}; give it at least a second, so that something can happen")]
    NoTime(std::time::Duration),
    /// Two promises or situations of one name; those of the bus count.
    #[error("two promises or situations are called `{0}`; give one of them another name")]
    PromiseTwice(String),
    /// A mark that the simulator does not know.
    #[error("the simulator knows no mark `{name}`; there are: {known}")]
    NoSuchMark {
        /// What was asked for.
        name: String,
        /// What may be.
        known: String,
    },
    /// Nothing would be run.
    #[error("no seeds were asked for, so that nothing would be proved; say `seeds(100)`")]
    NoSeeds,
    /// A variable of the environment makes no sense.
    #[error("the environment variable {name}: {reason}")]
    Environment {
        /// Its name.
        name: &'static str,
        /// Why not, and what would.
        reason: String,
    },
    /// A file or folder that cannot be read.
    #[error("{path} cannot be read: {error}; a relative path begins in the package's folder")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A plan that cannot be carried out.
    #[error("{whose} cannot be carried out: {error}")]
    Plan {
        /// The seed or the file.
        whose: String,
        /// Why, and what to do.
        error: PlanError,
    },
}

/// Why a check did not pass. Its `Display` is the whole story, for a person.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The simulation was put together wrongly.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A promise was broken.
    #[error("{0}")]
    Broken(Box<Failure>),
    /// The same plan ran in two ways: something in a service depends on more than its inputs.
    #[error("{}", differs(.0))]
    NotDeterministic(Box<Difference>),
    /// Nothing was broken, but what should have been put to the test was not.
    #[error("inconclusive after {seeds} seeds: {}; ask for more seeds, or let the workload come there more often", .missed.join(", "))]
    Inconclusive {
        /// What did not happen, in sentences.
        missed: Vec<String>,
        /// How many seeds were run.
        seeds: usize,
    },
}

impl CheckError {
    /// The broken promise, if that is what happened.
    pub fn broken(&self) -> Option<&Failure> {
        match self {
            Self::Broken(failure) => Some(failure),
            _ => None,
        }
    }
}

fn differs(difference: &Difference) -> String {
    use std::fmt::Write as _;

    use crate::narrate::line;
    let mut text = format!(
        "seed {} ran in two ways: a service depends on something besides its state and its input (the order of a \
         `HashMap`, a clock, a random number, a global); both runs are the same up to here:",
        difference.seed
    );
    for record in &difference.before {
        let _ = write!(text, "\n{}", line(record));
    }
    for (which, record) in [("one run goes on with:", &difference.one), ("the other with:", &difference.other)] {
        let goes_on = record.as_ref().map_or_else(|| "  (nothing)".to_owned(), |record| line(record).to_string());
        let _ = write!(text, "\n{which}\n{goes_on}");
    }
    text
}
