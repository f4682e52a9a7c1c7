//! What can happen to a seat, and what it is afterwards.

use dacapo_service::prelude::*;
use serde::{Deserialize, Serialize};

/// Somebody thinks about it.
pub const HELD: &str = "SeatHeld";
/// They gave it back, or thought too long.
pub const HOLD_ENDED: &str = "HoldEnded";
/// It is theirs.
pub const SOLD: &str = "SeatSold";
/// It is not theirs any more.
pub const CANCELLED: &str = "BookingCancelled";

/// A seat. What happened to it last says all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "seat", rename_all = "snake_case")]
pub enum Seat {
    /// Anybody may have it.
    #[default]
    Free,
    /// Kept for somebody who has not paid.
    Held {
        /// For whom.
        by: String,
    },
    /// Gone.
    Sold {
        /// To whom.
        by: String,
        /// The booking that it was sold in.
        booking: String,
    },
}

impl Seat {
    /// What the seat is after this event; none if the event is not about a seat.
    pub fn after(event: &Event) -> Option<Self> {
        match event.event_type.as_str() {
            HELD | SOLD => event.data.to().ok(),
            HOLD_ENDED | CANCELLED => Some(Self::Free),
            _ => None,
        }
    }

    /// Whether this customer may buy it.
    pub fn is_open_to(&self, customer: &str) -> bool {
        match self {
            Self::Free => true,
            Self::Held { by } => by == customer,
            Self::Sold { .. } => false,
        }
    }
}

/// The types that are about seats.
pub fn types() -> Vec<EventType> {
    [HELD, HOLD_ENDED, SOLD, CANCELLED].map(EventType::of).to_vec()
}
