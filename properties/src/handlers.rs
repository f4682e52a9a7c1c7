//! What is asked of handlers that are looked into ([`What::HandlerChecked`]): those in Lua, whose language promises nothing.

use dacapo_core::trace::{Check, Record, What};

use crate::{
    kinds::Kinds,
    property::{Promise, Property, Verdict},
};

const TRANSACTIONS: Promise = Promise {
    name: "handlers_are_transactions",
    sentence: "a handler that is called again on the same ground does the same: all that it changes is what it writes to \
               its state and what it sends",
    source: "docs/LUA.md, what a script must keep to",
};

const ERRORS: Promise = Promise {
    name: "handlers_do_not_fail",
    sentence: "no handler ends with an error of its own; one that must wait says so with bus:retry",
    source: "docs/LUA.md, what a script must keep to",
};

/// The promises of handlers. What a rebuild handler makes is judged by `rebuild_equals_live`.
pub fn properties() -> Vec<Box<dyn Property>> {
    vec![
        Box::new(Checked { promise: &TRANSACTIONS, check: Check::SecondCall, checks: 0 }),
        Box::new(Checked { promise: &ERRORS, check: Check::Errors, checks: 0 }),
    ]
}

/// Judges what was found.
struct Checked {
    promise: &'static Promise,
    check: Check,
    checks: u64,
}

impl Property for Checked {
    fn name(&self) -> &'static str {
        self.promise.name
    }

    fn sentence(&self) -> &'static str {
        self.promise.sentence
    }

    fn source(&self) -> &'static str {
        self.promise.source
    }

    fn looks_at(&self) -> Kinds {
        Kinds::CHECKED
    }

    fn observe(&mut self, record: &Record) -> Verdict {
        let What::HandlerChecked { check, flaw, .. } = &record.what else { return Ok(()) };
        if *check != self.check {
            return Ok(());
        }
        self.checks += 1;
        match flaw {
            Some(flaw) => self.promise.broken(record, format!("{}: {flaw}", record.node), &[]),
            None => Ok(()),
        }
    }

    fn checks(&self) -> u64 {
        self.checks
    }
}
