//! What must come of a quiet state if nothing goes wrong any more: all instances come back and answer, one of them
//! perhaps never, and time passes until nothing waits for it. Then everything must be done.
//!
//! A state is quiet when the store has answered all. From every other state a quiet one is reached without anything
//! going wrong, so to look at quiet states is enough.

use dacapo_core::{Position, trace::What};
use dacapo_properties::{Promise, Verdict};

use super::{
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

/// Lets everything heal. An instance that is `hung` stays connected and never answers again.
pub(super) fn heal(world: &mut World, hung: Option<usize>) -> Verdict {
    world.left = super::scope::Budget::default();
    world.story.chapter(|| match hung {
        None => "from here on nothing goes wrong".to_owned(),
        Some(index) => format!("from here on nothing goes wrong but {}, which hangs", peers::instance_name(index)),
    });
    world.jury.observe(world.now, What::Healed { bound_us: super::scope::HORIZON.as_micros() as u64 })?;
    for _ in 0..STEPS_MAX {
        if let Some(step) = next(world, hung) {
            world.act(&step)?;
            continue;
        }
        if hung.is_none() {
            nothing_lies_idle(world)?;
        }
        if world.wait().is_none() {
            return world.jury.finish();
        }
        world.act(&Step::TimePasses)?;
    }
    IDLE.broken_at_end("the bus goes round in circles: after 10,000 steps it still waits for something", &[])
}

/// What anybody has to do before time passes.
fn next(world: &World, hung: Option<usize>) -> Option<Step> {
    world.first_of_store().or_else(|| {
        world.peers.iter().enumerate().find_map(|(index, peer)| {
            if peer.conn.is_none() {
                Some(Step::Join(index))
            } else if peer.welcomed && !peer.ready {
                Some(Step::Ready(index))
            } else if hung == Some(index) {
                None
            } else {
                let which = peer.held.iter().position(|held| !held.stale)?;
                Some(Step::Complete(index, which))
            }
        })
    })
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
