//! What `/metrics` tells, in Prometheus's text format.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use dacapo_core::{event::Receipt, store::Commit, wire::FromBus};

use super::shared::{Phase, Shared};

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Kept by the driver and the connections.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub(super) restarts: Counter,
    pub(super) frames_received: Counter,
    pub(super) frames_sent: Counter,
    pub(super) messages_malformed: Counter,
    pub(super) connections_refused: Counter,
    pub(super) readers_slow: Counter,
    pub(super) denied: Counter,
    pub(super) token_limits: Counter,
    pub(super) paced: Counter,
    commits: Counter,
    commits_failed: Counter,
    events: Counter,
    completions: Counter,
    deliveries: Counter,
    redeliveries: Counter,
    conflicts: Counter,
    fenced: Counter,
    receipts_accepted: Counter,
    receipts_duplicate: Counter,
    receipts_inconsistent: Counter,
    receipts_refused: Counter,
    receipts_throttled: Counter,
}

impl Metrics {
    pub(super) fn committed(&self, commit: &Commit) {
        self.commits.add(1);
        self.events.add(commit.events.len());
        self.completions.add(commit.completions.len());
    }

    pub(super) fn commit_failed(&self) {
        self.commits_failed.add(1);
    }

    pub(super) fn sent(&self, frame: &FromBus) {
        self.frames_sent.add(1);
        match frame {
            FromBus::Receipts(receipts) => {
                for receipt in &receipts.receipts {
                    match receipt {
                        Receipt::Accepted { .. } => &self.receipts_accepted,
                        Receipt::Duplicate { .. } => &self.receipts_duplicate,
                        Receipt::Inconsistent { .. } => &self.receipts_inconsistent,
                        Receipt::Refused { .. } => &self.receipts_refused,
                        Receipt::Throttled => &self.receipts_throttled,
                    }
                    .add(1);
                }
            }
            FromBus::Deliver(deliver) => {
                self.deliveries.add(1);
                self.redeliveries.add(usize::from(deliver.token.attempt > 1));
            }
            FromBus::Conflict(_) => self.conflicts.add(1),
            FromBus::Fenced(_) => self.fenced.add(1),
            _ => {}
        }
    }
}

/// All metrics as text.
pub(super) fn text(shared: &Shared) -> String {
    let metrics = &shared.metrics;
    let ready = matches!(shared.phase(), Phase::Ready { .. });
    let mut page = Page(String::with_capacity(4_096));
    page.gauge("dacapo_ready", "1 while the bus runs, 0 while it recovers or ends.", u64::from(ready));
    page.gauge("dacapo_position", "The end of the log.", shared.position.get().0);
    page.gauge("dacapo_sockets", "WebSocket connections that are open.", shared.sockets() as u64);
    page.gauge("dacapo_inbox", "Frames that wait for the bus.", shared.inbox_len() as u64);
    for (name, help, counter) in [
        ("dacapo_restarts_total", "Times that the bus stopped and recovered.", &metrics.restarts),
        ("dacapo_commits_total", "Commits that became durable.", &metrics.commits),
        ("dacapo_commits_failed_total", "Commits that failed.", &metrics.commits_failed),
        ("dacapo_events_total", "Events that were accepted.", &metrics.events),
        ("dacapo_completions_total", "Events that a service completed or skipped.", &metrics.completions),
        ("dacapo_deliveries_total", "Events that were handed to an owner.", &metrics.deliveries),
        ("dacapo_redeliveries_total", "Of these, not for the first time.", &metrics.redeliveries),
        ("dacapo_conflicts_total", "Completions whose expectations or guards did not hold.", &metrics.conflicts),
        ("dacapo_fenced_total", "Answers to deliveries that were no longer their sender's.", &metrics.fenced),
        ("dacapo_frames_received_total", "Frames from instances and publishers.", &metrics.frames_received),
        ("dacapo_frames_sent_total", "Frames to them.", &metrics.frames_sent),
        ("dacapo_messages_malformed_total", "Messages that were no frames.", &metrics.messages_malformed),
        ("dacapo_connections_refused_total", "Connections beyond the limit.", &metrics.connections_refused),
        (
            "dacapo_denied_total",
            "Requests and frames that no token, or not the one that was shown, allows.",
            &metrics.denied,
        ),
        (
            "dacapo_token_limits_total",
            "Connections and requests beyond what one token may have.",
            &metrics.token_limits,
        ),
        (
            "dacapo_paced_total",
            "Messages and requests that waited, because more came than a second allows.",
            &metrics.paced,
        ),
        ("dacapo_readers_slow_total", "Connections closed because they did not read.", &metrics.readers_slow),
    ] {
        page.header(name, help, "counter");
        page.line(name, counter.get());
    }
    page.header("dacapo_receipts_total", "Receipts by status.", "counter");
    for (status, counter) in [
        ("accepted", &metrics.receipts_accepted),
        ("duplicate", &metrics.receipts_duplicate),
        ("inconsistent", &metrics.receipts_inconsistent),
        ("refused", &metrics.receipts_refused),
        ("throttled", &metrics.receipts_throttled),
    ] {
        page.line(&format!("dacapo_receipts_total{{status=\"{status}\"}}"), counter.get());
    }
    page.0
}

struct Page(String);

impl Page {
    fn header(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, value: u64) {
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.header(name, help, "gauge");
        self.line(name, value);
    }
}
