//! Which records a promise looks at, so that the judge shows it no others: most records are none of most promises'
//! business.

use dacapo_core::{
    trace::{Frame, What},
    wire::{FromBus, ToBus},
};

/// A set of kinds of records. Put several together with [`and`](Self::and).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds(u64);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The place of each kind in a set: no two have the same.
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "they are the names of the constants")]
        enum Place {
            $($name,)*
        }

        impl Kinds {
            $($(#[$doc])* pub const $name: Self = Self(1 << Place::$name as u8);)*
        }
    };
}

kinds! {
    /// [`What::Started`]
    STARTED,
    /// [`What::Stopped`]
    STOPPED,
    /// [`What::Draining`]
    DRAINING,
    /// [`What::OperationSent`]
    OPERATION_SENT,
    /// [`What::OperationAnswered`]
    OPERATION_ANSWERED,
    /// [`What::OperationUnknown`]
    OPERATION_UNKNOWN,
    /// [`What::OperationSkipped`]
    OPERATION_SKIPPED,
    /// [`What::Connected`]
    CONNECTED,
    /// [`What::Disconnected`]
    DISCONNECTED,
    /// [`What::CommitSubmitted`]
    COMMIT_SUBMITTED,
    /// [`What::CommitDurable`]
    COMMIT_DURABLE,
    /// [`What::CommitFailed`]
    COMMIT_FAILED,
    /// [`What::Recovered`]
    RECOVERED,
    /// [`What::HandlerBegun`] and [`What::HandlerEnded`]
    HANDLER,
    /// [`What::Applied`]
    APPLIED,
    /// [`What::Forgotten`]
    FORGOTTEN,
    /// [`What::Viewed`]
    VIEWED,
    /// [`What::RebuildBegun`] and [`What::RebuildEnded`]
    REBUILD_AT_INSTANCE,
    /// [`What::Sizes`]
    SIZES,
    /// [`What::FaultBegun`], [`What::FaultEnded`] and [`What::FaultNeverFired`]
    FAULT,
    /// [`What::Healed`]
    HEALED,
    /// [`What::Mark`]
    MARK,
    /// A bus has received a `hello`.
    HELLO,
    /// A bus has received a `publish`.
    PUBLISH,
    /// A bus has received a `complete`.
    COMPLETE,
    /// A bus has received a `nack`.
    NACK,
    /// A bus has received an `extend`.
    EXTEND,
    /// A bus has received a `rebuild`.
    REBUILD,
    /// A bus has received a `credit`.
    CREDIT,
    /// A bus has received a `bye`.
    BYE,
    /// A bus has received a `ready`, `read` or `ping`.
    HEARD_OTHER,
    /// A bus has sent a `welcome`.
    WELCOME,
    /// A bus has sent a `receipts`.
    RECEIPTS,
    /// A bus has sent a `deliver`.
    DELIVER,
    /// A bus has sent a `completed`.
    COMPLETED,
    /// A bus has sent a `conflict`.
    CONFLICT,
    /// A bus has sent a `fenced`.
    FENCED,
    /// A bus has sent a `rejected`.
    REJECTED,
    /// A bus has sent an `events`.
    EVENTS,
    /// A bus has sent a `rebuilt`.
    REBUILT,
    /// A bus has sent an `error`.
    ERROR,
    /// A bus has sent a `closing`.
    CLOSING,
    /// A bus has sent a `resume` or `pong`.
    SAID_OTHER,
    /// A frame has left or reached the other end of a connection.
    FRAME_AT_PEER,
    /// [`What::HandlerChecked`]
    CHECKED,
    /// [`What::Showed`]
    SHOWED,
    /// [`What::Full`]
    FULL,
    /// [`What::Restored`]
    RESTORED,
    /// [`What::Found`]
    FOUND,
}

impl Kinds {
    /// No record.
    pub const NONE: Self = Self(0);
    /// Every record, also of kinds that are yet to come.
    pub const ALL: Self = Self(u64::MAX);
    /// Any frame that a bus has received.
    pub const HEARD: Self = Self::HELLO
        .and(Self::PUBLISH)
        .and(Self::COMPLETE)
        .and(Self::NACK)
        .and(Self::EXTEND)
        .and(Self::REBUILD)
        .and(Self::CREDIT)
        .and(Self::BYE)
        .and(Self::HEARD_OTHER);
    /// Any frame that a bus has sent.
    pub const SAID: Self = Self::WELCOME
        .and(Self::RECEIPTS)
        .and(Self::DELIVER)
        .and(Self::COMPLETED)
        .and(Self::CONFLICT)
        .and(Self::FENCED)
        .and(Self::REJECTED)
        .and(Self::EVENTS)
        .and(Self::REBUILT)
        .and(Self::ERROR)
        .and(Self::CLOSING)
        .and(Self::SAID_OTHER);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a record of this kind is in the set.
    pub const fn holds(self, kind: Self) -> bool {
        self.0 & kind.0 != 0
    }

    /// The kind of a record, as a set of one.
    pub fn of(what: &What) -> Self {
        match what {
            What::Started { .. } => Self::STARTED,
            What::Stopped { .. } => Self::STOPPED,
            What::Draining {} => Self::DRAINING,
            What::Full {} => Self::FULL,
            What::Found { .. } => Self::FOUND,
            What::Restored { .. } => Self::RESTORED,
            What::OperationSent { .. } => Self::OPERATION_SENT,
            What::OperationAnswered { .. } => Self::OPERATION_ANSWERED,
            What::OperationUnknown { .. } => Self::OPERATION_UNKNOWN,
            What::OperationSkipped { .. } => Self::OPERATION_SKIPPED,
            What::FrameReceived { frame: Frame::ToBus(frame), .. } => Self::heard(frame),
            What::FrameSent { frame: Frame::FromBus(frame), .. } => Self::said(frame),
            What::FrameSent { .. } | What::FrameReceived { .. } => Self::FRAME_AT_PEER,
            What::Connected { .. } => Self::CONNECTED,
            What::Showed { .. } => Self::SHOWED,
            What::Disconnected { .. } => Self::DISCONNECTED,
            What::CommitSubmitted { .. } => Self::COMMIT_SUBMITTED,
            What::CommitDurable { .. } => Self::COMMIT_DURABLE,
            What::CommitFailed { .. } => Self::COMMIT_FAILED,
            What::Recovered { .. } => Self::RECOVERED,
            What::HandlerBegun { .. } | What::HandlerEnded { .. } => Self::HANDLER,
            What::HandlerChecked { .. } => Self::CHECKED,
            What::Applied { .. } => Self::APPLIED,
            What::Forgotten { .. } => Self::FORGOTTEN,
            What::Viewed { .. } => Self::VIEWED,
            What::RebuildBegun { .. } | What::RebuildEnded { .. } => Self::REBUILD_AT_INSTANCE,
            What::Sizes { .. } => Self::SIZES,
            What::FaultBegun { .. } | What::FaultEnded { .. } | What::FaultNeverFired { .. } => Self::FAULT,
            What::Healed { .. } => Self::HEALED,
            What::Mark { .. } => Self::MARK,
        }
    }

    fn heard(frame: &ToBus) -> Self {
        match frame {
            ToBus::Hello(_) => Self::HELLO,
            ToBus::Publish(_) => Self::PUBLISH,
            ToBus::Complete(_) => Self::COMPLETE,
            ToBus::Nack(_) => Self::NACK,
            ToBus::Extend(_) => Self::EXTEND,
            ToBus::Rebuild(_) => Self::REBUILD,
            ToBus::Credit(_) => Self::CREDIT,
            ToBus::Bye(_) => Self::BYE,
            ToBus::Ready(_) | ToBus::Read(_) | ToBus::Ping(_) => Self::HEARD_OTHER,
        }
    }

    fn said(frame: &FromBus) -> Self {
        match frame {
            FromBus::Welcome(_) => Self::WELCOME,
            FromBus::Receipts(_) => Self::RECEIPTS,
            FromBus::Deliver(_) => Self::DELIVER,
            FromBus::Completed(_) => Self::COMPLETED,
            FromBus::Conflict(_) => Self::CONFLICT,
            FromBus::Fenced(_) => Self::FENCED,
            FromBus::Rejected(_) => Self::REJECTED,
            FromBus::Events(_) => Self::EVENTS,
            FromBus::Rebuilt(_) => Self::REBUILT,
            FromBus::Error(_) => Self::ERROR,
            FromBus::Closing(_) => Self::CLOSING,
            FromBus::Resume(_) | FromBus::Pong(_) => Self::SAID_OTHER,
        }
    }

    /// Each kind as a set of one, by place.
    pub(crate) fn each() -> impl Iterator<Item = Self> {
        (0..u64::BITS).map(|place| Self(1 << place))
    }

    /// For a table by kind: the place of a set of one.
    pub(crate) fn place(self) -> usize {
        debug_assert_eq!(self.0.count_ones(), 1, "a record is of one kind");
        self.0.trailing_zeros() as usize
    }
}
