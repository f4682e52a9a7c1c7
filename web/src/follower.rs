//! The service that feeds the books: a subscriber of the bus that takes no deliveries, follows the whole log in its order
//! and emits nothing.
//!
//! Connecting, coming back after the bus was away, and going on from the last position without a gap are the affair of
//! the instance machine, as for any service.

use std::sync::Arc;

use dacapo_core::{Event, EventType, Key, Position, ServiceName};
use dacapo_service::{Instance, InstanceConfig, Machine, Service};

use crate::{books::Books, ledger};

/// The service's name.
pub const NAME: &str = "web";

/// One life of the ledger, as a service.
#[derive(Debug, Clone)]
pub struct Follower {
    books: Arc<Books>,
    life: u64,
}

impl Follower {
    pub(crate) fn new(books: Arc<Books>, life: u64) -> Self {
        Self { books, life }
    }
}

impl Service for Follower {
    type State = ();

    fn name(&self) -> ServiceName {
        ServiceName::of(NAME)
    }

    fn types(&self) -> Vec<EventType> {
        Vec::new()
    }

    fn apply(&self, _: &Key, (): &mut (), _: &Event) {}

    fn view_types(&self) -> Vec<EventType> {
        ledger::types()
    }

    fn follow(&self, event: &Event) -> Option<u64> {
        self.books.take(self.life, event);
        None
    }

    fn caught_up(&self, _: Position) {
        self.books.caught_up(self.life);
    }
}

/// The machine of one life of the books; making it begins that life.
pub fn machine(books: &Arc<Books>, config: InstanceConfig) -> Box<dyn Machine> {
    Box::new(Instance::new(books.begin(), config))
}
