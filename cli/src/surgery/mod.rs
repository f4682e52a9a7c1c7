//! `shrink` and `blame`: what a failing plan comes down to, and where in its run failure became inevitable.
//!
//! Both take a seed, a bug of the bug base or the file of a plan, as `replay` does ([`subject`]), and tell a plan in
//! words ([`words`]).

pub(crate) mod arguments;
pub(crate) mod blame;
pub(crate) mod shrink;
pub(crate) mod subject;
pub(crate) mod words;
