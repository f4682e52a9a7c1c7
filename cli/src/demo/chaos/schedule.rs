//! Which fault comes when: drawn from a seed before it happens, so that the same seed has the same things go wrong in the
//! same order. When exactly they meet what is at work is the machine's affair; this is no simulation.

use std::time::Duration;

use dacapo_properties::scenario::Draw as _;
use dacapo_sim::draw::Stream;

/// Between two faults: time enough to see each.
const PAUSE_MS: (u64, u64) = (1_200, 4_000);

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// An instance is killed, and started again after this time.
    Kill(String, Duration),
    /// What the bus sends to an instance is held up for this time.
    Delay(String, Duration),
    /// An instance's connection breaks.
    Cut(String),
    /// All pages lose their live channel.
    CutPages,
    /// All instances of a service are killed, and what they keep is destroyed.
    Destroy(String),
}

/// Faults without end.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    stream: Stream,
    instances: Vec<String>,
    services: Vec<String>,
}

impl Schedule {
    /// That of this seed, for these instances and services.
    pub(super) fn new(seed: u64, instances: Vec<String>, services: Vec<String>) -> Self {
        assert!(!instances.is_empty() && !services.is_empty(), "something must be there that can go wrong");
        Self { stream: Stream::new(seed, "chaos"), instances, services }
    }

    /// The next fault, and how long it is until then.
    pub(super) fn next(&mut self) -> (Duration, Fault) {
        let ms = |stream: &mut Stream, from, to| Duration::from_millis(stream.between(from, to));
        let pause = ms(&mut self.stream, PAUSE_MS.0, PAUSE_MS.1);
        let instance = self.stream.pick(&self.instances).clone();
        let fault = match self.stream.below(10) {
            0..4 => Fault::Kill(instance, ms(&mut self.stream, 200, 2_500)),
            4..6 => Fault::Delay(instance, ms(&mut self.stream, 300, 2_000)),
            6..8 => Fault::Cut(instance),
            8 => Fault::CutPages,
            _ => Fault::Destroy(self.stream.pick(&self.services).clone()),
        };
        (pause, fault)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn drawn(seed: u64) -> Vec<(Duration, Fault)> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut schedule = Schedule::new(seed, names(&["accounts-1", "users-1"]), names(&["accounts", "users"]));
        (0..100).map(|_| schedule.next()).collect()
    }

    #[test]
    fn a_seed_is_a_schedule_and_every_kind_of_fault_comes() {
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        let kinds: BTreeSet<_> =
            drawn(7).iter().map(|(_, fault)| std::mem::discriminant(fault)).map(|kind| format!("{kind:?}")).collect();
        assert_eq!(kinds.len(), 5);
    }
}
