//! What must hold, judged from the log alone: nothing here uses the services' own code.

use std::collections::BTreeMap;

use dacapo_sim::prelude::*;
use serde_json::Value;

/// By seat: the booking that it is sold in.
type Sold = BTreeMap<Key, String>;

fn booking(event: &Event) -> String {
    let data: Value = event.data.to().unwrap_or_default();
    data["booking"].as_str().unwrap_or_default().to_owned()
}

/// Takes a sale or a cancellation in; what the seat was sold in before.
fn follow(sold: &mut Sold, event: &Event) -> Option<String> {
    match event.event_type.as_str() {
        "SeatSold" => sold.insert(event.key.clone(), booking(event)),
        "BookingCancelled" => sold.remove(&event.key),
        _ => None,
    }
}

pub(crate) fn a_seat_is_sold_once() -> Always {
    promise("a_seat_is_sold_once", "a seat that is sold is not sold again, unless it was given back").events(
        Sold::new(),
        |sold, event| match (event.event_type.as_str(), follow(sold, event)) {
            ("SeatSold", Some(first)) => {
                Err(format!("{} was sold in {} although {first} has it", event.key, booking(event)))
            }
            _ => Ok(()),
        },
    )
}

pub(crate) fn nobody_pays_for_a_lost_seat() -> Always {
    promise("nobody_pays_for_a_lost_seat", "money is taken only for a booking that has its seat at that moment").events(
        Sold::new(),
        |sold, event| {
            follow(sold, event);
            if event.event_type.as_str() != "PaymentTaken" || sold.values().any(|has| *has == booking(event)) {
                return Ok(());
            }
            Err(format!("{} was paid, and has no seat", booking(event)))
        },
    )
}

pub(crate) fn who_has_a_seat_has_paid() -> Eventually {
    promise("who_has_a_seat_has_paid", "in the end those who have a seat have paid, and nobody else has").at_the_end(
        (Sold::new(), BTreeMap::<String, bool>::new()),
        |(sold, paid), seen| {
            let Seen::Event(event) = seen else { return };
            follow(sold, event);
            match event.event_type.as_str() {
                "PaymentTaken" => drop(paid.insert(booking(event), true)),
                "PaymentReturned" => drop(paid.insert(booking(event), false)),
                _ => {}
            }
        },
        |(sold, paid)| {
            let mut have: Vec<&String> = sold.values().collect();
            let mut pay: Vec<&String> = paid.iter().filter(|(_, paid)| **paid).map(|(booking, _)| booking).collect();
            have.sort();
            pay.sort();
            if have == pay { Ok(()) } else { Err(format!("seats are with {have:?}, money came from {pay:?}")) }
        },
    )
}

pub(crate) fn the_plan_agrees_with_the_log() -> Eventually {
    promise("the_plan_agrees_with_the_log", "in the end the plan of the hall shows the sold seats, and no others")
        .at_the_end(
            (Sold::new(), None),
            |(sold, plan), seen| match seen {
                Seen::Event(event) => drop(follow(sold, event)),
                Seen::Answer(answer) if answer.at_the_end => *plan = Some(answer.json::<BTreeMap<Key, Value>>()),
                Seen::Answer(_) => {}
            },
            |(sold, plan)| {
                let plan = plan.clone().ok_or("nobody was shown the plan")??;
                let drawn = plan.into_iter().filter(|(_, seat)| seat["seat"] == "sold");
                let drawn: Sold =
                    drawn.map(|(key, seat)| (key, seat["booking"].as_str().unwrap_or_default().to_owned())).collect();
                if drawn == *sold { Ok(()) } else { Err(format!("the plan shows {drawn:?}, sold are {sold:?}")) }
            },
        )
}

pub(crate) fn a_cancelled_seat_was_sold_again() -> Sometimes {
    situation("a cancelled seat was sold again").events(BTreeMap::<Key, bool>::new(), |cancelled, event| {
        let was = match event.event_type.as_str() {
            "BookingCancelled" => cancelled.insert(event.key.clone(), true),
            "SeatSold" => cancelled.insert(event.key.clone(), false),
            _ => return false,
        };
        event.event_type.as_str() == "SeatSold" && was == Some(true)
    })
}

pub(crate) fn somebody_came_too_late() -> Sometimes {
    situation("somebody came too late").events_and_answers(
        (),
        |(), seen| matches!(seen, Seen::Answer(answer) if answer.status == 409 && answer.path.ends_with("/book")),
    )
}
