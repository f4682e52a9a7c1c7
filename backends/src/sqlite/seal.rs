//! Checksums of rows that are not events, since SQLite does not check its pages.
//!
//! A row is sealed when it is written and checked whenever it is read, so that a bit that rotted is refused and never
//! served. Events have a checksum of their own, which covers the names, keys and correlations that they point to. What a
//! seal cannot see is a row that is not found, because an index has rotted or a page is gone; opening a small file
//! checks for that (`verify`).

use std::hash::Hasher as _;

use dacapo_core::{digest::StableHasher, store::StoreError};

/// Gathers the fields of a row.
pub(super) struct Seal(StableHasher);

impl Seal {
    /// Begins with the table's name, so that no row passes for one of another table.
    pub(super) fn of(table: &str) -> Self {
        Self(StableHasher::new(0)).text(table)
    }

    pub(super) fn number(mut self, number: i64) -> Self {
        self.0.write_u64(number as u64);
        self
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        self.0.write_u64(text.len() as u64);
        self.0.write(text.as_bytes());
        self
    }

    /// The seal as it is stored.
    pub(super) fn close(self) -> i64 {
        self.0.finish() as i64
    }

    /// Whether the row is as it was written. A row from before there were seals has none.
    pub(super) fn check(self, stored: Option<i64>, what: impl FnOnce() -> String) -> Result<(), StoreError> {
        match stored {
            Some(stored) if stored != self.close() => {
                Err(StoreError::Damaged(format!("{} does not match its checksum", what())))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn term(term: i64) -> Seal {
    Seal::of("meta").number(term)
}

pub(super) fn name(id: i64, name: &str) -> Seal {
    Seal::of("names").number(id).text(name)
}

pub(super) fn key(id: i64, key: &str, version: i64, head: i64, by_type: &str) -> Seal {
    Seal::of("keys").number(id).text(key).number(version).number(head).text(by_type)
}

pub(super) fn service(name: &str, types: &str) -> Seal {
    Seal::of("services").text(name).text(types)
}

/// Of its own, since it moves with most commits and the types hardly ever.
pub(super) fn frontier(name: &str, frontier: i64) -> Seal {
    Seal::of("frontiers").text(name).number(frontier)
}

pub(super) fn lane(service: &str, key: &str, next_version: i64, failures: u32, parked: Option<&str>) -> Seal {
    let seal = Seal::of("lanes").text(service).text(key).number(next_version).number(i64::from(failures));
    seal.number(i64::from(parked.is_some())).text(parked.unwrap_or_default())
}

/// A row of `completions`, as it is stored.
pub(super) struct CompletionSeal<'a> {
    pub(super) position: i64,
    pub(super) service: i64,
    pub(super) skipped: bool,
    pub(super) instance: Option<i64>,
    pub(super) epoch: i64,
    pub(super) attempt: u32,
    pub(super) time: i64,
    pub(super) produced: &'a str,
}

impl CompletionSeal<'_> {
    pub(super) fn seal(&self) -> Seal {
        let instance = self.instance.map_or(-1, |instance| instance);
        let numbers = [self.position, self.service, i64::from(self.skipped), instance, self.epoch, self.time];
        let seal = numbers.into_iter().fold(Seal::of("completions"), Seal::number);
        seal.number(i64::from(self.attempt)).text(self.produced)
    }
}
