//! The thread that has the file: it takes one question after the other.

use std::{sync::mpsc, thread};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::VaultError;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// Where questions are put.
#[derive(Debug, Clone)]
pub(super) struct Desk(mpsc::Sender<Job>);

impl Desk {
    pub(super) fn start(connection: Connection) -> Result<Self, VaultError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new().name("vault".to_owned()).spawn(move || {
            for job in queue {
                job(&connection);
            }
        })?;
        Ok(Self(jobs))
    }

    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, VaultError> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move |connection: &Connection| drop(answer.send(question(connection))));
        self.0.send(job).map_err(|_| VaultError::Stopped)?;
        Ok(answered.await.map_err(|_| VaultError::Stopped)??)
    }
}
