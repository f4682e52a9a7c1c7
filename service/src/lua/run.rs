//! One call of a handler: what it may do, what it has used up, and what it leaves behind.
//!
//! A call changes nothing. Its writes and sends are gathered here and thrown away if it fails, lacks a state, or has to
//! run again. What differs from run to run is taken from the call's subject: the clock is the event's time, and chance is
//! drawn from its id; so the same call on the same ground does the same, whenever and wherever it is made.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dacapo_core::{CorrelationId, Data, EventType, Key, WallTime, digest::digest_of};
use serde_json::Value;

use crate::service::Interrupt;

/// What is being called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// Nothing.
    Idle,
    /// The script itself, which registers what it does.
    Loading,
    /// A listener or receipt listener: reads, writes and sends.
    Listening,
    /// A rebuild handler: reads and writes.
    Rebuilding,
    /// A route or a timer: reads, writes and sends.
    Answering,
    /// An invariant or workload: works with what it is given.
    Judging,
}

impl Doing {
    pub(super) fn may_send(self) -> bool {
        matches!(self, Self::Listening | Self::Answering)
    }
}

/// Why a call must end at once, whatever the script catches.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stop {
    /// A limit is reached; the sentence says which.
    Spent(String),
    /// The machine has something to do first.
    Interrupt(Interrupt),
    /// The script asks to be called later.
    Later(String),
}

/// A value that was written, or none if it was deleted, and the line that did so.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Written {
    pub(super) value: Option<Arc<Value>>,
    pub(super) line: String,
}

/// An event that was sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sent {
    pub(super) event_type: EventType,
    pub(super) key: Key,
    pub(super) implicit: bool,
    pub(super) correlation: Option<CorrelationId>,
    pub(super) data: Data,
    pub(super) line: String,
}

/// One call.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) doing: Doing,
    /// The handled event's correlation, in a listener.
    pub(super) correlation: Option<CorrelationId>,
    pub(super) writes: BTreeMap<String, Written>,
    pub(super) sends: Vec<Sent>,
    /// Keys that must still be as they were read.
    pub(super) guards: BTreeSet<Key>,
    /// Of the request that is answered.
    pub(super) idempotency_key: Option<String>,
    /// The answer of the last look at a state.
    pub(super) looked: Option<Arc<Value>>,
    pub(super) stop: Option<Stop>,
    pub(super) instructions: u64,
    /// Microseconds of the monotonic clock at which the call must have ended.
    pub(super) until_us: Option<u64>,
    random: u64,
    time: WallTime,
}

impl Run {
    pub(super) fn idle() -> Self {
        Self::new(Doing::Idle, 0, WallTime(0))
    }

    /// A call about something with this seed, at this time.
    pub(super) fn new(doing: Doing, seed: u64, time: WallTime) -> Self {
        Self {
            doing,
            correlation: None,
            writes: BTreeMap::new(),
            sends: Vec::new(),
            guards: BTreeSet::new(),
            idempotency_key: None,
            looked: None,
            stop: None,
            instructions: 0,
            until_us: None,
            random: seed,
            time,
        }
    }

    /// Whole seconds since 1970.
    pub(super) fn seconds(&self) -> i64 {
        (self.time.0 / 1_000_000) as i64
    }

    pub(super) fn seed_chance(&mut self, seed: u64) {
        self.random = seed;
    }

    /// The next number of this call's chance.
    pub(super) fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        digest_of(0, &self.random)
    }
}
