//! How long things take: drawn for what they are about, from the ranges of the plan.

use std::hash::Hash;

use dacapo_core::{NodeName, digest::digest_of};

use crate::{engine::chance::Chance, plan::Settings};

/// One way of a link, before any fault.
pub(crate) fn link_us(settings: &Settings, chance: &Chance, one: &NodeName, other: &NodeName) -> u64 {
    let pair = if one < other { (one.as_str(), other.as_str()) } else { (other.as_str(), one.as_str()) };
    chance.between("link latency", &pair, settings.latency_us)
}

/// A commit, or a recovery.
pub(crate) fn commit_us<I: Hash>(settings: &Settings, chance: &Chance, identity: &I) -> u64 {
    chance.between("store commit", identity, settings.commit_us)
}

/// A look-up, a read, or a question from outside.
pub(crate) fn read_us<I: Hash>(settings: &Settings, chance: &Chance, kind: &str, identity: &I) -> u64 {
    chance.between("store read", &(kind, digest_of(0, identity)), settings.read_us)
}

/// How long a process that ended by itself stays down.
pub(crate) fn restart_us(settings: &Settings, chance: &Chance, host: &NodeName, life: u64) -> u64 {
    chance.between("restart", &(host.as_str(), life), settings.restart_us)
}
