//! The instance machine: one process of a service, without IO.

use std::{fmt, sync::Arc, time::Duration};

use dacapo_core::{
    Event, EventType, InstanceName, Key, Now, Timestamp,
    planted::Planted,
    trace::What,
    wire::{FromBus, ToBus},
};
use serde::Serialize;

use crate::service::{HandlerFault, Interrupt, Request, Response, Service};

/// Judges, for a simulator, the k-th attempt at handling an event. Must be a pure function.
pub type HandlerFaults = Arc<dyn Fn(&Event, u32) -> Option<HandlerFault> + Send + Sync>;

/// How an instance is set up.
#[derive(Clone)]
pub struct InstanceConfig {
    /// Its name, unique within the service.
    pub name: InstanceName,
    /// This life of it, drawn anew at each start.
    pub incarnation: u64,
    /// Deliveries that may be open at once.
    pub credit: u32,
    /// States kept in memory; the least recently used are forgotten beyond.
    pub states_max: usize,
    /// Requests from outside at once; beyond it they are answered with 503.
    pub requests_max: usize,
    /// How long a request may wait for the bus before it is answered with 503 (its outcome is then unknown).
    pub request_deadline: Duration,
    /// The first wait before a reconnect; it doubles, with jitter, up to `reconnect_max`.
    pub reconnect_first: Duration,
    /// The longest wait before a reconnect.
    pub reconnect_max: Duration,
    /// Play the whole past at the start, instead of hydrating keys when they are needed.
    pub rebuild_at_start: bool,
    /// How often `reconcile` compares all keys' heads with the states in memory; none: never.
    pub reconcile_every: Option<Duration>,
    /// Whether to produce [`Output::Record`].
    pub record: bool,
    /// A planted bug, for the harness's own test.
    pub planted: Planted,
    /// Handler faults, for a simulator.
    pub handler_faults: Option<HandlerFaults>,
    /// For jitter.
    pub seed: u64,
}

impl fmt::Debug for InstanceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstanceConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What happened to an instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The process has started.
    Started,
    /// The connection that [`Output::Connect`] asked for is open.
    Connected,
    /// A frame came.
    Frame(FromBus),
    /// The connection could not be opened, or ended.
    Disconnected,
    /// A request came from outside.
    Request {
        /// Its number.
        id: u64,
        /// The request.
        request: Request,
    },
    /// Who asked went away.
    RequestGone {
        /// Its number.
        id: u64,
    },
    /// The process is asked to end: say `bye`, then [`Output::Exit`].
    Shutdown,
    /// The time of `poll_timeout` has come.
    Timeout,
}

/// What an instance wants done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Open a connection to the bus.
    Connect,
    /// Send a frame.
    Send(ToBus),
    /// Close the connection.
    Close,
    /// Answer a request.
    Respond {
        /// Its number.
        id: u64,
        /// The answer.
        response: Response,
    },
    /// A record for the trace; only if the configuration asks for them.
    Record(What),
    /// The process may end.
    Exit,
}

/// An instance of any service, as drivers and engines hold it.
pub trait Machine: Send {
    /// Takes one input. Drain [`poll_output`](Self::poll_output) afterwards.
    fn handle_input(&mut self, now: Now, input: Input);
    /// The next output, in order.
    fn poll_output(&mut self) -> Option<Output>;
    /// When [`Input::Timeout`] is due.
    fn poll_timeout(&self) -> Option<Timestamp>;
    /// The routes that [`Input::Request`] may name.
    fn routes(&self) -> Vec<crate::Route>;
    /// Panics if the machine has broken one of its own rules.
    fn check_invariants(&self);
    /// A digest of the state, without absolute time.
    fn digest(&self) -> u64;
    /// A copy, for engines that branch.
    fn boxed_clone(&self) -> Box<dyn Machine>;
}

/// One process of the service `S`.
pub struct Instance<S: Service> {
    service: S,
    config: InstanceConfig,
}

impl<S: Service> Instance<S> {
    /// An instance that has not started.
    pub fn new(service: S, config: InstanceConfig) -> Self {
        Self { service, config }
    }
}

/// What a handler or route may do.
pub struct Context<'a, State> {
    _state: std::marker::PhantomData<&'a State>,
}

impl<State> Context<'_, State> {
    /// The state of a key, as of a version that becomes an expectation (if the handler emits to the key) or a guard.
    pub fn state(&mut self, key: &Key) -> Result<&State, Interrupt> {
        Err(Interrupt::Missing(key.clone()))
    }

    /// What is gathered under a key: (source key, contribution as JSON text), by source key. Views carry no guard.
    pub fn view(&mut self, gather: &Key) -> Vec<(Key, String)> {
        let _ = gather;
        Vec::new()
    }

    /// Emits an event. If the key's state was read, the head must still be what it was; else any head will do.
    pub fn emit<T: Serialize + ?Sized>(&mut self, event_type: EventType, key: Key, data: &T) {
        let _ = (event_type, key, data);
    }

    /// Emits the first event of a key: the key must have none.
    pub fn emit_first<T: Serialize + ?Sized>(&mut self, event_type: EventType, key: Key, data: &T) {
        let _ = (event_type, key, data);
    }

    /// The planted bug of this run, if any.
    pub fn planted(&self) -> Planted {
        Planted::NONE
    }
}
