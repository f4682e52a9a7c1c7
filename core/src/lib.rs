//! The bus of Dacapo as a state machine, and the words that every other room shares.
//!
//! Nothing in this crate performs IO, reads a clock or draws a random number: time is a parameter, and whatever
//! needs the outside is an output with an id, answered by a later input. That is why the bus that is deployed and
//! the bus that is simulated are the same code.
//!
//! | module | what lives there |
//! |---|---|
//! | [`names`] | ids, keys, types, versions, positions: small checked values |
//! | [`time`] | the monotonic clock and the wall clock, kept apart |
//! | [`event`] | events, expectations, guards, receipts |
//! | [`wire`] | the frames between an instance and the bus, and their JSON |
//! | [`store`] | what the bus asks of a store, and what it commits |
//! | [`bus`] | the machine itself |
//! | [`access`] | tokens, what they allow, and judging frames by them |
//! | [`sizes`] | which of its sizes a machine tells |
//! | [`narrate`] | records in words |
//! | [`trace`] | the records of a run, their codec and fingerprint |
//! | [`hashed`] | a value that records share and hash once |
//! | [`hooks`] | where a driver lets a simulator interfere |
//! | [`limits`] | every limit, with its reason |
//! | [`marks`] | the places of the machines that a campaign should reach |
//! | [`planted`] | the planted bugs with which the harness tests itself |

pub mod access;
pub mod bus;
pub mod digest;
pub mod event;
pub mod hashed;
pub mod hooks;
pub mod limits;
pub mod marks;
pub mod names;
pub mod narrate;
pub mod planted;
pub mod sizes;
pub mod store;
mod text;
pub mod time;
pub mod trace;
pub mod wire;

pub use event::{Data, Event, Expectation, Guard, NewEvent, Receipt, Refusal};
pub use limits::Limits;
pub use names::{
    CorrelationId, EventId, EventType, InstanceName, Key, NameError, NodeName, Position, ServiceName, Source, Term,
    TokenName, Version,
};
pub use time::{Now, Timestamp, WallTime};
