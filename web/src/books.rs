//! The ledger in the hands of many: one follower writes, everybody reads, and whoever waits for something is woken.
//!
//! A ledger has lives. A new one begins empty and follows the log from its beginning; until it has caught up, nobody is
//! shown what is in it, since half a history makes wrong balances. What a follower of an earlier life still says is not
//! heard.

use std::sync::{Arc, Mutex, PoisonError};

use dacapo_core::Event;
use tokio::{sync::watch, time::timeout};

use crate::{follower::Follower, ledger::Ledger};

/// The ledger, shared.
#[derive(Debug)]
pub struct Books {
    kept: Mutex<Kept>,
    /// Counts the changes of what can be read.
    moved: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    life: u64,
    caught_up: bool,
    ledger: Ledger,
}

impl Books {
    /// Books that nobody writes yet; see [`begin`](Self::begin).
    pub fn new() -> Arc<Self> {
        Arc::new(Self { kept: Mutex::default(), moved: watch::Sender::new(0) })
    }

    /// Throws away what there is, and begins a new life.
    pub fn begin(self: &Arc<Self>) -> Follower {
        let life = {
            let mut kept = self.kept();
            *kept = Kept { life: kept.life + 1, ..Kept::default() };
            kept.life
        };
        self.wake();
        Follower::new(Arc::clone(self), life)
    }

    pub(crate) fn take(&self, life: u64, event: &Event) {
        let mut kept = self.kept();
        if kept.life != life {
            return;
        }
        kept.ledger.take(event);
        let wake = kept.caught_up;
        drop(kept);
        if wake {
            self.wake();
        }
    }

    pub(crate) fn caught_up(&self, life: u64) {
        let mut kept = self.kept();
        if kept.life != life {
            return;
        }
        kept.caught_up = true;
        drop(kept);
        self.wake();
    }

    fn wake(&self) {
        self.moved.send_modify(|moved| *moved += 1);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // A panic while it was held is told where it happened; the fold itself is whole after every event.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what there is, with the number of its life; none until that has caught up.
    pub fn read<T>(&self, read: impl FnOnce(u64, &Ledger) -> T) -> Option<T> {
        let kept = self.kept();
        kept.caught_up.then(|| read(kept.life, &kept.ledger))
    }

    /// Is told whenever something can be read that could not be before.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// Waits until a ledger that has caught up answers; none if it does not in this time.
    pub async fn until<T>(&self, within: std::time::Duration, mut read: impl FnMut(&Ledger) -> Option<T>) -> Option<T> {
        let mut moved = self.watch();
        let wait = async {
            loop {
                moved.mark_unchanged();
                if let Some(found) = self.read(|_, ledger| read(ledger)).flatten() {
                    return found;
                }
                // The sender lives in `self`.
                let _ = moved.changed().await;
            }
        };
        timeout(within, wait).await.ok()
    }
}
