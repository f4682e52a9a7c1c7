//! `sim` and `replay`: the simulator at the command line.
//!
//! A campaign hands seeds to worker processes ([`pool`], [`worker`]) and adds up what they say ([`tally`]); a replay runs
//! one plan in this process. Both speak of a run as `SeedResult`, which `engine` alone makes out of
//! the simulator's types. What a person reads of it is written in [`failure`] and [`success`].

pub(crate) mod catalogue;
mod ended;
mod engine;
pub(crate) mod explore;
mod failure;
mod picture;
mod pool;
pub(crate) mod replay;
mod result;
mod success;
mod summary;
mod tally;
pub(crate) mod worker;

use dacapo_core::trace::Record;
use dacapo_sim::narrate;

pub(crate) use engine::{Order, Telling, planted, run_seed};
pub(crate) use pool::Pool;
pub(crate) use result::{Failure, SeedResult, Violated};

/// A record in words, as everything here shows it.
pub(crate) fn record_line(record: &Record) -> String {
    failure::story_line(&narrate::line(record))
}
