//! A store under test, and drafts of commits that follow its head, so that a case says only what matters to it.

use std::{collections::BTreeMap, sync::Arc};

use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, InstanceName, Key, Position, ServiceName, Source, Term, Version,
    WallTime,
    store::{
        Answer, Commit, Completion, Ended, Found, LookUp, Page, Query, Read, Recovered, ServiceRecord, Store,
        StoreError, Taken, Undone,
    },
};

/// A store that has recovered once, with what was committed to it.
pub(super) struct Fixture {
    pub(super) store: Box<dyn Store>,
    pub(super) term: Term,
    end: Position,
    heads: BTreeMap<Key, Version>,
}

impl Fixture {
    pub(super) fn new(mut store: Box<dyn Store>) -> Self {
        let Recovered { term, position, services, service_heads, lanes } =
            store.recover().expect("an empty store recovers");
        assert_eq!(position, Position::ZERO, "a store that was made for a case is empty");
        assert!(services.is_empty() && service_heads.is_empty() && lanes.is_empty(), "it knows no service");
        assert!(term > Term::ZERO, "terms begin behind 0");
        Self { store, term, end: Position::ZERO, heads: BTreeMap::new() }
    }

    /// An empty commit that follows what is committed.
    pub(super) fn draft(&self) -> Draft {
        let commit = Commit { sequence: 1, term: self.term, ..Commit::default() };
        Draft { end: self.end, heads: self.heads.clone(), commit }
    }

    /// Commits what must be accepted.
    pub(super) fn accept(&mut self, draft: Draft) {
        self.store.commit(&draft.commit).expect("the commit follows all rules");
        self.end = draft.end;
        self.heads = draft.heads;
    }

    /// Commits one event for each (key, type), all together, and returns them.
    pub(super) fn append(&mut self, events: &[(&str, &str)]) -> Vec<Arc<Event>> {
        let mut draft = self.draft();
        let events = events.iter().map(|(key, event_type)| draft.event(key, event_type)).collect();
        self.accept(draft);
        events
    }

    /// Commits what must be refused as a violation, and sees that nothing of it stays.
    pub(super) fn refuse(&mut self, draft: &Draft) {
        let before = self.everything();
        let error = self.store.commit(&draft.commit).expect_err("the commit breaks a rule");
        assert!(matches!(error, StoreError::Violation(_)), "it is a violation, not {error:?}");
        assert_eq!(self.everything(), before, "a refused commit leaves nothing behind");
    }

    /// What the store holds, as far as a reader can see.
    pub(super) fn everything(&mut self) -> (Vec<Arc<Event>>, Vec<Completion>, Page) {
        let events = self.query(&Query::default()).events;
        let positions: Vec<_> = events.iter().map(|event| event.position).collect();
        let completions = self.store.completions(&positions).expect("completions can be read");
        (events, completions, self.read(&Read::Keys { after: None, limit: 0 }))
    }

    pub(super) fn look_up(&mut self, look_up: &LookUp) -> Found {
        self.store.look_up(look_up).expect("a look-up is answered")
    }

    pub(super) fn read(&mut self, read: &Read) -> Page {
        self.store.read(read).expect("a read is answered")
    }

    pub(super) fn query(&mut self, query: &Query) -> Answer {
        self.store.query(query).expect("a query is answered")
    }
}

/// A commit that is being written.
#[derive(Clone)]
pub(super) struct Draft {
    end: Position,
    heads: BTreeMap<Key, Version>,
    pub(super) commit: Commit,
}

impl Draft {
    /// Adds the next event of a key.
    pub(super) fn event(&mut self, key: &str, event_type: &str) -> Arc<Event> {
        self.event_with(key, event_type, |_| ())
    }

    /// Adds the next event of a key, with a change.
    pub(super) fn event_with(&mut self, key: &str, event_type: &str, change: impl FnOnce(&mut Event)) -> Arc<Event> {
        self.end = self.end.next();
        let version = self.heads.entry(Key::of(key)).or_default();
        *version = version.next();
        let mut event = Event {
            position: self.end,
            id: EventId::of(format!("e-{}", self.end)),
            event_type: EventType::of(event_type),
            key: Key::of(key),
            version: *version,
            correlation: CorrelationId::of("c-1"),
            causation: None,
            time: WallTime(1_000 * self.end.0),
            source: Source::of("customer"),
            data: Data::of(&self.end.0),
            attributes: dacapo_core::Attributes::default(),
        };
        change(&mut event);
        let event = Arc::new(event);
        self.commit.events.push(Arc::clone(&event));
        event
    }

    /// Adds the record that a service is done with an event.
    pub(super) fn completion(&mut self, service: &str, event: &Event, produced: &[Position]) -> Completion {
        let completion = Completion {
            service: ServiceName::of(service),
            position: event.position,
            key: event.key.clone(),
            version: event.version,
            ended: Ended::Completed,
            instance: Some(InstanceName::of("one")),
            epoch: 1,
            attempt: 1,
            time: WallTime(7),
            produced: produced.to_vec(),
        };
        self.commit.completions.push(completion.clone());
        completion
    }
}

pub(super) fn types(names: &[&str]) -> Vec<EventType> {
    names.iter().map(|name| EventType::of(*name)).collect()
}

/// Types that a service takes, sorted, each with its `since`.
pub(super) fn taken(types: &[(&str, u64)]) -> Vec<Taken> {
    let taken = types.iter().map(|(name, since)| Taken { event_type: EventType::of(*name), since: Position(*since) });
    let mut taken: Vec<_> = taken.collect();
    taken.sort_unstable();
    taken
}

pub(super) fn service(name: &str, types: &[(&str, u64)], frontier: u64) -> ServiceRecord {
    ServiceRecord { name: ServiceName::of(name), types: taken(types), frontier: Position(frontier) }
}

pub(super) fn positions(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|event| event.position.0).collect()
}

/// Of an [`Page::Undone`]: (position, previous) of each event, `through`, `more`.
pub(super) fn undone(page: Page) -> (Vec<(u64, u64)>, u64, bool) {
    match page {
        Page::Undone { events, through, more } => {
            let pair = |Undone { event, previous }: &Undone| (event.position.0, previous.0);
            (events.iter().map(pair).collect(), through.0, more)
        }
        other => panic!("the page is not of undone events: {other:?}"),
    }
}
