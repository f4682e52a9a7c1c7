//! A long random life of a store beside the model: every answer must be the model's.

use std::sync::Arc;

use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, InstanceName, Key, Position, ServiceName, Source, Version,
    WallTime,
    store::{
        Commit, Completion, Ended, LaneChange, LaneRecord, LookUp, Query, Read, Reader, ServiceRecord, Store,
        StoreError, Taken, service_key,
    },
};

use super::model::Model;

const KEYS: u64 = 12;
const TYPES: u64 = 6;
const SERVICES: u64 = 3;

/// Lives for so many steps.
pub(super) fn check(mut store: Box<dyn Store>, seed: u64, steps: usize) {
    let mut reader = store.reader().expect("it has readers");
    let mut life = Life { chance: Chance(seed), model: Model::default() };
    for step in 0..steps {
        let what = life.chance.below(20);
        let context = format!("step {step}");
        match what {
            0 => assert_eq!(store.recover(), Ok(life.model.recover()), "{context}"),
            1..=8 if life.model.term.0 > 0 => life.commit(&mut *store, &context),
            _ => {
                let reader: &mut dyn Reader = if what.is_multiple_of(2) { &mut *reader } else { &mut *store };
                life.ask(reader, &context);
            }
        }
    }
    assert!(life.model.events.len() > steps / 4, "a life without events compares nothing");
}

/// The same numbers for the same seed, on every machine.
struct Chance(u64);

impl Chance {
    /// A number below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % n
    }

    /// True once in `n` times.
    fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

struct Life {
    chance: Chance,
    model: Model,
}

impl Life {
    fn key(&mut self) -> Key {
        match self.chance.below(KEYS + 1) {
            KEYS => service_key(&self.service()),
            number => Key::of(format!("key-{number}")),
        }
    }

    fn event_type(&mut self) -> EventType {
        EventType::of(format!("Type{}", self.chance.below(TYPES)))
    }

    fn event_types(&mut self) -> Vec<EventType> {
        (0..self.chance.below(3)).map(|_| self.event_type()).collect()
    }

    fn service(&mut self) -> ServiceName {
        ServiceName::of(format!("service-{}", self.chance.below(SERVICES)))
    }

    fn id(&mut self) -> EventId {
        let number = self.chance.below(self.model.events.len() as u64 + 2);
        EventId::of(format!("event-{number}"))
    }

    fn correlation(&mut self) -> CorrelationId {
        CorrelationId::of(format!("correlation-{}", self.chance.below(8)))
    }

    fn source(&mut self) -> Source {
        Source::of(format!("source-{}", self.chance.below(4)))
    }

    /// A position within the log, or one behind it.
    fn position(&mut self) -> Position {
        Position(self.chance.below(self.model.end().0 + 2))
    }

    fn taken(&mut self) -> Vec<Taken> {
        let mut taken = Vec::new();
        for number in 0..TYPES {
            if self.chance.once_in(2) {
                let since = if self.chance.once_in(3) { self.position() } else { Position::ZERO };
                taken.push(Taken { event_type: EventType::of(format!("Type{number}")), since });
            }
        }
        taken
    }

    /// Commits something, right in most cases and broken in one place in the others.
    fn commit(&mut self, store: &mut dyn Store, context: &str) {
        let mut commit = self.draft();
        if self.chance.once_in(8) && self.break_one_rule(&mut commit) {
            let outcome = store.commit(&commit);
            assert!(
                matches!(outcome, Err(StoreError::Violation(_) | StoreError::Fenced { .. })),
                "{context}: a broken commit gave {outcome:?}"
            );
            return;
        }
        assert_eq!(store.commit(&commit), Ok(()), "{context}: {commit:?}");
        self.model.apply(&commit);
    }

    fn draft(&mut self) -> Commit {
        let mut after = self.model.clone();
        let mut commit = Commit { sequence: 1, term: self.model.term, ..Commit::default() };
        for _ in 0..self.chance.below(6) {
            let event = Arc::new(self.event(&after));
            after.events.push(Arc::clone(&event));
            commit.events.push(event);
        }
        for _ in 0..self.chance.below(5) {
            self.complete(&mut after, &mut commit);
        }
        if self.chance.once_in(10) {
            let service = ServiceRecord { name: self.service(), types: self.taken(), frontier: self.position() };
            after.services.insert(service.name.clone(), service.clone());
            commit.services.push(service);
        }
        if self.chance.once_in(4) {
            let name = self.service();
            if let Some(service) = after.services.get(&name) {
                let frontier = Position(service.frontier.0 + self.chance.below(4));
                commit.frontiers.push((name, frontier));
            }
        }
        for _ in 0..self.chance.below(3) {
            let (service, key) = (self.service(), self.key());
            commit.lanes.push(if self.chance.once_in(3) {
                LaneChange::Remove { service, key }
            } else {
                LaneChange::Put(LaneRecord {
                    service,
                    key,
                    next_version: Version(self.chance.below(9)),
                    failures: self.chance.below(9) as u32,
                    parked: self.chance.once_in(2).then(|| "it failed".to_owned()),
                })
            });
        }
        commit
    }

    fn event(&mut self, after: &Model) -> Event {
        let position = after.end().next();
        let (key, correlation) = (self.key(), self.correlation());
        Event {
            position,
            id: EventId::of(format!("event-{position}")),
            event_type: self.event_type(),
            version: after.version_of(&key).next(),
            key,
            causation: self.cause(after, &correlation),
            correlation,
            time: WallTime(self.chance.below(100)),
            source: self.source(),
            data: Data::of(&self.chance.below(1_000)),
            attributes: dacapo_core::Attributes::default(),
        }
    }

    /// An earlier event of the correlation, if the draw finds one.
    fn cause(&mut self, after: &Model, correlation: &CorrelationId) -> Option<EventId> {
        let number = self.chance.below(after.events.len() as u64 + 1) as usize;
        let cause = after.events[..number].iter().rfind(|event| event.correlation == *correlation);
        cause.map(|event| event.id.clone())
    }

    /// Ends an event that the service has not ended, if the draw finds one.
    fn complete(&mut self, after: &mut Model, commit: &mut Commit) {
        let service = self.service();
        let position = Position(self.chance.below(after.end().0 + 1));
        if position == Position::ZERO || after.is_ended(&service, position) {
            return;
        }
        let event = &after.events[position.0 as usize - 1];
        let produced = commit.events.iter().map(|event| event.position).filter(|_| self.chance.once_in(2)).collect();
        let is_skipped = self.chance.once_in(5);
        let completion = Completion {
            service,
            position,
            key: event.key.clone(),
            version: event.version,
            ended: if is_skipped { Ended::Skipped } else { Ended::Completed },
            instance: (!is_skipped).then(|| InstanceName::of(format!("instance-{}", self.chance.below(3)))),
            epoch: self.chance.below(5),
            attempt: self.chance.below(5) as u32,
            time: WallTime(self.chance.below(100)),
            produced,
        };
        after.completions.push(completion.clone());
        commit.completions.push(completion);
    }

    /// Breaks one rule; false if the draw found nothing to break.
    fn break_one_rule(&mut self, commit: &mut Commit) -> bool {
        let rule = self.chance.below(6);
        let other = commit.completions.first().cloned();
        let last = commit.events.last_mut().map(Arc::make_mut);
        match (rule, last, other) {
            (0, Some(event), _) if event.position.0 > 1 => event.id = EventId::of("event-1"),
            (1, Some(event), _) => event.version = event.version.next(),
            (2, Some(event), _) => event.position = event.position.next(),
            (3, _, Some(completion)) => commit.completions.push(completion),
            (4, ..) => commit.term.0 -= 1,
            (5, ..) => commit.term.0 += 1,
            _ => return false,
        }
        true
    }

    fn ask(&mut self, reader: &mut dyn Reader, context: &str) {
        match self.chance.below(4) {
            0 => {
                let look_up = self.look_up();
                assert_eq!(reader.look_up(&look_up), Ok(self.model.look_up(&look_up)), "{context}: {look_up:?}");
            }
            1 => {
                let query = self.query();
                assert_eq!(reader.query(&query), Ok(self.model.query(&query)), "{context}: {query:?}");
            }
            2 if self.chance.once_in(2) => {
                let positions: Vec<_> = (0..self.chance.below(6)).map(|_| self.position()).collect();
                let expected = self.model.completions_of(&positions);
                assert_eq!(reader.completions(&positions), Ok(expected), "{context}: {positions:?}");
                assert_eq!(reader.current_term(), Ok(self.model.term), "{context}");
            }
            _ => {
                let read = self.read();
                assert_eq!(reader.read(&read), Ok(self.model.read(&read)), "{context}: {read:?}");
            }
        }
    }

    fn look_up(&mut self) -> LookUp {
        LookUp {
            ids: (0..self.chance.below(4)).map(|_| self.id()).collect(),
            heads: (0..self.chance.below(4)).map(|_| self.key()).collect(),
            completions: (0..self.chance.below(6)).map(|_| (self.service(), self.position())).collect(),
        }
    }

    fn read(&mut self) -> Read {
        let limit = 1 + self.chance.below(40) as usize;
        let version = Version(self.chance.below(20));
        match self.chance.below(5) {
            0 => Read::Undone { service: self.service(), after: self.position(), types: self.taken(), limit },
            1 => Read::Lane {
                service: self.service(),
                key: self.key(),
                after: version,
                through: self.position(),
                types: self.taken(),
                limit,
            },
            2 => Read::Key { key: self.key(), after: version, types: self.event_types(), limit },
            3 => Read::Log { after: self.position(), types: self.event_types(), limit },
            _ => Read::Keys { after: self.chance.once_in(2).then(|| self.key()), limit },
        }
    }

    fn query(&mut self) -> Query {
        Query {
            cursor: self.chance.once_in(2).then(|| self.position()),
            key: self.chance.once_in(3).then(|| self.key()),
            types: self.event_types(),
            correlation: self.chance.once_in(4).then(|| self.correlation()),
            causation: self.chance.once_in(6).then(|| self.id()),
            source: self.chance.once_in(4).then(|| self.source()),
            id: self.chance.once_in(10).then(|| self.id()),
            from: self.chance.once_in(5).then(|| WallTime(self.chance.below(100))),
            until: self.chance.once_in(5).then(|| WallTime(self.chance.below(100))),
            newest_first: self.chance.once_in(2),
            limit: 1 + self.chance.below(30) as usize,
        }
    }
}
