//! The tokio driver: one loop that carries out what an instance machine wants and tells it what happened.
//!
//! Production and the simulator run this same code: connector, listener, clock, entropy and hooks come from outside. The
//! loop refuses two things: to decide anything (the machine does), and to end because the bus went away.
//!
//! Everything happens in one task, beside axum's own: nothing here blocks a thread, and on a paused single-threaded
//! runtime two runs of it are the same.

mod accept;
mod connect;
mod http;
mod points;
pub mod routing;
mod run;
mod socket;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;

pub use connect::{CONNECT_DEADLINE, Connect, TcpConnect};
pub use http::{HTTP_REQUESTS_MAX, POSITION_HEADER};
pub use points::{identity_of_request, point_of};
pub use run::{DriverError, run};
#[cfg(feature = "tls")]
pub use tls::{BusConnect, BusStream, TlsError, TlsRoots};
