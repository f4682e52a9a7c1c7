//! What rebuild handlers made of the latest events.
//!
//! An instance meets each event of its own keys twice: it folds the key, and it follows the log. The handler is asked
//! once, as long as it found the same value both times and minded nothing but the event's key. Where the one way has run
//! further ahead than is remembered, both ask, and come to equal values that are not the same; from there on values are
//! compared, which costs far less than a call, until what was made once is shared again. Not in a simulation, where calls
//! are compared.

use std::{collections::VecDeque, sync::Arc};

use dacapo_core::Position;
use serde_json::Value;

/// Events that are remembered: the one way is ahead of the other by what is open on the lanes, and by what waits for them
/// after a burst. What gathers holds the values of as many events anyway.
const EVENTS_MAX: usize = 1_024;

type Found = Option<Arc<Value>>;

/// What a handler is known to have made of a value: another one, or nothing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct After(pub(super) Found);

/// The latest calls.
#[derive(Debug, Default)]
pub(super) struct Memo(VecDeque<Made>);

#[derive(Debug)]
struct Made {
    position: Position,
    before: Found,
    after: Found,
}

impl Memo {
    /// What an event's handler made of its key's value, if it was asked about this value.
    pub(super) fn after(&self, position: Position, before: Option<&Arc<Value>>) -> Option<After> {
        let is_same = |made: &Made| match (&made.before, before) {
            (Some(former), Some(before)) => Arc::ptr_eq(former, before) || former == before,
            (None, None) => true,
            _ => false,
        };
        let made = self.0.iter().rev().find(|made| made.position == position && is_same(made))?;
        Some(After(made.after.clone()))
    }

    pub(super) fn keep(&mut self, position: Position, before: Found, after: Found) {
        if self.0.len() == EVENTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Made { position, before, after });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_known_for_the_same_event_and_an_equal_value() {
        let mut memo = Memo::default();
        let (before, after) = (Arc::new(json!(1)), Arc::new(json!(2)));
        memo.keep(Position(7), Some(Arc::clone(&before)), Some(Arc::clone(&after)));
        assert_eq!(memo.after(Position(7), Some(&before)), Some(After(Some(Arc::clone(&after)))));
        assert_eq!(memo.after(Position(7), Some(&Arc::new(json!(1)))), Some(After(Some(after))));
        assert_eq!(memo.after(Position(8), Some(&before)), None);
        assert_eq!(memo.after(Position(7), None), None);
        assert_eq!(memo.after(Position(7), Some(&Arc::new(json!(1.0)))), None, "a float is another value");
    }

    #[test]
    fn only_the_latest_calls_are_remembered() {
        let mut memo = Memo::default();
        for position in 1..=EVENTS_MAX as u64 + 1 {
            memo.keep(Position(position), None, None);
        }
        assert_eq!(memo.after(Position(1), None), None);
        assert_eq!(memo.after(Position(2), None), Some(After(None)));
    }
}
