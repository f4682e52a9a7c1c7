//! What a test of services begins with: `use dacapo_sim::prelude::*`.
//!
//! With `dacapo-service` this is all that a crate with services of its own needs; the rooms behind it are at
//! [`dacapo_core`] and [`dacapo_properties`] for those who want a
//! [`Property`] of their own.

pub use dacapo_properties::{Operation, Property, Scenario, ServiceSpec, Verdict, Violation, scenario::Draw};
pub use dacapo_service::prelude::*;

pub use crate::{
    engine::Engine,
    fault::Family,
    simulation::{
        Always, Answer, CheckError, Checked, Eventually, Failure, Faults, Seen, Shape, Simulation, Sometimes, mark,
        plan, promise, seed, seeds, service, situation,
    },
};
