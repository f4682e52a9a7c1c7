//! Applying a commit: one transaction, which checks whatever the bus must not get wrong.

use std::collections::{BTreeMap, btree_map::Entry};

use dacapo_core::{
    Event, EventId, Position, ServiceName, digest,
    store::{Commit, Completion, Ended, LaneChange, ServiceRecord, StoreError},
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, ToSql, Transaction, TransactionBehavior};

use super::{
    Db, Snapshot, chain, correlation, error,
    head::Heads,
    look_up::encode_produced,
    row::{self, Names},
    seal::{self, CompletionSeal},
};

impl Db {
    /// Applies the commit, or nothing of it. After [`StoreError::Io`] nobody knows which, and everything is refused
    /// until the store has recovered; so it is where the disk fills up at the very end, though what is read says no.
    pub(super) fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        if let Some(why) = &self.unknown_ground {
            return Err(StoreError::Io(format!(
                "what the file holds behind an earlier commit is unknown ({why}); recover first"
            )));
        }
        if let Some(ids) = &self.ids {
            ids.add_all(commit);
        }
        self.try_commit(commit).inspect_err(|error| {
            self.names.clear();
            self.heads.clear();
            if let StoreError::Io(why) = error {
                self.unknown_ground = Some(why.clone());
            }
        })?;
        if let Some(ids) = &self.ids {
            ids.committed(commit);
        }
        // The commit stands, whatever becomes of the checkpoint.
        if let Some(Err(error)) = self.log.as_ref().map(|log| log.checkpoint_if_due(&self.connection)) {
            self.unknown_ground = Some(error.to_string());
        }
        Ok(())
    }

    fn try_commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).map_err(error::map)?;
        let mut writer = Writer { connection: &transaction, names: &mut self.names, heads: &mut self.heads };
        writer.check_term(commit)?;
        writer.append(commit)?;
        for completion in &commit.completions {
            writer.complete(completion)?;
        }
        for service in &commit.services {
            writer.put_service(service)?;
        }
        for (service, frontier) in &commit.frontiers {
            writer.move_frontier(service, *frontier)?;
        }
        for change in &commit.lanes {
            writer.change_lane(change)?;
        }
        transaction.commit().map_err(error::map).inspect_err(|error| {
            // The disk filled up in the midst of the commit itself: whether a crash would bring it back is unknown.
            if let StoreError::Full(why) = error {
                self.unknown_ground = Some(why.clone());
            }
        })
    }
}

/// A transaction that writes.
struct Writer<'a> {
    connection: &'a Connection,
    names: &'a mut Names,
    heads: &'a mut Heads,
}

impl Writer<'_> {
    fn check_term(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let current = Snapshot { connection: self.connection, names: self.names }.current_term()?;
        if commit.term < current {
            return Err(StoreError::Fenced { mine: commit.term, current });
        }
        if commit.term > current {
            return violation(format!("term {} was never handed out, the newest is {current}", commit.term));
        }
        Ok(())
    }

    fn append(&mut self, commit: &Commit) -> Result<(), StoreError> {
        if commit.events.is_empty() {
            return Ok(());
        }
        let mut end = row::end(self.connection)?;
        let mut hash = chain::end(self.connection, end)?;
        let mut correlations = BTreeMap::new();
        let mut begun = 0;
        for event in &commit.events {
            end = end.next();
            if event.position != end {
                return violation(format!("event {} has position {}, the next one is {end}", event.id, event.position));
            }
            let correlation = match correlations.entry(&event.correlation) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(correlation::of(self.connection, event, &mut begun)?),
            };
            hash = chain::follow(&hash, event);
            self.append_event(event, *correlation, &hash)?;
        }
        self.heads.put(self.connection, commit)?;
        correlation::count(self.connection, begun)
    }

    fn append_event(&mut self, event: &Event, correlation: i64, hash: &chain::Hash) -> Result<(), StoreError> {
        let Event { position, id, event_type, version, causation, time, source, data, attributes, .. } = event;
        let head = self.heads.of(&mut Snapshot { connection: self.connection, names: self.names }, &event.key)?;
        let next = head.version.next();
        if *version != next {
            return violation(format!("event {id} has version {version} of {}, the next one is {next}", event.key));
        }
        let event_type = self.names.intern(self.connection, event_type.as_str())?;
        let source = self.names.intern(self.connection, source.as_str())?;
        self.connection
            .prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)")
            .and_then(|mut statement| {
                let causation = causation.as_ref().map(EventId::as_str);
                let attributes = (!attributes.is_empty())
                    .then(|| serde_json::to_string(attributes).expect("texts by name are always JSON"));
                statement.execute::<&[&dyn ToSql]>(&[
                    &(position.0 as i64),
                    &id.as_str(),
                    &event_type,
                    &head.number,
                    &(version.0 as i64),
                    &correlation,
                    &causation,
                    &source,
                    &(time.0 as i64),
                    &data.as_str(),
                    &(digest::checksum(event) as i64),
                    hash,
                    &attributes,
                ])
            })
            .map_err(|error| match error.sqlite_error_code() {
                Some(ErrorCode::ConstraintViolation) => {
                    StoreError::Violation(format!("event {id} cannot enter the log again ({error})"))
                }
                _ => error::map(error),
            })?;
        head.advance(*position, next, event_type);
        Ok(())
    }

    fn complete(&mut self, completion: &Completion) -> Result<(), StoreError> {
        let Completion { service, position, key, version, ended, instance, epoch, attempt, time, produced } =
            completion;
        let event: Option<(String, i64)> = self
            .connection
            .prepare_cached(
                "SELECT keys.key, events.version FROM events JOIN keys ON keys.id = events.key WHERE position = ?1",
            )
            .and_then(|mut statement| {
                statement.query_row([position.0 as i64], |row| Ok((row.get(0)?, row.get(1)?))).optional()
            })
            .map_err(error::map)?;
        let stands = event.is_some_and(|event| event.0 == key.as_str() && event.1 == version.0 as i64);
        if !stands {
            return violation(format!("{service} completes {key}@{version} at {position}, where it does not stand"));
        }
        let number = self.names.intern(self.connection, service.as_str())?;
        let instance = match instance {
            Some(instance) => Some(self.names.intern(self.connection, instance.as_str())?),
            None => None,
        };
        let produced = encode_produced(produced);
        let row = CompletionSeal {
            position: position.0 as i64,
            service: number,
            skipped: *ended == Ended::Skipped,
            instance,
            epoch: *epoch as i64,
            attempt: *attempt,
            time: time.0 as i64,
            produced: &produced,
        };
        self.connection
            .prepare_cached("INSERT INTO completions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")
            .and_then(|mut statement| {
                statement.execute((
                    row.position,
                    row.service,
                    row.skipped,
                    row.instance,
                    row.epoch,
                    row.attempt,
                    row.time,
                    row.produced,
                    row.seal().close(),
                ))
            })
            .map_err(|error| match error.sqlite_error_code() {
                Some(ErrorCode::ConstraintViolation) => {
                    StoreError::Violation(format!("{service} has completed the event at {position} already"))
                }
                _ => error::map(error),
            })?;
        Ok(())
    }

    fn put_service(&self, service: &ServiceRecord) -> Result<(), StoreError> {
        let types = serde_json::to_string(&service.types).expect("names and numbers are always JSON");
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO services VALUES (?1, ?2, ?3, ?4, ?5)")
            .and_then(|mut statement| {
                let (name, frontier) = (service.name.as_str(), service.frontier.0 as i64);
                let seals = (seal::service(name, &types).close(), seal::frontier(name, frontier).close());
                statement.execute((name, types, frontier, seals.0, seals.1))
            })
            .map_err(error::map)?;
        Ok(())
    }

    fn move_frontier(&self, service: &ServiceName, frontier: Position) -> Result<(), StoreError> {
        let moved = self
            .connection
            .prepare_cached(
                "UPDATE services SET frontier = ?2, frontier_checksum = ?3 WHERE name = ?1 AND frontier <= ?2",
            )
            .and_then(|mut statement| {
                let (name, frontier) = (service.as_str(), frontier.0 as i64);
                statement.execute((name, frontier, seal::frontier(name, frontier).close()))
            })
            .map_err(error::map)?;
        if moved == 1 {
            return Ok(());
        }
        violation(format!("the frontier of {service} cannot move to {frontier}: it is further, or not registered"))
    }

    fn change_lane(&self, change: &LaneChange) -> Result<(), StoreError> {
        match change {
            LaneChange::Put(lane) => {
                let (service, key, next) = (lane.service.as_str(), lane.key.as_str(), lane.next_version.0 as i64);
                self.connection.prepare_cached("INSERT OR REPLACE INTO lanes VALUES (?1, ?2, ?3, ?4, ?5, ?6)").and_then(
                    |mut statement| {
                        let checksum = seal::lane(service, key, next, lane.failures, lane.parked.as_deref()).close();
                        statement.execute((service, key, next, lane.failures, &lane.parked, checksum))
                    },
                )
            }
            LaneChange::Remove { service, key } => self
                .connection
                .prepare_cached("DELETE FROM lanes WHERE service = ?1 AND key = ?2")
                .and_then(|mut statement| statement.execute((service.as_str(), key.as_str()))),
        }
        .map_err(error::map)?;
        Ok(())
    }
}

fn violation(sentence: String) -> Result<(), StoreError> {
    Err(StoreError::Violation(sentence))
}
