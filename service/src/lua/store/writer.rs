//! The thread that writes changes down, so that no machine waits for a disk.
//!
//! Changes are written in order, as many in one transaction as have gathered meanwhile. If that fails it is tried again
//! for as long as the process lives: until then the store is only older than it could be.

use std::{
    io,
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{Change, StateStore, StoreError};

/// Changes of one transaction.
const BATCH_MAX: usize = 1_024;
/// How long it is waited before a failed transaction is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Something that keeps changes durably, in order.
pub(super) trait Keeper: Send + 'static {
    /// Writes them in one transaction.
    fn keep(&mut self, changes: &[Change]) -> Result<(), StoreError>;
}

/// A store behind its thread. Dropping it waits until everything is written, or the last attempt has failed.
#[derive(Debug)]
pub(super) struct Writer {
    changes: Option<Sender<Change>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(mut keeper: impl Keeper) -> io::Result<Self> {
        let (changes, inbox) = channel();
        let thread = thread::Builder::new().name("lua-state".to_owned()).spawn(move || write(&mut keeper, &inbox))?;
        Ok(Self { changes: Some(changes), thread: Some(thread) })
    }
}

impl StateStore for Writer {
    fn save(&self, change: Change) {
        if let Some(changes) = &self.changes {
            // The thread ends only after this end of the channel has.
            let _ = changes.send(change);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.changes = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(keeper: &mut impl Keeper, inbox: &Receiver<Change>) {
    let mut last = false;
    while !last {
        let Ok(first) = inbox.recv() else { return };
        let mut changes = vec![first];
        while changes.len() < BATCH_MAX {
            match inbox.try_recv() {
                Ok(change) => changes.push(change),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    last = true;
                    break;
                }
            }
        }
        while let Err(error) = keeper.keep(&changes) {
            tracing::warn!(%error, "the state could not be kept; trying again");
            if last {
                return;
            }
            thread::park_timeout(AGAIN_AFTER);
        }
    }
}
