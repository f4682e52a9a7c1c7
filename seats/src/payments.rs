//! The payments service: takes the money for what was sold, and gives it back for what was cancelled.
//!
//! It decides on a key of its own (`payment-…`) and on the seat's. It only reads the seat, and what it read is guarded:
//! should the booking be cancelled in the moment in which its money is taken, then that is decided again.

use dacapo_service::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::seat::{self, Seat};

/// Money came.
pub const TAKEN: &str = "PaymentTaken";
/// The seat was lost before anybody paid.
pub const WAIVED: &str = "PaymentWaived";
/// Money went back.
pub const RETURNED: &str = "PaymentReturned";

/// The payments service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Payments;

/// What it knows of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing.
    #[default]
    Nothing,
    /// Of a seat's key.
    Seat(Seat),
    /// Of a payment's key: the type of what happened last.
    Payment(String),
}

impl Service for Payments {
    type State = State;

    fn name(&self) -> ServiceName {
        ServiceName::of("payments")
    }

    fn types(&self) -> Vec<EventType> {
        let mut types = seat::types();
        types.extend([TAKEN, WAIVED, RETURNED].map(EventType::of));
        types
    }

    fn apply(&self, _: &Key, state: &mut State, event: &Event) {
        *state = match Seat::after(event) {
            Some(seat) => State::Seat(seat),
            None => State::Payment(event.event_type.to_string()),
        };
    }

    fn handle(&self, event: &Event, context: &mut Context<'_, State>) -> Result<(), Interrupt> {
        let (seat::SOLD | seat::CANCELLED) = event.event_type.as_str() else { return Ok(()) };
        let Ok(sold @ Seat::Sold { .. }) = event.data.to::<Seat>() else {
            return Err(Interrupt::Failed(format!("{} does not say what was sold", event.id)));
        };
        let Seat::Sold { by, booking } = &sold else { return Ok(()) };
        let payment = Key::of(format!("payment-{booking}"));
        let settled = context.state(&payment)?.clone();
        let still_theirs = *context.state(&event.key)? == State::Seat(sold.clone());
        let paid = State::Payment(TAKEN.to_owned());
        let what = match event.event_type.as_str() {
            seat::SOLD if settled == State::Nothing && still_theirs => TAKEN,
            seat::SOLD if settled == State::Nothing => WAIVED,
            seat::CANCELLED if settled == paid => RETURNED,
            _ => return Ok(()),
        };
        let data = json!({"seat": event.key.as_str(), "by": by, "booking": booking});
        context.emit(EventType::of(what), payment, &data);
        Ok(())
    }
}
