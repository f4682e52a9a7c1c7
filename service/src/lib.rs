//! Event-sourced services on Dacapo: what a service is, and the instance machine that runs one.
//!
//! A service is a [`Service`]: a fold (`apply`) and a decision (`handle`). The machine ([`Instance`]) does the rest:
//! it keeps the states of keys up to date, turns what a handler read into expectations and guards, runs a handler
//! again when the ground moved, answers HTTP requests idempotently, and survives the bus going away. It performs no IO;
//! [`driver`] runs it over tokio.

pub mod driver;
pub mod instance;
pub mod service;

pub use instance::{Context, Input, Instance, InstanceConfig, Machine, Output};
pub use service::{Contribution, HandlerFault, Interrupt, Method, Request, Response, Route, Service};
