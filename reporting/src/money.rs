//! Following money: where what came into an account went, or where what an account has came from.
//!
//! Forwards, the money in question leaves each account before any other money: what is told of a transfer is the most
//! that can be of it. Backwards, every transfer into an account before the moment in question may have brought it. Both
//! look at a bounded number of events and say where they stopped.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dacapo_core::{Event, Position, store::StoreError};

use crate::{
    declared::{Declared, Flow},
    log::Log,
};

/// Events that are looked at.
pub const EVENTS_MAX: usize = 3_000;
/// Events of one account that are looked at.
const PER_ACCOUNT: usize = 500;
/// Effects of one cause among which the transfer is looked for.
const SIBLINGS_MAX: usize = 64;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Where it went.
    Forwards,
    /// Where it came from.
    Backwards,
}

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The account.
    pub account: String,
    /// Not before this position (forwards), or not after it (backwards).
    pub at: Position,
    /// How much; none: everything.
    pub amount: Option<u64>,
}

/// A move of money.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// The event that moved it.
    pub event: Arc<Event>,
    /// What moved.
    pub flow: Flow,
    /// At most so much of it is the money in question; none if that is not known.
    pub traced: Option<u64>,
}

/// Where money went, or came from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trail {
    /// In order of position.
    pub moves: Vec<Move>,
    /// Not everything was looked at.
    pub gave_up: bool,
}

/// Follows it.
pub fn follow(log: &mut Log, declared: &Declared, start: &Start, way: Way) -> Result<Trail, StoreError> {
    let mut search = Search {
        log,
        declared,
        way,
        open: BTreeMap::new(),
        reached: BTreeSet::new(),
        traced: BTreeMap::new(),
        looked_at: 0,
        trail: Trail::default(),
    };
    search.reach(&start.account, start.at)?;
    if let Some(amount) = start.amount.filter(|_| way == Way::Forwards) {
        search.traced.insert(start.account.clone(), amount);
    }
    while let Some(((_, account), event)) = search.open.pop_first() {
        search.visit(&account, &event, start.amount.is_some())?;
    }
    let mut trail = search.trail;
    trail.moves.sort_by_key(|one| one.event.position);
    trail.moves.dedup_by_key(|one| one.event.position);
    Ok(trail)
}

struct Search<'a> {
    log: &'a mut Log,
    declared: &'a Declared,
    way: Way,
    /// What is still to be looked at, in the order of the way.
    open: BTreeMap<(u64, String), Arc<Event>>,
    reached: BTreeSet<String>,
    /// How much of the money in question an account holds.
    traced: BTreeMap<String, u64>,
    looked_at: usize,
    trail: Trail,
}

impl Search<'_> {
    /// Begins with an account's events on from a position.
    fn reach(&mut self, account: &str, at: Position) -> Result<(), StoreError> {
        if !self.reached.insert(account.to_owned()) {
            return Ok(());
        }
        let Some(key) = self.declared.key(account) else { return Ok(()) };
        let backwards = self.way == Way::Backwards;
        let (events, more) = self.log.on_key(&key, at, backwards, PER_ACCOUNT)?;
        self.looked_at += events.len();
        self.trail.gave_up |= more || self.looked_at > EVENTS_MAX;
        for event in events {
            let order = if backwards { u64::MAX - event.position.0 } else { event.position.0 };
            self.open.insert((order, account.to_owned()), event);
        }
        Ok(())
    }

    fn visit(&mut self, account: &str, event: &Arc<Event>, is_traced: bool) -> Result<(), StoreError> {
        let Some(change) = self.declared.change(event) else { return Ok(()) };
        let leaves = change < 0;
        if leaves != (self.way == Way::Forwards) {
            return Ok(());
        }
        let Some((moved, flow)) = self.moved(account, event)? else { return Ok(()) };
        let traced = (is_traced && self.way == Way::Forwards).then(|| {
            let held = self.traced.entry(account.to_owned()).or_default();
            let taken = flow.amount.min(*held);
            *held -= taken;
            taken
        });
        if traced == Some(0) {
            return Ok(());
        }
        let next = if leaves { flow.to.clone() } else { flow.from.clone() };
        if let Some(next) = next {
            if let Some(traced) = traced {
                *self.traced.entry(next.clone()).or_default() += traced;
            }
            if self.looked_at < EVENTS_MAX {
                self.reach(&next, event.position)?;
            } else {
                self.trail.gave_up |= !self.reached.contains(&next);
            }
        }
        self.trail.moves.push(Move { event: moved, flow, traced });
        Ok(())
    }

    /// The event that moved what changed an account: this one, or one that came of the same cause.
    fn moved(&mut self, account: &str, event: &Arc<Event>) -> Result<Option<(Arc<Event>, Flow)>, StoreError> {
        if let Some(flow) = self.declared.flow(event) {
            return Ok(Some((Arc::clone(event), flow)));
        }
        let Some(cause) = &event.causation else { return Ok(None) };
        let (siblings, _) = self.log.effects(cause, SIBLINGS_MAX)?;
        let amount = self.declared.change(event).map(i128::unsigned_abs);
        Ok(siblings.into_iter().find_map(|sibling| {
            let flow = self.declared.flow(&sibling)?;
            let is_party = [&flow.from, &flow.to].into_iter().flatten().any(|party| party == account);
            (is_party && Some(u128::from(flow.amount)) == amount).then_some((sibling, flow))
        }))
    }
}
