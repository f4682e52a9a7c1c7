//! What a run is made of, and what must hold.
//!
//! A [`Scenario`] brings services, a workload and properties. A [`Property`] observes the records of a run as they
//! pass and shares no code with what it judges: log and trace are all it sees. The [`Judge`] puts the promises of the
//! bus ([`PROMISES`]: one file each in [`always`] and [`eventually`]) and those of a scenario over one run.

pub mod always;
pub mod conformance;
pub mod connections;
mod cursors;
pub mod eventually;
pub mod handlers;
pub mod judge;
pub mod kinds;
pub mod known;
pub mod log;
mod members;
pub mod model;
pub mod observer;
pub mod property;
pub mod scenario;
pub mod sometimes;
mod streams;
#[cfg(test)]
mod testing;

pub use judge::{Judge, Judged};
pub use kinds::Kinds;
pub use known::Known;
pub use observer::{Observer, PROMISES, bus_observers, bus_properties};
pub use property::{Moment, Promise, Property, Verdict, Violation};
pub use scenario::{Operation, Scenario, ServiceSpec};
pub use sometimes::{SITUATIONS, Situation};
