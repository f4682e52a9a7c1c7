//! What carries a plan out.
//!
//! There is one engine so far: [`turmoil`], the full stack over a simulated network. Fingerprints belong to an engine;
//! two engines never give the same one.

pub mod turmoil;
