//! What the active faults together do to the disk of the bus.

use dacapo_core::NodeName;

use crate::{
    disk::{Cut, Trouble},
    fault::{Fault, Harm, Trigger, points},
};

/// What all faults together do to the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DiskFaults {
    /// Everything but the room, which is measured from where the disk was when the fault began.
    pub(crate) trouble: Trouble,
    /// The disk has filled up: the fault, and the room that it leaves.
    pub(crate) full: Vec<(u32, u64)>,
    /// What has rotted so far: the fault, and how many bits.
    pub(crate) rotten: Vec<(u32, u32)>,
    /// What a power cut leaves.
    pub(crate) cut: Cut,
    /// What is wrong with a backup's own files, besides.
    pub(crate) backup: Option<Trouble>,
    /// The host dies at this write of a backup.
    pub(crate) backup_dies_at: Option<u64>,
}

impl DiskFaults {
    /// Takes an active fault.
    pub(super) fn add(&mut self, fault: &Fault, name: &NodeName) {
        let trouble = &mut self.trouble;
        match &fault.what {
            Harm::FsyncFails { share_permille } => trouble.syncs_fail_permille += share_permille,
            Harm::FsyncLies { share_permille } => trouble.syncs_lie_permille += share_permille,
            Harm::ReadError { share_permille } => trouble.reads_fail_permille += share_permille,
            Harm::DiskFull { room_bytes } => self.full.push((fault.id, *room_bytes)),
            Harm::SlowDisk { write_us, sync_us, stalls_permille, stall_us } => {
                trouble.write_us += write_us;
                trouble.sync_us += sync_us;
                trouble.stalls_permille += stalls_permille;
                trouble.stall_us = trouble.stall_us.max(*stall_us);
            }
            Harm::PowerCut { host, written_permille, torn_permille, entries_lost_permille } if host == name => {
                self.cut = Cut {
                    written_permille: *written_permille,
                    torn_permille: *torn_permille,
                    entries_lost_permille: *entries_lost_permille,
                };
            }
            Harm::Backup { room_bytes, syncs_fail_permille, reads_fail_permille } => {
                self.backup = Some(Trouble {
                    room: *room_bytes,
                    syncs_fail_permille: *syncs_fail_permille,
                    reads_fail_permille: *reads_fail_permille,
                    ..Trouble::default()
                });
            }
            _ => {}
        }
    }

    /// The host dies at a point of its disk once it has been there so many times more.
    pub(super) fn arm(&mut self, point: &str, left: u64) {
        let dies_at = match point {
            points::DISK_WRITE => &mut self.trouble.dies_at_write,
            points::DISK_SYNC => &mut self.trouble.dies_at_sync,
            points::BACKUP_WRITE => &mut self.backup_dies_at,
            _ => return,
        };
        *dies_at = Some(dies_at.map_or(left, |other| other.min(left)));
    }
}

/// Whether a fault has to do with a disk.
pub(super) fn concerns_disk(fault: &Fault) -> bool {
    let at_disk =
        |point: &String| [points::DISK_WRITE, points::DISK_SYNC, points::BACKUP_WRITE].contains(&point.as_str());
    matches!(&fault.trigger, Trigger::On { point, .. } if at_disk(point))
        || matches!(
            fault.what,
            Harm::FsyncFails { .. }
                | Harm::FsyncLies { .. }
                | Harm::ReadError { .. }
                | Harm::DiskFull { .. }
                | Harm::BitRot { .. }
                | Harm::SlowDisk { .. }
                | Harm::PowerCut { .. }
                | Harm::Backup { .. }
        )
}
