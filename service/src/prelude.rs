//! What a file that holds a service begins with: `use dacapo_service::prelude::*`.
//!
//! Only what the [`Service`] trait names, so that a glob brings no surprises. What runs a service is in [`crate::driver`].

pub use dacapo_core::{Data, Event, EventType, Key, Position, ServiceName, Version};

pub use crate::{Context, Contribution, Interrupt, Method, Request, Response, Route, Service};
