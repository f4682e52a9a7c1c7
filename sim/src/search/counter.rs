//! The smallest service that does what services do: a request reads a state and emits, and what it emitted is handled.

use dacapo_core::{Event, EventType, Key, ServiceName};
use dacapo_service::{Context, Interrupt, Method, Request, Response, Route, Service};

/// The one route.
const ROUTE: Route = Route { method: Method::Post, path: "/count/{key}" };

/// What a request emits.
pub(super) const COUNTED: &str = "Counted";

/// Counts the requests of each key, and tallies them all on one.
#[derive(Debug, Clone)]
pub(super) struct Counter;

impl Service for Counter {
    type State = u64;

    fn name(&self) -> ServiceName {
        super::peers::service_name()
    }

    fn types(&self) -> Vec<EventType> {
        vec![EventType::of(COUNTED)]
    }

    fn apply(&self, _key: &Key, count: &mut u64, _event: &Event) {
        *count += 1;
    }

    fn handle(&self, event: &Event, context: &mut Context<'_, u64>) -> Result<(), Interrupt> {
        context.emit(EventType::of("Tallied"), Key::of("tally"), &event.version);
        Ok(())
    }

    fn routes(&self) -> Vec<Route> {
        vec![ROUTE]
    }

    fn request(&self, request: &Request, context: &mut Context<'_, u64>) -> Result<Response, Interrupt> {
        let key = Key::of(request.parameter("key"));
        let count = *context.state(&key)?;
        context.emit(EventType::of(COUNTED), key, &count);
        Ok(Response::json(201, &(count + 1)))
    }
}

/// The n-th request, from 0.
pub(super) fn request(key: &Key, index: usize) -> Request {
    Request {
        method: ROUTE.method,
        route: ROUTE.path,
        parameters: [("key".to_owned(), key.to_string())].into(),
        idempotency_key: Some(format!("op-{index}")),
        caller: None,
        at_least: None,
        body: String::new(),
    }
}
