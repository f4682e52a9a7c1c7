//! The stores, and the server that runs the bus machine: everything of the bus that touches the world.

pub mod clock;
pub mod memory;
mod page;
pub mod port;
pub mod recording;
pub mod server;
pub mod sqlite;
pub mod threaded;

pub use memory::MemoryStore;
pub use sqlite::{SqliteReader, SqliteStore};
