//! When a host is to be down, whichever engine takes it there.

use dacapo_core::NodeName;

use crate::{
    engine::faults::{Down, FaultTable},
    plan::Survivors,
};

/// What a host is for, as far as its lives depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The bus.
    Bus,
    /// An instance of a service.
    Instance {
        /// It is there only while a fault wants it.
        extra: bool,
        /// The first of its service, which is left when only one is.
        first: bool,
    },
    /// A customer.
    Customer,
    /// Comes when all is healed.
    Administrator,
    /// Comes when a backup is wanted, or the disk has filled up.
    Operator,
    /// Comes when the plan says so.
    Stranger,
}

/// How a host is to be down; none if it is to be up.
pub(crate) fn wanted(
    faults: &FaultTable,
    survivors: Survivors,
    kind: Kind,
    name: &NodeName,
    now_us: u64,
) -> Option<Down> {
    let survivors_one = faults.is_healed() && survivors == Survivors::One;
    match kind {
        Kind::Instance { extra: true, .. } if !faults.is_wanted(name) => Some(Down::Leaving),
        Kind::Instance { first: false, .. } if survivors_one => Some(Down::Killed),
        Kind::Administrator if !faults.is_healed() => Some(Down::Killed),
        Kind::Operator if !faults.wants_backup() && !faults.fills_disk() => Some(Down::Killed),
        Kind::Stranger if !faults.wants_stranger() => Some(Down::Killed),
        // It has nobody to take leave of.
        Kind::Customer => faults.down(name, now_us).map(|down| down.max(Down::Killed)),
        _ => faults.down(name, now_us),
    }
}
