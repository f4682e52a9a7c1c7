//! The seats service: holds, sells and takes back seats, and draws the plan of the hall.
//!
//! What happens to a seat is on the key `seat-…` and written here alone. There is no clock: that a hold has run out is
//! something that the box office says, with `expire`.

use dacapo_service::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::seat::{self, Seat};

const SEAT: &str = "/seats/{id}";
const HOLD: &str = "/seats/{id}/hold";
const RELEASE: &str = "/seats/{id}/release";
const EXPIRE: &str = "/seats/{id}/expire";
const BOOK: &str = "/seats/{id}/book";
const CANCEL: &str = "/seats/{id}/cancel";
const PLAN: &str = "/plan";

/// The seats service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seats {
    decides_on_the_plan: bool,
}

impl Seats {
    /// The service with the mistake that the README tells of.
    pub fn with_the_mistake() -> Self {
        Self { decides_on_the_plan: true }
    }

    /// The seat, to decide about. What is read from `state` must still hold when the decision enters the log, or the
    /// route runs again. Of what is read from a view nobody makes sure.
    fn seat(self, route: &str, key: &Key, context: &mut Context<'_, Seat>) -> Result<Seat, Interrupt> {
        if self.decides_on_the_plan && route == BOOK {
            // "The plan of the hall knows every seat already, so why ask for this one?"
            let plan = context.view(&hall());
            let drawn = plan.iter().find(|(seat, _)| seat == key);
            return Ok(drawn.map(|(_, seat)| serde_json::from_str(seat).unwrap_or_default()).unwrap_or_default());
        }
        context.state(key).cloned()
    }

    fn change(self, request: &Request, context: &mut Context<'_, Seat>) -> Result<Response, Interrupt> {
        let Ok(Customer { by }) = serde_json::from_str(&request.body) else {
            return Ok(Response::error(422, "say who you are: {\"by\": \"ann\"}"));
        };
        let Some(booking) = request.idempotency_key.clone() else {
            return Ok(Response::error(400, "send an Idempotency-Key; a booking is named after it"));
        };
        let key = Key::of(format!("seat-{}", request.parameter("id")));
        let seat = self.seat(request.route, &key, context)?;
        let change = match (request.route, &seat) {
            (HOLD, Seat::Free) => Some((seat::HELD, Seat::Held { by })),
            (RELEASE, Seat::Held { by: holder }) if *holder == by => Some((seat::HOLD_ENDED, Seat::Free)),
            (EXPIRE, Seat::Held { .. }) => Some((seat::HOLD_ENDED, Seat::Free)),
            (BOOK, seat) if seat.is_open_to(&by) => Some((seat::SOLD, Seat::Sold { by, booking })),
            (CANCEL, Seat::Sold { by: buyer, booking }) if *buyer == by => {
                Some((seat::CANCELLED, Seat::Sold { by, booking: booking.clone() }))
            }
            _ => None,
        };
        let Some((event_type, data)) = change else {
            return Ok(Response::json(409, &json!({"error": "not as things stand", "now": seat})));
        };
        context.emit(EventType::of(event_type), key, &data);
        Ok(Response::json(200, &data))
    }
}

#[derive(Deserialize)]
struct Customer {
    by: String,
}

/// The key under which the plan is gathered.
fn hall() -> Key {
    Key::of("hall")
}

impl Service for Seats {
    type State = Seat;

    fn name(&self) -> ServiceName {
        ServiceName::of("seats")
    }

    fn types(&self) -> Vec<EventType> {
        seat::types()
    }

    fn apply(&self, _: &Key, seat: &mut Seat, event: &Event) {
        if let Some(after) = Seat::after(event) {
            *seat = after;
        }
    }

    fn view_types(&self) -> Vec<EventType> {
        seat::types()
    }

    fn contribute(&self, event: &Event) -> Option<Contribution> {
        let seat = Seat::after(event)?;
        Some(Contribution { gather: hall(), value: json!(seat).to_string() })
    }

    fn routes(&self) -> Vec<Route> {
        let post = |path| Route { method: Method::Post, path };
        let get = |path| Route { method: Method::Get, path };
        vec![get(SEAT), get(PLAN), post(HOLD), post(RELEASE), post(EXPIRE), post(BOOK), post(CANCEL)]
    }

    fn request(&self, request: &Request, context: &mut Context<'_, Seat>) -> Result<Response, Interrupt> {
        match request.route {
            PLAN => {
                let seats = context.view(&hall()).into_iter();
                let drawn =
                    seats.map(|(seat, drawn)| (seat.to_string(), serde_json::from_str(&drawn).unwrap_or_default()));
                Ok(Response::json(200, &Value::Object(drawn.collect())))
            }
            SEAT => {
                let key = Key::of(format!("seat-{}", request.parameter("id")));
                Ok(Response::json(200, context.state(&key)?))
            }
            _ => self.change(request, context),
        }
    }
}
