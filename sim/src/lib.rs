//! The simulator: plans, faults, engines, recorder, campaigns. It knows no bank.
//!
//! A run is a plan (operations and faults, as data, drawn from a seed) carried out by an engine over a
//! [`Scenario`](dacapo_properties::Scenario): the same bus, server, store and service machines that are deployed, with
//! clock, network, store latency and process lives in the simulator's hands. What happened is a trace of records;
//! properties judge it as it passes. The same plan gives the same trace, record by record.
//!
//! Begin with [`Simulation`]: services, customers, promises, and a `check`, in a test of your own crate.
//!
//! ```no_run
//! # use dacapo_sim::prelude::*;
//! # use dacapo_service::prelude::*;
//! # #[derive(Clone)] struct Seats;
//! # impl Service for Seats {
//! #     type State = u64;
//! #     fn name(&self) -> ServiceName { ServiceName::of("seats") }
//! #     fn types(&self) -> Vec<EventType> { vec![EventType::of("SeatSold")] }
//! #     fn apply(&self, _: &Key, sold: &mut u64, _: &Event) { *sold += 1; }
//! # }
//! Simulation::of([service(Seats, 3)])
//!     .workload(|draw, shape| {
//!         shape.operations(draw, |draw, customer| {
//!             let seat = draw.below(6);
//!             Operation::post("seats", format!("/seats/{seat}/book")).body(&customer)
//!         })
//!     })
//!     .always(promise("a_seat_is_sold_once", "no seat is sold to two at once").states(Seats, |seat, sold| {
//!         if *sold > 1 { Err(format!("{seat} was sold {sold} times")) } else { Ok(()) }
//!     }))
//!     .sometimes(situation("a customer was refused").events_and_answers((), |(), seen| {
//!         matches!(seen, Seen::Answer(answer) if answer.status == 409)
//!     }))
//!     .faults(Faults::swarm())
//!     .check(seeds(500));
//! ```
//!
//! | module | what lives there |
//! |---|---|
//! | [`simulation`], [`prelude`] | tests of your own services, put together in a few lines |
//! | [`cast`] | who takes part, and what their hosts are called |
//! | [`draw`] | chance: a stream per concern for plans, stateless hashes for runs |
//! | [`fault`] | the bad things, their families and triggers |
//! | [`plan`] | a plan and its settings, as data |
//! | [`profile`] | ranges that plans are drawn from |
//! | [`swarm`] | drawing faults |
//! | [`recorder`] | steps, fingerprint, judging, marks, stored records |
//! | [`marks`] | places that a campaign should reach |
//! | [`shapes`] | whether a campaign still sees something new |
//! | [`liveness`] | when a healed run must be done |
//! | [`engine`] | what carries a plan out |
//! | [`engines`] | which engine a campaign runs a seed on |
//! | [`run`](mod@run) | one run and its outcome |
//! | [`campaign`] | many seeds |
//! | [`verify`](mod@verify) | the same plan twice |
//! | [`narrate`] | records in words |
//! | [`seed`] | seeds, as people write them |
//! | [`shrink`](mod@shrink) | the smallest plan that still fails the same way |
//! | [`blame`](mod@blame) | the step at which failure became inevitable |
//! | [`bugbase`] | what was found, on disk |

pub mod blame;
pub mod bugbase;
pub mod campaign;
pub mod cast;
mod deadline;
pub mod disk;
pub mod draw;
pub mod engine;
pub mod engines;
pub mod fault;
pub mod liveness;
#[cfg(feature = "lua")]
pub mod lua;
pub mod marks;

pub mod plan;
pub mod prelude;
pub mod profile;
pub mod recorder;
pub mod run;
pub mod search;
pub mod seed;
pub mod shapes;
pub mod shrink;
pub mod simulation;
pub mod swarm;
pub mod verify;

pub use blame::{Blame, BlameError, BlameOptions, Share, blame};
pub use bugbase::BugBase;
pub use campaign::{Campaign, Progress, Report, explore};
pub use dacapo_core;
pub use dacapo_core::narrate;
pub use dacapo_properties;
pub use dacapo_service;
pub use deadline::Budget;
pub use engine::{Branch, Engine};
pub use engines::Engines;
pub use fault::{Family, Fault, Harm, Trigger};
pub use plan::{Plan, PlanError, Settings};
pub use profile::Profile;
pub use run::{End, Outcome, RunOptions, run};
pub use shrink::{Minimality, ShrinkError, ShrinkOptions, Shrunk, shrink};
pub use simulation::Simulation;
pub use verify::{Difference, verify};
