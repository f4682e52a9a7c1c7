//! A backup in the hands of whoever restores it: put on a healthy disk as a store, opened, checked, read.

use std::sync::Arc;

use dacapo_backends::sqlite::{Options, SqliteReader};
use dacapo_core::{
    Event, Position,
    store::{Completion, Query, Reader as _, Recovered, Store as _, StoreError},
    trace::What,
};

use super::{Disk, FILE};

/// Everything that a restored backup holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Restored {
    pub(crate) recovered: Recovered,
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) completions: Vec<Completion>,
}

impl Restored {
    /// For the trace.
    pub(crate) fn into_record(self) -> What {
        let Self { recovered, events, completions } = self;
        What::Restored { recovered: Box::new(recovered), events, completions }
    }
}

/// Opens a copy as its owner would.
pub(crate) fn restore(copy: &[u8]) -> Result<Restored, StoreError> {
    let disk = Disk::restored(copy);
    let options = disk.told(&Options::default());
    let mut store = disk.open(&options)?;
    store.check()?;
    let chain = SqliteReader::open_read_only_with(FILE, &options)?.verify_chain(None)?;
    if let Some(altered) = chain.altered {
        return Err(StoreError::Damaged(format!("its chain breaks at position {}: {}", altered.position, altered.why)));
    }
    let recovered = store.recover()?;
    let mut events: Vec<Arc<Event>> = Vec::new();
    let mut cursor = None;
    loop {
        let answer = store.query(&Query { cursor, ..Query::default() })?;
        events.extend(answer.events);
        cursor = answer.next;
        if cursor.is_none() {
            break;
        }
    }
    let positions: Vec<Position> = events.iter().map(|event| event.position).collect();
    let completions = store.completions(&positions)?;
    // SQLite need not bring its log into the file when it is closed.
    disk.kill();
    Ok(Restored { recovered, events, completions })
}
