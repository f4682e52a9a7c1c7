//! The bank's web page: a backend for the frontend, and the page itself.
//!
//! | module | what lives there |
//! |---|---|
//! | [`ledger`] | what people see of the bank: a fold over the whole log, and the news of each user |
//! | [`books`] | that fold in the hands of many: lives, waiting, catching up |
//! | [`follower`] | the service that feeds it: a subscriber of the bus that handles nothing |
//! | [`doors`] | requests to the bank's services, repeated until their outcome is known |
//! | `statement` | the part of a statement that the ledger does not keep, read from the log |
//! | [`teller`] | what a user asks for, from a form's fields to an [`Outcome`] |
//! | [`vault`] | names, passwords and sessions, in a file of their own |
//! | [`limiter`] | how often somebody may knock |
//! | [`site`] | routes, cookies, the live channel |
//! | [`page`] | HTML, one stylesheet, one module of script |
//! | [`weather`] | what a demo with faults tells people who look on |
//!
//! It decides nothing about money. What it shows, it has followed from the log; what it is asked for, it hands to the
//! services under an idempotency key, and says what became of it. Passwords and sessions are not facts of the bank: they
//! never enter the log.

pub mod books;
pub mod doors;
pub mod follower;
pub mod ledger;
pub mod limiter;
pub mod outcome;
pub mod page;
mod secrets;
pub mod site;
mod statement;
pub mod teller;
pub mod vault;
pub mod weather;

pub use books::Books;
pub use outcome::Outcome;
pub use site::{Site, SiteConfig};
