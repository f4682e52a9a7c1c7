//! What must hold of services in Lua, besides the promises of the bus: what their scripts and their workload promise, and
//! that handlers are transactions without errors of their own.

use dacapo_core::trace::{Check, Record, What};
use dacapo_properties::{Property, Violation, kinds::Kinds, property::{Promise, Verdict}};
use dacapo_service::lua::{LuaWatch, LuaWorkload, Script};

use super::intern;
use crate::simulation::{Always, promise};

/// All of them.
pub(super) fn of<'a>(
    workload: &LuaWorkload,
    watches: impl Iterator<Item = (&'a Script, &'a LuaWatch)>,
) -> Vec<Box<dyn Property>> {
    let mut all: Vec<Box<dyn Property>> = vec![
        Box::new(Checked { promise: &TRANSACTIONS, check: Check::SecondCall, checks: 0 }),
        Box::new(Checked { promise: &ERRORS, check: Check::Errors, checks: 0 }),
    ];
    for name in workload.names() {
        let sentence = intern(&format!("{name}: the workload's own invariant holds of the log"));
        let judge = promise(intern(&name), sentence)
            .events(workload.clone(), move |workload, event| workload.observe(&name, event));
        all.push(made(&judge));
    }
    for (script, watch) in watches {
        for name in watch.names() {
            let file = script.file();
            let sentence = intern(&format!("{name}: what {file} promises of its state holds of every value"));
            let judge = promise(intern(&name), sentence)
                .events(watch.clone(), move |watch, event| watch.observe(&name, event));
            all.push(made(&judge));
        }
    }
    all
}

fn made(always: &Always) -> Box<dyn Property> {
    (always.0)()
}

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

/// Judges what was looked into.
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
            Some(flaw) => {
                let Promise { name, sentence, .. } = *self.promise;
                let message = format!("{}: {flaw}", record.node);
                Err(Box::new(Violation { property: name, sentence, step: record.step, message, steps: Vec::new() }))
            }
            None => Ok(()),
        }
    }

    fn checks(&self) -> u64 {
        self.checks
    }
}
