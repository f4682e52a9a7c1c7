//! Which line of a script sent an event: for the story of a failure, where the log alone cannot tell.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use dacapo_core::{Data, Event, EventType, Key};

/// What an event says: its type, its key and its data.
type What = (String, String, String);

/// Lines by what they sent. Clones share what they know.
#[derive(Debug, Clone, Default)]
pub struct SentFrom(Arc<Mutex<BTreeMap<What, String>>>);

impl SentFrom {
    pub(super) fn note(&self, event_type: &EventType, key: &Key, data: &Data, line: String) {
        let what = (event_type.to_string(), key.to_string(), data.as_str().to_owned());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(what, line);
    }

    /// Forgets everything: another run begins.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What is said of an event, with the line that sent it.
    pub fn told(&self, event: &Event, what: String) -> String {
        let about = (event.event_type.to_string(), event.key.to_string(), event.data.as_str().to_owned());
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&about) {
            Some(line) => format!("{what}; sent at {line}"),
            None => what,
        }
    }
}
