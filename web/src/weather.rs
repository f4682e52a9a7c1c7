//! What a demo with faults tells people who look on: which fault happens, and whether everything still adds up.
//!
//! The backend only passes it on. Who lets faults happen keeps the sender, and takes the word of somebody who wants all
//! state destroyed, or payments held up.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

/// What has happened, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Counts the reports.
    pub number: u64,
    /// The latest fault.
    pub sentence: String,
    /// What the last audit found.
    pub audit: String,
    /// Whether it found everything right.
    pub sound: bool,
}

/// Somebody wants something done to the demo.
#[derive(Debug)]
pub enum Wish {
    /// Destroy the state of every service; answered with a sentence when that is done.
    Destroy(oneshot::Sender<String>),
    /// Hold up those who decide on payments, or let them go on; answered with a sentence when that is done.
    Hold(oneshot::Sender<String>),
    /// Audit the log; answered with what was found.
    Audit(oneshot::Sender<Report>),
}

/// The backend's end.
#[derive(Debug, Clone)]
pub struct Weather {
    reports: watch::Receiver<Report>,
    wishes: mpsc::Sender<Wish>,
}

/// The end of whoever lets faults happen.
#[derive(Debug)]
pub struct Maker {
    /// To tell of faults.
    pub reports: Arc<watch::Sender<Report>>,
    /// What people ask for.
    pub wishes: mpsc::Receiver<Wish>,
}

/// Both ends.
pub fn weather() -> (Weather, Maker) {
    let (told, reports) = watch::channel(Report::default());
    let (wishes, asked) = mpsc::channel(4);
    (Weather { reports, wishes }, Maker { reports: Arc::new(told), wishes: asked })
}

impl Weather {
    /// What was told last.
    pub fn now(&self) -> Report {
        self.reports.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Report> {
        self.reports.clone()
    }

    /// Destroys the state of every service; none if nobody does it.
    pub(crate) async fn destroy(&self) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        self.wishes.send(Wish::Destroy(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Holds up those who decide on payments, or lets them go on; none if nobody does it.
    pub(crate) async fn hold(&self) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        self.wishes.send(Wish::Hold(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Audits the log; none if nobody does it.
    pub(crate) async fn audit(&self) -> Option<Report> {
        let (answer, answered) = oneshot::channel();
        self.wishes.send(Wish::Audit(answer)).await.ok()?;
        answered.await.ok()
    }
}
