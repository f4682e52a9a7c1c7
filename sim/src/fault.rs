//! The bad things that a plan can hold: what each is, when it begins, and to which family it belongs.
//!
//! A correct system survives all of them but the destructive ones ([`Family::is_destructive`]): a disk that lies, rot of
//! the only copy. A run that holds one of these must notice it, and is judged by that alone.

mod family;
pub mod points;

use dacapo_core::{NodeName, ServiceName, hooks::Identity};
use serde::{Deserialize, Serialize};

pub use family::Family;

/// When a fault begins.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// At this time of the run.
    At {
        /// Microseconds since the run's start.
        us: u64,
    },
    /// When a host reaches a point for the n-th time, such as "before sending the receipts of request 17".
    On {
        /// The host.
        host: NodeName,
        /// The point's name.
        point: String,
        /// Only where the point is about this; none: whatever it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identity: Option<Identity>,
        /// From 1.
        nth: u64,
    },
}

/// Something bad that happens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fault {
    /// Its identity in the plan, kept when others are taken out.
    pub id: u32,
    /// Which family it was drawn for.
    pub family: Family,
    /// When it begins.
    pub trigger: Trigger,
    /// How long it lasts, in microseconds.
    pub duration_us: u64,
    /// What happens.
    pub what: Harm,
}

impl Fault {
    /// In words: `crash of bus for 1.200s`.
    pub fn describe(&self) -> String {
        let when = match &self.trigger {
            Trigger::At { us } => format!("at {}", seconds(*us)),
            Trigger::On { host, point, identity: None, nth } => format!("when {host} reaches `{point}` for time {nth}"),
            Trigger::On { host, point, identity: Some(identity), nth } => {
                format!("when {host} reaches `{point}` of {identity:?} for time {nth}")
            }
        };
        format!("{} {when} for {}", self.what.describe(), seconds(self.duration_us))
    }
}

fn seconds(us: u64) -> String {
    dacapo_core::Timestamp(us).to_string()
}

/// What happens while a fault lasts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Harm {
    /// Every link takes this much longer.
    Delay {
        /// Microseconds, one way.
        extra_us: u64,
    },
    /// The link between two hosts takes this much longer.
    SlowPair {
        /// One host.
        a: NodeName,
        /// The other.
        b: NodeName,
        /// Microseconds, one way.
        extra_us: u64,
    },
    /// Nothing passes between the sets, in either direction; what is under way is lost.
    Partition {
        /// One side.
        a: Vec<NodeName>,
        /// The other side.
        b: Vec<NodeName>,
    },
    /// Nothing passes from one set to the other; the way back is open.
    PartitionOneWay {
        /// Who is not heard.
        from: Vec<NodeName>,
        /// Who does not hear.
        to: Vec<NodeName>,
    },
    /// Nothing passes to or from the host.
    Isolate {
        /// The host.
        host: NodeName,
    },
    /// What two hosts send each other waits, and arrives at once at the end.
    Hold {
        /// One host.
        a: NodeName,
        /// The other.
        b: NodeName,
    },
    /// All connections between two hosts break off, in the middle of a frame if need be.
    Reset {
        /// One host.
        a: NodeName,
        /// The other.
        b: NodeName,
    },
    /// New connections to the host fail.
    Refuse {
        /// The host.
        host: NodeName,
        /// They hang instead of being refused.
        hang: bool,
    },
    /// The host dies and is started again at the end.
    Crash {
        /// The host.
        host: NodeName,
        /// Its peers hear nothing of it (a power cut); else its connections are closed (a killed process).
        silent: bool,
    },
    /// The host dies, lives for a while, and dies again, until the end.
    CrashLoop {
        /// The host.
        host: NodeName,
        /// How long it is dead each time, in microseconds.
        down_us: u64,
        /// How long it lives each time, in microseconds.
        up_us: u64,
    },
    /// The host stands still.
    Pause {
        /// The host.
        host: NodeName,
    },
    /// An instance dies, and its next life plays the whole past before it takes deliveries.
    StateDestroyed {
        /// The host.
        host: NodeName,
    },
    /// Several instances die, and each one's next life plays the whole past before it takes deliveries.
    StatesDestroyed {
        /// Their hosts.
        hosts: Vec<NodeName>,
    },
    /// A further instance runs.
    ScaleOut {
        /// Of which service.
        service: ServiceName,
        /// Its host, which no other item of the plan names.
        host: NodeName,
    },
    /// A process is asked to end, and is started again at the end.
    Leave {
        /// The host.
        host: NodeName,
    },
    /// The host's wall clock is off.
    ClockOffset {
        /// The host.
        host: NodeName,
        /// By how many microseconds.
        offset_us: i64,
    },
    /// Each handling of a service takes longer.
    SlowHandler {
        /// The service.
        service: ServiceName,
        /// Microseconds.
        extra_us: u64,
    },
    /// The first attempts at handling some events fail. Depends on event and attempt alone, never on the time.
    FailingHandler {
        /// The service.
        service: ServiceName,
        /// Which share of the events, in thousandths.
        share_permille: u32,
        /// How many attempts fail.
        attempts: u32,
    },
    /// Completions that an instance sends are lost.
    CompletionLost {
        /// The instance's host.
        host: NodeName,
        /// Which share of them, in thousandths.
        share_permille: u32,
    },
    /// Completions that an instance sends wait, and what is behind them too.
    CompletionLate {
        /// The instance's host.
        host: NodeName,
        /// Which share of them, in thousandths.
        share_permille: u32,
        /// For how long, in microseconds.
        delay_us: u64,
    },
    /// Some commits fail with an error of the medium, after which nobody knows what became of them.
    StoreFails {
        /// Which share of them, in thousandths.
        share_permille: u32,
        /// They are made all the same; else they are not.
        applied: bool,
    },
    /// Each call of the store takes longer.
    SlowStore {
        /// Microseconds.
        extra_us: u64,
    },
    /// The bus's machine loses its power. Writes that were not synced are written, torn or lost.
    PowerCut {
        /// The host.
        host: NodeName,
        /// Which share of the writes is written, in thousandths.
        written_permille: u32,
        /// Which share is torn, some sectors being noise. The rest is lost.
        torn_permille: u32,
        /// Which share of the directory's changes is lost.
        entries_lost_permille: u32,
    },
    /// Syncs fail, and what they should have written is lost unless it is written again.
    FsyncFails {
        /// Which share of them, in thousandths.
        share_permille: u32,
    },
    /// Syncs do nothing and say that they have.
    FsyncLies {
        /// Which share of them, in thousandths.
        share_permille: u32,
    },
    /// Reads fail.
    ReadError {
        /// Which share of them, in thousandths.
        share_permille: u32,
    },
    /// Files cannot grow any more.
    DiskFull {
        /// What room there is still, in bytes.
        room_bytes: u64,
    },
    /// Bits change at rest, once.
    BitRot {
        /// How many.
        bits: u32,
    },
    /// Writes and syncs take longer.
    SlowDisk {
        /// Each write by so many microseconds.
        write_us: u64,
        /// Each sync by so many microseconds.
        sync_us: u64,
        /// Which share of the syncs stalls, in thousandths.
        stalls_permille: u32,
        /// For how long, in microseconds.
        stall_us: u64,
    },
    /// Parcels between two hosts are lost and sent again after a wait that doubles; what is behind them waits too.
    PacketLoss {
        /// One host.
        a: NodeName,
        /// The other.
        b: NodeName,
        /// Which share is lost each time it is sent, in thousandths.
        share_permille: u32,
    },
    /// An attempt of a customer reaches another instance too, whose answer nobody hears.
    DuplicateAttempt {
        /// Which share of the attempts, in thousandths.
        share_permille: u32,
    },
    /// All connections between two hosts end at one of them. The other hears nothing of it, and what it sends is
    /// swallowed.
    HalfOpen {
        /// Who believes that they live.
        unaware: NodeName,
        /// Where they end.
        other: NodeName,
    },
    /// What travels on a link waits: first on the first link, a while later on the second too, and so on; they are let
    /// go in reverse.
    Swizzle {
        /// The links, in the order in which they are stalled.
        links: Vec<(NodeName, NodeName)>,
        /// From one to the next, in microseconds.
        step_us: u64,
    },
    /// The host does not read what is sent to it; it sends, and its timers run.
    SlowReader {
        /// The host.
        host: NodeName,
    },
    /// The host's clocks run too fast or too slow. What they have gained or lost they keep.
    ClockDrift {
        /// The host.
        host: NodeName,
        /// Microseconds a second.
        ppm: i64,
    },
    /// The host's clocks jump. They stay where they are, also when all is healed.
    ClockStep {
        /// The host.
        host: NodeName,
        /// The wall clock, by so many microseconds.
        wall_us: i64,
        /// The monotonic clock, which can only jump ahead, as that of a machine that was put to sleep.
        monotonic_us: u64,
    },
    /// The hosts are asked to end and started again, one after the other.
    RollingRestart {
        /// The hosts.
        hosts: Vec<NodeName>,
        /// How long each is away, in microseconds.
        each_us: u64,
    },
    /// The hosts die at once and are started again at the end.
    CrashSeveral {
        /// The hosts.
        hosts: Vec<NodeName>,
        /// Their peers hear nothing of it.
        silent: bool,
    },
    /// Completions that an instance sends are sent twice.
    CompletionTwice {
        /// The instance's host.
        host: NodeName,
        /// Which share of them, in thousandths.
        share_permille: u32,
    },
    /// A stranger comes to the bus: floods it, speaks out of turn, forges, does not read, holds connections.
    Hostile {},
    /// Somebody makes a backup of the store. Its own files meet trouble, the store's do not.
    Backup {
        /// What room there is for it, in bytes; none: enough.
        room_bytes: Option<u64>,
        /// Which share of its syncs fails, in thousandths.
        syncs_fail_permille: u32,
        /// Which share of the reads meanwhile fails, in thousandths.
        reads_fail_permille: u32,
    },
}

impl Harm {
    /// In words, without times.
    pub fn describe(&self) -> String {
        let list = |hosts: &[NodeName]| hosts.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
        match self {
            Self::Delay { extra_us } => format!("all links slower by {}", seconds(*extra_us)),
            Self::SlowPair { a, b, extra_us } => format!("{a} and {b} further apart by {}", seconds(*extra_us)),
            Self::Partition { a, b } => format!("partition between {} and {}", list(a), list(b)),
            Self::PartitionOneWay { from, to } => format!("partition from {} to {}", list(from), list(to)),
            Self::Isolate { host } => format!("isolation of {host}"),
            Self::Hold { a, b } => format!("hold between {a} and {b}"),
            Self::Reset { a, b } => format!("reset of the connections between {a} and {b}"),
            Self::Refuse { host, hang: false } => format!("connections to {host} refused"),
            Self::Refuse { host, hang: true } => format!("connections to {host} hang"),
            Self::Crash { host, silent: false } => format!("crash of {host}"),
            Self::CrashLoop { host, .. } => format!("crash loop of {host}"),
            Self::Pause { host } => format!("pause of {host}"),
            Self::StateDestroyed { host } => format!("crash of {host} with its state destroyed"),
            Self::StatesDestroyed { hosts } => format!("crash of {} with their states destroyed", list(hosts)),
            Self::ScaleOut { host, .. } => format!("{host} joins"),
            Self::Leave { host } => format!("{host} is asked to end"),
            Self::ClockOffset { host, offset_us } => {
                let sign = if *offset_us < 0 { "back" } else { "ahead" };
                format!("wall clock of {host} {sign} by {}", seconds(offset_us.unsigned_abs()))
            }
            Self::SlowHandler { service, extra_us } => {
                format!("handling by {service} longer by {}", seconds(*extra_us))
            }
            Self::FailingHandler { service, share_permille, attempts: u32::MAX } => {
                format!("{share_permille} in 1000 events never handled by {service}")
            }
            Self::FailingHandler { service, share_permille, attempts } => {
                format!("{share_permille} in 1000 events fail {attempts} times at {service}")
            }
            Self::CompletionLost { host, share_permille } => {
                format!("{share_permille} in 1000 completions of {host} lost")
            }
            Self::CompletionLate { host, share_permille, delay_us } => {
                format!("{share_permille} in 1000 completions of {host} late by {}", seconds(*delay_us))
            }
            Self::StoreFails { share_permille, applied: false } => format!("{share_permille} in 1000 commits fail"),
            Self::StoreFails { share_permille, applied: true } => {
                format!("{share_permille} in 1000 commits are made and said to fail")
            }
            Self::SlowStore { extra_us } => format!("store slower by {}", seconds(*extra_us)),
            Self::PowerCut { host, entries_lost_permille: 1_000, .. } => {
                format!("power cut of {host} with all unsynced directory entries lost")
            }
            Self::Crash { host, silent: true } | Self::PowerCut { host, .. } => format!("power cut of {host}"),
            Self::FsyncFails { share_permille } => format!("{share_permille} in 1000 syncs fail"),
            Self::FsyncLies { share_permille } => format!("{share_permille} in 1000 syncs lie"),
            Self::ReadError { share_permille } => format!("{share_permille} in 1000 reads of the disk fail"),
            Self::DiskFull { room_bytes } => format!("disk full but for {room_bytes} bytes"),
            Self::BitRot { bits } => format!("{bits} bits rot"),
            Self::SlowDisk { write_us, sync_us, .. } => {
                format!("disk slower by {} a write and {} a sync", seconds(*write_us), seconds(*sync_us))
            }
            Self::PacketLoss { a, b, share_permille } => {
                format!("{share_permille} in 1000 parcels between {a} and {b} lost")
            }
            Self::DuplicateAttempt { share_permille } => {
                format!("{share_permille} in 1000 attempts of customers arrive twice")
            }
            Self::HalfOpen { unaware, other } => {
                format!("connections with {unaware} end at {other}, of which {unaware} hears nothing")
            }
            Self::Swizzle { links, step_us } => {
                format!("{} links stalled one by one, {} apart", links.len(), seconds(*step_us))
            }
            Self::SlowReader { host } => format!("{host} does not read"),
            Self::ClockDrift { host, ppm } => format!("clocks of {host} off by {ppm} us a second"),
            Self::ClockStep { host, wall_us, monotonic_us } => {
                let sign = if *wall_us < 0 { "back" } else { "ahead" };
                let (wall, monotonic) = (seconds(wall_us.unsigned_abs()), seconds(*monotonic_us));
                format!("wall clock of {host} jumps {sign} by {wall}, its monotonic clock ahead by {monotonic}")
            }
            Self::RollingRestart { hosts, each_us } => {
                format!("{} are asked to end one after the other, {} each", list(hosts), seconds(*each_us))
            }
            Self::CrashSeveral { hosts, silent: false } => format!("crash of {} at once", list(hosts)),
            Self::CrashSeveral { hosts, silent: true } => format!("power cut of {} at once", list(hosts)),
            Self::CompletionTwice { host, share_permille } => {
                format!("{share_permille} in 1000 completions of {host} sent twice")
            }
            Self::Hostile {} => "a stranger comes".to_owned(),
            Self::Backup { room_bytes, syncs_fail_permille, reads_fail_permille } => {
                let room = room_bytes.map_or_else(String::new, |bytes| format!(" in a room of {bytes} bytes"));
                format!(
                    "backup{room}, of whose syncs {syncs_fail_permille} and of whose reads {reads_fail_permille} in 1000 fail"
                )
            }
        }
    }

    /// Whether it may take away what no store can do without.
    pub fn is_destructive(&self) -> bool {
        matches!(self, Self::FsyncLies { .. } | Self::BitRot { .. })
    }

    /// Whether a host is down while it lasts.
    pub fn takes_down(&self, name: &NodeName) -> bool {
        match self {
            Self::Crash { host, .. }
            | Self::CrashLoop { host, .. }
            | Self::StateDestroyed { host }
            | Self::PowerCut { host, .. } => host == name,
            Self::CrashSeveral { hosts, .. } => hosts.contains(name),
            _ => false,
        }
    }

    /// The hosts that it names.
    pub fn hosts(&self) -> Vec<&NodeName> {
        match self {
            Self::SlowPair { a, b, .. }
            | Self::Hold { a, b }
            | Self::Reset { a, b }
            | Self::PacketLoss { a, b, .. }
            | Self::HalfOpen { unaware: a, other: b } => vec![a, b],
            Self::Swizzle { links, .. } => links.iter().flat_map(|(a, b)| [a, b]).collect(),
            Self::RollingRestart { hosts, .. } | Self::CrashSeveral { hosts, .. } | Self::StatesDestroyed { hosts } => {
                hosts.iter().collect()
            }
            Self::Partition { a, b } => a.iter().chain(b).collect(),
            Self::PartitionOneWay { from, to } => from.iter().chain(to).collect(),
            Self::Isolate { host }
            | Self::Refuse { host, .. }
            | Self::Crash { host, .. }
            | Self::CrashLoop { host, .. }
            | Self::Pause { host }
            | Self::StateDestroyed { host }
            | Self::ScaleOut { host, .. }
            | Self::Leave { host }
            | Self::ClockOffset { host, .. }
            | Self::SlowReader { host }
            | Self::ClockDrift { host, .. }
            | Self::ClockStep { host, .. }
            | Self::CompletionTwice { host, .. }
            | Self::CompletionLost { host, .. }
            | Self::CompletionLate { host, .. }
            | Self::PowerCut { host, .. } => vec![host],
            Self::Delay { .. }
            | Self::SlowHandler { .. }
            | Self::FailingHandler { .. }
            | Self::StoreFails { .. }
            | Self::SlowStore { .. }
            | Self::FsyncFails { .. }
            | Self::FsyncLies { .. }
            | Self::ReadError { .. }
            | Self::DiskFull { .. }
            | Self::BitRot { .. }
            | Self::SlowDisk { .. }
            | Self::DuplicateAttempt { .. }
            | Self::Hostile {}
            | Self::Backup { .. } => Vec::new(),
        }
    }
}
