//! How an instance is set up. Only numbers and switches: nothing here acts.

use std::{fmt, sync::Arc, time::Duration};

use dacapo_core::{Event, InstanceName, access::Secret, planted::Planted};

use crate::service::HandlerFault;

/// Judges, for a simulator, the k-th attempt at handling an event. Must be a pure function.
pub type HandlerFaults = Arc<dyn Fn(&Event, u32) -> Option<HandlerFault> + Send + Sync>;

/// How an instance is set up.
#[derive(Clone)]
pub struct InstanceConfig {
    /// Its name, unique within the service.
    pub name: InstanceName,
    /// This life of it, drawn anew at each start.
    pub incarnation: u64,
    /// The token that it shows, where the bus demands one.
    pub bearer: Option<Secret>,
    /// Deliveries that may be open at once.
    pub credit: u32,
    /// States kept in memory; the least recently used are forgotten beyond.
    pub states_max: usize,
    /// How long a state that was compared with the bus may answer a request without being compared again. Zero: every
    /// answer asks the bus, so that it is at least as new as the request. What a request or a handler *emits* never
    /// depends on it, since expectations and guards protect that.
    pub state_fresh_for: Duration,
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
    /// Whether to produce [`Output::Record`](crate::Output::Record).
    pub record: bool,
    /// A planted bug, for the harness's own test.
    pub planted: Planted,
    /// Handler faults, for a simulator.
    pub handler_faults: Option<HandlerFaults>,
    /// For jitter.
    pub seed: u64,
}

impl InstanceConfig {
    /// What a production instance starts from; change single fields with `InstanceConfig { credit: 8, ..new(…) }`.
    pub fn new(name: InstanceName, incarnation: u64) -> Self {
        Self {
            name,
            incarnation,
            bearer: None,
            credit: 64,
            states_max: 65_536,
            state_fresh_for: Duration::ZERO,
            requests_max: 1_024,
            request_deadline: Duration::from_secs(10),
            reconnect_first: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(5),
            rebuild_at_start: false,
            reconcile_every: Some(Duration::from_secs(60)),
            record: false,
            planted: Planted::NONE,
            handler_faults: None,
            seed: incarnation,
        }
    }
}

impl fmt::Debug for InstanceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstanceConfig").field("name", &self.name).finish_non_exhaustive()
    }
}
