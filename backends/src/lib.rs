//! The stores, and the server that runs the bus machine: everything of the bus that touches the world.

pub mod clock;
pub mod port;
pub mod recording;
pub mod server;
pub mod threaded;
