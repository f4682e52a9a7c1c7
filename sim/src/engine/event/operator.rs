//! The operator: comes while the disk is full, reads the log and leaves notes, whose answers `full_disk_is_answered` judges.
//! Backups he makes at the bus's own machine, which the engine does for him.

use dacapo_core::{EventId, EventType, Expectation, Key, NewEvent, Source, event::Data, hashed::Hashed, wire::Publish};

use super::{
    hosts::BUS,
    net::{self, Asked, Heard, Speech},
    queue::{ConnectionId, HostId},
    stage::Stage,
};
use crate::engine::setup;

/// How often he comes.
const COMES_AGAIN_US: u64 = 70_000;

/// A life of the operator's host.
pub(super) struct OperatorProcess {
    host: HostId,
    visits: u64,
    /// Where he leaves a note, and where he reads.
    open: [Option<ConnectionId>; 2],
    comes_us: u64,
}

impl OperatorProcess {
    pub(super) fn start(host: HostId) -> Self {
        Self { host, visits: 0, open: [None, None], comes_us: 0 }
    }

    pub(super) fn hear(&mut self, stage: &mut Stage, connection: ConnectionId, heard: &Heard) {
        let Some(which) = self.open.iter().position(|open| *open == Some(connection)) else { return };
        match heard {
            Heard::Opened if which == 0 => {
                let note = Publish { request: self.visits, events: vec![self.note(stage)], guards: Vec::new() };
                stage.send_to_bus(connection, Hashed::new(note.into()));
            }
            Heard::Opened => stage.request(connection, Asked::Log),
            Heard::FromBus(_, bytes) => stage.net.read(connection, self.host, *bytes),
            _ => self.part(stage, which),
        }
    }

    fn note(&self, stage: &Stage) -> NewEvent {
        NewEvent {
            id: EventId::of(format!("note-{}-{}", stage.lives[self.host].number, self.visits)),
            event_type: EventType::of("Noted"),
            key: Key::of("note-1"),
            expectation: Expectation::Any,
            correlation: None,
            causation: None,
            source: Some(Source::of("operator")),
            data: Data::null(),
            attributes: dacapo_core::Attributes::default(),
        }
    }

    fn part(&mut self, stage: &mut Stage, which: usize) {
        if let Some(connection) = self.open[which].take() {
            stage.close(connection, self.host);
        }
    }

    pub(super) fn run(&mut self, stage: &mut Stage) {
        if self.comes_us <= stage.now_us {
            self.comes_us = stage.now_us + COMES_AGAIN_US;
            if stage.faults.fills_disk() {
                self.visits += 1;
                self.come(stage);
            }
        }
        stage.wake_at(self.host, self.comes_us);
    }

    fn come(&mut self, stage: &mut Stage) {
        let life = stage.lives[self.host].number;
        for (which, speech) in [Speech::Frames, Speech::Http].into_iter().enumerate() {
            self.part(stage, which);
            let identity = net::identity(&("operator", life, self.visits, which));
            let connection = stage.connect(self.host, BUS, speech, identity);
            if stage.plan.settings.guarded {
                stage.net.show(connection, Some(setup::secret(setup::OPERATOR)));
            }
            self.open[which] = Some(connection);
        }
    }
}
