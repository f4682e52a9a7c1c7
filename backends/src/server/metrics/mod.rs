//! What `/metrics` tells, in Prometheus's text format. `docs/OPERATING.md` says what each is good for.
//!
//! What happens is counted where it happens, by adding to a number; nothing is locked and nothing is kept per event. How
//! services stand is asked of the bus when somebody reads the page, so that it costs nothing while nobody does.

mod histogram;
mod page;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dacapo_core::{
    bus::{Admin, AdminAnswer, ServiceStatus},
    event::Receipt,
    store::Commit,
    time::Timestamp,
    wire::{FromBus, ToBus},
};

use self::{histogram::Histogram, page::Page};
use super::{
    accept::Permit,
    shared::{Phase, Shared},
};

/// Events in a commit: powers of four up to the limit of a commit.
const COMMIT_EVENTS: &[u64] = &[0, 1, 4, 16, 64, 256, 1_024];

/// Microseconds, from a disk with a cache that survives a power cut to one that is about to fail.
const COMMIT_US: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// The system events that are counted: what an operator wants to hear of.
const SYSTEM_EVENTS: [&str; 6] = ["$Fenced", "$OwnerLeft", "$Parked", "$Retried", "$Skipped", "$TypesChanged"];

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
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) restarts: Counter,
    pub(super) frames_sent: Counter,
    pub(super) messages_malformed: Counter,
    pub(super) connections_refused: Counter,
    pub(super) readers_slow: Counter,
    pub(super) spans_dropped: Counter,
    pub(super) denied: Counter,
    pub(super) token_limits: Counter,
    pub(super) paced: Counter,
    frames_received: Counter,
    publishes: Counter,
    commits_failed: Counter,
    /// When the commit under way was handed to the store; there is one at a time.
    commit_since: AtomicU64,
    commit_events: Histogram,
    commit_us: Histogram,
    events: Counter,
    completions: Counter,
    deliveries: Counter,
    redeliveries: Counter,
    conflicts: Counter,
    fenced: Counter,
    nacks: Counter,
    rebuilds: Counter,
    rebuilds_done: Counter,
    receipts_accepted: Counter,
    receipts_duplicate: Counter,
    receipts_inconsistent: Counter,
    receipts_refused: Counter,
    receipts_throttled: Counter,
    system_events: [Counter; SYSTEM_EVENTS.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            restarts: Counter::default(),
            frames_sent: Counter::default(),
            messages_malformed: Counter::default(),
            connections_refused: Counter::default(),
            readers_slow: Counter::default(),
            spans_dropped: Counter::default(),
            denied: Counter::default(),
            token_limits: Counter::default(),
            paced: Counter::default(),
            frames_received: Counter::default(),
            publishes: Counter::default(),
            commits_failed: Counter::default(),
            commit_since: AtomicU64::new(0),
            commit_events: Histogram::new(COMMIT_EVENTS),
            commit_us: Histogram::new(COMMIT_US),
            events: Counter::default(),
            completions: Counter::default(),
            deliveries: Counter::default(),
            redeliveries: Counter::default(),
            conflicts: Counter::default(),
            fenced: Counter::default(),
            nacks: Counter::default(),
            rebuilds: Counter::default(),
            rebuilds_done: Counter::default(),
            receipts_accepted: Counter::default(),
            receipts_duplicate: Counter::default(),
            receipts_inconsistent: Counter::default(),
            receipts_refused: Counter::default(),
            receipts_throttled: Counter::default(),
            system_events: Default::default(),
        }
    }
}

impl Metrics {
    /// A commit is handed to the store.
    pub(super) fn submitted(&self, now: Timestamp) {
        self.commit_since.store(now.0, Ordering::Relaxed);
    }

    /// It is durable.
    pub(super) fn committed(&self, commit: &Commit, now: Timestamp) {
        let since = Timestamp(self.commit_since.load(Ordering::Relaxed));
        self.commit_us.observe(now.since(since).as_micros() as u64);
        self.commit_events.observe(commit.events.len() as u64);
        self.events.add(commit.events.len());
        self.completions.add(commit.completions.len());
        for event in commit.events.iter().filter(|event| event.event_type.is_reserved()) {
            if let Some(index) = SYSTEM_EVENTS.iter().position(|known| *known == event.event_type.as_str()) {
                self.system_events[index].add(1);
            }
        }
    }

    pub(super) fn commit_failed(&self) {
        self.commits_failed.add(1);
    }

    pub(super) fn received(&self, frame: &ToBus) {
        self.frames_received.add(1);
        match frame {
            ToBus::Publish(_) => self.publishes.add(1),
            ToBus::Nack(_) => self.nacks.add(1),
            ToBus::Rebuild(_) => self.rebuilds.add(1),
            _ => {}
        }
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
            FromBus::Rebuilt(_) => self.rebuilds_done.add(1),
            _ => {}
        }
    }
}

/// All metrics as text. While the bus recovers, the services are left out: nobody knows how they stand.
pub(super) async fn text(shared: &Arc<Shared>, permit: Permit) -> String {
    let services = match shared.phase() {
        Phase::Ready { .. } | Phase::Draining => match shared.admin(permit, Admin::Services).await {
            Ok(AdminAnswer::Services(services)) => services,
            _ => Vec::new(),
        },
        Phase::Recovering | Phase::Full | Phase::Closing | Phase::Dead => Vec::new(),
    };
    let mut page = Page::new();
    of_process(shared, &mut page);
    of_bus(&shared.metrics, &mut page);
    of_services(shared, &services, &mut page);
    page.into_text()
}

fn of_process(shared: &Shared, page: &mut Page) {
    page.header("dacapo_build_info", "Always 1; the label tells the version.", "gauge");
    page.labelled("dacapo_build_info", "version", env!("CARGO_PKG_VERSION"), 1);
    let (ready, term) = match shared.phase() {
        Phase::Ready { term } => (1, term.0),
        Phase::Recovering | Phase::Full | Phase::Draining | Phase::Closing | Phase::Dead => (0, 0),
    };
    let full = u64::from(shared.phase() == Phase::Full);
    page.gauge("dacapo_disk_full", "1 while nothing is accepted because the disk is full.", full);
    page.gauge("dacapo_ready", "1 while the bus runs, 0 while it recovers or ends.", ready);
    page.gauge("dacapo_term", "Counts the lives of the bus; 0 while there is none.", term);
    page.gauge("dacapo_position", "The end of the log.", shared.position.get().0);
    page.gauge("dacapo_connections", "WebSocket connections that are open.", shared.sockets() as u64);
    page.gauge("dacapo_inbox_frames", "Frames that wait for the bus.", shared.inbox_len() as u64);
    if let Some(bytes) = resident_bytes() {
        page.gauge("process_resident_memory_bytes", "Memory of the process.", bytes);
    }
    if let Some(size) = shared.port.size() {
        page.header("dacapo_store_bytes", "The store's size on disk.", "gauge");
        page.labelled("dacapo_store_bytes", "file", "store", size.store_bytes);
        page.labelled("dacapo_store_bytes", "file", "wal", size.wal_bytes);
    }
}

fn of_bus(metrics: &Metrics, page: &mut Page) {
    for (name, help, counter) in [
        ("dacapo_restarts_total", "Times that the bus stopped and recovered.", &metrics.restarts),
        ("dacapo_publishes_total", "Batches that were sent to be published.", &metrics.publishes),
        ("dacapo_commits_failed_total", "Commits that failed.", &metrics.commits_failed),
        ("dacapo_events_total", "Events that entered the log.", &metrics.events),
        ("dacapo_completions_total", "Events that a service completed or skipped.", &metrics.completions),
        ("dacapo_deliveries_total", "Events that were handed to an owner.", &metrics.deliveries),
        ("dacapo_redeliveries_total", "Of these, not for the first time.", &metrics.redeliveries),
        ("dacapo_nacks_total", "Deliveries that their owner said had failed.", &metrics.nacks),
        ("dacapo_conflicts_total", "Completions whose expectations or guards did not hold.", &metrics.conflicts),
        ("dacapo_fenced_total", "Answers to deliveries that were no longer their sender's.", &metrics.fenced),
        ("dacapo_rebuilds_total", "Rebuilds that were asked for.", &metrics.rebuilds),
        ("dacapo_rebuilds_done_total", "Rebuilds that have met the present.", &metrics.rebuilds_done),
        ("dacapo_frames_received_total", "Frames from instances and publishers.", &metrics.frames_received),
        ("dacapo_frames_sent_total", "Frames to them.", &metrics.frames_sent),
        ("dacapo_messages_malformed_total", "Messages that were no frames.", &metrics.messages_malformed),
        ("dacapo_connections_refused_total", "Connections beyond the limit.", &metrics.connections_refused),
        ("dacapo_readers_slow_total", "Connections closed because they did not read.", &metrics.readers_slow),
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
        ("dacapo_spans_dropped_total", "Spans that found the exporter busy.", &metrics.spans_dropped),
    ] {
        page.counter(name, help, counter.get());
    }
    page.header("dacapo_receipts_total", "Receipts by status.", "counter");
    for (status, counter) in [
        ("accepted", &metrics.receipts_accepted),
        ("duplicate", &metrics.receipts_duplicate),
        ("inconsistent", &metrics.receipts_inconsistent),
        ("refused", &metrics.receipts_refused),
        ("throttled", &metrics.receipts_throttled),
    ] {
        page.labelled("dacapo_receipts_total", "status", status, counter.get());
    }
    page.header("dacapo_system_events_total", "What happened to lanes and services, by type.", "counter");
    for (event_type, counter) in SYSTEM_EVENTS.iter().zip(&metrics.system_events) {
        page.labelled("dacapo_system_events_total", "type", event_type, counter.get());
    }
    page.histogram("dacapo_commit_events", "Events in a commit.", &metrics.commit_events, 1);
    let help = "From handing a commit to the store until it is durable: the disk's sync, for the most part.";
    page.histogram("dacapo_commit_duration_seconds", help, &metrics.commit_us, 1_000_000);
}

/// What is told of each service.
type Figure<'a> = &'a dyn Fn(&ServiceStatus) -> u64;

fn of_services(shared: &Shared, services: &[ServiceStatus], page: &mut Page) {
    let end = shared.position.get();
    let connected = |service: &ServiceStatus| service.instances.iter().filter(|it| it.connected).count() as u64;
    let ready = |service: &ServiceStatus| service.instances.iter().filter(|it| it.connected && it.ready).count() as u64;
    let figures: [(&str, &str, &str, Figure<'_>); 8] = [
        (
            "dacapo_service_lag_events",
            "Positions between the service's frontier and the end of the log.",
            "gauge",
            &|service| end.0.saturating_sub(service.frontier.0),
        ),
        ("dacapo_service_pending_events", "Events in memory that are not done.", "gauge", &|service| {
            service.pending as u64
        }),
        ("dacapo_service_deliveries_open", "Deliveries that are not answered.", "gauge", &|service| {
            service.open as u64
        }),
        ("dacapo_service_lanes_behind", "Lanes that the frontier has passed.", "gauge", &|service| {
            service.lanes_behind as u64
        }),
        (
            "dacapo_service_lanes_parked",
            "Of these, lanes that stand until somebody retries or skips.",
            "gauge",
            &|service| service.lanes_parked as u64,
        ),
        ("dacapo_service_instances_connected", "Instances that are connected.", "gauge", &connected),
        ("dacapo_service_instances_ready", "Of these, those that take deliveries.", "gauge", &ready),
        (
            "dacapo_service_system_events_skipped",
            "System events that could not be handled, in this life of the bus.",
            "gauge",
            &|service| service.system_events_skipped,
        ),
    ];
    for (name, help, kind, figure) in figures {
        page.header(name, help, kind);
        for service in services {
            page.labelled(name, "service", service.name.as_str(), figure(service));
        }
    }
}

/// Where the system tells it as Linux does.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
