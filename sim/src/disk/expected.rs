//! What must be in a store, told by plain maps.

use std::{collections::BTreeMap, sync::Arc};

use dacapo_core::{
    CorrelationId, Event, Key, Position, ServiceName, Version,
    store::{
        Commit, Completion, LaneChange, LaneRecord, LookUp, Page, Query, Read, Recovered, ServiceRecord, Store,
        StoreError,
    },
};

/// How a store differs from what must be in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Difference {
    /// The end is missing: what was shown is gone, and whoever recovers can see it.
    Shorter(String),
    /// The store says itself that something is wrong.
    Refused(StoreError),
    /// It answers, and wrongly.
    Wrong(String),
}

impl From<StoreError> for Difference {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

/// Everything that was acknowledged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) heads: BTreeMap<Key, Version>,
    pub(crate) completions: BTreeMap<(ServiceName, Position), Completion>,
    pub(crate) services: BTreeMap<ServiceName, ServiceRecord>,
    pub(crate) lanes: BTreeMap<(ServiceName, Key), LaneRecord>,
    /// What stood beside the log before each of the latest commits, as far back as they brought no events.
    former: Vec<Beside>,
}

/// What stands beside the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Beside {
    services: Vec<ServiceRecord>,
    lanes: Vec<LaneRecord>,
}

impl Expected {
    fn beside(&self) -> Beside {
        Beside { services: self.services.values().cloned().collect(), lanes: self.lanes.values().cloned().collect() }
    }

    pub(crate) fn end(&self) -> Position {
        Position(self.events.len() as u64)
    }

    pub(crate) fn apply(&mut self, commit: &Commit) {
        if commit.events.is_empty() {
            self.former.push(self.beside());
        } else {
            self.former.clear();
        }
        for event in &commit.events {
            self.heads.insert(event.key.clone(), event.version);
            self.events.push(Arc::clone(event));
        }
        for completion in &commit.completions {
            self.completions.insert((completion.service.clone(), completion.position), completion.clone());
        }
        for service in &commit.services {
            self.services.insert(service.name.clone(), service.clone());
        }
        for (name, frontier) in &commit.frontiers {
            if let Some(service) = self.services.get_mut(name) {
                service.frontier = *frontier;
            }
        }
        for change in &commit.lanes {
            match change {
                LaneChange::Put(lane) => {
                    drop(self.lanes.insert((lane.service.clone(), lane.key.clone()), lane.clone()));
                }
                LaneChange::Remove { service, key } => drop(self.lanes.remove(&(service.clone(), key.clone()))),
            }
        }
    }

    /// Compares what a bus would begin with.
    pub(crate) fn check_recovered(&self, recovered: &Recovered) -> Result<(), Difference> {
        if recovered.position < self.end() {
            let what = format!("the log ends at {}, but {} was acknowledged", recovered.position, self.end());
            return Err(Difference::Shorter(what));
        }
        same("the end of the log", &recovered.position, &self.end())?;
        let (expected, found) =
            (self.beside(), Beside { services: recovered.services.clone(), lanes: recovered.lanes.clone() });
        if found != expected && self.former.contains(&found) {
            return Err(Difference::Shorter("what stands beside the log is as it was some commits ago".to_owned()));
        }
        same("the services", &found.services, &expected.services)?;
        same("the lanes", &found.lanes, &expected.lanes)
    }

    /// Reads everything back, in every way that the bus reads.
    pub(crate) fn check_all(&self, store: &mut dyn Store) -> Result<(), Difference> {
        let mut after = Position::ZERO;
        loop {
            let page = store.read(&Read::Log { after, types: Vec::new(), limit: 0 })?;
            let Page::Log { events, through, more } = page else {
                return Err(Difference::Wrong("the log was asked for, and something else came".to_owned()));
            };
            let expected = self.events.get(after.0 as usize..).unwrap_or_default();
            let expected = &expected[..events.len().min(expected.len())];
            same("the log", &events.as_slice(), &expected)?;
            after = through;
            if !more {
                break;
            }
        }
        same("the end of the log", &after, &self.end())?;
        self.check_look_ups(store, 0)?;
        self.check_correlations(store)?;
        let positions: Vec<Position> = self.events.iter().map(|event| event.position).collect();
        let completions = store.completions(&positions)?;
        let of = |completion: Completion| ((completion.service.clone(), completion.position), completion);
        same("the completions", &completions.into_iter().map(of).collect(), &self.completions)
    }

    /// Asks for the events of every correlation.
    fn check_correlations(&self, store: &mut dyn Store) -> Result<(), Difference> {
        let mut expected: BTreeMap<&CorrelationId, Vec<Arc<Event>>> = BTreeMap::new();
        for event in &self.events {
            expected.entry(&event.correlation).or_default().push(Arc::clone(event));
        }
        for (correlation, events) in expected {
            let query = Query { correlation: Some(correlation.clone()), ..Query::default() };
            same("a correlation", &store.query(&query)?.events, &events)?;
        }
        Ok(())
    }

    /// Looks up everything after a position: ids, heads, completions.
    pub(crate) fn check_look_ups(&self, store: &mut dyn Store, after: usize) -> Result<(), Difference> {
        let recent = self.events.get(after..).unwrap_or_default();
        let asked = LookUp {
            ids: recent.iter().map(|event| event.id.clone()).collect(),
            heads: recent.iter().map(|event| event.key.clone()).collect(),
            completions: self.completions.keys().filter(|(_, at)| at.0 > after as u64).cloned().collect(),
        };
        let found = store.look_up(&asked)?;
        let ids = recent.iter().map(|event| (event.id.clone(), Arc::clone(event))).collect();
        same("the look-up of ids", &found.ids, &ids)?;
        for (key, head) in &found.heads {
            let expected = self.heads.get(key).copied().unwrap_or_default();
            same("a head", &head.version, &expected)?;
            let last = self.events.iter().rev().find(|event| event.key == *key).map(|event| event.id.clone());
            same("the event at a head", &head.id, &last)?;
        }
        let ended: Vec<_> = found.completions.keys().cloned().collect();
        same("the look-up of completions", &ended, &asked.completions)
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), Difference> {
    if found == expected {
        return Ok(());
    }
    let short = |value: &T| format!("{value:?}").chars().take(300).collect::<String>();
    Err(Difference::Wrong(format!("{what} reads {}, but {} was acknowledged", short(found), short(expected))))
}
