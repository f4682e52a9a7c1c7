//! What must hold of services in Lua, besides the promises of the bus: what their scripts and their workload promise, and
//! that handlers are transactions without errors of their own.

use dacapo_properties::{Property, handlers};
use dacapo_service::lua::{LuaWatch, LuaWorkload, Script, SentFrom};

use super::intern;
use crate::simulation::{Always, promise};

/// All of them.
pub(super) fn of<'a>(
    workload: &LuaWorkload,
    sent_from: &SentFrom,
    watches: impl Iterator<Item = (&'a Script, &'a LuaWatch)>,
) -> Vec<Box<dyn Property>> {
    let mut all = handlers::properties();
    for name in workload.names() {
        let sentence = intern(&format!("{name}: the workload's own invariant holds of the log"));
        let sent_from = sent_from.clone();
        let judge = promise(intern(&name), sentence).events(workload.clone(), move |workload, event| {
            workload.observe(&name, event).map_err(|why| sent_from.told(event, why))
        });
        all.push(made(&judge));
    }
    for (script, watch) in watches {
        for name in watch.names() {
            let file = script.file();
            let sentence = intern(&format!("{name}: what {file} promises of its state holds of every value"));
            let sent_from = sent_from.clone();
            let judge = promise(intern(&name), sentence).events(watch.clone(), move |watch, event| {
                watch.observe(&name, event).map_err(|why| sent_from.told(event, why))
            });
            all.push(made(&judge));
        }
    }
    all
}

fn made(always: &Always) -> Box<dyn Property> {
    (always.0)()
}
