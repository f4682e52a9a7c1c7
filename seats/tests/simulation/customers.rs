//! What the customers do: everybody wants the same few seats.

use dacapo_sim::prelude::*;
use serde_json::json;

/// So few that customers meet.
const SEATS: u64 = 3;

const NAMES: [&str; 4] = ["ann", "bob", "cleo", "dan"];

fn ask(seat: u64, what: &str, customer: u32) -> Operation {
    let by = json!({"by": NAMES[customer as usize % NAMES.len()]});
    Operation::post("seats", format!("/seats/{seat}/{what}")).body(&by)
}

/// Stories of one customer and one seat, one step after the other, each if the one before it went well.
pub(crate) fn fight(draw: &mut dyn Draw, shape: Shape) -> Vec<Operation> {
    const STORIES: &[&[&str]] =
        &[&["book"], &["hold", "book"], &["book", "cancel"], &["hold", "release"], &["hold"], &["expire"]];
    shape.stories(draw, |draw, customer| {
        let seat = draw.below(SEATS);
        draw.pick(STORIES).iter().map(|what| ask(seat, what, customer)).collect()
    })
}

/// What is asked when all is over.
pub(crate) fn look_at_the_plan(_: &[Operation]) -> Vec<Operation> {
    vec![Operation::get("seats", "/plan")]
}
