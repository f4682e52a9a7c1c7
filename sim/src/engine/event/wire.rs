//! In one of eight runs, which the plan's seed decides, every frame goes through its real encoding, and what comes out
//! must equal what went in.

use dacapo_core::{
    hashed::Hashed,
    wire::{FromBus, ToBus},
};

use super::stage::Stage;
use crate::{draw::stateless, plan::Plan};

/// One run in so many encodes.
pub const ENCODED_ONE_IN: u64 = 8;

/// Whether the frames of this plan's run go through their encoding.
pub(super) fn encodes(plan: &Plan) -> bool {
    stateless(plan.seed, "wire encoding", &()).is_multiple_of(ENCODED_ONE_IN)
}

impl Stage {
    /// What the bus gets when this was sent to it.
    pub(super) fn through_wire_to_bus(&mut self, frame: Hashed<ToBus>) -> Hashed<ToBus> {
        if !self.encodes {
            return frame;
        }
        let text = frame.encode();
        match ToBus::decode(&text) {
            Ok(mut frames) if frames.len() == 1 && frames[0] == *frame => Hashed::new(frames.swap_remove(0)),
            other => self.changed(&text, &other, frame),
        }
    }

    /// What an instance gets when the bus sent this.
    pub(super) fn through_wire_from_bus(&mut self, frame: Hashed<FromBus>) -> Hashed<FromBus> {
        if !self.encodes {
            return frame;
        }
        let text = frame.encode();
        match FromBus::decode(&text) {
            Ok(mut frames) if frames.len() == 1 && frames[0] == *frame => Hashed::new(frames.swap_remove(0)),
            other => self.changed(&text, &other, frame),
        }
    }

    fn changed<F, O: std::fmt::Debug>(&mut self, text: &str, other: &O, frame: F) -> F {
        let sentence = "a frame that is encoded and decoded again is the same frame";
        self.accuse("frames_survive_the_wire", sentence, format!("{text} was decoded to {other:?}"));
        frame
    }
}
