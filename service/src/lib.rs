//! Event-sourced services on Dacapo: what a service is, and the instance machine that runs one.
//!
//! A service is a [`Service`]: a fold (`apply`) and a decision (`handle`). The machine ([`Instance`]) does the rest:
//! it keeps the states of keys up to date, turns what a handler read into expectations and guards, runs a handler
//! again when the ground moved, answers HTTP requests idempotently, and survives the bus going away. It performs no IO;
//! [`driver`] runs it over tokio.
//!
//! ```
//! use dacapo_service::prelude::*;
//!
//! /// Thanks whoever gives, at most three times.
//! #[derive(Clone)]
//! struct Thanks;
//!
//! impl Service for Thanks {
//!     /// How often the key's owner was thanked.
//!     type State = u32;
//!
//!     fn name(&self) -> ServiceName {
//!         ServiceName::of("thanks")
//!     }
//!
//!     fn types(&self) -> Vec<EventType> {
//!         vec![EventType::of("Given"), EventType::of("Thanked")]
//!     }
//!
//!     fn apply(&self, _key: &Key, thanked: &mut u32, event: &Event) {
//!         *thanked += u32::from(event.event_type.as_str() == "Thanked");
//!     }
//!
//!     fn handle(&self, event: &Event, context: &mut Context<'_, u32>) -> Result<(), Interrupt> {
//!         // What is read here must still hold when the completion is committed, or the handler runs again.
//!         if event.event_type.as_str() == "Given" && *context.state(&event.key)? < 3 {
//!             context.emit(EventType::of("Thanked"), event.key.clone(), "thank you");
//!         }
//!         Ok(())
//!     }
//! }
//! ```

pub mod driver;
pub mod instance;
#[cfg(feature = "lua")]
pub mod lua;
pub mod prelude;
pub mod service;

pub use dacapo_core::{Data, Event, EventType, Key, Position, ServiceName, Version};
pub use instance::{Context, Input, Instance, InstanceConfig, Machine, Output};
pub use service::{Contribution, HandlerFault, Inconsistent, Interrupt, Method, Request, Response, Route, Service};
