//! Clock, entropy and hooks of a simulated process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dacapo_core::{
    NodeName, Now, ServiceName, Timestamp,
    hooks::{Clock, Entropy, Hooks, Point, Verdict, World},
    trace::What,
};

use super::stage::{Life, Stage};
use crate::{
    engine::{clock, faults::Completing},
    fault::points,
};

/// What a process of this life is given. `service` is set for instances.
pub(super) fn world(stage: &Arc<Stage>, life: &Arc<Life>, service: Option<ServiceName>) -> World {
    World {
        node: life.host.clone(),
        clock: Arc::new(SimClock { stage: Arc::clone(stage), host: life.host.clone() }),
        entropy: Arc::new(SimEntropy { stage: Arc::clone(stage), life: Arc::clone(life), drawn: AtomicU64::new(0) }),
        hooks: Arc::new(SimHooks { stage: Arc::clone(stage), life: Arc::clone(life), service }),
    }
}

/// The run's time; its wall clock is off while a fault says so.
struct SimClock {
    stage: Arc<Stage>,
    host: NodeName,
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        let run_us = self.stage.now().0;
        clock::now(run_us, self.stage.faults().clocks(&self.host, run_us))
    }
}

/// Draws by (seed, host, life, count): what another process draws shifts nothing.
struct SimEntropy {
    stage: Arc<Stage>,
    life: Arc<Life>,
    drawn: AtomicU64,
}

impl Entropy for SimEntropy {
    fn next_u64(&self) -> u64 {
        let count = self.drawn.fetch_add(1, Ordering::Relaxed);
        let identity = (self.life.host.as_str(), self.life.number, count);
        // JSON's numbers are exact up to 2^53 in every language, and incarnations travel as JSON.
        self.stage.chance.number("entropy", &identity) >> 11
    }
}

/// Interferes as the active faults say, and listens for the recorder.
struct SimHooks {
    stage: Arc<Stage>,
    life: Arc<Life>,
    service: Option<ServiceName>,
}

impl Hooks for SimHooks {
    fn before(&self, point: Point) -> Verdict {
        if !self.stage.reach(&self.life, point) {
            return Verdict::Die;
        }
        match (point.name, &self.service) {
            (points::SEND_COMPLETE, Some(service)) => {
                match self.stage.faults().completing(&self.life.host, service, point.identity) {
                    Some(Completing::Lost) => Verdict::Lose,
                    Some(Completing::Twice) => Verdict::Twice,
                    Some(Completing::Late(us)) => Verdict::Delay(Duration::from_micros(us)),
                    None => Verdict::Go,
                }
            }
            _ => Verdict::Go,
        }
    }

    fn paused_until(&self) -> Option<Timestamp> {
        let until = self.stage.faults().paused_until(&self.life.host)?;
        // The driver compares with the host's own clock.
        Some(clock::now(until.0, self.stage.faults().clocks(&self.life.host, until.0)).monotonic)
    }

    fn recording(&self) -> bool {
        true
    }

    fn record(&self, node: &NodeName, _now: Now, what: What) {
        // The run's time, not the node's own: a drop handler may ask outside of any tick.
        if !self.life.is_dead() {
            self.stage.record(node, what);
        }
    }
}
