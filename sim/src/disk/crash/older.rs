//! Files of former schemas in crash runs: the first life finds one, and dies while it brings it forward; a later one brings it
//! to its end. And a file of a later schema, which is refused and left as it is.

use dacapo_backends::SqliteStore;
use dacapo_core::{Term, store::StoreError};

use super::{Difference, Run};
use crate::{
    disk::{Disk, Omissions, Trouble, older},
    engine::chance::Chance,
};

/// One run in so many begins with a file of a former schema, in thousandths.
const OLDER_PERMILLE: u32 = 150;

impl Run {
    /// Before the first life, in some runs.
    pub(super) fn begin_with_older_file(&mut self, chance: &Chance, omissions: Omissions) {
        if !self.aside.chance(OLDER_PERMILLE) {
            return;
        }
        let schema = self.aside.between(1, older::NEWEST as u64) as i32;
        self.disk = Disk::with_older_store(chance, omissions, schema);
        let commit = older::content(Term(1));
        self.term = commit.term;
        self.acknowledge(&commit);
        // Its bus kept no marker.
        self.commits = 0;
        self.outcome.migrations = 1;
    }

    /// The life that finds the older file may die at any write or sync of the steps.
    pub(super) fn cut_migration_short(&mut self, trouble: &mut Trouble) {
        if self.outcome.migrations == 0 || self.outcome.lives > 2 || !self.aside.chance(700) {
            return;
        }
        if self.aside.chance(700) {
            trouble.dies_at_write = Some(self.aside.between(1, 60));
        } else {
            trouble.dies_at_sync = Some(self.aside.between(1, 10));
        }
    }

    /// At the end: a file that a later build wrote is refused.
    pub(super) fn refuse_a_newer_file(&mut self, store: SqliteStore) -> Result<(), Difference> {
        if self.outcome.migrations == 0 {
            return Ok(());
        }
        drop(store);
        self.disk.make_newer().map_err(StoreError::Io)?;
        let before = self.disk.store_files();
        let refused = self.disk.open(&self.options);
        match refused {
            Err(StoreError::NotAStore(why)) if why.contains("newer") => {}
            other => {
                let what = format!("a file of a later schema was opened: {:?}", other.map(drop));
                return Err(Difference::Wrong(what));
            }
        }
        if self.disk.store_files() != before {
            return Err(Difference::Wrong("a file of a later schema was refused and changed".to_owned()));
        }
        Ok(())
    }
}
