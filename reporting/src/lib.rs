//! Looking instead of guessing: reads a store or a recorded run, and shows what caused what.
//!
//! It never talks to a bus, so that it works on a dead system as well, and it knows no simulator: a run is a directory
//! with an ordinary store, a trace file and a manifest. Nothing here ever writes to a store that it shows.
//!
//! | module | what lives there |
//! |---|---|
//! | [`log`] | reading a store, in bounded pieces |
//! | [`fared`] | how services fared with events |
//! | [`filter`] | the filter language: read, written, matched |
//! | [`graph`], [`tree`] | what caused what, what is wrong with it, how it folds; the same as text |
//! | [`layout`] | where the nodes of a picture stand |
//! | [`survey`] | totals and times over the newest events |
//! | [`declared`], [`money`] | what payloads mean: money and balances; following it |
//! | [`cast`], [`words`], [`calendar`] | how services, numbers and times look |
//! | [`draw`] | pictures |
//! | [`run`](mod@run) | recorded runs: manifest, trace, store; who knew what, which message arrived |
//! | [`page`] | pages |
//! | [`export`] | files that stand alone |
//! | [`ask`], [`site`], [`server`] | from an address to a page; its HTTP |

pub mod ask;
pub mod calendar;
pub mod cast;
pub mod declared;
pub mod draw;
pub mod export;
pub mod fared;
pub mod filter;
pub mod graph;
pub mod layout;
pub mod log;
pub mod money;
pub mod page;
pub mod run;
pub mod server;
pub mod site;
pub mod survey;
pub mod tree;
pub mod words;
