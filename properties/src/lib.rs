//! What a run is made of, and what must hold.
//!
//! A [`Scenario`] brings services, a workload and properties. A [`Property`] observes the records of a run as they
//! pass and shares no code with what it judges: log and trace are all it sees.

pub mod conformance;
pub mod property;
pub mod scenario;

pub use property::{Property, Verdict, Violation};
pub use scenario::{Operation, Scenario, ServiceSpec};
