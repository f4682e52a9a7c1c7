//! From what a run read and emitted to what the bus is asked: expectations, guards, and whether it fits a frame.

use std::collections::BTreeMap;

use dacapo_core::{
    EventId, Expectation, Guard, Key, NewEvent, Version, limits,
    planted::{Bug, Planted},
};

use super::context::{Emitted, Ran};

/// Everything around a payload in a frame: three names of at most 256 bytes, field names, numbers, escapes.
const AROUND_BYTES: usize = 2_048;

/// A batch that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(super) struct Batch {
    pub(super) events: Vec<NewEvent>,
    pub(super) guards: Vec<Guard>,
}

impl Batch {
    /// The batch of a run: an emitted event whose key was read expects the version that was read (and its followers on
    /// the same key the versions after it); a key that was read and not emitted to becomes a guard.
    pub(super) fn of(ran: &Ran, ids: impl IntoIterator<Item = EventId>, planted: Planted) -> Self {
        let mut reads = ran.reads.clone();
        if ran.unguarded {
            reads.retain(|key, _| ran.guarded.contains(key));
        }
        if planted.is(Bug::OverdraftUnguarded) {
            reads.clear();
        }
        let mut heads: BTreeMap<&Key, Version> = BTreeMap::new();
        let events = ran.emitted.iter().zip(ids).map(|(emitted, id)| {
            let head = heads.get(&emitted.key).copied().or_else(|| expected(emitted, &reads));
            if let Some(head) = head {
                heads.insert(&emitted.key, head.next());
            }
            NewEvent {
                id,
                event_type: emitted.event_type.clone(),
                key: emitted.key.clone(),
                expectation: head.map_or(Expectation::Any, Expectation::Version),
                correlation: emitted.as_said.as_ref().and_then(|(_, correlation)| correlation.clone()),
                causation: None,
                source: None,
                data: emitted.data.clone(),
                attributes: dacapo_core::Attributes::default(),
            }
        });
        let events: Vec<NewEvent> = events.collect();
        let only_read = |key: &Key| !ran.emitted.iter().any(|emitted| emitted.key == *key);
        let guards =
            reads.into_iter().filter(|(key, _)| only_read(key)).map(|(key, version)| Guard { key, version }).collect();
        Self { events, guards }
    }

    /// The batch, if a bus can take it at all: sending it otherwise would only cost the connection.
    pub(super) fn that_fits(self) -> Result<Self, String> {
        let (events, guards) = (self.events.len(), self.guards.len());
        if events > limits::BATCH_EVENTS_MAX {
            return Err(format!("{events} events are emitted, the limit is {}; emit fewer", limits::BATCH_EVENTS_MAX));
        }
        if guards > limits::BATCH_GUARDS_MAX {
            return Err(format!("{guards} states are read, the limit is {}; read fewer", limits::BATCH_GUARDS_MAX));
        }
        let bytes: usize = self.events.iter().map(|event| event.data.as_str().len() + AROUND_BYTES).sum();
        let bytes = bytes + (guards + 1) * AROUND_BYTES / 2;
        if bytes > limits::FRAME_BYTES_MAX {
            return Err(format!("the events need {bytes} bytes, the limit is {}; emit less", limits::FRAME_BYTES_MAX));
        }
        Ok(self)
    }

    /// Without any demand on the ground. Only the planted bug `retry-with-any` wants this.
    pub(super) fn loosened(mut self) -> Self {
        self.guards.clear();
        self.events.iter_mut().for_each(|event| event.expectation = Expectation::Any);
        self
    }
}

fn expected(emitted: &Emitted, reads: &BTreeMap<Key, Version>) -> Option<Version> {
    match emitted.as_said {
        Some((Expectation::Version(version), _)) => Some(version),
        Some((Expectation::Any, _)) => None,
        None if emitted.first => Some(Version::ZERO),
        None => reads.get(&emitted.key).copied(),
    }
}

#[cfg(test)]
mod tests {
    use dacapo_core::{Data, EventType};

    use super::*;

    fn emitted(key: &str, first: bool) -> Emitted {
        Emitted { event_type: EventType::of("T"), key: Key::of(key), data: Data::null(), first, as_said: None }
    }

    fn ids() -> impl Iterator<Item = EventId> {
        (0..).map(|ordinal: u32| EventId::of(format!("e-{ordinal}")))
    }

    #[test]
    fn what_was_read_becomes_expectations_and_guards() {
        let ran = Ran {
            reads: [(Key::of("read-and-written"), Version(4)), (Key::of("only-read"), Version(7))].into(),
            emitted: vec![
                emitted("read-and-written", false),
                emitted("unread", false),
                emitted("read-and-written", false),
                emitted("new", true),
                emitted("new", false),
            ],
            ..Ran::default()
        };
        let batch = Batch::of(&ran, ids(), Planted::NONE);
        let expectations: Vec<Expectation> = batch.events.iter().map(|event| event.expectation).collect();
        let version = |n| Expectation::Version(Version(n));
        assert_eq!(expectations, [version(4), Expectation::Any, version(5), version(0), version(1)]);
        assert_eq!(batch.guards, [Guard { key: Key::of("only-read"), version: Version(7) }]);
    }

    #[test]
    fn a_batch_that_no_bus_can_take_is_told_before_it_is_sent() {
        let check = |ran: &Ran| Batch::of(ran, ids(), Planted::NONE).that_fits().map(|_| ());
        let many = Ran { emitted: vec![emitted("k", false); limits::BATCH_EVENTS_MAX + 1], ..Ran::default() };
        assert!(check(&many).is_err_and(|sentence| sentence.contains("emit fewer")));
        let reads = (0..=limits::BATCH_GUARDS_MAX).map(|n| (Key::of(format!("k-{n}")), Version(1))).collect();
        assert!(check(&Ran { reads, ..Ran::default() }).is_err_and(|sentence| sentence.contains("read fewer")));
        let large = Emitted { data: Data::of(&"x".repeat(limits::FRAME_BYTES_MAX)), ..emitted("k", false) };
        assert!(check(&Ran { emitted: vec![large], ..Ran::default() }).is_err_and(|s| s.contains("emit less")));
        assert_eq!(check(&Ran { emitted: vec![emitted("k", false)], ..Ran::default() }), Ok(()));
    }
}
