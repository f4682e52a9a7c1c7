//! Look-ups: ids, heads, completions, the term. Each is a step into an index.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::{
    EventId, InstanceName, Key, Position, ServiceName, Term, Version, WallTime,
    store::{Completion, Ended, Found, LookUp, StoreError},
    wire::Produced,
};
use rusqlite::{OptionalExtension, Row};

use super::{
    Snapshot, error,
    seal::{self, CompletionSeal},
};

impl Snapshot<'_> {
    pub(super) fn current_term(&self) -> Result<Term, StoreError> {
        self.connection
            .prepare_cached("SELECT term, checksum FROM meta")
            .and_then(|mut statement| statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))))
            .map_err(error::map)
            .and_then(|(term, stored): (i64, Option<i64>)| {
                seal::term(term).check(stored, || "the term".to_owned())?;
                Ok(Term(term as u64))
            })
    }

    pub(super) fn look_up(&mut self, look_up: &LookUp) -> Result<Found, StoreError> {
        let mut found = Found { read_at: self.end()?, ..Found::default() };
        for id in &look_up.ids {
            if let Some(position) = self.position_of(id)? {
                let event = self.event(position)?;
                if event.id != *id {
                    return Err(StoreError::Damaged(format!("the index of ids leads from {id} to {}", event.id)));
                }
                found.ids.insert(id.clone(), event);
            }
        }
        for key in &look_up.heads {
            found.heads.insert(key.clone(), self.head(key)?);
        }
        for (service, position) in &look_up.completions {
            if let Some(produced) = self.produced(service, *position)? {
                found.completions.insert((service.clone(), *position), produced);
            }
        }
        Ok(found)
    }

    fn position_of(&self, id: &EventId) -> Result<Option<Position>, StoreError> {
        let position: Option<i64> = self
            .connection
            .prepare_cached("SELECT position FROM events WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([id.as_str()], |row| row.get(0)).optional())
            .map_err(error::map)?;
        Ok(position.map(|position| Position(position as u64)))
    }

    /// What a completion produced, as the log has it; none if the service has not ended the event.
    fn produced(&mut self, service: &ServiceName, position: Position) -> Result<Option<Vec<Produced>>, StoreError> {
        let Some(number) = self.names.find(self.connection, service.as_str())? else {
            return Ok(None);
        };
        let row: Option<CompletionRow> = self
            .connection
            .prepare_cached(
                "SELECT service, '', 0, skipped, instance, epoch, attempt, time, produced, checksum
                 FROM completions WHERE position = ?1 AND service = ?2",
            )
            .and_then(|mut statement| statement.query_row([position.0 as i64, number], CompletionRow::read).optional())
            .map_err(error::map)?;
        let Some(row) = row else {
            return Ok(None);
        };
        row.check(position)?;
        let produced = row.produced;
        let end = self.end()?;
        let mut events = Vec::new();
        for position in decode_produced(&produced).ok_or_else(|| damaged(position))? {
            // As in the store in memory: a completion may name what never came, which is for the bus to judge.
            if position <= end {
                let event = self.event(position)?;
                events.push(Produced {
                    id: event.id.clone(),
                    key: event.key.clone(),
                    version: event.version,
                    position,
                    time: event.time,
                });
            }
        }
        Ok(Some(events))
    }

    pub(super) fn completions(&mut self, positions: &[Position]) -> Result<Vec<Completion>, StoreError> {
        let mut found = BTreeMap::new();
        for position in positions.iter().collect::<BTreeSet<_>>() {
            let rows: Vec<CompletionRow> = self
                .connection
                .prepare_cached(
                    "SELECT service, keys.key, events.version, skipped, instance, epoch, attempt, completions.time, produced,
                         completions.checksum
                     FROM completions
                     JOIN events ON events.position = completions.position
                     JOIN keys ON keys.id = events.key
                     WHERE completions.position = ?1",
                )
                .and_then(|mut statement| {
                    statement.query_map([position.0 as i64], CompletionRow::read)?.collect::<Result<_, _>>()
                })
                .map_err(error::map)?;
            for row in rows {
                let completion = self.completion(*position, row)?;
                found.insert((completion.service.clone(), *position), completion);
            }
        }
        Ok(found.into_values().collect())
    }

    fn completion(&mut self, position: Position, row: CompletionRow) -> Result<Completion, StoreError> {
        row.check(position)?;
        let told = |_| damaged(position);
        let service = self.names.name(self.connection, row.service)?;
        let instance = row.instance.map(|number| self.names.name(self.connection, number)).transpose()?;
        Ok(Completion {
            service: ServiceName::new(service).map_err(told)?,
            position,
            key: Key::new(row.key).map_err(told)?,
            version: Version(row.version as u64),
            ended: if row.skipped { Ended::Skipped } else { Ended::Completed },
            instance: instance.map(InstanceName::new).transpose().map_err(told)?,
            epoch: row.epoch as u64,
            attempt: row.attempt,
            time: WallTime(row.time as u64),
            produced: decode_produced(&row.produced).ok_or_else(|| damaged(position))?,
        })
    }
}

/// Positions, with spaces between.
pub(super) fn encode_produced(produced: &[Position]) -> String {
    let parts: Vec<_> = produced.iter().map(Position::to_string).collect();
    parts.join(" ")
}

fn decode_produced(text: &str) -> Option<Vec<Position>> {
    text.split_ascii_whitespace().map(|part| part.parse().ok().map(Position)).collect()
}

fn damaged(position: Position) -> StoreError {
    StoreError::Damaged(format!("a completion of position {position} cannot be decoded"))
}

/// A row of `completions` with its event's key and version, before its numbers are names.
struct CompletionRow {
    service: i64,
    key: String,
    version: i64,
    skipped: bool,
    instance: Option<i64>,
    epoch: i64,
    attempt: u32,
    time: i64,
    produced: String,
    checksum: Option<i64>,
}

impl CompletionRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            service: row.get(0)?,
            key: row.get(1)?,
            version: row.get(2)?,
            skipped: row.get(3)?,
            instance: row.get(4)?,
            epoch: row.get(5)?,
            attempt: row.get(6)?,
            time: row.get(7)?,
            produced: row.get(8)?,
            checksum: row.get(9)?,
        })
    }

    fn check(&self, position: Position) -> Result<(), StoreError> {
        let row = CompletionSeal {
            position: position.0 as i64,
            service: self.service,
            skipped: self.skipped,
            instance: self.instance,
            epoch: self.epoch,
            attempt: self.attempt,
            time: self.time,
            produced: &self.produced,
        };
        row.seal().check(self.checksum, || format!("a completion of position {position}"))
    }
}
