//! Exhaustive search of the small: every order of a few events, and of what may go wrong.
//!
//! A seed tries one order; this tries all of them, in a scope that is small enough: some events, some instances, a
//! crash. The bus is the machine that is deployed, over the store in memory; time is a choice like any other.

mod explore;
mod heal;
mod jury;
mod peers;
mod scope;
mod step;
mod story;
mod world;

pub use explore::{Ended, Finding, Report, Standing, search};
pub use scope::{Budget, Scope};
pub use step::{Step, Taken, When};
pub use story::Told;
