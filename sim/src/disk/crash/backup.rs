//! Backups in crash runs: made of a store that others commit to in the very midst of the copy, and cut short.
//!
//! Whatever bears a backup's name when the life is over is restored, and must be one moment of the store. One that was said
//! to be made must be there, also after a power cut.

use std::sync::{Arc, Mutex, PoisonError};

use dacapo_backends::SqliteStore;
use dacapo_core::{
    Term,
    store::{Commit, Store as _, StoreError},
};

use super::{Difference, Expected, Medium, Run};
use crate::disk::{
    BACKUP, UNFINISHED,
    restored::{self, Restored},
};

/// One commit in so many is followed by a backup, in thousandths.
const BACKUPS_PERMILLE: u32 = 60;

/// A backup that was begun.
pub(super) struct Made {
    /// The store said that it is made.
    said: bool,
    /// The moments that it may be of.
    moments: Vec<Expected>,
}

/// What others did while a backup was made: each commit, and what was said to it.
type Done = Arc<Mutex<Vec<(Commit, Result<(), StoreError>)>>>;

impl Run {
    /// Now and then: makes a backup, while others commit.
    pub(super) fn back_up(&mut self, store: &mut SqliteStore, term: Term) -> Result<(), Difference> {
        // Where a sync fails or lies, a backup's files are as bad as any; the engines look at that.
        if self.medium != Medium::Honest || self.backup.is_some() || !self.aside.chance(BACKUPS_PERMILLE) {
            return Ok(());
        }
        if self.aside.chance(400) {
            let mut trouble = self.standing();
            trouble.dies_at_write = Some(self.aside.between(1, 120));
            self.trouble(trouble);
        }
        let done = self.others(store, term);
        let made = store.reader()?.back_up(None, None);
        self.outcome.note(&made.is_ok());
        let mut moments = vec![self.expected.clone()];
        let done = std::mem::take(&mut *done.lock().unwrap_or_else(PoisonError::into_inner));
        for (commit, said) in done {
            self.outcome.beside_backups += 1;
            match said {
                Ok(()) => self.acknowledge(&commit),
                Err(_) if self.disk.is_frozen() => {
                    self.doubtful = Some(commit);
                    break;
                }
                Err(error) => return Err(error.into()),
            }
            moments.push(self.expected.clone());
        }
        self.outcome.backups += u32::from(made.is_ok());
        self.backup = Some(Made { said: made.is_ok(), moments });
        match made {
            Err(error) if !self.disk.is_frozen() => Err(error.into()),
            _ => {
                self.disk.disarm();
                Ok(())
            }
        }
    }

    /// Has others commit in the midst of the next copy, as many as are drawn.
    fn others(&mut self, store: &SqliteStore, term: Term) -> Done {
        let (expected, commits) = (self.expected.clone(), self.commits);
        let mut waiting = Vec::new();
        for _ in 0..self.aside.between(0, 3) {
            let commit = self.commit(term);
            self.expected.apply(&commit);
            self.commits += 1;
            waiting.push(commit);
        }
        (self.expected, self.commits) = (expected, commits);
        waiting.reverse();
        let (done, mut store) = (Done::default(), store.clone());
        let told = Arc::clone(&done);
        let steps = self.aside.between(20, 400) as i32;
        self.disk.meanwhile(steps, move || {
            let mut done = told.lock().unwrap_or_else(PoisonError::into_inner);
            if done.last().is_none_or(|(_, said)| said.is_ok())
                && let Some(commit) = waiting.pop()
            {
                let said = store.commit(&commit);
                done.push((commit, said));
            }
        });
        done
    }

    /// The life is over: what bears a backup's name is one, and what was said to be made is there.
    pub(super) fn look_at_backup(&mut self) -> Result<(), Difference> {
        let Some(Made { said, moments }) = self.backup.take() else { return Ok(()) };
        let Some(copy) = self.disk.file(BACKUP) else {
            return if said {
                Err(Difference::Wrong("a backup that was said to be made is gone".to_owned()))
            } else {
                Ok(())
            };
        };
        let restored = restored::restore(&copy)?;
        self.outcome.note(&restored.recovered);
        if !moments.iter().any(|moment| is_of(&restored, moment)) {
            let what = format!("a backup that ends at {} is no moment of the store", restored.recovered.position);
            return Err(Difference::Wrong(what));
        }
        for name in UNFINISHED.iter().chain([&BACKUP]) {
            self.disk.remove(name);
        }
        Ok(())
    }
}

fn is_of(restored: &Restored, moment: &Expected) -> bool {
    moment.check_recovered(&restored.recovered).is_ok()
        && restored.events == moment.events
        && restored.completions.len() == moment.completions.len()
        && restored.completions.iter().all(|completion| {
            moment.completions.get(&(completion.service.clone(), completion.position)) == Some(completion)
        })
}
