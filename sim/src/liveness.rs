//! When a healed run must be done, and whether it is.
//!
//! The log decides, as the store's wrapper saw it: every event is completed, skipped, in a parked lane, or behind a
//! parked event of its lane. No process is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dacapo_core::{
    event::Event,
    names::{EventType, Key, Position, ServiceName},
    store::{Commit, LaneChange},
};
use dacapo_service::driver::CONNECT_DEADLINE;

use crate::plan::Settings;

/// How long after the healing everything must be done, in microseconds:
///
/// * `connect`: an attempt to connect that began before the healing and whose packets were swallowed;
/// * `notice`: twice the heartbeat deadline until both ends of a dead connection know it, the grace, the longest wait
///   before a reconnect and the restart of a process, three times over, since a bus and an instance may each go through
///   it and a customer behind them once more;
/// * `deadline`: a delivery that a dead owner held, a request that a dead instance held and the customer's longest
///   wait, three attempts each;
/// * `failures`: for each possible failure of an event its back-off and a delivery deadline;
/// * `backlog`: for each event or operation that is not done, eight hops over the slowest link and two commits and reads.
///
/// A bound that is too large only makes a hanging run longer; one that is too small accuses the innocent.
pub fn bound_us(settings: &Settings, backlog: u64) -> u64 {
    let limits = &settings.limits;
    let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let notice =
        us(limits.heartbeat_deadline) * 2 + us(limits.grace) + settings.reconnect_max_us + settings.restart_us.1;
    let deadline = us(limits.delivery_deadline)
        + settings.request_deadline_us
        + settings.attempt_deadline_us
        + settings.retry_us * 8;
    let failures: u64 = (0..limits.failures_max)
        .map(|failure| us(limits.backoff_first).saturating_mul(1 << failure.min(20)).min(us(limits.backoff_max)))
        .sum::<u64>()
        + us(limits.delivery_deadline);
    let hop = settings.latency_us.1.max(settings.tick_us) + settings.tick_us;
    let each = hop * 8 + (settings.commit_us.1 + settings.read_us.1 + settings.tick_us) * 2;
    us(CONNECT_DEADLINE) + notice * 3 + deadline * 3 + failures + backlog * each
}

/// What the log says about who still has to do what.
#[derive(Debug, Clone, Default)]
pub struct LogProgress {
    position: Position,
    events: Vec<(EventType, Key)>,
    services: BTreeMap<ServiceName, Work>,
    may_be_skipped: BTreeSet<(ServiceName, EventType)>,
}

#[derive(Debug, Clone, Default)]
struct Work {
    types: BTreeMap<EventType, Position>,
    open: BTreeMap<Position, Key>,
    parked: BTreeSet<Key>,
    ended: BTreeSet<Position>,
}

impl Work {
    fn takes(&self, event_type: &EventType, position: Position) -> bool {
        self.types.get(event_type).is_some_and(|since| position > *since)
    }

    fn undone(&self) -> impl Iterator<Item = (&Position, &Key)> {
        self.open.iter().filter(|(_, key)| !self.parked.contains(*key))
    }
}

/// A parked lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedLane {
    /// Its service.
    pub service: ServiceName,
    /// Its key.
    pub key: Key,
    /// Its first event that is not done, if an administrator may pass that over.
    pub skippable: Option<Position>,
}

impl LogProgress {
    /// Of an empty log; these may be passed over.
    pub fn new(may_be_skipped: Vec<(ServiceName, EventType)>) -> Self {
        Self { may_be_skipped: may_be_skipped.into_iter().collect(), ..Self::default() }
    }

    /// Takes a durable commit.
    pub fn observe(&mut self, commit: &Commit) {
        for event in &commit.events {
            self.add(event);
        }
        for record in &commit.services {
            let work = self.services.entry(record.name.clone()).or_default();
            work.types = record.types.iter().map(|taken| (taken.event_type.clone(), taken.since)).collect();
            // Types may have been added with a past: look at the whole log again.
            work.open.clear();
            for (index, (event_type, key)) in self.events.iter().enumerate() {
                let position = Position(index as u64 + 1);
                if work.takes(event_type, position) && !work.ended.contains(&position) {
                    work.open.insert(position, key.clone());
                }
            }
        }
        for completion in &commit.completions {
            let work = self.services.entry(completion.service.clone()).or_default();
            work.open.remove(&completion.position);
            work.ended.insert(completion.position);
        }
        for change in &commit.lanes {
            match change {
                LaneChange::Put(lane) => {
                    let work = self.services.entry(lane.service.clone()).or_default();
                    if lane.parked.is_some() {
                        work.parked.insert(lane.key.clone())
                    } else {
                        work.parked.remove(&lane.key)
                    };
                }
                LaneChange::Remove { service, key } => {
                    self.services.entry(service.clone()).or_default().parked.remove(key);
                }
            }
        }
    }

    fn add(&mut self, event: &Event) {
        self.position = event.position;
        self.events.push((event.event_type.clone(), event.key.clone()));
        for work in self.services.values_mut() {
            if work.takes(&event.event_type, event.position) {
                work.open.insert(event.position, event.key.clone());
            }
        }
    }

    /// The end of the log.
    pub fn position(&self) -> Position {
        self.position
    }

    /// How many (service, event) pairs are not done.
    pub fn backlog(&self) -> u64 {
        self.services.values().map(|work| work.undone().count() as u64).sum()
    }

    /// The lanes that are parked.
    pub fn parked(&self) -> Vec<ParkedLane> {
        let of = |(service, work): (&ServiceName, &Work)| -> Vec<ParkedLane> {
            let lane = |key: &Key| ParkedLane {
                service: service.clone(),
                key: key.clone(),
                skippable: self.skippable(service, work, key),
            };
            work.parked.iter().map(lane).collect()
        };
        self.services.iter().flat_map(of).collect()
    }

    fn skippable(&self, service: &ServiceName, work: &Work, key: &Key) -> Option<Position> {
        let (first, _) = work.open.iter().find(|(_, of)| *of == key)?;
        let (event_type, _) = self.events.get(usize::try_from(first.0.checked_sub(1)?).ok()?)?;
        self.may_be_skipped.contains(&(service.clone(), event_type.clone())).then_some(*first)
    }

    /// Whether all of these services are registered and nothing is left to do, not even for an administrator.
    pub fn is_done(&self, services: &[ServiceName]) -> bool {
        services.iter().all(|service| self.services.contains_key(service))
            && self.services.values().all(|work| work.open.is_empty() && work.parked.is_empty())
    }

    /// What is not done, in a sentence, for at most `count` items.
    pub fn describe_undone(&self, count: usize) -> String {
        let undone = self.services.iter().flat_map(|(service, work)| {
            work.undone().map(move |(position, key)| format!("{service} has not ended event {position} of {key}"))
        });
        let mut sentences: Vec<String> = undone.take(count).collect();
        let parked = self.parked();
        if sentences.is_empty() && !parked.is_empty() {
            let ParkedLane { service, key, .. } = &parked[0];
            sentences.push(format!("the lane {key} of {service} is still parked, although it was retried"));
        }
        if sentences.is_empty() {
            sentences.push("a service never registered".to_owned());
        }
        sentences.join("; ")
    }
}
