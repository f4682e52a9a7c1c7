//! What is wrong with a disk at the moment, and what its calls have met.

use crate::engine::chance::Chance;

/// What is wrong with a disk at the moment. Shares are in thousandths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Syncs that fail: what they should have written may be lost for good.
    pub(crate) syncs_fail_permille: u32,
    /// Syncs that say they are done and have done nothing.
    pub(crate) syncs_lie_permille: u32,
    /// Reads that fail.
    pub(crate) reads_fail_permille: u32,
    /// Bytes by which files may still grow; none: there is room enough.
    pub(crate) room: Option<u64>,
    /// How much longer a write takes, in microseconds.
    pub(crate) write_us: u64,
    /// How much longer a sync takes, in microseconds.
    pub(crate) sync_us: u64,
    /// Syncs that stall.
    pub(crate) stalls_permille: u32,
    /// For how long, in microseconds.
    pub(crate) stall_us: u64,
    /// The machine or the process dies in the midst of this write, counted from 1.
    pub(crate) dies_at_write: Option<u64>,
    /// It dies in the midst of this sync.
    pub(crate) dies_at_sync: Option<u64>,
}

/// What a power cut leaves of what was not synced, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the unit is part of each name")]
pub(crate) struct Cut {
    /// Writes that had reached the platter.
    pub(crate) written_permille: u32,
    /// Writes of which some sectors had; the rest is lost.
    pub(crate) torn_permille: u32,
    /// Changes of the directory that are lost.
    pub(crate) entries_lost_permille: u32,
}

impl Default for Cut {
    /// As SQLite's own crash tests draw it: 3/8 written, 3/8 lost, 1/4 torn.
    fn default() -> Self {
        Self { written_permille: 375, torn_permille: 250, entries_lost_permille: 500 }
    }
}

/// What calls have met since it was last asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Met {
    /// Writes, including one in which the machine died.
    pub(crate) writes: u64,
    /// Syncs, likewise.
    pub(crate) syncs: u64,
    /// Microseconds that the calls took longer.
    pub(crate) extra_us: u64,
    /// Syncs that lied.
    pub(crate) lies: u64,
    /// Syncs that failed.
    pub(crate) failed_syncs: u64,
    /// Reads that failed.
    pub(crate) failed_reads: u64,
    /// Writes for which there was no room.
    pub(crate) refused_writes: u64,
}

/// What is drawn for one kind of call: by what the call is part of, and its number within that.
#[derive(Debug, Clone)]
pub(super) struct Draws {
    pub(super) chance: Chance,
    /// What the calls are part of: a commit, a recovery, a question.
    pub(super) context: u64,
    /// Calls within it.
    pub(super) count: u64,
}

impl Draws {
    pub(super) fn happens(&self, concern: &str, permille: u32) -> bool {
        permille > 0 && self.chance.happens(concern, &(self.context, self.count), permille)
    }
}
