//! The seats under everything that a correct system survives: crashes, partitions, lost answers, late completions.

mod customers;
mod promises;
mod readme;

use std::time::Duration;

use dacapo_example_seats::{Payments, Seats};
use dacapo_sim::prelude::*;

#[test]
fn seats_survive_the_swarm() {
    Simulation::of([service(Seats::default(), 3), service(Payments, 2)])
        .workload(customers::fight)
        .always(promises::a_seat_is_sold_once())
        .always(promises::nobody_pays_for_a_lost_seat())
        .sometimes(promises::a_cancelled_seat_was_sold_again())
        .faults(Faults::swarm())
        .check(seeds(25));
}

/// The same with all that is promised, in runs that are small enough for a person to follow.
fn simulation(seats: Seats) -> Simulation {
    Simulation::of([service(seats, 3), service(Payments, 2)])
        .named("seats")
        .workload(customers::fight)
        .inspect(customers::look_at_the_plan)
        .always(promises::a_seat_is_sold_once())
        .always(promises::nobody_pays_for_a_lost_seat())
        .eventually(promises::who_has_a_seat_has_paid())
        .eventually(promises::the_plan_agrees_with_the_log())
        .sometimes(promises::somebody_came_too_late())
        .operations(30)
        .lasting(Duration::from_secs(4))
}

#[test]
fn the_books_and_the_plan_agree_in_the_end() {
    let checked = simulation(Seats::default()).check(seeds(50));
    assert!(checked.checks["the_plan_agrees_with_the_log"] >= 50, "{checked}");
}

#[test]
fn the_mistake_is_found_and_told_as_the_readme_shows() {
    let error = simulation(Seats::with_the_mistake()).try_check(seeds(50)).expect_err("a seat is sold twice");
    let failure = error.broken().expect("a promise is broken");
    assert_eq!(failure.property, "a_seat_is_sold_once");
    assert!(failure.drawn.operations.len() >= 30, "many things were going on");
    assert_eq!((failure.plan.operations.len(), failure.plan.faults.len()), (2, 0), "two customers, one seat: {error}");
    readme::shows(&error.to_string());
}
