//! The demonstration: users, accounts, transactions, and a workload of customers.
//!
//! | module | what lives there |
//! |---|---|
//! | [`users`] | creates users, takes their wishes for accounts, lists what they have |
//! | [`accounts`] | opens accounts, decides transfers, takes deposits and withdrawals |
//! | [`transactions`] | takes orders for transfers and tells what became of them |
//! | [`events`] | what stands in the log |
//! | [`money`], [`ids`], [`http`] | small checked values, and what requests are made of |
//! | [`scenario`] | the three services as something that a simulator can run, with customers |
//! | `lua` | the same services as scripts, and a fourth one that counts points (with the feature `lua`) |
//! | [`properties`] | what must hold of the bank, judged from the log and the trace alone |
//!
//! A transfer travels through the log like this, under one correlation:
//!
//! ```text
//! customer ── POST /transactions ──▶ PendingTransaction            on trans-7
//!                                        │  accounts decides on both balances
//!                                        ▼
//!                      AcceptedTransaction on trans-7  +  ConfirmedDebit on acc-a  +  ConfirmedCredit on acc-b
//!                  or  RejectedTransaction on trans-7
//! ```

pub mod accounts;
pub mod events;
#[cfg(test)]
mod fixtures;
pub mod http;
pub mod ids;
#[cfg(feature = "lua")]
pub mod lua;
pub mod money;
pub mod properties;
pub mod scenario;
pub mod transactions;
pub mod users;
mod workload;

pub use scenario::{Bank, bank};
