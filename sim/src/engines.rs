//! Which engine a campaign runs a seed on.
//!
//! The choice depends on the seed's number alone, so that whoever has the seed runs what the campaign ran.

use serde::{Deserialize, Serialize};

use crate::{engine::Engine, fault::Family};

/// With both engines every so many-th seed runs on the full stack, which takes about ten times as long as the event
/// engine: each has its half of a campaign's time.
pub const FULL_STACK_EVERY: u64 = 10;

/// The engines of a campaign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engines {
    /// The event engine for breadth, and every [`FULL_STACK_EVERY`]-th seed on the turmoil engine.
    #[default]
    Both,
    /// The event engine alone.
    Event,
    /// The turmoil engine alone.
    Turmoil,
}

impl Engines {
    /// The engine of this seed.
    pub const fn of(self, seed: u64) -> Engine {
        match self {
            Self::Turmoil => Engine::Turmoil,
            Self::Both if seed.is_multiple_of(FULL_STACK_EVERY) => Engine::Turmoil,
            Self::Event | Self::Both => Engine::Event,
        }
    }

    /// Whether faults of this family do anything in a campaign with these.
    pub fn can_do(self, family: Family) -> bool {
        [Engine::Event, Engine::Turmoil].into_iter().any(|engine| self.holds(engine) && engine.can_do(family))
    }

    /// Whether a campaign with these can run this one.
    pub const fn holds(self, engine: Engine) -> bool {
        matches!((self, engine), (Self::Both, _) | (Self::Event, Engine::Event) | (Self::Turmoil, Engine::Turmoil))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_alone_tells_the_engine() {
        assert_eq!((1..=20).filter(|seed| Engines::Both.of(*seed) == Engine::Turmoil).collect::<Vec<_>>(), [10, 20]);
        assert_eq!(Engines::Event.of(10), Engine::Event);
        assert_eq!(Engines::Turmoil.of(1), Engine::Turmoil);
        assert!(Engines::Both.holds(Engine::Event) && !Engines::Turmoil.holds(Engine::Event));
    }
}
