//! When two failures are the same.

use dacapo_properties::Violation;
use serde::{Deserialize, Serialize};

/// Panics are one property, and as many failures as there are places to panic at.
const NO_PANIC: &str = "no_panic";

/// What a smaller plan must still break: a property; of `no_panic`, at the same place with the same words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Failing {
    /// The property.
    pub property: String,
    /// Of a panic, its message without the numbers in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
}

impl Failing {
    /// What this violation breaks.
    pub fn of(violation: &Violation) -> Self {
        let class = (violation.property == NO_PANIC).then(|| class_of(&violation.message));
        Self { property: violation.property.to_owned(), class }
    }

    /// Whether this violation is the same failure.
    pub fn is(&self, violation: &Violation) -> bool {
        *self == Self::of(violation)
    }
}

/// The message of a panic begins with its place, on a line of its own; the numbers behind it (ids, versions, times)
/// differ from plan to plan.
fn class_of(message: &str) -> String {
    let (place, words) = message.split_once('\n').unwrap_or(("", message));
    let mut class = place.to_owned();
    let mut in_number = false;
    for character in words.lines().next().unwrap_or_default().chars() {
        let is_digit = character.is_ascii_digit();
        if !is_digit || !in_number {
            class.push(if is_digit { '#' } else { character });
        }
        in_number = is_digit;
    }
    class
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(property: &'static str, message: &str) -> Violation {
        Violation { property, sentence: "it holds", step: 3, message: message.to_owned(), steps: vec![] }
    }

    #[test]
    fn a_property_is_one_failure_whatever_its_message_says() {
        let failing = Failing::of(&violation("lane_order", "position 3 after 4"));
        assert!(failing.is(&violation("lane_order", "another story")));
        assert!(!failing.is(&violation("completes_once", "position 3 after 4")));
    }

    #[test]
    fn panics_differ_by_place_and_words_and_not_by_numbers() {
        let failing = Failing::of(&violation(NO_PANIC, "panicked at core/src/bus/feed.rs:12:5:\nlane 17 has 3 owners"));
        assert!(failing.is(&violation(NO_PANIC, "panicked at core/src/bus/feed.rs:12:5:\nlane 4 has 12 owners")));
        assert!(!failing.is(&violation(NO_PANIC, "panicked at core/src/bus/feed.rs:99:5:\nlane 4 has 12 owners")));
        assert!(!failing.is(&violation(NO_PANIC, "panicked at core/src/bus/feed.rs:12:5:\nlane 4 has no owner")));
    }
}
