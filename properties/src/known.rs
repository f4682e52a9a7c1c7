//! What the records so far say, gathered once for all observers.

use dacapo_core::{
    Timestamp,
    digest::StableHasher,
    trace::{Frame, Record, What},
    wire::{Deliver, FromBus},
};

use crate::{
    connections::{Connections, Delivery},
    log::Log,
    property::Moment,
};

/// The log and the connections, up to and including the record that is being judged.
#[derive(Debug, Clone, Default)]
pub struct Known {
    step: u64,
    log: Log,
    connections: Connections,
}

impl Known {
    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The connections.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Adds to a digest what later verdicts may depend on and the contents of the store do not say; steps and absolute
    /// times stay out.
    pub fn memory(&self, now: Timestamp, to: &mut StableHasher) {
        self.log.memory(to);
        self.connections.memory(&self.log, now, to);
    }

    /// Takes a record in. One that was taken in already changes nothing, so that observers may share this.
    pub fn observe(&mut self, record: &Record) {
        if record.step <= self.step {
            return;
        }
        self.step = record.step;
        self.connections.observe(record);
        match &record.what {
            What::CommitDurable { commit } | What::Found { commit } => self.log.append(commit, Moment::from(record)),
            What::FrameSent { connection, frame: Frame::FromBus(frame) } => {
                if let FromBus::Deliver(deliver) = &**frame {
                    self.delivered(record, *connection, deliver);
                }
            }
            _ => {}
        }
    }

    fn delivered(&mut self, record: &Record, connection: u64, deliver: &Deliver) {
        let Some(owner) = self.connections.introduced(&record.node, connection) else { return };
        let delivery = Delivery {
            token: deliver.token,
            instance: owner.instance.clone(),
            incarnation: owner.incarnation,
            connection,
            sent: Moment::from(record),
        };
        let service = self.log.service_mut(&owner.service);
        if service.done(deliver.event.position).is_none() {
            service.delivered.insert(deliver.event.position, delivery);
        }
    }
}
