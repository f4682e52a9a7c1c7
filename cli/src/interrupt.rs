//! Ctrl-C, once for the whole process.
//!
//! The first one asks: campaigns end after the seeds in flight were given up, servers close their connections. The second
//! one ends the process at once, for whoever cannot wait.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

use crate::exit::Exit;

/// Whether the user has asked the process to end.
#[derive(Clone, Default)]
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
    notify: Arc<Notify>,
}

impl Interrupt {
    /// Listens for SIGINT, SIGTERM and SIGHUP from here on.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let interrupt = Self::default();
        let handle = interrupt.clone();
        ctrlc::set_handler(move || {
            if handle.asked.swap(true, Ordering::SeqCst) {
                process::exit(Exit::Interrupted as i32);
            }
            // A stored permit: whoever waits later is woken too.
            handle.notify.notify_one();
        })?;
        Ok(interrupt)
    }

    /// Whether it was asked for.
    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits until it is asked for. One task may wait.
    pub(crate) async fn wait(&self) {
        if !self.asked() {
            self.notify.notified().await;
        }
    }
}
