//! A survey of the newest events: totals, how long services take, what waits, what was slow, who talks to whom.
//!
//! It looks at a window of the log and says how large that is, so that it takes the same time and memory however long
//! the log has become. Where the whole log fits into the window, it is about the whole log.

use std::{collections::BTreeMap, sync::Arc};

use dacapo_backends::Standing;
use dacapo_core::{CorrelationId, Event, Position, store::StoreError};

use crate::{
    draw::map::Flows,
    fared::{Fares, State},
    log::Log,
};

/// Events of the window.
pub const WINDOW_EVENTS: usize = 5_000;

/// How services fared with one type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handled {
    /// How often it was completed.
    pub count: u64,
    /// From the event to its completion, in microseconds, sorted.
    pub took_us: Vec<u64>,
    /// Completions at a later attempt than the first.
    pub redelivered: u64,
    /// The largest attempt.
    pub attempts_max: u32,
    /// Passed over for ever.
    pub skipped: u64,
    /// Taken, and not ended.
    pub pending: u64,
    /// The lane is parked at it.
    pub parked: u64,
    /// What was emitted when it was heard, by type.
    pub emitted: BTreeMap<String, u64>,
}

impl Handled {
    /// The time that a share of the completions did not exceed, in thousandths.
    pub fn quantile_us(&self, permille: usize) -> Option<u64> {
        let last = self.took_us.len().checked_sub(1)?;
        self.took_us.get((last * permille).div_ceil(1_000)).copied()
    }
}

/// A correlation that took long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slow {
    /// Which.
    pub correlation: CorrelationId,
    /// From its first to its last event within the window, in microseconds.
    pub took_us: u64,
    /// Its events within the window.
    pub events: u64,
    /// The type of its first one.
    pub first: String,
}

/// What was seen.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Where the log ended.
    pub end: Position,
    /// How many events were looked at.
    pub looked_at: u64,
    /// Events by type.
    pub types: BTreeMap<String, u64>,
    /// Events by source.
    pub sources: BTreeMap<String, u64>,
    /// By service and type.
    pub handled: BTreeMap<(String, String), Handled>,
    /// The slowest correlations, slowest first.
    pub slow: Vec<Slow>,
    /// From sources to services that take their events.
    pub flows: Flows,
    /// The newest events, newest first.
    pub newest: Vec<Arc<Event>>,
    /// How services fared with the newest.
    pub fares: Fares,
}

/// Slow correlations that are told.
const SLOW_MAX: usize = 6;
/// Newest events that are told.
const NEWEST_MAX: usize = 14;

impl Survey {
    /// Looks at the newest events of a log.
    pub fn of(log: &mut Log, standing: &Standing) -> Result<Self, StoreError> {
        let events = log.newest(WINDOW_EVENTS)?;
        let fares = log.fares(&events, standing)?;
        let mut survey = Self {
            end: standing.end,
            looked_at: events.len() as u64,
            types: BTreeMap::new(),
            sources: BTreeMap::new(),
            handled: BTreeMap::new(),
            slow: slowest(&events),
            flows: Flows::new(),
            newest: events.iter().rev().take(NEWEST_MAX).cloned().collect(),
            fares: Fares::default(),
        };
        let type_at: BTreeMap<Position, String> =
            events.iter().map(|event| (event.position, event.event_type.to_string())).collect();
        for event in &events {
            *survey.types.entry(event.event_type.to_string()).or_default() += 1;
            *survey.sources.entry(event.source.to_string()).or_default() += 1;
            survey.take(event, &fares, &type_at);
        }
        for handled in survey.handled.values_mut() {
            handled.took_us.sort_unstable();
        }
        for event in &survey.newest {
            survey.fares.put(event.position, fares.of(event.position).to_vec());
            survey.fares.put_conflicts(event.position, fares.conflicts(event.position));
        }
        Ok(survey)
    }

    fn take(&mut self, event: &Event, fares: &Fares, type_at: &BTreeMap<Position, String>) {
        for handling in fares.of(event.position) {
            let service = handling.service.to_string();
            let event_type = event.event_type.to_string();
            let flow = self.flows.entry((event.source.to_string(), service.clone())).or_default();
            *flow.entry(event_type.clone()).or_default() += 1;
            let handled = self.handled.entry((service, event_type)).or_default();
            match &handling.state {
                State::Completed { attempt, at, produced, .. } => {
                    handled.count += 1;
                    handled.took_us.push(at.0.saturating_sub(event.time.0));
                    handled.redelivered += u64::from(*attempt > 1);
                    handled.attempts_max = handled.attempts_max.max(*attempt);
                    for position in produced {
                        if let Some(emitted) = type_at.get(position) {
                            *handled.emitted.entry(emitted.clone()).or_default() += 1;
                        }
                    }
                }
                State::Skipped { .. } => handled.skipped += 1,
                State::Parked { .. } => handled.parked += 1,
                State::Behind { .. } | State::Pending { .. } => handled.pending += 1,
            }
        }
    }

    /// Whether the window is the whole log.
    pub fn is_whole(&self) -> bool {
        self.looked_at == self.end.0
    }

    /// Sums of a service over all types that it takes.
    pub fn of_service(&self, service: &str) -> Handled {
        let mut sum = Handled::default();
        for handled in self.handled.iter().filter(|((name, _), _)| name == service).map(|(_, handled)| handled) {
            sum.count += handled.count;
            sum.redelivered += handled.redelivered;
            sum.skipped += handled.skipped;
            sum.pending += handled.pending;
            sum.parked += handled.parked;
            sum.attempts_max = sum.attempts_max.max(handled.attempts_max);
            sum.took_us.extend(&handled.took_us);
        }
        sum.took_us.sort_unstable();
        sum
    }
}

fn slowest(events: &[Arc<Event>]) -> Vec<Slow> {
    let mut by_correlation: BTreeMap<&CorrelationId, (u64, u64, u64, &Event)> = BTreeMap::new();
    for event in events {
        let (first, last, number, _) =
            by_correlation.entry(&event.correlation).or_insert((event.time.0, event.time.0, 0, event));
        *first = (*first).min(event.time.0);
        *last = (*last).max(event.time.0);
        *number += 1;
    }
    let mut slow: Vec<Slow> = by_correlation
        .into_iter()
        .filter(|(_, (first, last, ..))| last > first)
        .map(|(correlation, (first, last, events, event))| Slow {
            correlation: correlation.clone(),
            took_us: last - first,
            events,
            first: event.event_type.to_string(),
        })
        .collect();
    slow.sort_by(|a, b| b.took_us.cmp(&a.took_us).then_with(|| a.correlation.cmp(&b.correlation)));
    slow.truncate(SLOW_MAX);
    slow
}
