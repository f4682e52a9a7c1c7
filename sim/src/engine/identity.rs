//! What a draw during a run is about.
//!
//! Positions of the log and numbers of commits are running counts: take one operation out of a plan, and all later ones
//! shift. So a commit is known by what it holds and a delivery by its event's id, both of which follow from operations
//! alone; what is drawn for them stays as it was, whatever else is taken out.

use dacapo_core::{digest::digest_of, hooks::Identity, store::Commit};

/// What a commit is about: its first event, else the first event that it completes, else what it says of services.
pub(crate) fn of_commit(commit: &Commit) -> u64 {
    let life = commit.term;
    if let Some(event) = commit.events.first() {
        return digest_of(0, &("event", life, event.id.as_str()));
    }
    if let Some(done) = commit.completions.first() {
        return digest_of(0, &("completion", life, &done.service, &done.key, done.version));
    }
    let services: Vec<&str> = commit.frontiers.iter().map(|(service, _)| service.as_str()).collect();
    digest_of(0, &("services", life, services, &commit.lanes))
}

/// The ids of the log's events, by position.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    /// Digests of the ids, the first position's first.
    events: Vec<u64>,
}

impl Identities {
    /// Takes a durable commit.
    pub(crate) fn observe(&mut self, commit: &Commit) {
        for event in &commit.events {
            let index = usize::try_from(event.position.0).unwrap_or(usize::MAX).saturating_sub(1);
            // A commit that was proved durable later, after a power cut, comes once more.
            self.events.truncate(index);
            if index == self.events.len() {
                self.events.push(digest_of(0, event.id.as_str()));
            }
        }
    }

    /// What a point is about, without running counts where the log can tell.
    pub(crate) fn of(&self, identity: Identity) -> (Identity, u32) {
        match identity {
            Identity::Delivery(position, attempt) => {
                let index = usize::try_from(position.0).unwrap_or(usize::MAX).checked_sub(1);
                match index.and_then(|index| self.events.get(index)) {
                    Some(event) => (Identity::Request(*event), attempt),
                    None => (identity, attempt),
                }
            }
            other => (other, 0),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use dacapo_core::{CorrelationId, Data, Event, EventId, EventType, Key, Position, Source, Term, Version, WallTime};

    use super::*;

    pub(crate) fn commit(sequence: u64, first: u64, ids: &[&str]) -> Commit {
        let event = |(position, id): (u64, &&str)| {
            Arc::new(Event {
                position: Position(position),
                id: EventId::of(*id),
                event_type: EventType::of("Added"),
                key: Key::of("tally-1"),
                version: Version(position),
                correlation: CorrelationId::of("c"),
                causation: None,
                time: WallTime(0),
                source: Source::of("tallies"),
                data: Data::null(),
                attributes: dacapo_core::Attributes::default(),
            })
        };
        Commit {
            sequence,
            term: Term(1),
            events: (first..).zip(ids).map(event).collect(),
            completions: Vec::new(),
            services: Vec::new(),
            frontiers: Vec::new(),
            lanes: Vec::new(),
        }
    }

    #[test]
    fn a_commit_is_known_by_what_it_holds_and_not_by_its_number() {
        assert_eq!(of_commit(&commit(3, 7, &["a", "b"])), of_commit(&commit(9, 20, &["a"])));
        assert_ne!(of_commit(&commit(3, 7, &["a"])), of_commit(&commit(3, 7, &["b"])));
    }

    #[test]
    fn a_delivery_is_known_by_its_event_wherever_that_is_in_the_log() {
        let (mut whole, mut without) = (Identities::default(), Identities::default());
        whole.observe(&commit(1, 1, &["a", "b"]));
        whole.observe(&commit(2, 3, &["c"]));
        without.observe(&commit(1, 1, &["b"]));
        without.observe(&commit(2, 2, &["c"]));
        let at = |identities: &Identities, position| identities.of(Identity::Delivery(Position(position), 2));
        assert_eq!(at(&whole, 2), at(&without, 1));
        assert_eq!(at(&whole, 3), at(&without, 2));
        assert_ne!(at(&whole, 2), at(&whole, 3));
        // What the log does not know keeps its name.
        assert_eq!(at(&without, 3).0, Identity::Delivery(Position(3), 2));
    }
}
