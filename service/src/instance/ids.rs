//! Where ids come from: nothing is drawn, everything is derived, so that whoever does the same thing again (after a
//! crash, at another instance) says the same id.
//!
//! Every derived id is `<service>-<32 hex digits>`, at most 97 bytes: a chain of causes does not make ids grow. The
//! digits are two digests of the same content with different seeds; 128 bits make an accidental meeting of two ids
//! less likely than a broken disk.

use std::hash::Hash;

use dacapo_core::{CorrelationId, EventId, Key, ServiceName, digest::digest_of};

use super::context::Emitted;
use crate::service::{Request, Response};

/// Two independent digests.
pub(super) type Wide = (u64, u64);

fn wide<T: Hash + ?Sized>(value: &T) -> Wide {
    (digest_of(0x0DAC_A901, value), digest_of(0x0DAC_A902, value))
}

fn hex((a, b): Wide) -> String {
    format!("{a:016x}{b:016x}")
}

/// The id of the event that the handling of `handled` produced at this place. Not of its content: a handling takes
/// effect once, so the same id can never stand for two contents in the log.
pub(super) fn produced(service: &ServiceName, handled: &EventId, ordinal: usize) -> EventId {
    EventId::of(format!("{service}-{}", hex(wide(&("produced", service, handled, ordinal)))))
}

/// What makes two requests the same: the idempotency key within its scope (service, method and route, caller).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asker {
    wide: Wide,
    /// The key on which the answer stands.
    pub(super) key: Key,
    /// Shared by all that comes of the request.
    pub(super) correlation: CorrelationId,
    /// Of the request's content: the same idempotency key with another content is a mistake.
    pub(super) hash: String,
}

impl Asker {
    /// None if the request has no idempotency key.
    pub(super) fn of(service: &ServiceName, request: &Request) -> Option<Self> {
        let idempotency_key = request.idempotency_key.as_ref()?;
        let wide_scope = wide(&("request", service, request.method, request.route, &request.caller, idempotency_key));
        let digits = hex(wide_scope);
        Some(Self {
            wide: wide_scope,
            key: Key::of(format!("request-{service}-{digits}")),
            correlation: CorrelationId::of(format!("{service}-{digits}")),
            hash: hex(wide(&("content", request.method, request.route, &request.parameters, &request.body))),
        })
    }

    /// The ids of a request's batch: `count` of them. They are derived from the whole batch and the answer, so that a
    /// run on fresher ground, or another instance's run, which decides otherwise has none of them in common with this
    /// one: a batch is wholly known or wholly new. That only one of the batches takes effect is the work of the answer
    /// on [`key`](Self::key), which must be that key's first event.
    pub(super) fn batch(
        &self,
        service: &ServiceName,
        emitted: &[Emitted],
        response: &Response,
        count: usize,
    ) -> Vec<EventId> {
        let content = wide(&(emitted, response));
        (0..count)
            .map(|ordinal| EventId::of(format!("{service}-{}", hex(wide(&("batch", self.wide, content, ordinal))))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_do_not_grow_and_do_not_meet() {
        let service = ServiceName::of("s".repeat(ServiceName::BYTES_MAX));
        let mut id = EventId::of("x".repeat(EventId::BYTES_MAX));
        let mut seen = std::collections::BTreeSet::new();
        for ordinal in 0..1_000 {
            id = produced(&service, &id, ordinal % 3);
            assert_eq!(id.as_str().len(), 97);
            assert!(seen.insert(id.clone()), "met again: {id}");
        }
    }
}
