//! Who may do what: tokens, the rights that they carry, and judging what a connection sends by them.
//!
//! A token is a secret of 256 random bits. The bus knows its SHA-256 alone: against a secret that nobody can guess a slow
//! hash protects no better than a fast one, and a fast one may be asked at every connection. What is known of tokens is in
//! the log, as events of the bus on the key `$token/{name}`, and [`TokenBook`] is the fold of them: so making and revoking
//! are audited by themselves, survive whatever the log survives, and count from the moment at which they are durable.
//!
//! | module | what lives there |
//! |---|---|
//! | `glob` | patterns of names |
//! | `rights` | what a token allows |
//! | `secret` | a token's text, and its hash |
//! | `book` | the tokens that there are, from the log |
//! | `speaker` | whose connection it is, and whether it may send a frame |
//!
//! What this module refuses to do: draw secrets (it has no randomness), show one (`Debug` hides them), or decide anything
//! about events. Whoever drives the bus asks here before the machine hears of a frame.

mod book;
mod glob;
mod rights;
mod secret;
mod speaker;

pub use book::{Token, TokenBook, made, revoked, token_key};
pub use glob::Glob;
pub use rights::{PublishRight, RightError, Rights};
pub use secret::{Secret, SecretError, SecretHash};
pub use speaker::{Denied, Judgement, Speaker};
