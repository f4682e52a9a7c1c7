//! The planted bugs with which the harness tests itself.
//!
//! Their names are always known, so that a binary without them can say what it lacks; their effects exist only under
//! the cargo feature `planted-bugs`, which a release build never has by default. A bug is planted by a run's
//! configuration ([`Planted`]), never by a global.

use serde::{Deserialize, Serialize};

macro_rules! bugs {
    ($($(#[$doc:meta])* $variant:ident = $name:literal: $story:literal;)*) => {
        /// One planted bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Bug {
            $(#[doc = $story] $variant,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What goes wrong, in a line.
            pub const fn story(self) -> &'static str {
                match self { $(Self::$variant => $story,)* }
            }
        }
    };
}

bugs! {
    ReceiptBeforeCommit = "receipt-before-commit": "the bus sends receipts without waiting for the commit that they rest upon";
    CompletionApart = "completion-apart": "a completion is committed one commit before the events that it produced";
    RedeliveryUnordered = "redelivery-unordered": "what an owner left open is delivered again in another order";
    NoDeadline = "no-deadline": "a delivery to a hung instance has no deadline";
    OldEpochAccepted = "old-epoch-accepted": "the completion of a former owner is accepted";
    IdWindow = "id-window": "event ids are remembered only in a window of recent events";
    RebuildOverlaps = "rebuild-overlaps": "a rebuild overlaps the live stream by one event";
    RebuildOffByOne = "rebuild-off-by-one": "a rebuild leaves out its last event";
    ParkedLaneLeaks = "parked-lane-leaks": "a parked lane lets later events pass";
    BackoffBlocksOthers = "backoff-blocks-others": "a lane's back-off blocks the service's other lanes";
    RetryWithAny = "retry-with-any": "an inconsistent publish is sent again with `any`";
    OverdraftUnguarded = "overdraft-unguarded": "the balance is checked without demanding that it still holds";
    DebitTwice = "debit-twice": "a debit is applied when it is decided and again when its event comes";
    CreditLostAfterNack = "credit-lost-after-nack": "the credit of a delivery does not come back after a nack";
    HeadBeforeCommit = "head-before-commit": "the map of heads moves before the commit, and stays moved when that fails";
    StickyLost = "sticky-lost": "the map of owners is lost while deliveries are open, so that two instances own a lane";
    CursorBeforeCommit = "cursor-before-commit": "a lane's cursor is saved one commit before its completion";
    LastEventLost = "last-event-lost": "the last event of a key is never noticed when its delivery is lost";
    WalUnsynced = "wal-unsynced": "the write-ahead log is not synced, so that a power cut takes commits back";
    DirectoryUnsynced = "directory-unsynced": "the directory is not synced, so that a power cut takes whole files back";
}

impl std::fmt::Display for Bug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Bug {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.iter().map(|bug| bug.name()).collect::<Vec<_>>().join(", ");
        Self::ALL
            .iter()
            .copied()
            .find(|bug| bug.name() == name)
            .ok_or_else(|| format!("there is no planted bug {name:?}; known are: {}", known()))
    }
}

/// Whether this build carries the effects of the planted bugs.
pub const BUILT_IN: bool = cfg!(feature = "planted-bugs");

/// The bug that a run's configuration plants, if any; asking costs nothing in a build without the feature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Planted(Option<Bug>);

impl Planted {
    /// No bug.
    pub const NONE: Self = Self(None);

    /// This bug; without the feature it has no effect, so callers check [`BUILT_IN`] first.
    pub const fn bug(bug: Bug) -> Self {
        Self(Some(bug))
    }

    /// Which bug, if any.
    pub const fn get(self) -> Option<Bug> {
        self.0
    }

    /// Whether to misbehave this way.
    #[inline]
    pub fn is(self, bug: Bug) -> bool {
        BUILT_IN && self.0 == Some(bug)
    }
}
