//! The outside of the bus: stores (memory, SQLite), and the axum server that drives the machine.
