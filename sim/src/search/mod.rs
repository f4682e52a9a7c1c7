//! Exhaustive search of the small: every order of a few events, and of what may go wrong with them.
//!
//! A seed tries one order of things; a search tries all, in a [`Scope`] that is small enough: some events, some
//! instances, a crash. The bus is the machine that is deployed, over the store in memory; what it says is judged by the
//! observers that judge every other run; time is a choice like any other. From every quiet state everything is let heal,
//! and has to come to its end, so that what hangs is found as well as what is wrong.
//!
//! The walk is breadth first, so that what it finds has a shortest way to it; where the states on the edge grow too many
//! to be kept it goes on depth first below them, which sees the same states and promises no shortest way.
//!
//! # When two states are one
//!
//! A state that was seen is not looked at again, so two ways may only meet where nothing can tell them apart any more. A
//! state's digest therefore holds everything that the future depends on: the whole bus ([`Bus::digest`]), the
//! contents of the store and what is asked of it, what the peers hold and may yet do, how much of the scope is left, and
//! *what every observer remembers* ([`Observer::memory`]): without the last, a way on which something was promised
//! could be swallowed by one on which it was not. Left out are steps, counts and absolute time, by which nothing is
//! decided. A digest has 64 bits: among ten million states the chance that any two of them are confused is one in
//! 370,000.
//!
//! # What is not tried, and why nothing is lost
//!
//! * What the bus says to a scripted instance arrives at once, and what that says is heard at once. An answer may come at
//!   any later time, or never, so a frame that is long on its way is an answer that comes late.
//! * A commit becomes durable when the bus is told so, when an answer shows it, or at a crash; see `world/store.rs`.
//! * Between two outputs of the bus nobody else moves; only the bus may crash there. Whatever another could do there it
//!   can do before the step, or after it, or (what had arrived, has arrived) after the crash.
//! * A time-out is not told late. The bus compares nothing with the clock but in its time-outs, so what happens just
//!   after a deadline is what happens just before the time-out is told.
//!
//! # What it does not look at
//!
//! SQLite, disks, and the full stack; heartbeats, and a second bus that takes over; services that change their types;
//! more than one service. Seeds do.
//!
//! [`Bus::digest`]: dacapo_core::bus::Bus::digest
//! [`Observer::memory`]: dacapo_properties::Observer::memory

mod counter;
mod explore;
mod heal;
mod jury;
mod nodes;
mod peers;
mod planted;
mod scope;
mod step;
mod story;
mod world;

pub use explore::{Ended, Finding, Report, Standing, search};
pub use planted::{Reach, reach};
pub use scope::{Budget, Scope};
pub use step::{Step, Taken, When};
pub use story::Told;
