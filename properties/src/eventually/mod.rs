//! What must have come at the end, once the faults have stopped: liveness.
//!
//! Judged only of a run that healed; one that was stopped before owes nothing.

pub mod every_request_is_answered;
pub mod everything_is_done;

pub use every_request_is_answered::EveryRequestIsAnswered;
pub use everything_is_done::EverythingIsDone;
