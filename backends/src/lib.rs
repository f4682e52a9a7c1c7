//! The outside of the bus: stores (memory, SQLite), and the axum server that drives the machine.

pub mod clock;
pub mod memory;
mod page;
pub mod port;
pub mod recording;
pub mod server;
pub mod sqlite;
pub mod threaded;
#[cfg(feature = "tls")]
pub mod tls;

pub use memory::MemoryStore;
pub use sqlite::{SqliteReader, SqliteStore, Standing};
