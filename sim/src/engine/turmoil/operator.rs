//! The operator: comes while the plan wants a backup, asks the bus for one, and restores what he gets; and while the disk is
//! full, reads the log and leaves a note, whose answer is judged by `full_disk_is_answered`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dacapo_service::Method;
use tokio::time::{sleep, timeout};

use super::{
    http::{self, Asking},
    net::BUS_PORT,
    stage::{Life, Stage},
};
use crate::{
    cast,
    disk::restored,
    engine::{setup, store::no_backup},
    marks,
};

/// How long he waits before he asks again.
const ASK_AGAIN: Duration = Duration::from_millis(70);

/// Goes on until he is not needed any more.
pub(super) async fn run(stage: Arc<Stage>, life: Arc<Life>) {
    let operator = Operator { stage, life };
    let (mut has_backup, mut notes) = (false, 0_u64);
    loop {
        if !has_backup && operator.stage.faults().wants_backup() {
            has_backup = operator.back_up().await;
        }
        if operator.stage.faults().fills_disk() {
            notes += 1;
            operator.look_at_full_disk(notes).await;
        }
        sleep(ASK_AGAIN).await;
    }
}

struct Operator {
    stage: Arc<Stage>,
    life: Arc<Life>,
}

impl Operator {
    async fn ask(&self, method: Method, path: &str, body: &str) -> Option<(u16, Bytes)> {
        let asking = Asking {
            to: &cast::bus(),
            port: BUS_PORT,
            method,
            path,
            body,
            idempotency_key: None,
            at_least: None,
            secret: self.stage.plan.settings.guarded.then(|| setup::secret(setup::OPERATOR)),
        };
        let deadline = Duration::from_micros(self.stage.plan.settings.attempt_deadline_us);
        timeout(deadline, http::fetch(&self.stage, &self.life, &asking)).await.ok()?.ok()
    }

    /// Whether there is one now. What was cut off on its way has another length than was told, which is no answer.
    async fn back_up(&self) -> bool {
        let Some((200, copy)) = self.ask(Method::Get, "/v1/backup", "").await else { return false };
        match restored::restore(&copy) {
            Ok(restored) => self.stage.record(&self.life.host, restored.into_record()),
            Err(error) => self.stage.accuse(no_backup(format!("a backup that was sent: {error}"))),
        }
        true
    }

    async fn look_at_full_disk(&self, number: u64) {
        let Some((503, why)) = self.ask(Method::Get, "/readyz", "").await else { return };
        let is_full = String::from_utf8_lossy(&why).contains("disk is full");
        if let (true, Some((200, _))) = (is_full, self.ask(Method::Get, "/v1/events?limit=10", "").await) {
            self.stage.mark(&self.life.host, marks::READ_WHILE_FULL);
        }
        let id = format!("note-{}-{number}", self.life.number);
        let note = format!("[{{\"id\":\"{id}\",\"type\":\"Noted\",\"key\":\"note-1\",\"source\":\"operator\"}}]");
        // The answer is a receipt, which the promise judges.
        let _ = self.ask(Method::Post, "/v1/events", &note).await;
    }
}
