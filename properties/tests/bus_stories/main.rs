//! The bus's stories, each named as the fact that it shows: the rules one by one, and every limit reached.
//!
//! The bus runs over the reference model's log; what it asks is answered at once, unless a story holds the answers
//! back. The suite beside this one (`bus_against_model`) draws its stories by chance.

mod edges;
mod lanes;
mod limits;
mod publishing;
mod rebuilds;
mod why;
mod world;
