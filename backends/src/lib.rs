//! The outside of the bus: stores (memory, SQLite), and the axum server that drives the machine.

pub mod memory;
mod page;
pub mod sqlite;

pub use memory::MemoryStore;
pub use sqlite::{SqliteReader, SqliteStore};
