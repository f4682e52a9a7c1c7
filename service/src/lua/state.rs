//! What a script keeps under one key: the fold of its rebuild handlers over that key's events.
//!
//! A listener often folds its own event and decides on the result (`balance = balance - pence`, `if balance < 100 …`). So
//! it is shown the key's state with every event but its own in it. Where the fold has run ahead of the lane, that takes
//! the values from before: the latest steps are kept for it.

use std::{
    collections::VecDeque,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use dacapo_core::{Event, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How many steps are kept: the fold runs ahead by what is open on a key, which is rarely more than a few.
pub const STEPS_MAX: usize = 64;

/// A fold's step: the event, and what there was before it.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) event: Arc<Event>,
    pub(super) before: Option<Arc<Value>>,
}

/// The state of one key.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct LuaState {
    pub(super) value: Option<Arc<Value>>,
    /// Why the state cannot be used: a rebuild handler failed.
    pub(super) broken: Option<Arc<str>>,
    /// The latest steps, oldest first. They are no part of the state: how it was reached makes no difference to it.
    #[serde(skip)]
    steps: VecDeque<Step>,
}

impl LuaState {
    /// What the script would read.
    pub fn value(&self) -> Option<&Value> {
        self.value.as_deref()
    }

    /// Takes a step. It is kept if somebody may ask for what there was before it, or before an earlier one: each kept step
    /// holds a whole value.
    pub(super) fn step(&mut self, event: &Event, after: Option<Arc<Value>>, is_asked_for: bool) {
        let before = std::mem::replace(&mut self.value, after);
        if !is_asked_for && self.steps.is_empty() {
            return;
        }
        if self.steps.len() == STEPS_MAX {
            self.steps.pop_front();
        }
        self.steps.push_back(Step { event: Arc::new(event.clone()), before });
    }

    /// What there was before this version's event, and the events that were folded after it; none if it changed nothing,
    /// or is too long ago to be told.
    pub(super) fn without(&self, version: Version) -> Option<(Option<Arc<Value>>, impl Iterator<Item = &Arc<Event>>)> {
        let place = self.steps.iter().rposition(|step| step.event.version == version)?;
        let later = self.steps.range(place + 1..).map(|step| &step.event);
        Some((self.steps[place].before.clone(), later))
    }
}

impl LuaState {
    /// Whether so many steps were taken since this version that what there was before it is not kept any more.
    pub(super) fn has_forgotten(&self, version: Version) -> bool {
        self.steps.len() == STEPS_MAX && self.steps.front().is_some_and(|oldest| version < oldest.event.version)
    }
}

impl Hash for LuaState {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.value, &self.broken).hash(state);
    }
}

impl fmt::Debug for LuaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.broken, &self.value) {
            (Some(why), _) => write!(f, "broken: {why}"),
            (None, Some(value)) => write!(f, "{value}"),
            (None, None) => f.write_str("nothing"),
        }
    }
}
