//! What must come of a quiet state if nothing goes wrong any more: all instances come back and answer, one of them
//! perhaps never, and time passes until nothing waits for it. Then everything must be done.
//!
//! A state is quiet when the store has answered all. From every other state a quiet one is reached without anything
//! going wrong, so to look at quiet states is enough.

use std::collections::BTreeSet;

use dacapo_core::{Position, trace::What};
use dacapo_properties::{Promise, Verdict};

use super::{
    counter::COUNTED,
    peers::{self, service_name},
    step::Step,
    world::World,
};

/// Inputs after which a closing run is taken to go round in circles; none needs a tenth of it.
const STEPS_MAX: usize = 10_000;

const IDLE: Promise = Promise {
    name: "nothing_lies_idle",
    sentence: "while every instance is there and has nothing to do, an event waits for nothing but its own lane's back-off",
    source: "ARCHITECTURE.md, liveness",
};

const COUNT: Promise = Promise {
    name: "requests_count_once",
    sentence: "a request takes effect once, however often it is repeated, and no two are told the same number",
    source: "ARCHITECTURE.md, the rules of services",
};

/// Lets everything heal. An instance that is `hung` stays connected and never answers again.
pub(super) fn heal(world: &mut World, hung: Option<usize>) -> Verdict {
    world.left = super::scope::Budget::default();
    world.story.chapter(|| match hung {
        None => "from here on nothing goes wrong".to_owned(),
        Some(index) => format!("from here on nothing goes wrong but {}, which hangs", peers::instance_name(index)),
    });
    world.jury.observe(world.now, What::Healed { bound_us: super::scope::HORIZON.as_micros() as u64 })?;
    for _ in 0..STEPS_MAX {
        if let Some(step) = world.duty(hung) {
            world.act(&step)?;
            continue;
        }
        if hung.is_none() && world.nodes.is_empty() {
            nothing_lies_idle(world)?;
        }
        if world.next_timeout().is_none() {
            world.jury.finish()?;
            return requests_count_once(world);
        }
        world.act(&Step::TimePasses)?;
    }
    IDLE.broken_at_end("the bus goes round in circles: after 10,000 steps it still waits for something", &[])
}

/// What the customers were told is what the log says.
fn requests_count_once(world: &World) -> Verdict {
    let counted = world.jury.known.log().entries().iter().filter(|entry| entry.event.event_type.as_str() == COUNTED);
    let asked = world.customers.iter().filter(|customer| customer.attempts > 0).count();
    let counted = counted.count();
    if counted != asked {
        let message = format!("{asked} customers asked, each for one event, and {counted} events are in the log");
        return COUNT.broken_at_end(message, &[]);
    }
    let mut told = BTreeSet::new();
    for (index, customer) in world.customers.iter().enumerate().filter(|(_, customer)| customer.attempts > 0) {
        let key = peers::key(&world.scope, index);
        if !told.insert((key.clone(), customer.answer.clone())) {
            let message = format!("two customers were told {:?} of {key}", customer.answer);
            return COUNT.broken_at_end(message, &[]);
        }
    }
    Ok(())
}

/// Everybody is there, has answered everything and could take more: what is undone and has not failed is with somebody.
fn nothing_lies_idle(world: &World) -> Verdict {
    let log = world.jury.known.log();
    let Some(service) = log.service(&service_name()) else { return Ok(()) };
    let lies = log.entries().iter().find(|entry| {
        let event = &entry.event;
        let waits = service.behind(&event.key).is_some_and(|it| it.record.failures > 0 || it.record.parked.is_some());
        service.takes(event) && service.done(event.position).is_none() && !waits
    });
    let Some(entry) = lies else { return Ok(()) };
    let event = &entry.event;
    let message = format!(
        "version {} of {} (position {}) is delivered to nobody, although every instance is there and has nothing to do, \
         and its lane has not failed",
        event.version, event.key, event.position
    );
    debug_assert!(event.position > Position::ZERO, "positions count from 1");
    IDLE.broken_at_end(message, &[entry.durable])
}
