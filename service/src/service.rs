//! What a service is.

use std::{collections::BTreeMap, fmt, hash::Hash};

use dacapo_core::{Event, EventType, Key, NewEvent, Position, ServiceName, wire::Start};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use crate::instance::Context;

/// An event-sourced service: a fold over each key's events, and decisions taken on the folded states.
///
/// * `apply` is the only thing that changes a key's state: live, hydrating and rebuilding alike. It sees that key's
///   events alone and cannot fail.
/// * `handle` and `request` read states of any keys and emit events. They are pure until their completion is in the log
///   and may be run again; what they read becomes expectations and guards by itself.
pub trait Service: Clone + Send + Sync + 'static {
    /// The state of one key.
    type State: Clone + Default + fmt::Debug + Hash + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The service's name.
    fn name(&self) -> ServiceName;

    /// The version of its code: states folded by different code are not compared.
    fn code(&self) -> u32 {
        1
    }

    /// The types that it takes: those are delivered, and those are folded.
    fn types(&self) -> Vec<EventType>;

    /// Where it begins when it registers for the first time.
    fn start(&self) -> Start {
        Start::Beginning
    }

    /// Folds one event into its key's state.
    fn apply(&self, key: &Key, state: &mut Self::State, event: &Event);

    /// Handles a delivered event: reads states, emits events. An error is a nack.
    fn handle(&self, event: &Event, context: &mut Context<'_, Self::State>) -> Result<(), Interrupt> {
        let _ = (event, context);
        Ok(())
    }

    /// The types that feed the view; empty: the service has no view.
    fn view_types(&self) -> Vec<EventType> {
        Vec::new()
    }

    /// What an event contributes to the view: its key's contribution under a gathering key, replacing the former one.
    fn contribute(&self, event: &Event) -> Option<Contribution> {
        let _ = event;
        None
    }

    /// Takes an event of the view's types in the log's order, for a service that gathers by itself; what of it has changed,
    /// as a digest for the trace. Called once for each position after [`followed`](Self::followed), besides
    /// [`contribute`](Self::contribute).
    fn follow(&self, event: &Event) -> Option<u64> {
        let _ = event;
        None
    }

    /// Up to where the service has followed the log before this life began.
    fn followed(&self) -> Position {
        Position::ZERO
    }

    /// The view has met the present for the first time in this life: everything up to `position` was followed.
    fn caught_up(&self, position: Position) {
        let _ = position;
    }

    /// The completion of a handled event is committed.
    fn settled(&self, position: Position) {
        let _ = position;
    }

    /// The HTTP routes.
    fn routes(&self) -> Vec<Route> {
        Vec::new()
    }

    /// Answers a request on one of the routes: reads states and views, may emit events. The answer is sent when these
    /// are in the log. What is emitted beside a status of 400 or more is dropped: a refusal changes nothing.
    fn request(&self, request: &Request, context: &mut Context<'_, Self::State>) -> Result<Response, Interrupt> {
        let _ = (request, context);
        Ok(Response::error(404, "there is no such route"))
    }

    /// Whether the service hears of it when an event of this type that a request emitted was inconsistent. If not, the
    /// request is run again on fresher ground.
    fn hears_of(&self, event_type: &EventType) -> bool {
        let _ = event_type;
        false
    }

    /// Hears of it, and may emit something else. The request is answered with what its route returned, once, when that is
    /// in the log.
    fn inconsistent(
        &self,
        inconsistent: &Inconsistent<'_>,
        context: &mut Context<'_, Self::State>,
    ) -> Result<(), Interrupt> {
        let _ = (inconsistent, context);
        Ok(())
    }
}

/// What became of a request's events: the bus took none of them, since one met newer ground than it was decided on.
#[derive(Debug)]
pub struct Inconsistent<'a> {
    /// The request.
    pub request: &'a Request,
    /// What it emitted.
    pub events: &'a [NewEvent],
}

/// What one source key contributes to what is gathered under another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Contribution {
    /// Under which key it is gathered (a user); the source key is the event's (an account).
    pub gather: Key,
    /// The contribution as JSON text; it replaces the source key's former one.
    pub value: String,
}

/// Why a handler ended early. Hand it on with `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interrupt {
    /// A state is not at hand yet; the machine fetches it and runs the handler again.
    Missing(Key),
    /// A key's events are not at hand yet; the machine fetches them and runs the handler again.
    Unread(Key),
    /// The view is behind a state that was read with it; the machine waits for the view and runs the handler again.
    Behind,
    /// The handler failed. A delivery is nacked with this reason; a request is answered with 500.
    Failed(String),
}

/// What a simulator makes of a handler call; see [`InstanceConfig::handler_faults`](crate::InstanceConfig).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerFault {
    /// It fails with this reason.
    Fail(String),
}

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "they are HTTP's own")]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
}

/// A route of a service: `GET /accounts/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path; `{name}` stands for one segment.
    pub path: &'static str,
}

/// A request from outside, after routing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The route's path, as in [`Route`].
    pub route: &'static str,
    /// What stood in the `{…}` of the path, and the query's fields.
    pub parameters: BTreeMap<String, String>,
    /// The `Idempotency-Key` header: the request may be repeated with it, and takes effect once.
    /// Required of a request that emits events; its scope is (service, route, caller).
    pub idempotency_key: Option<String>,
    /// Who asks (the `Caller` header), for the scope of the idempotency key.
    pub caller: Option<String>,
    /// Read your writes: views must have seen this position of the log (the `Dacapo-Position` header).
    pub at_least: Option<Position>,
    /// The body.
    pub body: String,
}

impl Request {
    /// A parameter of the path or query, or the empty text.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// JSON.
    pub body: String,
    /// Where the events that the request emitted end in the log; the machine sets it. HTTP carries it as the
    /// `Dacapo-Position` header, which a later request may send to read its own writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

impl Response {
    /// An answer with a JSON body.
    pub fn json<T: Serialize + ?Sized>(status: u16, body: &T) -> Self {
        Self { status, body: dacapo_core::Data::of(body).as_str().to_owned(), position: None }
    }

    /// An error, as `{"error": sentence}`.
    pub fn error(status: u16, sentence: &str) -> Self {
        Self::json(status, &BTreeMap::from([("error", sentence)]))
    }
}
