//! How services fared with events: done, at which attempt and by whom; parked; still to do.
//!
//! It is told from completions and the list of lanes alone. A store does not know of deliveries that came to nothing; a
//! recorded run does, and adds them ([`crate::run`]), and so it does with conflicts.

use std::collections::BTreeMap;

use dacapo_core::{
    Event, InstanceName, Position, ServiceName, WallTime,
    store::{Completion, Ended, LaneRecord, ServiceRecord},
};

use crate::filter::{Fared, Status};

/// How one service fared with one event.
#[derive(Debug, Clone, PartialEq)]
pub struct Handling {
    /// The service.
    pub service: ServiceName,
    /// How it stands.
    pub state: State,
}

/// How a service stands with an event.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Handled.
    Completed {
        /// By whom.
        instance: Option<InstanceName>,
        /// Under which epoch of the lane.
        epoch: u64,
        /// At which attempt.
        attempt: u32,
        /// When.
        at: WallTime,
        /// The positions of what it produced.
        produced: Vec<Position>,
    },
    /// Passed over for ever.
    Skipped {
        /// When.
        at: WallTime,
    },
    /// Its lane is parked at it.
    Parked {
        /// After so many failures.
        failures: u32,
        /// Why.
        reason: String,
    },
    /// It waits behind an event of its key that is parked.
    Behind {
        /// Failures of its own lane's first event.
        failures: u32,
    },
    /// Taken, and not ended.
    Pending {
        /// How often its lane's first event failed.
        failures: u32,
    },
}

impl Handling {
    /// How a service stands with an event that it takes or has ended; `lane` is the event's, if it is on the list.
    pub fn of(
        service: &ServiceRecord,
        event: &Event,
        completion: Option<Completion>,
        lane: Option<&LaneRecord>,
    ) -> Self {
        let state = match completion {
            Some(done) if done.ended == Ended::Skipped => State::Skipped { at: done.time },
            Some(done) => State::Completed {
                instance: done.instance,
                epoch: done.epoch,
                attempt: done.attempt,
                at: done.time,
                produced: done.produced,
            },
            None => {
                let failures = lane.map_or(0, |lane| lane.failures);
                match lane.and_then(|lane| lane.parked.as_ref().map(|reason| (lane.next_version, reason))) {
                    Some((at, reason)) if event.version == at => State::Parked { failures, reason: reason.clone() },
                    Some((at, _)) if event.version > at => State::Behind { failures },
                    Some(_) => State::Pending { failures: 0 },
                    None => State::Pending { failures },
                }
            }
        };
        Self { service: service.name.clone(), state }
    }

    /// For the filter language.
    pub fn statuses(&self) -> &'static [Status] {
        match self.state {
            State::Completed { attempt, .. } if attempt > 1 => &[Status::Completed, Status::Redelivered],
            State::Completed { .. } => &[Status::Completed],
            State::Skipped { .. } => &[Status::Skipped],
            State::Parked { .. } => &[Status::Parked],
            State::Behind { .. } | State::Pending { .. } => &[Status::Pending],
        }
    }
}

/// How services fared with several events, by position.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fares {
    handlings: BTreeMap<Position, Vec<Handling>>,
    conflicts: BTreeMap<Position, u64>,
}

impl Fares {
    /// Notes an event's.
    pub fn put(&mut self, position: Position, handlings: Vec<Handling>) {
        if !handlings.is_empty() {
            self.handlings.insert(position, handlings);
        }
    }

    /// Of one event, by service.
    pub fn of(&self, position: Position) -> &[Handling] {
        self.handlings.get(&position).map_or(&[], Vec::as_slice)
    }

    /// Notes how often an event met a conflict.
    pub fn put_conflicts(&mut self, position: Position, times: u64) {
        if times > 0 {
            self.conflicts.insert(position, times);
        }
    }

    /// How often an event met a conflict, as far as a trace tells.
    pub fn conflicts(&self, position: Position) -> u64 {
        self.conflicts.get(&position).copied().unwrap_or(0)
    }

    /// As the filter language asks.
    pub fn fared(&self, position: Position) -> Fared {
        let of = self.of(position);
        Fared {
            services: of.iter().map(|handling| handling.service.to_string()).collect(),
            statuses: of
                .iter()
                .flat_map(Handling::statuses)
                .copied()
                .chain((self.conflicts(position) > 0).then_some(Status::Conflict))
                .collect(),
        }
    }
}
