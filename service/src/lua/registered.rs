//! What a script said that it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use dacapo_core::{EventType, ServiceName};
use mlua::Function;

use crate::service::Route;

/// A function of the script, and where it was registered.
#[derive(Debug, Clone)]
pub(super) struct Handler {
    pub(super) function: Function,
    /// `accounts.lua:12`
    pub(super) line: String,
}

/// What a script registered.
#[derive(Debug, Default)]
pub(super) struct Registered {
    pub(super) name: Option<ServiceName>,
    pub(super) listeners: BTreeMap<EventType, Handler>,
    pub(super) rebuilds: BTreeMap<EventType, Handler>,
    pub(super) receipts: BTreeMap<EventType, Handler>,
    pub(super) routes: Vec<(Route, Handler)>,
    pub(super) timers: BTreeMap<String, (Duration, Handler)>,
    pub(super) invariants: BTreeMap<String, Handler>,
    /// Of a workload: what customers do.
    pub(super) workload: Option<Handler>,
}

impl Registered {
    /// Whether it can do anything at all.
    pub(super) fn is_idle(&self) -> bool {
        self.listeners.is_empty()
            && self.rebuilds.is_empty()
            && self.receipts.is_empty()
            && self.routes.is_empty()
            && self.timers.is_empty()
    }

    /// The types that it takes, sorted.
    pub(super) fn types(&self) -> Vec<EventType> {
        let all: BTreeSet<&EventType> =
            self.listeners.keys().chain(self.rebuilds.keys()).chain(self.receipts.keys()).collect();
        all.into_iter().cloned().collect()
    }
}

/// A route's path outlives everything that holds it: there are as many as the scripts of a process name, ever.
pub(super) fn intern(path: &str) -> &'static str {
    static PATHS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut paths = PATHS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = paths.get(path) {
        return known;
    }
    let path: &'static str = Box::leak(path.to_owned().into_boxed_str());
    paths.insert(path);
    path
}
