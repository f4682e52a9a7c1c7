//! What the store in memory holds, and how a commit gets into it: checked whole, then applied whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dacapo_core::{
    Event, EventId, Key, Position, ServiceName, Term, Version,
    digest::digest_of,
    store::{Commit, Completion, KeyHead, LaneChange, LaneRecord, ServiceRecord, StoreError},
};

/// One key's events.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    pub(super) head: KeyHead,
    /// The position of version n at n - 1.
    pub(super) positions: Vec<Position>,
}

/// Everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pub(super) term: Term,
    /// Position p at p - 1.
    pub(super) events: Vec<Arc<Event>>,
    pub(super) ids: BTreeMap<EventId, Position>,
    pub(super) keys: BTreeMap<Key, Chain>,
    pub(super) completions: BTreeMap<(ServiceName, Position), Completion>,
    pub(super) services: BTreeMap<ServiceName, ServiceRecord>,
    pub(super) lanes: BTreeMap<(ServiceName, Key), LaneRecord>,
}

impl Log {
    /// A digest of everything; what follows from the events is left out.
    pub(super) fn digest(&self) -> u64 {
        let Self { term, events, ids: _, keys: _, completions, services, lanes } = self;
        digest_of(0, &(term, events, completions, services, lanes))
    }

    /// Where it ends.
    pub(super) fn end(&self) -> Position {
        Position(self.events.len() as u64)
    }

    /// The event at a position.
    pub(super) fn event(&self, position: Position) -> Option<&Arc<Event>> {
        let index = position.0.checked_sub(1)?;
        self.events.get(usize::try_from(index).ok()?)
    }

    /// Whether the commit may be applied. Nothing is changed.
    pub(super) fn check(&self, commit: &Commit) -> Result<(), StoreError> {
        if commit.term < self.term {
            return Err(StoreError::Fenced { mine: commit.term, current: self.term });
        }
        if commit.term > self.term {
            return violation(format!("term {} was never handed out, the newest is {}", commit.term, self.term));
        }
        self.check_events(&commit.events)?;
        self.check_completions(commit)?;
        self.check_frontiers(commit)
    }

    fn check_events(&self, events: &[Arc<Event>]) -> Result<(), StoreError> {
        let mut end = self.end();
        let mut ids = BTreeSet::new();
        let mut heads = BTreeMap::new();
        for event in events {
            let Event { position, id, key, version, .. } = &**event;
            end = end.next();
            if *position != end {
                return violation(format!("event {id} has position {position}, the next one is {end}"));
            }
            if self.ids.contains_key(id) || !ids.insert(id) {
                return violation(format!("event id {id} is in the log already"));
            }
            let head = heads.entry(key).or_insert_with(|| self.version_of(key));
            *head = head.next();
            if version != head {
                return violation(format!("event {id} has version {version} of {key}, the next one is {head}"));
            }
        }
        Ok(())
    }

    fn check_completions(&self, commit: &Commit) -> Result<(), StoreError> {
        let mut ended = BTreeSet::new();
        for Completion { service, position, key, version, .. } in &commit.completions {
            let event =
                self.event(*position).or_else(|| commit.events.iter().find(|event| event.position == *position));
            if !event.is_some_and(|event| event.key == *key && event.version == *version) {
                return violation(format!(
                    "{service} completes {key}@{version} at {position}, where it does not stand"
                ));
            }
            if self.completions.contains_key(&(service.clone(), *position)) || !ended.insert((service, position)) {
                return violation(format!("{service} has completed the event at {position} already"));
            }
        }
        Ok(())
    }

    fn check_frontiers(&self, commit: &Commit) -> Result<(), StoreError> {
        let mut frontiers: BTreeMap<_, _> =
            self.services.values().chain(&commit.services).map(|service| (&service.name, service.frontier)).collect();
        for (service, frontier) in &commit.frontiers {
            match frontiers.get_mut(service) {
                None => return violation(format!("{service} has a frontier, but is not registered")),
                Some(former) if *former > *frontier => {
                    return violation(format!("the frontier of {service} goes back from {former} to {frontier}"));
                }
                Some(former) => *former = *frontier,
            }
        }
        Ok(())
    }

    /// Applies a commit that was checked.
    pub(super) fn apply(&mut self, commit: &Commit) {
        for event in &commit.events {
            let chain = self.keys.entry(event.key.clone()).or_default();
            chain.head = std::mem::take(&mut chain.head).advanced(event);
            chain.positions.push(event.position);
            self.ids.insert(event.id.clone(), event.position);
            self.events.push(Arc::clone(event));
        }
        for completion in &commit.completions {
            self.completions.insert((completion.service.clone(), completion.position), completion.clone());
        }
        for service in &commit.services {
            self.services.insert(service.name.clone(), service.clone());
        }
        for (service, frontier) in &commit.frontiers {
            self.services.get_mut(service).expect("check_frontiers has seen it").frontier = *frontier;
        }
        for change in &commit.lanes {
            match change {
                LaneChange::Put(lane) => {
                    self.lanes.insert((lane.service.clone(), lane.key.clone()), lane.clone());
                }
                LaneChange::Remove { service, key } => {
                    self.lanes.remove(&(service.clone(), key.clone()));
                }
            }
        }
    }

    /// A key's latest version.
    pub(super) fn version_of(&self, key: &Key) -> Version {
        self.keys.get(key).map(|chain| chain.head.version).unwrap_or_default()
    }
}

fn violation(sentence: String) -> Result<(), StoreError> {
    Err(StoreError::Violation(sentence))
}
