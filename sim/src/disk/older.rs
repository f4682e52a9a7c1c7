//! Stores as Dacapos of former schemas left them, with something in them.
//!
//! What is in them nobody takes and nobody looks for, so that it stands beside whatever a run does; it has to be there at
//! the end all the same.

use std::{path::Path, sync::OnceLock};

use dacapo_backends::{
    SqliteStore,
    sqlite::{Options, former},
};
use dacapo_core::{
    Attributes, CorrelationId, Data, Event, EventId, EventType, InstanceName, Key, Position, ServiceName, Source, Term,
    Version, WallTime,
    store::{Commit, Completion, Ended, ServiceRecord, Store as _, StoreError, Taken},
};

use super::{Disk, FILE, Omissions};
use crate::engine::chance::Chance;

/// The newest schema that is a former one.
pub(crate) const NEWEST: i32 = former::SCHEMA - 1;

/// Events in such a file.
const EVENTS: u64 = 12;

/// Where the store is written that the older file is made of.
const LATER: &str = "later.db";

/// What is in it, as one commit of its bus.
pub(crate) fn content(term: Term) -> Commit {
    let heirs = ServiceName::of("heirs");
    let event_type = EventType::of("Inherited");
    let event = |position: u64| Event {
        position: Position(position),
        id: EventId::of(format!("heirloom-{position}")),
        event_type: event_type.clone(),
        key: Key::of(format!("heirloom-{}", position % 3)),
        version: Version(position.div_ceil(3)),
        correlation: CorrelationId::of(format!("estate-{}", position / 4)),
        causation: None,
        time: WallTime(1_700_000_000_000_000 + position),
        source: Source::of("attic"),
        data: Data::of(&position),
        attributes: Attributes::default(),
    };
    let events: Vec<Event> = (1..=EVENTS).map(event).collect();
    let done = |event: &Event| Completion {
        service: heirs.clone(),
        position: event.position,
        key: event.key.clone(),
        version: event.version,
        ended: Ended::Completed,
        instance: Some(InstanceName::of("heirs-0")),
        epoch: 1,
        attempt: 1,
        time: event.time,
        produced: Vec::new(),
    };
    Commit {
        sequence: 1,
        term,
        completions: events.iter().map(done).collect(),
        services: vec![ServiceRecord {
            name: heirs.clone(),
            types: vec![Taken { event_type: event_type.clone(), since: Position::ZERO }],
            frontier: Position(EVENTS),
        }],
        events: events.into_iter().map(Into::into).collect(),
        ..Commit::default()
    }
}

/// Files, with their names.
type Template = Vec<(String, Vec<u8>)>;

/// The files of a store of a former schema. The same for every run: making them costs as much as a few hundred events.
pub(super) fn files(schema: i32) -> &'static [(String, Vec<u8>)] {
    static TEMPLATES: [OnceLock<Template>; NEWEST as usize] = [const { OnceLock::new() }; NEWEST as usize];
    let template = usize::try_from(schema - 1).ok().and_then(|index| TEMPLATES.get(index));
    let template = template.unwrap_or_else(|| panic!("schema {schema} is no former one"));
    template.get_or_init(|| make(schema).unwrap_or_else(|error| panic!("a healthy disk takes a store: {error}")))
}

fn make(schema: i32) -> Result<Template, StoreError> {
    let disk = Disk::new(&Chance::new(0, None), Omissions::default());
    let options = disk.told(&Options::default());
    let mut store = SqliteStore::open_with(LATER, options.clone())?;
    let term = store.recover()?.term;
    store.commit(&content(term))?;
    former::write_as_of(schema, Path::new(LATER), Path::new(FILE), &options)?;
    drop(store);
    let mut files = disk.model().files();
    files.retain(|(name, _)| name.starts_with(FILE));
    Ok(files)
}
