//! Families of faults: what the swarm switches on and off, and what marks say they need. Each name stands here, once.

use serde::{Deserialize, Serialize};

macro_rules! families {
    ($(#[doc = $sentence:literal] $name:ident = $text:literal,)*) => {
        /// A family of faults: what the swarm switches on and off, and what marks say they need.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Family {
            $(#[doc = $sentence] $name,)*
        }

        impl Family {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name in profiles and summaries.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it is, in a line.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence.trim_ascii(),)* }
            }
        }
    };
}

families! {
    /// Every link is slower.
    Delay = "delay",
    /// One pair of hosts is far apart.
    SlowPair = "slow-pair",
    /// Two sets of hosts do not hear each other.
    Partition = "partition",
    /// One set of hosts does not hear the other.
    PartitionOneWay = "partition-one-way",
    /// One host hears nobody and is heard by nobody.
    Isolate = "isolate",
    /// What is sent between two hosts waits, and arrives at once.
    Hold = "hold",
    /// Connections break off.
    Reset = "reset",
    /// New connections are refused, or hang.
    Refuse = "refuse",
    /// The bus dies and comes back.
    CrashBus = "crash-bus",
    /// An instance dies and comes back.
    CrashInstance = "crash-instance",
    /// A customer dies and comes back with its unfinished operations.
    CrashCustomer = "crash-customer",
    /// The bus dies between two of its outputs.
    CrashAtPoint = "crash-at-point",
    /// The store makes a commit durable, and the bus dies before it hears of it.
    CommitAnswerLost = "commit-answer-lost",
    /// A host dies again and again.
    CrashLoop = "crash-loop",
    /// A host stands still for longer than the heartbeat allows, and goes on.
    Pause = "pause",
    /// An instance loses what it knows and plays the past again.
    StateDestroyed = "state-destroyed",
    /// An instance more joins and leaves.
    ScaleOut = "scale-out",
    /// An instance leaves and comes back later.
    ScaleIn = "scale-in",
    /// A process is asked to end, and is started again.
    GracefulRestart = "graceful-restart",
    /// A wall clock is wrong.
    ClockOffset = "clock-offset",
    /// Handling takes long.
    SlowHandler = "slow-handler",
    /// Handling fails a few times, then works.
    FailingHandler = "failing-handler",
    /// Handling of some events never works.
    PoisonEvent = "poison-event",
    /// Completions are lost.
    CompletionLost = "completion-lost",
    /// Completions come late.
    CompletionLate = "completion-late",
    /// The store takes long.
    SlowStore = "slow-store",
    /// The store fails a commit: it is not made, or it is and nobody can say so.
    StoreFails = "store-fails",
    /// The bus's machine loses its power: what was not synced is written, lost or torn.
    PowerCut = "power-cut",
    /// A power cut after which no directory entry that was not synced is left.
    DirectoryEntryLost = "directory-entry-lost",
    /// The disk fails to sync, and forgets what it had not written.
    FsyncFails = "fsync-fails",
    /// The disk cannot be read in places.
    ReadError = "read-error",
    /// There is no room on the disk until some is made.
    DiskFull = "disk-full",
    /// The disk is slow, and stalls.
    SlowDisk = "slow-disk",
    /// The disk says that it has synced and has not. No store survives that; it must be noticed.
    FsyncLies = "fsync-lies",
    /// Bits of the only copy change. No store survives that; it must be refused.
    BitRot = "bit-rot",
    /// Parcels are lost on their way and sent again later. Needs the event engine.
    PacketLoss = "packet-loss",
    /// Customers' requests reach a second instance too.
    DuplicateAttempt = "duplicate-attempt",
    /// One end of a connection is gone, and the other believes that it lives. Needs the event engine.
    HalfOpen = "half-open",
    /// Links are stalled one by one, and let go in reverse.
    Swizzle = "swizzle",
    /// A host does not read what is sent to it. Needs the event engine.
    SlowReader = "slow-reader",
    /// A host's clocks run too fast or too slow.
    ClockDrift = "clock-drift",
    /// A host's clocks jump, and stay where they are.
    ClockStep = "clock-step",
    /// The instances of a service are asked to end and started again, one after the other.
    RollingRestart = "rolling-restart",
    /// Several hosts die at once.
    CrashSeveral = "crash-several",
    /// Completions are sent twice.
    CompletionTwice = "completion-twice",
    /// An instance answers no delivery for longer than the deadline, and seems alive.
    MuteInstance = "mute-instance",
    /// An instance dies in the middle of playing the past, or just before or after, and plays it again.
    RebuildCutShort = "rebuild-cut-short",
    /// Several instances lose what they know at once, and play the past again while customers go on.
    RebuildsTogether = "rebuilds-together",
    /// An instance dies between two of its outputs.
    InstanceAtPoint = "instance-at-point",
    /// No instance of a service is there when the run begins: it registers late.
    LateService = "late-service",
    /// A backup is made while the bus is at work, in troubles of its own at times.
    Backup = "backup",
    /// The power goes while a backup is made.
    BackupCutShort = "backup-cut-short",
    /// The power goes while a file of a former schema is brought forward.
    MigrationCutShort = "migration-cut-short",
    /// A stranger is about who means the bus no good.
    HostileClient = "hostile-client",
}

impl Family {
    /// Whether it is a fault of the simulated disk, and nothing without one.
    pub const fn is_of_disk(self) -> bool {
        matches!(
            self,
            Self::PowerCut
                | Self::DirectoryEntryLost
                | Self::FsyncFails
                | Self::ReadError
                | Self::DiskFull
                | Self::SlowDisk
                | Self::FsyncLies
                | Self::BitRot
                | Self::Backup
                | Self::BackupCutShort
                | Self::MigrationCutShort
        )
    }

    /// Whether only the event engine can do it: the network of the full stack knows no single parcel, and its
    /// connections no end that is gone without the other hearing of it. Elsewhere such a fault begins and does nothing.
    pub const fn needs_event_engine(self) -> bool {
        matches!(self, Self::PacketLoss | Self::HalfOpen | Self::SlowReader)
    }

    /// Whether it takes away what no store can do without: then it must be noticed, and nothing else is promised.
    pub const fn is_destructive(self) -> bool {
        matches!(self, Self::FsyncLies | Self::BitRot)
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
