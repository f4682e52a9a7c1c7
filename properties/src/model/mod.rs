//! The reference model: what a bus must answer, computed from the log and nothing else.
//!
//! It is small, slow and obviously right: every answer is a scan over all events. It sees what was said to a bus,
//! what came out of it and what its store made durable, and judges each output by the rules alone. It never asks
//! the bus, keeps no cache, and shares no code with it beyond the plain types that both speak.
//!
//! | file | what it knows |
//! |---|---|
//! | `log` | a store that is only lists: applies commits, answers look-ups and reads |
//! | `judge` | what a batch of events deserves, given the log up to a position |
//! | `audit` | what must hold of the log by itself: frontiers, lanes behind |
//! | `connections` | who is connected, as whom, with how much credit |
//! | `publishes` | batches on their way, and their receipts |
//! | `deliveries` | who was handed which event, under which token |
//! | `completions` | answers to deliveries, and what may be committed because of them |
//! | `changes` | what a commit may say of lanes behind and of services |
//! | `streams` | reads and rebuilds |
//! | `admins` | what an administrator asked |
//! | `marks` | which situations were reached, so that a green run proves something |

mod admins;
mod audit;
mod changes;
mod completions;
mod connections;
mod deliveries;
mod judge;
mod log;
mod machine;
mod marks;
mod publishes;
mod streams;

pub use connections::Connection;
pub use deliveries::Delivery;
pub use judge::{Allowed, Speaker, judge};
pub use log::Log;
pub use machine::Model;
pub use marks::{Mark, Marks};
pub use streams::Stream;

/// A promise was broken: the rule's name and what was seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule} is broken: {what}")]
pub struct Broken {
    /// The rule's name, as in the list of promises where it has one.
    pub rule: &'static str,
    /// What was seen, with the values.
    pub what: String,
}

/// The judgement of one thing that was seen.
pub type Judged = Result<(), Broken>;

/// Returns [`Broken`] unless the condition holds.
macro_rules! must {
    ($condition:expr, $rule:literal, $($what:tt)+) => {
        if !$condition {
            return Err($crate::model::Broken { rule: $rule, what: format!($($what)+) });
        }
    };
}
use must;
