//! The bank's promises, told with the script's line that sent what broke them: a log says which service, and no more.

use dacapo_core::trace::Record;
use dacapo_properties::{Property, kinds::Kinds, property::Verdict};
use dacapo_service::lua::SentFrom;

use crate::properties::reading::{durable, named};

/// A promise, and who knows the lines.
pub(super) struct Told {
    pub(super) promise: Box<dyn Property>,
    pub(super) sent_from: SentFrom,
}

impl Property for Told {
    fn name(&self) -> &'static str {
        self.promise.name()
    }

    fn sentence(&self) -> &'static str {
        self.promise.sentence()
    }

    fn source(&self) -> &'static str {
        self.promise.source()
    }

    fn looks_at(&self) -> Kinds {
        self.promise.looks_at()
    }

    fn observe(&mut self, record: &Record) -> Verdict {
        self.promise.observe(record).map_err(|mut violation| {
            let events = durable(record).map_or(&[][..], |commit| &commit.events);
            // The event that is spoken of; where none is, nobody sent what is wrong.
            if let Some(event) = events.iter().find(|event| violation.message.contains(&named(event))) {
                violation.message = self.sent_from.told(event, violation.message);
            }
            violation
        })
    }

    fn finish(&mut self) -> Verdict {
        self.promise.finish()
    }

    fn checks(&self) -> u64 {
        self.promise.checks()
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        self.promise.sometimes()
    }
}
