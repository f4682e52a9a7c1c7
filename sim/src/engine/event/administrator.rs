//! The administrator: when all is healed, retries the lanes that were parked, as a person would who has mended what
//! made them fail, or passes their first event over.

use std::collections::VecDeque;

use dacapo_core::bus::Admin;

use super::{
    hosts::BUS,
    net::{self, Asked, Heard, Speech},
    queue::{ConnectionId, HostId},
    stage::Stage,
};
use crate::engine::asking;

/// How often the administrator looks.
const LOOK_AGAIN_US: u64 = 200_000;

/// A life of the administrator's host.
pub(super) struct AdministratorProcess {
    host: HostId,
    parked: VecDeque<Admin>,
    /// What is asked now, and until when its answer is waited for.
    asking: Option<(ConnectionId, u64)>,
    asked: u64,
    looks_at_us: u64,
}

impl AdministratorProcess {
    pub(super) fn start(host: HostId) -> Self {
        Self { host, parked: VecDeque::new(), asking: None, asked: 0, looks_at_us: 0 }
    }

    pub(super) fn hear(&mut self, stage: &mut Stage, connection: ConnectionId, heard: &Heard) {
        if self.asking.is_none_or(|(asking, _)| asking != connection) {
            return;
        }
        match (heard, self.parked.front()) {
            (Heard::Opened, Some(admin)) => {
                let admin = admin.clone();
                stage.request(connection, Asked::Bus(admin));
            }
            // Whatever the answer is, the log will tell whether the lane is still parked.
            _ => self.next(stage),
        }
    }

    fn next(&mut self, stage: &mut Stage) {
        if let Some((connection, _)) = self.asking.take() {
            stage.close(connection, self.host);
            self.parked.pop_front();
        }
    }

    pub(super) fn run(&mut self, stage: &mut Stage) {
        if self.asking.is_some_and(|(_, until_us)| until_us <= stage.now_us) {
            self.next(stage);
        }
        if self.asking.is_none() && self.parked.is_empty() {
            if self.looks_at_us > stage.now_us {
                stage.wake_at(self.host, self.looks_at_us);
                return;
            }
            self.parked = asking::mending(&stage.chance, &stage.progress).into();
            self.looks_at_us = stage.now_us + LOOK_AGAIN_US;
        }
        if self.asking.is_none() && !self.parked.is_empty() {
            self.asked += 1;
            let life = stage.lives[self.host].number;
            let identity = net::identity(&("administrator", life, self.asked));
            let connection = stage.connect(self.host, BUS, Speech::Http, identity);
            self.asking = Some((connection, stage.now_us + stage.plan.settings.attempt_deadline_us));
        }
        let wake_us = self.asking.map_or(self.looks_at_us, |(_, until_us)| until_us);
        stage.wake_at(self.host, wake_us);
    }
}
