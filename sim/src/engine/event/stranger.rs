//! The stranger: says what nobody may, holds connections and does not read. What a byte can do wrong he does on the full
//! stack.

use std::collections::VecDeque;

use dacapo_core::hashed::Hashed;

use super::{
    hosts::BUS,
    net::{self, Heard, Speech},
    queue::{ConnectionId, HostId},
    stage::Stage,
};
use crate::engine::hostile::Visit;

/// Between two visits.
const PAUSE_MS: (u64, u64) = (5, 120);
/// Connections that he holds at once.
const OPEN_MAX: usize = 24;

/// A life of the stranger's host.
pub(super) struct StrangerProcess {
    host: HostId,
    visits: u64,
    open: VecDeque<(ConnectionId, Visit)>,
    comes_us: u64,
}

impl StrangerProcess {
    pub(super) fn start(host: HostId) -> Self {
        Self { host, visits: 0, open: VecDeque::new(), comes_us: 0 }
    }

    pub(super) fn hear(&mut self, stage: &mut Stage, connection: ConnectionId, heard: &Heard) {
        let Some(index) = self.open.iter().position(|(open, _)| *open == connection) else { return };
        match heard {
            Heard::Opened => {
                let guarded = stage.plan.settings.guarded;
                let (_, visit) = &mut self.open[index];
                if guarded && visit.shows.is_refused_at_the_door() {
                    let sentence = "nobody is let in by a token that is unknown or was revoked";
                    stage.accuse("tokens_are_obeyed", sentence, format!("the stranger showed one: {:?}", visit.shows));
                }
                for frame in std::mem::take(&mut visit.says) {
                    stage.send_to_bus(connection, Hashed::new(frame));
                }
            }
            Heard::FromBus(_, bytes) if self.open[index].1.reads => stage.net.read(connection, self.host, *bytes),
            Heard::Refused(_) | Heard::Ended => {
                self.open.remove(index);
                stage.close(connection, self.host);
            }
            _ => {}
        }
    }

    pub(super) fn run(&mut self, stage: &mut Stage) {
        if self.comes_us <= stage.now_us {
            self.visits += 1;
            let identity = (stage.lives[self.host].number, self.visits);
            let pause_ms = stage.chance.between("stranger pauses", &identity, PAUSE_MS);
            self.comes_us = stage.now_us + pause_ms * 1_000;
            let drawn = stage.chance.number("stranger visits", &identity);
            let visit = Visit::of(drawn, self.visits, stage.plan.settings.guarded);
            let connection = stage.connect(self.host, BUS, Speech::Frames, net::identity(&("stranger", identity)));
            if stage.plan.settings.guarded {
                stage.net.show(connection, visit.shows.secret());
            }
            self.open.push_back((connection, visit));
            if self.open.len() > OPEN_MAX
                && let Some((connection, _)) = self.open.pop_front()
            {
                stage.close(connection, self.host);
            }
        }
        stage.wake_at(self.host, self.comes_us);
    }
}
