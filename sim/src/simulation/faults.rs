//! What may go wrong in a simulation, for those who write tests: families of faults, as in [`Profile`].

use std::collections::BTreeMap;

use crate::{
    fault::Family,
    profile::{Profile, Strength},
};

/// Which families of faults the seeds may draw from. Each is on in half of the seeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    pub(super) name: String,
    pub(super) families: BTreeMap<Family, Strength>,
}

impl Faults {
    /// Everything that a correct system survives. What a test has that says nothing else.
    pub fn swarm() -> Self {
        Self::of(Profile::swarm())
    }

    /// Nothing goes wrong; messages and commits still take their time.
    pub fn calm() -> Self {
        Self::of(Profile::calm())
    }

    /// Faults of the network: delays, partitions, resets, refused connections.
    pub fn network() -> Self {
        Self::built_in("network")
    }

    /// Crashes, pauses and restarts of the bus, of instances and of customers.
    pub fn process() -> Self {
        Self::built_in("process")
    }

    /// Slow, failing and lost handling of events.
    pub fn handling() -> Self {
        Self::built_in("handling")
    }

    /// These families and no others.
    pub fn only(families: impl IntoIterator<Item = Family>) -> Self {
        let strength = Strength { count_min: 1, count_max: 4 };
        let families: BTreeMap<Family, Strength> = families.into_iter().map(|family| (family, strength)).collect();
        let names: Vec<&str> = families.keys().map(|family| family.name()).collect();
        Self { name: if names.is_empty() { "calm".to_owned() } else { names.join("+") }, families }
    }

    /// The same without these families.
    #[must_use]
    pub fn without(mut self, families: impl IntoIterator<Item = Family>) -> Self {
        for family in families {
            if self.families.remove(&family).is_some() {
                self.name.push('-');
                self.name.push_str(family.name());
            }
        }
        self
    }

    fn of(profile: Profile) -> Self {
        Self { name: profile.name, families: profile.families }
    }

    fn built_in(name: &str) -> Self {
        Self::of(Profile::named(name).expect("the built-in profiles have these names"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_in_it() {
        assert_eq!(Faults::only([Family::Reset, Family::CrashBus]).name, "reset+crash-bus");
        assert_eq!(Faults::only([]).name, "calm");
        assert_eq!(Faults::swarm().without([Family::Pause]).name, "swarm-pause");
        assert_eq!(Faults::calm().without([Family::Pause]), Faults::calm());
    }

    #[test]
    fn the_built_in_ones_differ() {
        let (network, process, handling) = (Faults::network(), Faults::process(), Faults::handling());
        assert!(network.families.contains_key(&Family::Partition) && !network.families.contains_key(&Family::Pause));
        assert!(process.families.contains_key(&Family::Pause) && !process.families.contains_key(&Family::Partition));
        assert!(handling.families.contains_key(&Family::CompletionLost));
        assert_eq!(Faults::swarm().families.len(), Profile::swarm().families.len());
    }
}
