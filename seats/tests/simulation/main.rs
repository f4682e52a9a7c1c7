//! The seats under everything that a correct system survives: crashes, partitions, lost answers, late completions.

mod customers;
mod promises;

use std::time::Duration;

use dacapo_example_seats::{Payments, Seats};
use dacapo_sim::prelude::*;

fn simulation(seats: Seats) -> Simulation {
    Simulation::of([service(seats, 3), service(Payments, 2)])
        .named("seats")
        .workload(customers::fight)
        .inspect(customers::look_at_the_plan)
        .always(promises::a_seat_is_sold_once())
        .always(promises::nobody_pays_for_a_lost_seat())
        .eventually(promises::who_has_a_seat_has_paid())
        .eventually(promises::the_plan_agrees_with_the_log())
        .operations(30)
        .lasting(Duration::from_secs(4))
}

#[test]
fn seats_survive_the_swarm() {
    let checked = simulation(Seats::default())
        .sometimes(promises::a_cancelled_seat_was_sold_again())
        .sometimes(promises::somebody_came_too_late())
        .faults(Faults::swarm())
        .check(seeds(25));
    println!("{checked}");
}

#[test]
fn the_mistake_is_found() {
    let error = simulation(Seats::with_the_mistake()).try_check(seeds(25)).expect_err("a seat is sold twice");
    println!("{error}");
    let failure = error.broken().expect("a promise is broken");
    assert_eq!(failure.property, "a_seat_is_sold_once");
}
