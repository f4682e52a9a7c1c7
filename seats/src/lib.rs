//! An example: selling the seats of a hall, each once.
//!
//! The README beside this crate tells the story; the test in `tests/simulation/` is what it is about.
//!
//! | module | what lives there |
//! |---|---|
//! | [`seat`] | what can happen to a seat, and what it is afterwards |
//! | [`seats`] | holds, sells and takes back seats, and draws the plan of the hall |
//! | [`payments`] | takes the money for what was sold, and gives it back |

pub mod payments;
pub mod seat;
pub mod seats;

pub use payments::Payments;
pub use seat::Seat;
pub use seats::Seats;
